#!/usr/bin/env bash
# What does time compression cost, and what does it save? Two nano VidVAEs of one budget, with and without it, compared.
#
#   examples/ablation.sh                       # one CPU core: 5 minutes a VidVAE, 2 of rendering, some of measuring
#   MINUTES=60 examples/ablation.sh            # the longer, the nearer to what each can do
#
# Stop it at any time (Ctrl-C) and start it again: it goes on where it was, and minutes spent stay spent. Minutes are of
# CPU time of the thread that trains: other work on the machine makes it later, and neither model worse.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-.venv/bin/python}
MINUTES=${MINUTES:-5}
CLIPS=${CLIPS:-60}
OUT=${OUT:-runs/ablation}
MORE=${MORE:-}                      # further flags of the training, such as "--num-clips 16 --threads 2"
COST=${COST:---cost-shapes 17x48x48 --depth 2}   # "--no-cost", or shapes for an accelerator

# 1. With time compression: 17 frames become 5 latent frames, as in the model that ships.
# shellcheck disable=SC2086
"$PYTHON" examples/ablation_vae.py with configs/ablation_vae.yaml --out "$OUT/with" --max-minutes "$MINUTES" $MORE

# 2. Without: 17 frames stay 17 latent frames of the same 16 channels. A step costs more, so the same minutes hold fewer:
#    an equal budget is what a user has. (For equal steps instead, give --max-minutes 0 --max-steps N in MORE.)
# shellcheck disable=SC2086
"$PYTHON" examples/ablation_vae.py without configs/ablation_vae.yaml --out "$OUT/without" --max-minutes "$MINUTES" $MORE

# 3. What each keeps of the same held-out clips, what divide and merge changes; tokens, arithmetic and memory at the
#    paper's size, counted, and seconds of its models at a small shape. Its own VidVAE loses 3.76 dB at 17 frames.
# shellcheck disable=SC2086
"$PYTHON" -m videosyn evaluate ablation --compressed "$OUT/with/model" --uncompressed "$OUT/without/model" \
  --num-clips "$CLIPS" -o "$OUT/report" $COST
