"""`videosyn evaluate dataset`: a sample of a dataset's clips, measured as curation measures, and how sure that is.

Next on the path: `table.py`, `looks.py`, `captions.py`, `agreement.py`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO

import numpy as np
from tqdm import tqdm

from videosyn.captioner.clip_captioner import ClipCaptioner, open_captioner
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.curation.alignment import Track, repeats
from videosyn.curation.wording import words_of
from videosyn.evaluation.audit.agreement import SecondOpinion
from videosyn.evaluation.audit.captions import ATTRIBUTES, check_caption
from videosyn.evaluation.audit.looks import (
    CONFIG,
    OverlaidText,
    frames_to_caption,
    grey_frames,
    motion_of,
    photometric,
    track_of,
    whole_frames,
)
from videosyn.evaluation.audit.options import AuditConfig
from videosyn.evaluation.audit.table import Row, read_table
from videosyn.evaluation.document import Chart, Document, Film, Table, plain, publish, said, said_with, settings_of
from videosyn.evaluation.footage import fps_of
from videosyn.evaluation.plots import columns, whiskers
from videosyn.evaluation.report import Share
from videosyn.evaluation.running import Running

SHOWN = 4
"""Clips a list on the page."""
OWN = "caption written by the captioner itself"


@dataclass
class Found:
    """Sums over the sample, and the few clips that the page shows."""

    means: dict[str, Running] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)
    """Name -> right (or so) and of how many."""
    shown: dict[str, list[tuple[float, str, Film]]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.means.setdefault(name, Running()).add(value)

    def count(self, name: str, hit: bool) -> None:
        of = self.counts.setdefault(name, [0, 0])
        of[0] += hit
        of[1] += 1

    def show(self, group: str, rank: float, title: str, frames: list[np.ndarray]) -> None:
        """Keeps the clips with the lowest ranks."""
        kept = self.shown.setdefault(group, [])
        if len(kept) < SHOWN or rank < kept[-1][0]:
            kept.append((rank, title, Film.of(title, np.stack(frames), 2.0)))
            kept.sort(key=lambda each: each[0])
            del kept[SHOWN:]

    @property
    def shares(self) -> dict[str, Share]:
        return {name: Share(of, hits) for name, (hits, of) in self.counts.items()}


def run(config: AuditConfig, captioner: ClipCaptioner | None = None) -> Found:
    """Measures, prints tables, writes report.json, report.html and clips.jsonl. Clips that cannot be read are counted;
    a UserError where the sample holds no other.

    captioner: is shown every clip of the sample that has a caption, and what it says is held against that; None: the
    one that the config names.
    """
    if captioner is None and config.captioner:
        captioner = open_captioner(config.captioner, config.device)
    rows, notes = read_table(config.folder)
    order = list(range(len(rows)))
    Random(config.seed).shuffle(order)
    sample = set(order[: config.num_clips])
    hashed = set(order[: max(config.num_clips, config.duplicates_among)])
    text = OverlaidText() if config.read_text else None
    score, scorer = _scorer(config)
    opinion = None if captioner is None else SecondOpinion(captioner)
    found = Found()
    tracks: dict[int, Track] = {}
    unreadable: dict[int, str] = {}
    config.output.mkdir(parents=True, exist_ok=True)
    with (
        atomic_file(config.output / "clips.jsonl") as hidden,
        open(hidden, "w", encoding="utf-8") as lines,
        tqdm(total=len(hashed), unit="clip", disable=None, file=sys.stderr) as bar,
    ):
        for place in sorted(hashed):
            path = rows[place].path
            bar.update()
            try:
                grey, fps = grey_frames(path), fps_of(path)
                whole = whole_frames(path, len(grey)) if place in sample else []
            except UserError as error:
                unreadable[place] = str(error)
                continue
            tracks[place] = track_of(grey, fps)
            if place in sample:
                figures = {"motion": motion_of(grey), "seconds": len(grey) / (fps or 8.0), "aesthetic": score(whole)}
                _measure(config, found, rows[place], figures, grey, whole, text, opinion, lines)
        if sample <= unreadable.keys():
            first = unreadable[min(sample)]
            raise UserError(f"none of the {len(sample)} clips of the sample can be read, the first: {first}")
    _duplicates(found, rows, tracks)
    document = _document(config, found, rows, len(tracks), scorer, opinion, notes)
    document.count_unreadable(list(unreadable.values()))
    publish(document, config.output)
    return found


def _scorer(config: AuditConfig):
    """The function that scores frames 0 to 10, and its name."""
    if not config.clip_model:
        return photometric, "photometric"
    from videosyn.evaluation.vbench.weighted import Clip

    clip = Clip(config.clip_model, config.device, config.aesthetic_head)
    return lambda frames: 10 * clip.aesthetic_quality(frames), Path(config.aesthetic_head).name


def _measure(
    config: AuditConfig,
    found: Found,
    row: Row,
    figures: dict[str, float],
    grey: list[np.ndarray],
    whole: list[np.ndarray],
    text: OverlaidText | None,
    opinion: SecondOpinion | None,
    lines: IO[str],
) -> None:
    name, words_said = row.path.name, {}
    least = CONFIG.aesthetics.min_score if config.clip_model else CONFIG.aesthetics.min_photometric
    found.count("nearly static", figures["motion"] < CONFIG.motion.min_score)
    found.count("under the aesthetic threshold", figures["aesthetic"] < least)
    found.show("least motion", figures["motion"], f"{name}: motion {figures['motion']:.4f}", whole)
    found.show("lowest aesthetic score", figures["aesthetic"], f"{name}: {figures['aesthetic']:.2f}", whole)
    if text is not None:
        area, dropped = text(whole)
        figures["text_area"] = area
        found.count("overlaid text", dropped)
        if area:
            found.show("most overlaid text", -area, f"{name}: {area:.0f} px of text", whole)
    if row.caption is not None:
        words = len(words_of(row.caption))
        figures["caption_words"] = words
        found.count("no caption", not words)
        found.count("caption of 50 to 120 words", 50 <= words <= 120)
        if row.scene is not None:
            check = check_caption(row.caption, row.scene, len(grey))
            figures |= {"caption_accuracy": check.accuracy, "caption_completeness": check.completeness}
            if check.verdict:  # a caption that names nothing of the world is neither true nor untrue
                found.count("caption true throughout", all(check.verdict.values()))
            for attribute, right in check.verdict.items():
                found.count(f"caption's {attribute} true", right)
            if not all(check.verdict.values()):
                found.show("untrue captions", check.accuracy, f"{name}: {row.caption}", whole)
        if opinion is not None and words:
            words_said = {"captioner_says": _compare(opinion, found, row, figures, len(grey), whole)}
    for key, value in figures.items():
        found.add(key, value)
    lines.write(json.dumps(plain({"clip": name, **figures, **words_said})) + "\n")


def _compare(
    opinion: SecondOpinion, found: Found, row: Row, figures: dict[str, float], num_frames: int, whole: list[np.ndarray]
) -> str:
    """Adds what a captioner's caption of the clip has in common with the clip's own -> that caption."""
    caption = row.caption or ""
    found.count(OWN, row.captioner == opinion.captioner.name)
    told = opinion(frames_to_caption(row.path, num_frames, opinion.captioner.num_frames), caption)
    figures |= {
        "caption_agreement": told.own.overlap,
        "caption_agreement_with_another_clip": told.by_chance,
        "caption_agreement_above_chance": told.own.overlap - told.by_chance,
    }
    for attribute, same in told.own.attributes.items():
        found.count(f"caption and captioner agree on {attribute}", same)
    if row.scene is not None:
        figures["captioner_accuracy"] = check_caption(told.said, row.scene, num_frames).accuracy
    title = f"{row.path.name}: {caption} ({opinion.captioner.name}: {told.said})"
    found.show("least agreement with the captioner", told.own.overlap, title, whole)
    return told.said


def _duplicates(found: Found, rows: list[Row], tracks: dict[int, Track]) -> None:
    places = sorted(tracks)
    rule = CONFIG.dedup
    matches = repeats([tracks[place] for place in places], rule.max_hash_distance, rule.min_overlap)
    for number in range(len(places)):
        found.count("shows what another clip shows", number in matches)
    for second, match in list(matches.items())[:SHOWN]:
        pair = [rows[places[number]].path for number in (match.first, second)]
        frames = [each for path in pair for each in whole_frames(path, 1)]
        if frames[0].shape == frames[1].shape:
            found.show("duplicates", -match.overlap, f"{pair[0].name} and {pair[1].name}", frames)


def _document(
    config: AuditConfig,
    found: Found,
    rows: list[Row],
    num_hashed: int,
    scorer: str,
    opinion: SecondOpinion | None,
    notes: list[str],
) -> Document:
    document = Document(f"Audit of {config.folder.resolve().name}", settings_of(config), notes=notes)
    shares, means = found.shares, found.means
    document.data = {
        "clips": len(rows),
        "sample": means["motion"].count + means["motion"].num_nan,
        "compared_for_duplicates": num_hashed,
        "shares": {name: share.to_dict() for name, share in shares.items()},
        "means": {name: each.to_dict() for name, each in means.items()},
        "aesthetic_model": scorer,
        "captions": _caption_state(found, rows, opinion),
    }
    document.facts = {"clips": f"{len(rows):,}", "in the sample": f"{document.data['sample']:,}"}
    cells = []
    for name, share in shares.items():
        low, high = (100 * end for end in share.interval)
        cells.append((name, str(share.count), f"{100 * share.value:.1f}", f"{low:.1f} to {high:.1f}"))
    note = f"Thresholds are curation's; duplicates among {num_hashed} of {len(rows)} clips."
    document.tables.append(Table("Shares of clips", ("what", "n", "%", "95 % interval"), cells, note))
    labels = {"motion": "motion, share of pixels that move", "aesthetic": f"aesthetic score of 10 ({scorer})"}
    lines = [
        (
            labels.get(name, name.replace("_", " ")),
            said_with(each.value, *each.interval),
            said(each.std),
            str(each.count),
        )
        for name, each in means.items()
    ]
    document.tables.append(Table("Means", ("figure", "mean, 95 % interval", "spread", "n"), lines))
    left = {name: share for name, share in shares.items() if not name.startswith("caption")}
    captions = {name: share for name, share in shares.items() if name.startswith("caption")}
    for title, some in (("Left in the dataset", left), ("Captions", captions)):
        points = {name: each.percents for name, each in some.items()}
        if points:
            document.charts.append(Chart(title, whiskers(points, "% of clips"), "Wilson's 95 % intervals."))
    for name in ("motion", "aesthetic", "caption_words"):
        if name in means:
            document.charts.append(Chart(labels.get(name, name.replace("_", " ")), columns(means[name].sample, "")))
    for group, kept in found.shown.items():
        document.films.append((group, [film for _, _, film in kept]))
    document.notes.append(f"Captions: {document.data['captions']}.")
    return document


def _caption_state(found: Found, rows: list[Row], opinion: SecondOpinion | None) -> str:
    if opinion is not None and "caption_agreement" in found.means:
        known = found.means["caption_agreement"]
        own, of = found.counts[OWN]
        same = f"; {own} of {of} captions are that captioner's own: it agrees with itself" if own else ""
        of_it = ", whose own accuracy is captioner accuracy" if "captioner_accuracy" in found.means else ""
        return (
            f"held against what {opinion.captioner.name} says of {known.count + known.num_nan} clips{of_it}: "
            f"agreement, not truth; by chance is with what it says of another clip{same}"
        )
    if "caption_accuracy" in found.means:
        known = found.means["caption_accuracy"]
        return (
            f"held against the scenes that were drawn, for {known.count + known.num_nan} clips; attributes: "
            f"{', '.join(name for name in ATTRIBUTES)}"
        )
    if all(row.caption is None for row in rows):
        return "there are none"
    by = sorted({row.captioner for row in rows if row.captioner})
    return (
        f"accuracy unavailable: the world did not make these clips, and no captioner is here to compare with"
        f"{' (they were written by ' + ', '.join(by) + ')' if by else ''}"
    )
