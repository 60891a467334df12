"""The model card beside the nano weights: what made them, and the figures that the evaluation commands measured.

M=runs/nano F=runs/nano_dit/figures; mkdir -p $F
videosyn evaluate adherence      --model $M -o $F/held-out --num-prompts 300
videosyn evaluate adherence      --model $M -o $F/free --phrasing free --num-prompts 100
videosyn evaluate adherence      -o $F/judge --source render --num-prompts 250
videosyn evaluate adherence      --model $M -o $F/judge-reconstructed --source reconstruct --num-prompts 100
videosyn evaluate adherence      -o $F/judge-wrong --source render --wrong-prompts --num-prompts 150
videosyn evaluate reconstruction --model $M -o $F/reconstruction --shapes 17x96x96 --num-clips 100
python examples/model_card.py [--vae runs/nano_vae] [--dit runs/nano_dit] [-o runs/nano_dit/card.md]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path

REPORTS = {
    "held-out": "nano, held-out prompts",
    "free": "nano, free phrasing",
    "judge": "judge on renders",
    "judge-reconstructed": "judge on reconstructions",
    "judge-wrong": "judge, wrong prompts",
}
INTRODUCTION = """# videosyn nano

A text-to-video model small enough for two CPU cores: VidVAE, VDiT and text encoder, trained from nothing on videosyn's
procedural world (`src/videosyn/world`) by `examples/train_nano.sh`. No footage, no downloaded weights. Apache-2.0.

It knows that world and nothing else: 13 things, 8 colours, 6 places, 3 lights, simple motions, a still or panning
camera, one to three things and their relations, 4 styles. Captions in training were dropped, shortened, reordered and
reworded. One in ten (object, colour, place, motion) combinations never appeared in training; the held-out prompts below
each name at least one of them.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=Path, default=Path("runs/nano_vae"))
    parser.add_argument("--dit", type=Path, default=Path("runs/nano_dit"))
    parser.add_argument("--figures", type=Path, default=Path("runs/nano_dit/figures"))
    parser.add_argument("--hardware", default=f"{os.cpu_count()} CPU cores ({platform.machine()}), no accelerator")
    parser.add_argument("--note", default="", help="a sentence on how the weights were trained, if not in one run")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/nano_dit/card.md"))
    options = parser.parse_args()
    parts = [INTRODUCTION, training(options), adherence(options.figures), reconstruction(options.figures)]
    text = "\n".join(part for part in parts if part)
    options.output.write_text(text, encoding="utf-8")
    print(options.output)


def training(options: argparse.Namespace) -> str:
    """How each part was trained, from its run folder."""
    lines = ["## Training", "", f"Hardware: {options.hardware}.", ""]
    lines += ["| part | minutes | steps | batch | last validation |", "|---|---|---|---|---|"]
    for name, run in (("VidVAE", options.vae), ("VDiT and text encoder", options.dit)):
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        settings = json.loads((run / "options.json").read_text())
        minutes = max(row["elapsed_s"] for row in rows) / 60
        steps = max(row["step"] for row in rows)
        measured = [row for row in rows if any(key.startswith("val/") for key in row)][-1]
        shown = ", ".join(f"{key[4:]} {value:.3f}" for key, value in measured.items() if key.startswith("val/"))
        lines.append(f"| {name} | {minutes:.0f} | {steps} | {settings['batch_size']} | {shown} |")
    settings = json.loads((options.dit / "options.json").read_text())
    lines += ["", f"Clips of the VDiT: {settings['num_clips']} of shapes {', '.join(settings['buckets'])} (share after"]
    lines += [f"the colon) and {settings['num_images']} more images. Optimizer: Muon and AdamW, bf16 weights with fp32"]
    lines += ["masters; the weights here are the moving average.", ""]
    lines += [options.note, ""] if options.note else []
    return "\n".join(lines)


def adherence(figures: Path) -> str:
    """A column a report, a row an attribute: per cent right and how many were asked. Empty without reports."""
    found = {name: figures / name / "report.json" for name in REPORTS if (figures / name / "report.json").exists()}
    reports = {name: json.loads(path.read_text()) for name, path in found.items()}
    if not reports:
        return ""
    attributes = list(dict.fromkeys(key for report in reports.values() for key in report["attributes"]))
    lines = ["## What the pixels show", "", "Per cent right of those that name the attribute (`n`); by the pixel judge"]
    lines += [
        "of `videosyn evaluate adherence`, which learned nothing and whose own errors the columns beside show.",
        "",
    ]
    lines += [f"| | {' | '.join(REPORTS[name] for name in reports)} |", "|---" * (len(reports) + 1) + "|"]
    for attribute in attributes:
        shares = [report["attributes"].get(attribute) for report in reports.values()]
        cells = [f"{100 * each['share']:.1f} (n {each['count']})" if each else "" for each in shares]
        lines.append(f"| {attribute} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def reconstruction(figures: Path) -> str:
    """What the VidVAE keeps."""
    path = figures / "reconstruction" / "report.json"
    if not path.exists():
        return ""
    report = json.loads(path.read_text())
    lines = ["## What the VidVAE keeps", "", f"{report['settings']['num_clips']} held-out clips of the world.", ""]
    ((shape, figures_of),) = next(iter(report["models"].values())).items()
    lines += [f"| figure at {shape} | value |", "|---|---|"]
    means = {key: value["mean"] for key, value in figures_of.items() if isinstance(value, dict)}
    lines += [f"| {key} | {value:.3f} |" for key, value in means.items()]
    lines += [f"| decoded_frames_per_s | {figures_of['decoded_frames_per_s']:.3f} |"]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
