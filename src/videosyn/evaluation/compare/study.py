"""A blind user study: a page that shows pairs of films without their names, and the count of what people chose.

The page knows no model's name; `study_key.json` beside it knows which film stood where. The key of an earlier study is
kept under its digest, `study_key-DIGEST.json`. Next: `run.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from random import Random

from videosyn.core.config import read_json
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.curation.page import page
from videosyn.evaluation.compare.options import StudyConfig
from videosyn.evaluation.compare.paired import binomial_p
from videosyn.evaluation.document import Chart, Document, Table, film_tag, publish, settings_of
from videosyn.evaluation.plots import whiskers
from videosyn.evaluation.report import Share

PAPER_SHARE = 57.9
"""Per cent that preferred xGen-VideoSyn-1 to OpenSora V1.1, about 100 prompts."""

_STYLE = """<style>
.pair { display: none; } .pair.now { display: block; }
.pair .two { display: flex; flex-wrap: wrap; gap: 1rem; } .pair figure { flex: 1 1 16rem; }
.pair video, .pair img { width: 100%; border-radius: .4rem; background: #0002; }
.pair p { color: var(--ink); font-size: 1rem; } button { font: inherit; padding: .5rem 1.1rem; margin: .2rem;
  border: 1px solid var(--line); border-radius: .4rem; background: var(--card); color: inherit; cursor: pointer; }
button.chosen { outline: 2px solid var(--kept); } .choices { text-align: center; }
</style>"""
_SCRIPT = """<script>
const study = document.querySelector("main").dataset.study;
const pairs = [...document.querySelectorAll(".pair")];
const store = "study-" + study;
const kept = (() => { try { return JSON.parse(localStorage.getItem(store)) || {}; } catch { return {}; } })();
let now = 0, since = Date.now();
function show(place) {
  now = Math.max(0, Math.min(pairs.length - 1, place)); since = Date.now();
  pairs.forEach((pair, n) => {
    pair.classList.toggle("now", n === now);
    for (const film of pair.querySelectorAll("video")) {
      film.currentTime = 0;
      if (n === now) film.play(); else film.pause();
    }
    const said = kept[pair.dataset.pair];
    for (const button of pair.querySelectorAll("button[data-choice]"))
      button.classList.toggle("chosen", !!said && said.choice === button.dataset.choice);
  });
  const done = Object.keys(kept).length;
  document.querySelector("#progress").textContent = `Pair ${now + 1} of ${pairs.length}, ${done} answered`;
}
function choose(pair, choice) {
  kept[pair.dataset.pair] = {choice, seconds: (Date.now() - since) / 1000};
  try { localStorage.setItem(store, JSON.stringify(kept)); } catch {}
  show(now + 1);
}
function answers() {
  const choices = Object.entries(kept).map(([pair, said]) => ({pair: Number(pair), ...said}));
  return {study, participant: document.querySelector("#who").value, choices};
}
for (const pair of pairs) for (const button of pair.querySelectorAll("button[data-choice]"))
  button.addEventListener("click", () => choose(pair, button.dataset.choice));
for (const pair of pairs) {
  const films = [...pair.querySelectorAll("video")];
  for (const film of films) film.addEventListener("ended", () => {
    if (films.every(each => each.ended)) for (const each of films) { each.currentTime = 0; each.play(); }
  });
}
document.querySelector("#back").addEventListener("click", () => show(now - 1));
document.querySelector("#next").addEventListener("click", () => show(now + 1));
document.querySelector("#save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(answers(), null, 1)], {type: "application/json"}));
  link.download = `choices-${document.querySelector("#who").value || "me"}.json`;
  link.click();
  try { localStorage.removeItem(store); } catch {}  // whoever opens the page next begins anew
});
show(0);
</script>"""


def write_study(
    folder: Path, names: tuple[str, str], prompts: Sequence[str], films: Sequence[tuple[str, str]], seed: int
) -> None:
    """Writes FOLDER/study.html and FOLDER/study_key.json. films: data URLs of A's and B's film of each prompt.

    Which stands left, and the order of the pairs, are drawn from `seed`.
    """
    rng = Random(f"study {seed}")
    swapped = [rng.random() < 0.5 for _ in prompts]
    order = list(range(len(prompts)))
    rng.shuffle(order)
    pairs = {str(number): {"left": names[swap], "right": names[not swap]} for number, swap in enumerate(swapped)}
    digest = hashlib.sha256(json.dumps([seed, names, list(prompts)]).encode() + "".join(map("".join, films)).encode())
    study = digest.hexdigest()[:12]
    parts = []
    for number in order:
        sides = [film_tag(films[number][side], "film") for side in (swapped[number], not swapped[number])]
        figures = "".join(
            f"<figure>{tag}<figcaption>{side}</figcaption></figure>" for tag, side in zip(sides, ("left", "right"))
        )
        buttons = "".join(
            f'<button data-choice="{choice}">{label}</button>'
            for choice, label in (("left", "Left is better"), ("same", "No difference"), ("right", "Right is better"))
        )
        parts.append(
            f'<div class="pair" data-pair="{number}"><p>{escape(prompts[number])}</p><div class="two">{figures}</div>'
            f'<div class="choices">{buttons}</div></div>'
        )
    content = (
        f'{_STYLE}<main data-study="{study}"><p>Two films were made from each text. Which one shows it better, and '
        "looks better? Choose for every pair, then save your choices to a file and hand it in.</p>"
        '<p><b id="progress"></b> <button id="back">Back</button><button id="next">Next</button> '
        '<label>Your name or number: <input id="who" size="12"></label> <button id="save">Save my choices</button></p>'
        f"{''.join(parts)}</main>{_SCRIPT}"
    )
    with atomic_file(folder / "study.html") as hidden:
        hidden.write_text(page("Which film is better?", [content]), encoding="utf-8")
    key = {"study": study, "names": list(names), "pairs": pairs, "prompts": list(prompts)}
    _put_aside(folder / "study_key.json", study)
    with atomic_file(folder / "study_key.json") as hidden:
        hidden.write_text(json.dumps(key, indent=1), encoding="utf-8")


def _put_aside(path: Path, study: str) -> None:
    """Gives the key of another study its digest's name: people may still hand in choices of that study."""
    try:
        older = str(read_json(path).get("study"))
    except UserError:  # there is none, or none that could be read
        return
    if older != study:
        os.replace(path, _aside(path, older))


