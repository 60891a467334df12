"""The web studio: pages for generating, comparing and looking at datasets. Next: `mount.py`."""
