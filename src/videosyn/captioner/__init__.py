"""The captioner: a clip of any length in, a dense caption out (paper section 4.6). Read `model.py` first."""
