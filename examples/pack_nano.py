"""The folder that ships, from a run's model: VDiT and text encoder in int8, the VidVAE in bf16; whole or not at all.

    python examples/pack_nano.py runs/nano_dit/model runs/nano [--card runs/nano_dit/card.md]

Ends with code 1, and leaves an older folder as it was, where the result is larger than the package takes. A folder that
holds anything but a model is not replaced.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch

from videosyn import VideoSynPipeline
from videosyn.core.model_folder import save_module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--card", type=Path, help="becomes README.md")
    parser.add_argument("--most-bytes", type=int, default=24_000_000)
    options = parser.parse_args()
    output: Path = options.output
    if output.exists() and any(output.iterdir()) and not (output / "model_index.json").is_file():
        raise SystemExit(f"{output} holds something else than a model: give an empty or a new folder")
    if options.model.resolve().is_relative_to(output.resolve()):
        raise SystemExit(f"{options.model} lies in {output}, which it would replace: give another folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as scratch:
        packed, older = Path(scratch) / "new", Path(scratch) / "old"
        pipeline = VideoSynPipeline.from_pretrained(options.model, device="cpu", dtype="fp32")
        pipeline.save_pretrained(packed, int8=True)
        save_module(packed / "vae", pipeline.vae.to(torch.bfloat16), pipeline.vae.config)
        if options.card:
            shutil.copyfile(options.card, packed / "README.md")
        size = sum(file.stat().st_size for file in packed.rglob("*") if file.is_file())
        if size > options.most_bytes:
            most = options.most_bytes / 1e6
            raise SystemExit(f"the model is {size / 1e6:.1f} MB, at most {most:g} MB ship: train a smaller preset")
        if output.exists():
            output.rename(older)
        try:
            packed.rename(output)
        except BaseException:
            if older.exists():
                older.rename(output)
            raise
    print(f"{output}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
