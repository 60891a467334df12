"""How people use videosyn: the command line (`cli.py`)."""
