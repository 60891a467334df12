"""Is the data as good as said? An audit of any dataset folder. Start with `run.py`."""
