"""Prompts as features for the VDiT: a small encoder trained with it, or a T5. Next: `features.py`."""
