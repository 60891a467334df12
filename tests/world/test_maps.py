"""Silhouettes and maps: which thing lies where."""

from dataclasses import replace

import pytest
import torch

from videosyn.world.footprint import frame_cells
from videosyn.world.maps import MAP_CHANNELS, WIDTHS, codes, coverage, draw_map
from videosyn.world.render import render, silhouettes
from videosyn.world.scene import sample_scene
from videosyn.world.vocabulary import COLOURS, KINDS, MOTIONS


def test_every_name_has_a_code_of_its_own():
    assert all(count <= width for count, width in zip((len(KINDS), len(COLOURS), len(MOTIONS)), WIDTHS.values()))
    scenes = [sample_scene(seed, num_things=1) for seed in range(60)]
    rows = torch.cat([codes(scene, 17) for scene in scenes])  # (60, MAP_CHANNELS)
    assert rows.shape == (60, MAP_CHANNELS)
    kinds = rows[:, : WIDTHS["kind"]]
    agree = kinds @ kinds.T / WIDTHS["kind"]
    same = torch.tensor([[a.things[0].kind == b.things[0].kind for b in scenes] for a in scenes])
    torch.testing.assert_close(agree, same.float())  # 1 for the same kind, 0 for another
    assert (codes(scenes[0], 1)[:, -WIDTHS["motion"] :] == 0).all()  # a picture shows no motion


def test_silhouettes_are_where_the_picture_changes_without_the_thing():
    for seed in range(30):
        scene = sample_scene(seed, num_things=1, camera="still", style="plain")
        shown = silhouettes([scene], 5, 64, 64)[0]
        assert set(shown.unique().tolist()) <= {0, 1}
        inside = frame_cells(scene, 5, 64, 64, fps=8, cell_px=1)[0] > 0
        assert not ((shown > 0) & ~inside).any()  # within the rectangle that the thing can touch
    # A red ball on green grass at noon: what is red is the silhouette.
    scene = next(
        scene
        for scene in (sample_scene(seed, num_things=1, camera="still", style="plain") for seed in range(20_000))
        if (scene.things[0].kind, scene.things[0].colour, scene.place, scene.light) == ("ball", "red", "meadow", "noon")
    )
    frames = render([scene], 5, 64, 64)[0].float()
    red = (frames[..., 0] > 1.6 * frames[..., 1]) & (frames[..., 0] > 1.6 * frames[..., 2])
    shown = silhouettes([scene], 5, 64, 64)[0] > 0
    assert (red == shown).float().mean() > 0.98
    assert shown.any()


@pytest.mark.parametrize("near", [0, 1])
def test_the_nearer_thing_hides_the_other(near):
    def counts(scene):
        shown = silhouettes([scene], 1, 96, 96)[0]
        return [(shown == 1 + place).sum().item() for place in range(len(scene.things))]

    overlapping = 0
    for seed in range(2000):
        scene = sample_scene(seed, num_things=2)
        if scene.relation not in ("in front of", "behind") or scene.things[near].depth > scene.things[1 - near].depth:
            continue
        both = counts(scene)
        alone = [counts(replace(scene, things=(thing,), relation=None))[0] for thing in scene.things]
        assert both[near] == alone[near]
        assert both[1 - near] <= alone[1 - near]
        overlapping += both[1 - near] < 0.9 * alone[1 - near]
        if overlapping == 3:
            return
    pytest.fail("no scene where one thing hides part of another")


def test_a_map_holds_codes_where_things_are_and_zeros_elsewhere():
    scene = sample_scene(3, num_things=3)
    (covered,) = coverage([scene], 9, 64, 96, fps=8)
    assert covered.shape == (3, 3, 8, 12)
    assert covered.dtype == torch.uint8
    assert (covered.float().sum(0) <= 256).all()  # no cell is covered twice
    drawn = draw_map(covered, codes(scene, 9))
    assert drawn.shape == (MAP_CHANNELS, 3, 8, 12)
    assert (drawn[:, covered.sum(0) == 0] == 0).all()
    for thing, code in enumerate(codes(scene, 9)):
        alone = (covered[thing] > 0) & (covered.sum(0) == covered[thing])
        expected = code[:, None] * covered[thing][alone].float() / 255
        torch.testing.assert_close(drawn[:, alone], expected)


def test_the_first_frame_is_a_cell_by_itself_and_then_four_by_four():
    scene = next(
        scene
        for scene in (sample_scene(seed, num_things=1, camera="still") for seed in range(400))
        if scene.things[0].motion == "right"
    )
    covered = coverage([scene], 9, 64, 64, fps=8)[0][0].float()  # (3, 8, 8)
    shown = (silhouettes([scene], 9, 32, 32)[0] > 0).float()
    cells = shown.unflatten(1, (8, 4)).unflatten(3, (8, 4)).mean((2, 4)) * 255  # (9, 8, 8)
    expected = torch.stack([cells[0], cells[1:5].mean(0), cells[5:].mean(0)])
    torch.testing.assert_close(covered, expected.round(), rtol=0, atol=1)
