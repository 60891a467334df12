"""Where things are on screen."""

import torch

from videosyn.world.footprint import footprint
from videosyn.world.render import render
from videosyn.world.scene import sample_scene


def test_every_pixel_that_moves_under_a_still_camera_lies_in_the_footprint():
    for seed in range(12):
        scene = sample_scene(seed, num_things=1, camera="still", style="plain")
        if scene.things[0].motion == "rests" or scene.place == "sea":
            continue  # nothing moves, or the water does too
        video = render([scene], 9, 64, 64)[0].float()  # (T, H, W, 3)
        moved = ((video - video[:1]).abs().amax(3) > 90).amax(0)  # (H, W): strong changes are the thing, not its shadow
        touched = footprint(scene, 9, 64, 64, fps=8).any(0)  # (h, w)
        whole = touched.repeat_interleave(8, 0).repeat_interleave(8, 1)
        assert not (moved & ~whole).any(), (seed, scene.things[0].kind, scene.things[0].motion)
        assert moved.any()


def test_a_footprint_has_the_latent_grid_and_follows_the_thing():
    scene = next(
        scene
        for scene in (sample_scene(seed, num_things=1, camera="still") for seed in range(400))
        if scene.things[0].motion == "right" and scene.things[0].kind == "ball"
    )
    touched = footprint(scene, 17, 96, 128, fps=8)
    assert touched.shape == (5, 12, 16)
    columns = torch.arange(16.0)
    centres = [(columns * frame.any(0)).sum() / frame.any(0).sum() for frame in touched]
    assert centres[0] < centres[2] < centres[4]
    assert 0 < touched.float().mean() < 0.5
