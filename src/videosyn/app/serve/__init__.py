"""`videosyn serve`: an HTTP API and a web studio on one port, a worker process per device. Next: `command.py`."""
