"""Footage -> captioned clips: six stages over virtual clips, each source decoded once, nothing lost when killed.

Read in this order: `records.py` (what a clip is), `config.py` (every threshold), `stages.py` (what a stage is),
`pipeline.py` (the visible list), then one file a stage, then `ledger.py` and the engines, then what a run leaves:
`tables.py`, `webdataset.py`, `report.py`.
"""
