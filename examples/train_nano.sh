#!/usr/bin/env bash
# From nothing to a nano model like the one that ships: a world, an autoencoder, a video model, one folder of weights.
#
#   examples/train_nano.sh                                    # two CPU cores, about two hours -> runs/nano
#   VAE_MINUTES=5 DIT_MINUTES=15 examples/train_nano.sh       # a quick one
#   KIND=_gpu VAE_MINUTES=12 DIT_MINUTES=14 MOST_BYTES=25000000 examples/train_nano.sh     # wider: 24.2 MB
#   OUT=src/videosyn/weights/nano examples/train_nano.sh      # in place of the one that ships
#   SMOKE=1 examples/train_nano.sh                            # a rehearsal: the same way in two minutes, nothing learned
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
OUT=${OUT:-runs/nano}
MOST_BYTES=${MOST_BYTES:-24000000}  # what the package takes
VAE=runs/nano_vae$KIND
DIT=runs/nano_dit$KIND
VAE_FLAGS="--max-minutes $VAE_MINUTES"
DIT_FLAGS="--max-minutes $DIT_MINUTES"
if [ -n "${SMOKE:-}" ]; then
  OUT=runs/rehearsal/nano VAE=runs/rehearsal/vae DIT=runs/rehearsal/dit
  rm -rf runs/rehearsal
  SMALL="--max-minutes 0 --max-steps 2 --validation-clips 2 --workers 0"
  VAE_FLAGS="$SMALL --out $VAE --cache runs/rehearsal/clips --num-clips 8 --crops 17x64x64 --late-crops 17x64x64"
  DIT_FLAGS="$SMALL --out $DIT --cache runs/rehearsal/latents --vae $VAE/model --num-clips 16 --num-images 8
    --batch-size 2 --text-steps 5 --calibration-clips 4"
fi

# 1. The autoencoder. The first 2,500 clips of the world are rendered by two processes (about half a minute; on an
#    accelerator every batch is rendered as it is needed). It learns to put 17 x 96 x 96 pixels into 5 x 12 x 12 latents
#    of 16 channels and back: crops first, whole frames late, in many small steps. Then the mean and spread of each
#    latent channel are measured and written into its config, so that the video model sees numbers of one size.
#    (A run that is asked to leave saves, ends with code 3, and so ends this script.)
# shellcheck disable=SC2086
"$PYTHON" -m videosyn train vae "configs/nano_vae$KIND.yaml" $VAE_FLAGS

# 2. The video model and its text encoder, together. 20,000 clips and 10,000 images are rendered and encoded once (about
#    ten minutes on two cores); captions are spoken anew each time a clip is seen, and one in ten is left out, for
#    guidance. Single images come first: they cost a fifth of a clip and teach words, shapes and colours.
# shellcheck disable=SC2086
"$PYTHON" -m videosyn train dit "configs/nano_dit$KIND.yaml" $DIT_FLAGS

# 3. The folder: the video model and the text encoder in int8, the autoencoder in bf16. More than 24 MB is an error. Its
#    card says how it was trained, and what it can do once the commands at the head of examples/model_card.py have
#    measured that: give this command again, and the card has their figures.
"$PYTHON" examples/model_card.py --vae "$VAE" --dit "$DIT" --figures "$DIT/figures" -o "$DIT/card.md"
"$PYTHON" examples/pack_nano.py "$DIT/model" "$OUT" --card "$DIT/card.md" --most-bytes "$MOST_BYTES"

# 4. A film from it.
"$PYTHON" -m videosyn generate "a red ball bounces on the grass at sunset" --model "$OUT" -o "$DIT/ball.mp4"
