#!/usr/bin/env bash
# From nothing to a captioner like the nano one that ships in the package.
#
#   .venv/bin/pip install -e '.[caption]'            # transformers' ViT and language model
#   examples/train_nano_captioner.sh                 # one CPU core, about an hour and three quarters
#
# Stop it at any time (Ctrl-C) and start it again: it goes on where it was. Watch it: tail -f runs/captioner/*/train.log,
# and the captions under the clips in runs/captioner/*/sheets. The captioner comes to lie in runs/nano_captioner; to put it
# in the place of the one that ships: OUT=src/videosyn/weights/nano_captioner examples/train_nano_captioner.sh
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-.venv/bin/python}
RUN=${RUN:-runs/captioner}
OUT=${OUT:-runs/nano_captioner}

# 1. 19,000 clips of the world are rendered, nine frames of each (about five minutes on two cores). Then two stages, as
#    the paper's captioner has: single frames with their captions first, which teach words, shapes and colours; then
#    clips, which teach motion, the camera and who passes whom. Beside the captions the vision encoder's tokens name
#    what lies in their cells, without which kinds of things are learned very late.
"$PYTHON" -m videosyn.training.run captioner configs/nano_captioner.yaml --out "$RUN" "$@"

# 2. The folder to use, in int8.
"$PYTHON" - "$RUN/videos/model" "$OUT" <<'PYTHON'
import sys
from pathlib import Path

from videosyn.captioner.storage import load_captioner, save_captioner

source, target = map(Path, sys.argv[1:])
save_captioner(target, load_captioner(source), int8=True)
size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
print(f"{target}: {size / 1e6:.1f} MB")
PYTHON

# 3. What it is worth: held-out clips against what they show, and films of the nano model against the pixel judge.
"$PYTHON" -m videosyn evaluate loop --captioner "$OUT" --source render -o runs/loop_renders
"$PYTHON" -m videosyn evaluate loop --captioner "$OUT" -o runs/loop_films
