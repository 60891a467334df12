"""The judge: what a clip shows, measured in its pixels. Begin with `judge.py`."""
