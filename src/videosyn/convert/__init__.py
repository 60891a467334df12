"""Published weights -> ours. Every tensor is used, or named in a list of what is dropped. Next: `checkpoint.py`."""
