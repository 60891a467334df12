"""What the VDiT is asked to predict, and how latents are drawn from its predictions. Next: `objective.py`."""
