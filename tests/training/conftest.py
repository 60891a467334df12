from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that tests find toy.py
sys.path.insert(0, str(Path(__file__).parents[1] / "dataset"))  # and clips_folder.py
