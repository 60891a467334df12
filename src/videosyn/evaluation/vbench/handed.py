"""Dimensions that the vbench package computes, in an environment of its own: it pins an old transformers and numpy.

One process a dimension, so that one that cannot run (detectron2 is missing, say) costs no other. Next: `table4.py`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videosyn.core.errors import UserError

_PROGRAM = """
import json, sys
import torch
from vbench import VBench
job = json.loads(sys.argv[1])
bench = VBench(torch.device(job["device"]), job["suite"], job["output"])
bench.evaluate(videos_path=job["films"], name=job["name"], dimension_list=[job["dimension"]], mode="vbench_standard")
"""


_OFFLINE = "give that environment the internet, or the file in the package's cache"


@dataclass(frozen=True)
class Outcome:
    """A dimension's score and those of its films, or why there is none."""

    score: float | None
    films: dict[str, float]
    """File name -> score, where the package tells one."""
    problem: str = ""


def hand_over(python: str, device: str, dimension: str, suite: Path, films: Path, output: Path) -> Outcome:
    """Runs the vbench package on one dimension. suite: in the form of VBench_full_info.json."""
    output.mkdir(parents=True, exist_ok=True)
    job = {
        "device": device,
        "suite": str(suite.resolve()),
        "films": str(films.resolve()),
        "output": str(output.resolve()),
        "name": dimension,
        "dimension": dimension,
    }
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    print(f"vbench package: {dimension} ...", file=sys.stderr)
    program = str(Path(python).absolute())  # not what it links to: that is how an environment knows itself
    command = [program, "-c", _PROGRAM, json.dumps(job)]
    try:
        done = subprocess.run(command, env=own, cwd=output, capture_output=True, text=True, check=False)
    except OSError as error:  # such as a program of another architecture
        return Outcome(None, {}, f"{program} does not run: {error.strerror or error}")
    (output / f"{dimension}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    written = output / f"{dimension}_eval_results.json"
    if done.returncode or not written.is_file():
        return Outcome(None, {}, problem_of(done.stderr) or f"ended with code {done.returncode}")
    return read_results(written)[dimension]


def problem_of(stderr: str) -> str:
    """Why the package failed, in a line: the last that it said, or, where that is known to puzzle, what it means."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    if "torchvision::" in last:
        return "torch and torchvision of that environment are of different builds: install both there from one index"
    if missing := re.search(r"No module named '([\w.]+)'", last):
        return f"that environment has no {missing[1]}: install it there"
    if "CalledProcessError" in last and (address := re.search(r"https?://[^\s'\"]+", last)):
        return f"cannot download {address[0]}: {_OFFLINE}"
    if "URLError" in last or "ConnectionError" in last:
        return f"cannot download its weights: {_OFFLINE}"
    return last[:200]


def only_films(films: Iterable[Path], folder: Path) -> Path:
    """A folder of links to these films alone: the package takes all names' suffix from the first file it lists."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in films:
        try:
            (folder / path.name).symlink_to(path.resolve())
        except OSError:  # a file system without links
            shutil.copyfile(path, folder / path.name)
    return folder


def read_results(path: Path) -> dict[str, Outcome]:
    """What the vbench package wrote: dimension -> outcome. A UserError where the file is none of its."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: Outcome(float(value[0]), _films(value[1])) for name, value in content.items()}
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise UserError(f"{path} is no result of the vbench package ({error!r})") from error


def _films(rows: Any) -> dict[str, float]:
    """Film -> score; dimensions that tell no number of a film (a list of what was found, say) give none."""
    found = {}
    for row in rows if isinstance(rows, list) else []:
        value = row.get("video_results") if isinstance(row, dict) else None
        if isinstance(value, (int, float)):
            found[Path(row["video_path"]).name] = float(value)
    return found
