"""The folder that ships, from a run's model: VDiT and text encoder in int8, the VidVAE in bf16; whole or not at all.

    python examples/pack_nano.py runs/nano_dit/model runs/nano [--card runs/nano_dit/card.md]

Ends with code 1, and leaves an older folder as it was, where the result is larger than the package takes.
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
        packed.rename(output)
    print(f"{output}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
