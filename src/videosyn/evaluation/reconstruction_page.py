"""What `evaluate reconstruction` found, as tables in the layout of the paper's Table 3, plots and clips.

Next: `document.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from videosyn.evaluation.document import Chart, Document, Film, Table, said
from videosyn.evaluation.options import ReconstructionConfig
from videosyn.evaluation.plots import columns, lines, whiskers
from videosyn.evaluation.running import Running

PAPER = {
    "image VAE, no time compression (paper)": {
        "1x768x768": "40.98 / 0.972 / 0.00067",
        "17x512x512": "37.59 / 0.951 / 0.00152",
        "65x256x256": "32.54 / 0.901 / 0.00472",
    },
    "OpenSoraPlan VAE 4x8x8 (paper)": {
        "1x768x768": "39.15 / 0.973 / 0.00082",
        "17x512x512": "33.62 / 0.934 / 0.00289",
        "65x256x256": "30.06 / 0.874 / 0.00814",
    },
    "xGen VidVAE 4x8x8 (paper)": {
        "1x768x768": "39.41 / 0.971 / 0.00082",
        "17x512x512": "33.83 / 0.935 / 0.00281",
        "65x256x256": "29.68 / 0.879 / 0.00780",
    },
}
"""Table 3: 1,000 held-out videos of Kinetics and OpenVid-1M."""
FURTHER = {
    "temporal_error": "temporal error, levels",
    "motion_kept": "motion kept",
    "temporal_error_between": "between latent frames",
    "temporal_error_within": "within",
    "edge_psnr_db": "edges, dB",
    "star_psnr_db": "stars, dB",
    "lpips": "LPIPS",
    "encoded_frames_per_s": "encoded frames/s",
    "decoded_frames_per_s": "decoded frames/s",
}
SEAMS = {
    "divided_psnr_db_seams": "PSNR at shared frames, dB",
    "divided_psnr_db_inside": "elsewhere",
    "divided_temporal_error_seams": "temporal error there, levels",
    "divided_temporal_error_inside": "elsewhere",
}


@dataclass
class Measured:
    """What is kept of one VAE at one shape: sums."""

    figures: dict[str, Running] = field(default_factory=dict)
    by_place: list[Running] = field(default_factory=list)
    """PSNR of each frame."""
    encoded_frames_per_s: Running = field(default_factory=Running)
    decoded_frames_per_s: Running = field(default_factory=Running)
    timed_clips: int = 0
    rfvd: float = math.nan
    time_factor: int = 1
    latents: str = ""

    def add(self, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self.figures.setdefault(name, Running()).add(value)

    def add_places(self, psnr_db: list[float]) -> None:
        if not self.by_place:
            self.by_place = [Running() for _ in psnr_db]
        for each, value in zip(self.by_place, psnr_db):
            each.add(value)

    def mean(self, name: str) -> float:
        if name in ("encoded_frames_per_s", "decoded_frames_per_s"):
            return getattr(self, name).value
        return self.figures[name].value if name in self.figures else math.nan

    def to_dict(self) -> dict[str, Any]:
        return {
            **{name: each.to_dict() for name, each in self.figures.items() if each.count},
            "encoded_frames_per_s": self.encoded_frames_per_s.value,
            "decoded_frames_per_s": self.decoded_frames_per_s.value,
            "rfvd": self.rfvd,
            "latents": self.latents,
            "psnr_db_by_frame": [each.value for each in self.by_place],
        }


def document_of(
    config: ReconstructionConfig,
    settings: dict[str, Any],
    found: Mapping[str, Mapping[str, Measured]],
    films: list[tuple[str, list[Film]]],
) -> Document:
    """`found`: by model, by shape."""
    shapes = list(next(iter(found.values())))
    document = Document("Reconstruction", settings, films=films)
    document.data["models"] = {
        name: {shape: each.to_dict() for shape, each in of.items()} for name, of in found.items()
    }
    counts = {shape: next(iter(found.values()))[shape].figures["psnr_db"].count for shape in shapes}
    short = [f"{counts[shape]} clips of {shape}" for shape in shapes if counts[shape] < config.num_clips]
    document.facts = {"clips a shape": f"{max(counts.values())}", "clips are": config.clips}
    document.tables.append(_table3(found, shapes))
    document.tables.append(_further(found))
    seams = _rows(found, SEAMS)
    if seams:
        head = ("divide and merge", "shape", *SEAMS.values())
        note = "Segments of 17 frames that share one, against the original (evaluate seams compares with the whole)."
        document.tables.append(Table("Seams", head, seams, note))
    document.charts = _charts(found, shapes)
    document.notes = [
        "PSNR and SSIM are means over clips; MSE is of pixels in [-1, 1], which fits the paper's figures best. "
        "The paper's rows were measured on other clips: compare models on the same clips."
    ]
    if short:
        document.notes.append(f"Fewer videos were long enough than asked: {', '.join(short)}.")
    if config.video_model:
        document.notes.append(f"rFVD: Frechet distance of originals and reconstructions by {config.video_model}.")
    return document


def _table3(found: Mapping[str, Mapping[str, Measured]], shapes: list[str]) -> Table:
    rows = []
    for name, of in found.items():
        digits = {"psnr_db": 2, "ssim": 3, "mse": 5}
        cells = [" / ".join(said(of[shape].mean(key), n) for key, n in digits.items()) for shape in shapes]
        rows.append((name, *cells))
    if any(shape in of for of in PAPER.values() for shape in shapes):
        rows += [(name, *(of.get(shape, "") for shape in shapes)) for name, of in PAPER.items()]
    return Table("PSNR, dB / SSIM / MSE", ("model", *shapes), rows, "The layout of the paper's Table 3.")


def _further(found: Mapping[str, Mapping[str, Measured]]) -> Table:
    kept = {
        key: label
        for key, label in FURTHER.items()
        if any(not math.isnan(each.mean(key)) for of in found.values() for each in of.values())
    }
    has_rfvd = any(not math.isnan(each.rfvd) for of in found.values() for each in of.values())
    rows = []
    for name, of in found.items():
        for shape, each in of.items():
            low, high = each.figures["psnr_db"].interval
            interval = f"{low:.2f} to {high:.2f}" if math.isfinite(low) else ""
            cells = [said(each.mean(key), 3 if key in ("lpips", "motion_kept") else 2) for key in kept]
            rows.append((name, shape, each.latents, interval, *cells, *([said(each.rfvd, 2)] if has_rfvd else [])))
    head = ("model", "shape", "latents", "PSNR's 95 % interval", *kept.values(), *(["rFVD"] if has_rfvd else []))
    note = "Temporal error: of changes from frame to frame, in levels of 255; motion kept: 1 as it was, 0 frozen."
    return Table("Detail and time", head, rows, note)


def _rows(found: Mapping[str, Mapping[str, Measured]], keys: Mapping[str, str]) -> list[tuple[str, ...]]:
    return [
        (name, shape, *(said(each.mean(key), 2) for key in keys))
        for name, of in found.items()
        for shape, each in of.items()
        if not all(math.isnan(each.mean(key)) for key in keys)
    ]


def _charts(found: Mapping[str, Mapping[str, Measured]], shapes: list[str]) -> list[Chart]:
    charts = []
    for shape in shapes:
        points = {}
        for name, of in found.items():
            each = of[shape].figures["psnr_db"]
            points[name] = (each.value, *each.interval)
        charts.append(Chart(f"PSNR at {shape}", whiskers(points, "dB"), "Means with 95 % intervals."))
        places = {
            name: [(place, each.value) for place, each in enumerate(of[shape].by_place)]
            for name, of in found.items()
            if of[shape].by_place
        }
        if places:
            note = "A saw-tooth is the mark of time compression: where latent frames begin and end."
            charts.append(Chart(f"PSNR by frame, {shape}", lines(places, "frame", "dB"), note))
        first = next(iter(found))
        charts.append(
            Chart(f"PSNR of the clips, {first}, {shape}", columns(found[first][shape].figures["psnr_db"].sample, "dB"))
        )
    return charts
