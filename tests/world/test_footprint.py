"""Where things are on screen."""

import torch

from videosyn.world.footprint import named_cells
from videosyn.world.render import render
from videosyn.world.scene import sample_scene
from videosyn.world.vocabulary import COLOURS, KINDS, MOTIONS


def test_every_pixel_that_moves_under_a_still_camera_lies_in_the_footprint():
    for seed in range(12):
        scene = sample_scene(seed, num_things=1, camera="still", style="plain")
        if scene.things[0].motion == "rests" or scene.place == "sea":
            continue  # nothing moves, or the water does too
        video = render([scene], 9, 64, 64)[0].float()  # (T, H, W, 3)
        moved = ((video - video[:1]).abs().amax(3) > 90).amax(0)  # (H, W): strong changes are the thing, not its shadow
        touched = (named_cells(scene, 9, 64, 64, fps=8)[0] > 0).any(0)  # (h, w)
        whole = touched.repeat_interleave(8, 0).repeat_interleave(8, 1)
        assert not (moved & ~whole).any(), (seed, scene.things[0].kind, scene.things[0].motion)
        assert moved.any()


def test_a_footprint_has_the_latent_grid_and_follows_the_thing():
    scene = next(
        scene
        for scene in (sample_scene(seed, num_things=1, camera="still") for seed in range(400))
        if scene.things[0].motion == "right" and scene.things[0].kind == "ball"
    )
    touched = named_cells(scene, 17, 96, 128, fps=8)[0] > 0
    assert touched.shape == (5, 12, 16)
    columns = torch.arange(16.0)
    centres = [(columns * frame.any(0)).sum() / frame.any(0).sum() for frame in touched]
    assert centres[0] < centres[2] < centres[4]
    assert 0 < touched.float().mean() < 0.5


def test_cells_name_kind_colour_and_motion_of_the_nearer_thing():
    scene = next(
        scene
        for scene in (sample_scene(seed, num_things=2, camera="still") for seed in range(400))
        if scene.relation == "passes behind" and scene.things[0].kind != scene.things[1].kind
    )
    cells = named_cells(scene, 17, 96, 96, fps=8)
    tables = (list(KINDS), list(COLOURS), list(MOTIONS))
    named = [(thing.kind, thing.colour, thing.motion) for thing in scene.things]
    far, near = (tuple(1 + table.index(name) for table, name in zip(tables, names)) for names in named)
    assert cells.shape == (3, 5, 12, 12)
    found = {tuple(cell.tolist()) for cell in cells.flatten(1).T}
    assert found == {(0, 0, 0), far, near}
    shown = [(cells[0, frame] == near[0]).sum().item() for frame in range(5)]
    assert len(set(shown)) == 1  # the near thing rests, and nothing covers it
    assert min((cells[0, frame] == far[0]).sum().item() for frame in range(5)) < shown[0]
    assert not named_cells(scene, 1, 96, 96, fps=8)[2].any()  # an image shows no motion
