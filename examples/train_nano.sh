#!/usr/bin/env bash
# From nothing to the nano model that ships in the package: a world, an autoencoder, a video model, one folder of weights.
#
#   examples/train_nano.sh                                    # two CPU cores, about two hours
#   VAE_MINUTES=5 DIT_MINUTES=15 examples/train_nano.sh       # a quick one
#   KIND=_gpu VAE_MINUTES=12 DIT_MINUTES=14 examples/train_nano.sh
#
# Stop it at any time (Ctrl-C) and start it again: it goes on where it was, and minutes spent stay spent.
# Watch it: tail -f runs/nano_vae/train.log runs/nano_dit/train.log, and the pictures in runs/*/sheets.
# Leave the machine alone meanwhile: one other busy process on two cores can make a step several times slower.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-.venv/bin/python}
KIND=${KIND:-}                      # "" for CPUs, _gpu for an accelerator: which configurations are used
VAE_MINUTES=${VAE_MINUTES:-35}
DIT_MINUTES=${DIT_MINUTES:-75}
OUT=${OUT:-src/videosyn/weights/nano}
VAE=runs/nano_vae$KIND
DIT=runs/nano_dit$KIND

# 1. The autoencoder. The first 2,500 clips of the world are rendered by two processes (about half a minute; on an
#    accelerator every batch is rendered as it is needed). It learns to put 17 x 96 x 96 pixels into 5 x 12 x 12 latents
#    of 16 channels and back: crops first, whole frames late, in many small steps. Then the mean and spread of each
#    latent channel are measured and written into its config, so that the video model sees numbers of one size.
#    (A run that is asked to leave saves, ends with code 3, and so ends this script.)
"$PYTHON" -m videosyn.training.run vae "configs/nano_vae$KIND.yaml" --max-minutes "$VAE_MINUTES"

# 2. The video model and its text encoder, together. 20,000 clips and 10,000 images are rendered and encoded once (about
#    ten minutes on two cores); captions are spoken anew each time a clip is seen, and one in ten is left out, for
#    guidance. Single images come first: they cost a fifth of a clip and teach words, shapes and colours.
"$PYTHON" -m videosyn.training.run dit "configs/nano_dit$KIND.yaml" --max-minutes "$DIT_MINUTES"

# 3. The folder that ships. The video model and the text encoder in int8, the autoencoder in bf16: below 24 MB.
"$PYTHON" - "$DIT/model" "$OUT" <<'PYTHON'
import shutil
import sys
from pathlib import Path

from videosyn import VideoSynPipeline

source, target = map(Path, sys.argv[1:])
VideoSynPipeline.from_pretrained(source, device="cpu", dtype="fp32").save_pretrained(target, int8=True)
for file in (target / "vae").iterdir():
    file.unlink()
shutil.copytree(source / "vae", target / "vae", dirs_exist_ok=True)
size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
print(f"{target}: {size / 1e6:.1f} MB")
PYTHON

# 4. A film from it.
"$PYTHON" -m videosyn generate "a red ball bounces on the grass at sunset" --model "$OUT" -o runs/ball.mp4
