"""What does compression cost, and what does it save? Start with `run.py`."""
