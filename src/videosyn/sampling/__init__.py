"""How models are used: `pipeline.py` holds the path prompt -> video."""
