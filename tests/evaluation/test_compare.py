"""`evaluate compare` and `evaluate study`: paired statistics against scipy, films of the same seeds, a blind page."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from videosyn.app.cli import run as command
from videosyn.core.errors import UserError
from videosyn.evaluation.compare.figures import Figures
from videosyn.evaluation.compare.options import CompareConfig, Side, StudyConfig
from videosyn.evaluation.compare.paired import binomial_p, difference, sign_flip_p
from videosyn.evaluation.compare.run import read_prompts, run
from videosyn.evaluation.compare.study import run as count
from videosyn.evaluation.compare.study import write_study


def test_differences_and_their_interval_are_scipys():
    rng = np.random.default_rng(0)
    a = rng.normal(size=30)
    b = a + 0.4 + rng.normal(scale=0.5, size=30)
    found = difference([*a, np.nan, 1.0], [*b, 1.0, np.nan])
    wanted = stats.ttest_rel(b, a).confidence_interval()
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=2e-3)
    assert found.mean == pytest.approx(np.mean(b - a))
    assert (found.num_pairs, found.num_b_higher + found.num_a_higher) == (30, 30)
    assert found.p == pytest.approx(stats.ttest_rel(b, a).pvalue, abs=0.01)


def test_the_sign_flip_test_is_exact_for_few_pairs_and_near_for_many():
    rng = np.random.default_rng(1)
    for size, shift, within in ((8, 0.5, 1e-9), (40, 0.2, 0.02)):
        gaps = rng.normal(size=size) + shift
        wanted = stats.permutation_test((gaps,), np.mean, permutation_type="samples", n_resamples=20_000, rng=0).pvalue
        assert sign_flip_p(list(gaps)) == pytest.approx(wanted, abs=within)
    assert sign_flip_p([0.0] * 5) == 1
    assert sign_flip_p([1.0] * 10) == 2 / 2**10
    assert np.isnan(sign_flip_p([]))


def test_the_binomial_test_is_scipys():
    for wins, trials in ((0, 0), (5, 10), (9, 10), (1, 10), (58, 100), (42, 100), (579, 1000)):
        wanted = stats.binomtest(wins, trials).pvalue if trials else 1.0
        assert binomial_p(wins, trials) == pytest.approx(wanted, rel=1e-9)


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a red ball\na blue cube spins\nthe red cube bounces\n")
    return str(path)


def test_two_settings_of_one_model_share_prompts_and_seeds(tiny_folder, words, tmp_path, capsys):
    out = tmp_path / "out"
    model = str(tiny_folder)
    line = ["evaluate", "compare", model, model, "--of-b.steps", "1", "--prompts", words, "-o", str(out)]
    assert command([*line, "--dtype", "fp32", "--device", "cpu", "--seed", "5"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["names"] == {"a": model, "b": f"{model}, steps 1"}
    assert len(report["pairs"]) == 3
    assert report["differences"]["temporal_flickering"]["num_pairs"] == 3
    assert "adherence" not in report["differences"]
    assert "B - A" in capsys.readouterr().out
    page, key = (out / "study.html").read_text(), json.loads((out / "study_key.json").read_text())
    assert page.count("<video") == 6
    assert model not in page
    assert "steps 1" not in page
    assert set(key["pairs"]) == {"0", "1", "2"}


def test_a_model_against_itself_differs_in_nothing_but_time(tiny_folder, words, tmp_path):
    config = CompareConfig(
        str(tiny_folder), str(tiny_folder), Side(), Side(steps=2), words, output=tmp_path, dtype="fp32", device="cpu"
    )  # 2 steps are the model's own
    found = run(config)
    assert all(each.mean == 0 and each.p == 1 for name, each in found.items() if name != "seconds")
    assert found["seconds"].num_pairs == found["temporal_flickering"].num_pairs - 1  # the first pair warms up


def test_films_of_the_world_are_judged_for_what_was_asked():
    from videosyn.world.parsed import to_parsed
    from videosyn.world.render import render
    from videosyn.world.scene import sample_scene

    scenes = [sample_scene(seed, num_things=1, style="plain") for seed in (3, 4)]
    films = render(scenes, 17, 96, 96).numpy()
    figures = Figures()
    right = figures.of(films[0], 8.0, "", to_parsed(scenes[0]))
    wrong = figures.of(films[0], 8.0, "", to_parsed(scenes[1]))
    frozen = figures.of(np.repeat(films[0][:1], 17, 0), 8.0, "", None)
    assert right["adherence"] == 1
    assert right["all_shown"] == 1
    assert wrong["adherence"] < 0.7
    assert wrong["all_shown"] == 0
    assert frozen["temporal_flickering"] == 1
    assert frozen["dynamic_degree_flow"] == 0
    assert "adherence" not in frozen


def test_the_study_has_a_hundred_different_prompts_of_about_55_words():
    prompts = [text for text, _ in read_prompts(CompareConfig("a", "b", prompts="study"))]
    lengths = [len(text.split()) for text in prompts]
    assert len(set(prompts)) == 100
    assert 53 < np.mean(lengths) < 57
    assert min(lengths) >= 45
    assert max(lengths) <= 65
    assert len({text[:30] for text in prompts}) > 90


def study_of(folder, names=("model one", "model two"), pairs=12):
    prompts = [f"prompt {number}" for number in range(pairs)]
    films = [(f"data:video/mp4;base64,A{n}", f"data:video/mp4;base64,B{n}") for n in range(pairs)]
    write_study(folder, names, prompts, films, seed=1)
    return (folder / "study.html").read_text(), json.loads((folder / "study_key.json").read_text())


def test_the_page_is_blind_and_the_key_knows_which_film_stands_where(tmp_path):
    page, key = study_of(tmp_path)
    assert "model" not in page
    shown = re.findall(r'data-pair="(\d+)"><p>prompt (\d+)</p>.*?base64,([AB])\d+".*?base64,([AB])\d+"', page)
    assert len(shown) == 12
    names = {"A": "model one", "B": "model two"}
    for pair, prompt, left, right in shown:
        assert pair == prompt
        assert key["pairs"][pair] == {"left": names[left], "right": names[right]}
    lefts = {left for _, _, left, _ in shown}
    assert lefts == {"A", "B"}
    assert [pair for pair, *_ in shown] != sorted((pair for pair, *_ in shown), key=int)


def answers(tmp_path, key, who, prefers, pairs):
    choices = [
        {"pair": int(n), "choice": next(side for side in ("left", "right") if key["pairs"][n][side] == prefers)}
        for n in list(key["pairs"])[:pairs]
    ]
    path = tmp_path / f"choices-{who}.json"
    path.write_text(json.dumps({"study": key["study"], "participant": who, "choices": choices}))
    return path


def test_choices_of_people_are_counted_with_the_p_value_of_chance(tmp_path, capsys):
    _, key = study_of(tmp_path)
    files = (answers(tmp_path, key, "x", "model two", 12), answers(tmp_path, key, "y", "model one", 4))
    found = count(StudyConfig(files, tmp_path / "study_key.json", tmp_path / "out"))
    assert found["counts"] == {"model one": 4, "model two": 12, "no difference": 0}
    assert found["p"] == pytest.approx(stats.binomtest(12, 16).pvalue)
    assert found["participants"]["y"]["model one"] == 4
    assert "75.0" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["share_b"] == 0.75


def test_choices_of_an_earlier_study_are_counted_by_its_own_key(tmp_path):
    _, earlier = study_of(tmp_path)
    files = (answers(tmp_path, earlier, "x", "model two", 12), answers(tmp_path, earlier, "y", "model one", 4))
    _, key = study_of(tmp_path, ("model three", "model four"))
    assert key["study"] != earlier["study"]
    assert json.loads((tmp_path / f"study_key-{earlier['study']}.json").read_text()) == earlier
    found = count(StudyConfig(files, tmp_path / "study_key.json", tmp_path / "out"))
    assert found["counts"] == {"model one": 4, "model two": 12, "no difference": 0}
    later = answers(tmp_path, key, "z", "model four", 3)
    with pytest.raises(UserError, match="another study"):
        count(StudyConfig((*files, later), tmp_path / "study_key.json", tmp_path / "out"))
    assert count(StudyConfig((later,), tmp_path / "study_key.json", tmp_path / "out"))["counts"]["model four"] == 3
    study_of(tmp_path, ("model three", "model four"))
    assert len(list(tmp_path.glob("study_key*.json"))) == 2  # the same study again has the same key


def test_choices_of_another_study_twice_or_of_no_pair_are_refused(tmp_path):
    _, key = study_of(tmp_path)
    good = answers(tmp_path, key, "x", "model two", 3)
    again = tmp_path / "again.json"
    again.write_text(good.read_text())
    for change, rule in (
        ({"study": "other"}, "another study"),
        ({"choices": [{"pair": 99, "choice": "left"}]}, "has not"),
        ({"choices": [{"pair": 1, "choice": "up"}]}, "has not"),
    ):
        bad = tmp_path / "bad.json"
        bad.write_text(json.dumps({**json.loads(good.read_text()), **change}))
        with pytest.raises(UserError, match=rule):
            count(StudyConfig((bad,), tmp_path / "study_key.json", tmp_path / "out"))
    with pytest.raises(UserError, match="same participant"):
        count(StudyConfig((good, again), tmp_path / "study_key.json", tmp_path / "out"))


def test_what_cannot_be_compared_is_named_before_a_film_is_made(tmp_path):
    with pytest.raises(UserError, match="are the same"):
        CompareConfig("nano", "nano", output=tmp_path / "o").check()
    CompareConfig("nano", "nano", of_b=Side(guidance=1.0), output=tmp_path / "o").check()
    with pytest.raises(UserError, match="cannot read prompts"):
        read_prompts(CompareConfig("a", "b", prompts=str(tmp_path / "none.txt")))
    with pytest.raises(UserError, match="no file"):
        StudyConfig((tmp_path / "c.json",), tmp_path / "k.json").check()
