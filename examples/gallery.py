"""The README's picture: films of the shipped model, a few frames of each under its prompt.

python examples/gallery.py [-o docs/nano.png] [--model nano] [--seed 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from videosyn import VideoSynPipeline

PROMPTS = (
    "a red ball bounces on the grass at sunset",
    "a yellow house in the desert at noon, the camera pans left",
    "a blue cube spins in the snow at night",
    "a purple boat moves left on the sea at sunset",
    "a green tree grows in a meadow at noon, cartoon style",
    "an orange cone to the left of a blue ball in a studio",
    "a white person walks right in the snow at noon",
    "a pink rocket moves up in the desert at night",
    "a red lighthouse on the sea at noon, oil painting",
    "a yellow snowman moves right in the snow at sunset, pixel art",
    "a purple ring to the right of a green cylinder in a meadow at noon",
    "a red cube, a white ball and a blue cone in a row in the desert at noon",
    "an orange diamond falls in an abstract world at night",
    "ball red, night, snow",
)
COLUMNS, FRAMES, TITLE_PX, GAP_PX = 2, 5, 14, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/nano.png"))
    parser.add_argument("--model", default="nano")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    films = VideoSynPipeline.from_pretrained(options.model)(PROMPTS, seed=options.seed).frames  # (N, T, H, W, 3)
    chosen = np.linspace(0, films.shape[1] - 1, FRAMES).round().astype(int)
    strips = [np.concatenate(list(film[chosen]), axis=1) for film in films]  # (H, FRAMES * W, 3) each
    height, width = strips[0].shape[0] + TITLE_PX, strips[0].shape[1] + GAP_PX
    rows = -(-len(strips) // COLUMNS)
    picture = Image.new("RGB", (COLUMNS * width, rows * height), "white")
    draw = ImageDraw.Draw(picture)
    for place, (prompt, strip) in enumerate(zip(PROMPTS, strips)):
        left, top = place % COLUMNS * width, place // COLUMNS * height
        draw.text((left + 2, top + 1), prompt, fill="black")
        picture.paste(Image.fromarray(strip), (left, top + TITLE_PX))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    picture.save(options.output)
    print(options.output)


if __name__ == "__main__":
    main()
