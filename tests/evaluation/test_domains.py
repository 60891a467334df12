"""`evaluate domains`: things that stay and go, prompts on and off the training distribution, a whole run."""

import json
from dataclasses import replace

import numpy as np
import pytest

from videosyn.core.errors import UserError
from videosyn.evaluation.domains.measuring import Measuring
from videosyn.evaluation.domains.options import DomainsConfig
from videosyn.evaluation.domains.run import prompts, run
from videosyn.evaluation.domains.steadiness import HIDING, measure
from videosyn.evaluation.domains.tables import FIGURES, Measured, document_of, interval, means
from videosyn.world.parsed import to_parsed
from videosyn.world.render import render
from videosyn.world.scene import Scene, Thing, is_held_out

BALL = Thing("ball", "red", "rests", 0.0, 1.3, 6.0, 0.2)
SCENE = Scene((BALL,), "meadow", "noon", "still", "plain", None, 0.32, 0.6, 0.3, 0)


def film(scene, frames=17):
    return render([scene], frames, 96, 96)[0].numpy()


@pytest.fixture(scope="module")
def whole():
    return film(SCENE)


@pytest.fixture(scope="module")
def empty():
    """The same place without the ball."""
    return film(replace(SCENE, things=(replace(BALL, size=0.01),)))


def test_a_thing_that_stays_is_permanent_and_a_true_film_shows_all(whole):
    found = measure(whole, to_parsed(SCENE))
    assert found.permanence == 1
    assert all(found.verdict.values())
    assert found.figures["flickering"] == pytest.approx(1, abs=1e-3)


def test_a_thing_that_vanishes_half_way_is_permanent_half_the_time(whole, empty):
    vanishing = np.concatenate([whole[:9], empty[9:]])
    flickers = whole.copy()
    for place in (2, 3):
        flickers[place::4] = empty[place::4]
    assert measure(vanishing, to_parsed(SCENE)).permanence == pytest.approx(0.5, abs=0.1)
    blinking = measure(flickers, to_parsed(SCENE))
    assert blinking.permanence < 0.8
    assert blinking.flickering < measure(vanishing, to_parsed(SCENE)).flickering < 1


def test_several_processes_measure_as_one_does(whole, empty):
    films, asked = [whole, empty], [to_parsed(SCENE)] * 2
    with Measuring(2) as two, Measuring(1) as one:
        assert list(map(str, two(films, asked))) == list(map(str, one(films, asked)))  # in words, where nan is nan
        assert two(films[::-1], asked)[1].permanence == 1


def test_things_may_hide_where_that_was_asked(whole):
    assert np.isnan(measure(whole, replace(to_parsed(SCENE), relation=HIDING)).permanence)


def test_shuffled_frames_are_less_smooth_and_noise_shows_nothing():
    scene = replace(SCENE, things=(replace(BALL, motion="right", place=0.0),))
    true = film(scene)
    shuffled = true[np.random.default_rng(0).permutation(17)]
    asked = to_parsed(scene)
    assert measure(shuffled, asked).smoothness < measure(true, asked).smoothness
    noise = np.random.default_rng(1).integers(0, 256, (9, 96, 96, 3), dtype=np.uint8)
    found = measure(noise, asked)
    assert found.shown == 0
    assert np.isnan(found.permanence)


def test_prompts_on_the_distribution_may_have_been_trained_on_and_those_off_it_not(tmp_path):
    asked = prompts(DomainsConfig(num_prompts=20, output=tmp_path))
    assert len({each.prompt for each in asked}) == 40
    for each in asked:
        assert is_held_out(each.scene) == (each.distribution == "off")
    counts = [sorted(len(each.scene.things) for each in asked if each.distribution == name) for name in ("on", "off")]
    assert counts[0] == counts[1]


def one(source, shape, domain, adherence, permanence=1.0):
    figures = dict.fromkeys(FIGURES, 1.0) | {"adherence": adherence, "permanence": permanence}
    return Measured(
        source, shape, {"distribution": (f"{domain} the training distribution",), "scene": ("sea",)}, figures
    )


def test_figures_are_grouped_by_domain_and_sweeps_keep_to_the_same_prompts():
    base = [one("model", (17, 96), "on", 1.0), *(one("model", (17, 96), "off", value) for value in (0.2, 0.4, 0.9))]
    longer = [one("model", (33, 96), "off", value) for value in (0.1, 0.3)]
    found = [*base, one("render", (17, 96), "on", 1.0, np.nan), *longer]
    data = document_of({}, (17, 96), found, []).data
    groups = data["domains"]["distribution"]
    assert groups["off the training distribution"]["adherence"]["mean"] == pytest.approx(0.5)
    assert groups["on the training distribution"]["adherence"]["count"] == 1
    assert data["ceiling"]["permanence"]["count"] == 0
    assert data["by_length"]["17"]["adherence"]["mean"] == pytest.approx(0.3)  # the first two alone
    assert data["by_length"]["33"]["adherence"]["mean"] == pytest.approx(0.2)
    assert "by_size" not in data
    assert means(base)["adherence"].count == 4


def test_intervals_stay_within_what_a_figure_can_be():
    found = means([one("model", (17, 96), "on", value) for value in (0.1, 1.0)])
    assert interval("adherence", found["adherence"]) == (0.0, 1.0)
    assert interval("all shown", found["all shown"]) == pytest.approx((0.342, 1.0), abs=1e-3)  # Wilson's, of 2 in 2
    alone = interval("adherence", means([one("model", (17, 96), "on", 0.5)])["adherence"])
    assert all(np.isnan(end) for end in alone)


def test_a_run_measures_every_prompt_and_every_shape(tiny_folder, tmp_path, capsys):
    config = DomainsConfig(
        str(tiny_folder),
        2,
        1,
        (5, 9),
        (32, 48),
        output=tmp_path / "out",
        steps=1,
        dtype="fp32",
        device="cpu",
        workers=1,
    )
    config.check()
    found = run(config)
    assert len(found) == 2 * 2 * 2 + 2  # on and off, model and render; longer, larger
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(report["by_length"]) == {"5", "9"}
    assert set(report["by_size"]) == {"32", "48"}
    assert report["overall"]["adherence"]["mean"] < report["ceiling"]["adherence"]["mean"]  # untrained
    assert report["seconds"] > 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "films.jsonl").read_text().splitlines()]
    assert len(rows) == len(found)
    assert "On and off the training distribution" in capsys.readouterr().out


def test_options_are_checked_first(tmp_path):
    for changed, rule in (
        ({"lengths": (16,)}, "1 \\+ 4k"),
        ({"sizes": (97,)}, "multiple of 8"),
        ({"sizes": ()}, "need a value"),
        ({"sweep_prompts": 99}, "sweep-prompts"),
        ({"workers": -1}, "workers"),
    ):
        with pytest.raises(UserError, match=rule):
            DomainsConfig(output=tmp_path / "out", **changed).check()
