"""VidVAE, the video autoencoder. Start with `config.py`, then `causal.py`, `blocks.py`, `model.py`, `streaming.py`."""
