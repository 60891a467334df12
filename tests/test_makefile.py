"""What `make` leaves behind where Python's venv does not work."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

WITHOUT_ENSUREPIP = """#!/bin/sh
[ "$1" = -c ] && exit 0
mkdir -p .venv/bin && touch .venv/bin/python
echo "ensurepip is not available" >&2
exit 1
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_an_environment_without_pip_does_not_stay_and_the_package_is_named(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[1] / "Makefile", tmp_path)
    python = tmp_path / "python"
    python.write_text(WITHOUT_ENSUREPIP)
    python.chmod(0o755)
    done = subprocess.run(
        ["make", ".venv/bin/python", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()
