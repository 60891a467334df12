#!/usr/bin/env bash
# What does time compression cost, and what does it save? Two nano VidVAEs of one budget, with and without it, compared.
#
#   examples/ablation.sh                       # two CPU cores: 35 minutes a VidVAE, then some minutes of measuring
#   MINUTES=1 CLIPS=8 examples/ablation.sh     # a rehearsal
#
# Stop it at any time (Ctrl-C) and start it again: it goes on where it was, and minutes spent stay spent.
# Leave the machine alone meanwhile: the budget is minutes, and both must get the same.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-.venv/bin/python}
MINUTES=${MINUTES:-35}
CLIPS=${CLIPS:-100}
OUT=${OUT:-runs/ablation}
MORE=${MORE:-}                      # further flags of the training, such as "--num-clips 16 --workers 1"

# 1. With time compression: 17 frames become 5 latent frames, as in the model that ships.
# shellcheck disable=SC2086
"$PYTHON" examples/ablation_vae.py with configs/ablation_vae.yaml --out "$OUT/with" --max-minutes "$MINUTES" $MORE

# 2. Without: 17 frames stay 17 latent frames of the same 16 channels. A step costs more, so the same minutes hold fewer:
#    an equal budget is what a user has. (For equal steps instead, give --max-steps in MORE.)
# shellcheck disable=SC2086
"$PYTHON" examples/ablation_vae.py without configs/ablation_vae.yaml --out "$OUT/without" --max-minutes "$MINUTES" $MORE

# 3. What each keeps of the same held-out clips, what divide and merge changes, and what tokens, seconds and memory are at
#    the paper's size. The paper's own VidVAE loses 3.76 dB at 17 frames.
"$PYTHON" -m videosyn evaluate ablation --compressed "$OUT/with/model" --uncompressed "$OUT/without/model" \
  --num-clips "$CLIPS" -o "$OUT/report" ${COST:-}
