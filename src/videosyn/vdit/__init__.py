"""The video diffusion transformer: noisy latents, a time and a text -> velocity or noise. Next: `model.py`."""
