"""The renderer: deterministic, causal in nothing, right in shape, and showing what the scene says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from videosyn.world.layout import HALF_WIDTH, HEIGHT, View, lay_out
from videosyn.world.render import render
from videosyn.world.scene import Scene, Thing, sample_scene
from videosyn.world.solids import COLOUR_VALUES, SOLIDS
from videosyn.world.vocabulary import COLOURS, KINDS


def scene_of(kind: str = "ball", colour: str = "red", motion: str = "rests", **changes) -> Scene:
    thing = Thing(kind, colour, motion, place=0.0, size=1.2, depth=6.0, yaw=0.5)
    plain = Scene((thing,), "studio", "noon", "still", "plain", None, horizon=0.3, sun=0.5, backdrop=0.2, seed=0)
    return replace(plain, **changes)


def mask_of(clip: torch.Tensor, colour: str) -> torch.Tensor:
    """Pixels nearer in hue to the colour than to grey, (T, H, W)."""
    value = torch.tensor(COLOUR_VALUES[colour])
    pixels = clip.float() / 255
    chroma = pixels - pixels.mean(-1, keepdim=True)
    wanted = value - value.mean()
    return (chroma @ wanted) / (chroma.norm(dim=-1) * wanted.norm() + 1e-6) * (chroma.norm(dim=-1) > 0.25) > 0.9


def centre(mask: torch.Tensor) -> tuple[float, float]:
    rows, columns = mask.nonzero(as_tuple=True)
    return rows.float().mean().item(), columns.float().mean().item()


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 64, 64), (5, 48, 80), (9, 80, 48), (33, 32, 32)])
def test_any_size_aspect_and_length(frames, height, width):
    clips = render([sample_scene(seed) for seed in range(3)], frames, height, width)
    assert clips.shape == (3, frames, height, width, 3)
    assert clips.dtype == torch.uint8
    assert all(clip.float().std() > 5 for clip in clips)


def test_a_seed_gives_the_same_pixels_alone_and_in_a_batch():
    scenes = [sample_scene(seed) for seed in range(6)]
    together = render(scenes, 5, 48, 48)
    for scene, clip in zip(scenes, together, strict=True):
        assert (render([scene], 5, 48, 48)[0].int() - clip.int()).abs().max() <= 2


def test_the_first_frame_of_a_clip_is_its_picture():
    scenes = [sample_scene(seed) for seed in range(4)]
    assert torch.equal(render(scenes, 1, 48, 48)[:, 0], render(scenes, 9, 48, 48)[:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_inside_its_declared_extent(kind):
    clip = render([scene_of(kind, "red")], 1, 96, 96)[0]
    empty = render([replace(scene_of(kind, "red"), things=(replace(scene_of().things[0], lift=50.0),))], 1, 96, 96)[0]
    drawn = ((clip.int() - empty.int()).abs().amax(-1) > 40)[0]
    rows = drawn.any(1).nonzero()[:, 0]
    tall_px = (rows[-1] - rows[0]).item()
    expected = HEIGHT[kind] * 1.2 * (2.0 / 6.0) * 48
    assert 0.55 * expected < tall_px < 1.5 * expected
    assert mask_of(clip, "red").sum() > 60, "the coloured part is large enough to see"


@pytest.mark.parametrize("colour", [colour for colour in COLOURS if colour != "white"])
def test_every_colour_shows(colour):
    assert mask_of(render([scene_of("cube", colour)], 1, 64, 64)[0], colour).sum() > 100


@pytest.mark.parametrize(
    ("motion", "rows", "columns"), [("left", 0, -1), ("right", 0, 1), ("up", -1, 0), ("down", 1, 0)]
)
def test_motions_go_where_they_say(motion, rows, columns):
    mask = mask_of(render([scene_of(motion=motion)], 9, 64, 64)[0], "red")
    (y0, x0), (y1, x1) = centre(mask[0]), centre(mask[-1])
    for moved, sign in ((y1 - y0, rows), (x1 - x0, columns)):
        assert abs(moved) < 4 if sign == 0 else moved * sign > 12


def test_growing_grows_shrinking_shrinks_and_resting_rests():
    areas = {
        m: mask_of(render([scene_of(motion=m)], 9, 64, 64)[0], "red").sum((1, 2)) for m in ("grows", "shrinks", "rests")
    }
    assert areas["grows"][-1] > 2.5 * areas["grows"][0]
    assert areas["shrinks"][0] > 2.5 * areas["shrinks"][-1]
    assert areas["rests"].unique().numel() == 1


def test_bouncing_repeats_every_second_whatever_the_frame_rate():
    slow, fast = (
        render([scene_of(motion="bounces")], 17, 64, 64, fps=8.0)[0],
        render([scene_of(motion="bounces")], 17, 64, 64, fps=16.0)[0],
    )
    assert torch.equal(slow[0], slow[8])
    assert not torch.equal(slow[0], slow[4])
    assert torch.equal(fast[0], fast[16])


def test_spinning_changes_the_inside_not_the_outline():
    clip = render([scene_of("ball", "red", "spins")], 9, 96, 96)[0]
    mask = mask_of(clip, "red")
    assert (clip[0].int() - clip[4].int()).abs().amax(-1)[mask[0]].float().mean() > 15
    (y0, x0), (y1, x1) = centre(mask[0]), centre(mask[4])
    assert abs(y0 - y1) < 4
    assert abs(x0 - x1) < 4


def test_a_pan_to_the_left_moves_everything_to_the_right():
    mask = mask_of(render([scene_of(camera="pan left")], 9, 64, 64)[0], "red")
    assert centre(mask[-1])[1] - centre(mask[0])[1] > 12


def test_what_passes_behind_is_hidden_and_comes_out_again():
    found = next(s for s in map(sample_scene, range(4000)) if s.relation == "passes behind" and s.style == "plain")
    things = (replace(found.things[0], colour="red"), replace(found.things[1], colour="blue"))
    scene = replace(found, things=things, light="noon", place="studio")
    areas = mask_of(render([scene], 17, 96, 96)[0], "red").sum((1, 2)).float()
    assert areas[7:10].min() < 0.5 * areas[0]
    assert areas[-1] > 0.7 * areas[0]


def test_a_collision_meets_in_the_middle_and_parts_without_overlap():
    view = View(96, 96)
    scenes = [s for s in map(sample_scene, range(600)) if s.relation == "collides with"]
    assert len(scenes) > 10
    for scene in scenes:
        _, poses = lay_out(scene, view, 17, 8.0)
        gaps = [abs(a.x - b.x) for a, b in zip(*poses, strict=True)]
        touch = sum(HALF_WIDTH[thing.kind] * thing.size for thing in scene.things)
        assert min(gaps) == pytest.approx(touch, rel=0.02)
        assert gaps[8] == min(gaps)
        assert gaps[0] > 1.3 * touch < 3 * gaps[16]


def test_things_stay_in_the_frame_in_every_shape():
    for height, width in ((96, 96), (80, 112), (112, 80)):
        view = View(height, width)
        for seed in range(300):
            scene = sample_scene(seed)
            _, poses = lay_out(scene, view, 17, 8.0)
            for thing, path in zip(scene.things, poses, strict=True):
                for pose in path:
                    edge = abs(pose.x * 2.0 / pose.z) + 0.8 * HALF_WIDTH[thing.kind] * pose.size * 2.0 / pose.z
                    assert edge < view.across + 0.06


def test_each_style_is_its_own():
    clips = {
        style: render([scene_of(style=style)], 1, 96, 96)[0, 0].int()
        for style in ("plain", "pixel art", "cartoon", "painterly")
    }
    blocks = clips["pixel art"].reshape(32, 3, 32, 3, 3)
    assert torch.equal(blocks, blocks[:, :1, :, :1].expand_as(blocks)), "square blocks"
    outlined = (clips["cartoon"].amax(-1) < 40) & (clips["plain"].amin(-1) > 80)
    assert outlined.sum() > 60, "dark outlines where the plain style has background"
    assert (clips["painterly"] - clips["plain"]).abs().float().mean() > 3


def test_a_distance_never_exceeds_the_way_to_the_surface():
    generator = torch.Generator().manual_seed(0)
    for kind, solid in SOLIDS.items():
        p, q = (
            torch.rand(2000, 3, generator=generator) * torch.tensor([3.0, 3.0, 3.0]) - torch.tensor([1.5, 0.4, 1.5])
            for _ in range(2)
        )
        stride = torch.zeros(2000)
        gap_p, gap_q = (solid.distance(*points.unbind(1), stride) for points in (p, q))
        assert ((gap_p - gap_q).abs() <= 1.12 * (p - q).norm(dim=1) + 1e-4).all(), kind


def test_stars_shine_at_night_only():
    night = render([scene_of(light="night", place="sea")], 1, 96, 96)[0, 0, :25].float().mean(-1)
    noon = render([scene_of(light="noon", place="sea")], 1, 96, 96)[0, 0, :25].float().mean(-1)
    assert (night > 120).sum() > 20
    assert night.median() < 40 < 120 < noon.median()
