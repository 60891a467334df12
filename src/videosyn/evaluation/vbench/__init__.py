"""VBench (Huang et al. 2024, arXiv 2311.17982): prompts, file names, figures. Start with `run.py`."""
