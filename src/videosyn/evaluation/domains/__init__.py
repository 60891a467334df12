"""Does a model generalise? Start with `run.py`."""