def _aside(path: Path, study: str) -> Path:
    return path.with_name(f"{path.stem}-{''.join(filter(str.isalnum, study))}.json")


def _key_of(choices: Path, named: Path) -> Path:
    """The named key, or that of an earlier study beside it, where the choices belong to that one."""
    aside = _aside(named, str(read_json(choices).get("study")))
    return aside if aside.is_file() else named


def run(config: StudyConfig) -> dict:
    """Counts all participants' choices, prints them with their p-value, writes report.json and report.html."""
    where = _key_of(config.choices[0], config.key)
    key = read_json(where)
    try:
        names, pairs, study = tuple(key["names"]), key["pairs"], key["study"]
    except KeyError as error:
        raise UserError(f"{where} is no key of a study: it has no {error}") from error
    counts = dict.fromkeys((*names, "no difference"), 0)
    by_participant = []
    seen: dict[str, Path] = {}
    for path in config.choices:
        answers = read_json(path)
        if answers.get("study") != study:
            raise UserError(f"{path} belongs to another study than {where}: give its own key")
        who = str(answers.get("participant") or path.stem)
        if who in seen:
            raise UserError(f"{path} and {seen[who]} are of the same participant, {who}: give one of them")
        seen[who] = path
        own = dict.fromkeys(counts, 0)
        for each in answers.get("choices", []):
            number, choice = str(each.get("pair")), each.get("choice")
            if number not in pairs or choice not in ("left", "right", "same"):
                raise UserError(f"{path} holds a choice that the study has not: pair {number}, {choice}")
            own["no difference" if choice == "same" else pairs[number][choice]] += 1
        by_participant.append((who, own))
        counts = {name: counts[name] + own[name] for name in counts}
    a, b = (counts[name] for name in names)
    share = Share(a + b, b)
    low, high = share.interval
    figures = {
        "counts": counts,
        "share_b": share.value,
        "low": low,
        "high": high,
        "p": binomial_p(b, a + b),
        "participants": dict(by_participant),
    }
    document = Document("User study", settings_of(config), figures)
    rows = [(name, str(count), f"{100 * count / max(1, sum(counts.values())):.1f}") for name, count in counts.items()]
    document.tables.append(Table("Choices", ("preferred", "n", "%"), rows))
    verdict = (
        names[1],
        f"{100 * share.value:.1f}" if a + b else "",
        f"{100 * low:.1f} to {100 * high:.1f}",
        f"{figures['p']:.4f}",
    )
    note = f"Of choices for one of the two. The paper's study: {PAPER_SHARE} % for its model, its p-value not told."
    document.tables.append(Table("Preferred", ("film of", "%", "95 % interval", "p"), [verdict], note))
    rows = [(who, *(str(own[name]) for name in counts)) for who, own in by_participant]
    document.tables.append(Table("Participants", ("participant", *counts), rows))
    point = {names[1]: (100 * share.value, 100 * low, 100 * high)}
    document.charts.append(Chart("Preferred", whiskers(point, "%", mark=50.0), "Wilson's 95 % interval."))
    document.notes.append(
        "p: the exact two-sided binomial test of one half; choices of one participant are taken as independent."
    )
    publish(document, config.output)
    return figures
