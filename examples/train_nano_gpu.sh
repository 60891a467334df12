#!/usr/bin/env bash
# The nano model on an accelerator that is lent for minutes at a time: each call is one leg, and leaves files that the
# next one begins with. Nothing else is kept between calls, and nothing is fetched from a network.
#
#   OUT=/somewhere examples/train_nano_gpu.sh vae 9                     # minutes -> vae.tar.00, ...
#   OUT=/somewhere examples/train_nano_gpu.sh dit 8 parts/vae.tar.*     # -> dit.tar.00, ... of at most 15 MB
#   OUT=/somewhere examples/train_nano_gpu.sh dit 8 parts/vae.tar.* parts/dit.tar.*    # goes on from there
#   OUT=/somewhere examples/train_nano_gpu.sh pack parts/dit.tar.*      # the folder that ships, int8
#
# Rehearse a leg on a CPU: KIND= SMOKE=1 OUT=/tmp/out examples/train_nano_gpu.sh vae 1
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
OUT=${OUT:?say where the files go: OUT=folder}
KIND=${KIND-_gpu}                   # which configurations: _gpu, or empty for the CPU's
export PYTHONPATH=src PYTHONUNBUFFERED=1
leg=${1:?vae, dit or pack}
shift
minutes=
if [ "$leg" != pack ]; then minutes=${1:?minutes of training}; shift; fi
work=runs/leg && rm -rf "$work" && mkdir -p "$work" "$OUT"

unpack() { # NAME PARTS...: the parts NAME.tar.* among the arguments
  local name=$1 found=() part
  shift
  for part in "$@"; do case ${part##*/} in "$name".tar.*) found+=("$part") ;; esac; done
  [ ${#found[@]} = 0 ] || { mkdir -p "$work/$name" && cat "${found[@]}" | tar -xf - -C "$work/$name"; }
}

pack() { rm -f "$OUT/$1.tar."*; tar -cf - -C "$2" . | split -b 15m -d - "$OUT/$1.tar."; } # NAME FOLDER

small=()
[ -z "${SMOKE:-}" ] || small=(--batch-size 2 --sample-minutes 99 --validate-minutes 99)
unpack vae "$@"
unpack dit "$@"
case $leg in
  vae)
    init=()
    [ ! -d "$work/vae" ] || init=(--init "$work/vae")
    [ -z "${SMOKE:-}" ] || small+=(--num-clips 16 --validation-clips 2 --crops 17x64x64 --late-crops 17x64x64)
    "$PYTHON" -m videosyn.training.run vae "configs/nano_vae$KIND.yaml" --out "$work/run" --cache "$work/clips" \
      --max-minutes "$minutes" "${init[@]}" "${small[@]}" || [ $? = 3 ] # 3: asked to stop, and saved
    pack vae "$work/run/model"
    ;;
  dit)
    [ -d "$work/vae" ] || { echo "give the VidVAE's parts: vae.tar.*" >&2; exit 2; }
    init=()
    [ ! -d "$work/dit" ] || init=(--init "$work/dit" --image-phase-fraction 0)
    [ -z "${SMOKE:-}" ] || small+=(--num-clips 64 --num-images 32 --validation-clips 2 --text-steps 5 --calibration-clips 8)
    "$PYTHON" -m videosyn.training.run dit "configs/nano_dit$KIND.yaml" --out "$work/run" --cache "$work/latents" \
      --vae "$work/vae" --max-minutes "$minutes" "${init[@]}" "${small[@]}" || [ $? = 3 ]
    pack dit "$work/run/model"
    ;;
  pack)
    "$PYTHON" examples/pack_nano.py "$work/dit" "$OUT/nano" --most-bytes "${MOST_BYTES:-25000000}" # nano_320 is 24.2 MB
    ;;
  *) echo "a leg is vae, dit or pack, got $leg" >&2; exit 2 ;;
esac
ls -la "$OUT"
[ ! -d "$work/run/sheets" ] || cp "$(ls -t "$work"/run/sheets/*.png | head -1)" "$OUT/sheet.png"
[ ! -f "$work/run/train.log" ] || cp "$work/run/train.log" "$OUT/$leg.log"
