"""How models are made: one loop (`loop.py`), a step per model (`vae_step.py`, `dit_step.py`), started by `run.py`."""
