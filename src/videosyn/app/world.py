"""`videosyn world`: a dataset folder of rendered clips with captions and their truth. Next: `world/render.py`."""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from dataclasses import asdict
from pathlib import Path
from random import Random

from videosyn.app.options import WorldConfig

CLIPS_AT_ONCE = 8


def run(config: WorldConfig) -> None:
    """Renders every clip into a hidden folder beside the output, which is renamed when all are there."""
    hidden = config.output.with_name(f".{config.output.name}.{uuid.uuid4().hex[:8]}")
    hidden.mkdir()
    try:
        _fill(hidden, config)
        hidden.rename(config.output)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    print(config.output)


def _fill(folder: Path, config: WorldConfig) -> None:
    from tqdm import tqdm

    from videosyn.core.runtime import out_of_memory_means_user_error, pick_device
    from videosyn.core.video_file import write_video
    from videosyn.world.caption import caption
    from videosyn.world.render import render
    from videosyn.world.scene import sample_scene

    device = pick_device(config.device)
    size = f"{config.frames} frames of {config.height}x{config.width}"
    seeds = range(config.seed, config.seed + config.clips)
    with (
        open(folder / "metadata.jsonl", "w", encoding="utf-8") as table,
        tqdm(total=config.clips, unit="clip", leave=False, disable=None, file=sys.stderr) as bar,
    ):
        for start in range(0, config.clips, CLIPS_AT_ONCE):
            scenes = [sample_scene(seed, split=config.split) for seed in seeds[start : start + CLIPS_AT_ONCE]]
            with out_of_memory_means_user_error(size, "use fewer or smaller ones"):
                films = render(scenes, config.frames, config.height, config.width, config.fps, device).cpu().numpy()
            for scene, frames in zip(scenes, films):
                name = f"{scene.seed:08d}.mp4"
                text = caption(scene, Random(scene.seed), config.frames, "full")
                write_video(folder / name, frames, config.fps, {"prompt": text, "seed": str(scene.seed)})
                table.write(json.dumps({"file_name": name, "caption": text, "scene": asdict(scene)}) + "\n")
                bar.update()
