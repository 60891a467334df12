"""Two models, or two settings of one, on the same prompts and seeds. Start with `run.py`."""
