"""`videosyn evaluate ablation`: what time compression, and divide and merge, cost and save.

Next on the path: `variants.py` and `counted.py` (what is counted), `probe.py` (what is measured), `quality.py` (what is
kept).
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from tqdm import tqdm

from videosyn.core.runtime import pick_device, pick_dtype
from videosyn.evaluation.ablation.counted import vae_operations
from videosyn.evaluation.ablation.options import BLOCKS, AblationConfig
from videosyn.evaluation.ablation.probe import Cost, Job, measure
from videosyn.evaluation.ablation.quality import DIVIDED, WITH, WITHOUT, Kept, films, open_comparable, reconstructions
from videosyn.evaluation.ablation.variants import PAPER_SHAPES, TEXT_TOKENS, VARIANTS, Variant
from videosyn.evaluation.compare.paired import difference
from videosyn.evaluation.document import Chart, Document, Table, publish, said, said_with, settings_of
from videosyn.evaluation.footage import Shape
from videosyn.evaluation.plots import whiskers
from videosyn.evaluation.running import Running
from videosyn.vdit.cost import Load, working_bytes
from videosyn.vdit.presets import XL

PAPER_LOSS_DB = 37.59 - 33.83
"""Table 3 at 17x512x512: the image VAE's PSNR less the VidVAE's."""
MIB = 2**20


def run(config: AblationConfig) -> dict[str, Any]:
    """Counts, measures, writes report.json and report.html, and returns the report's data."""
    if config.compressed:
        open_comparable(config)  # a mistake is told now, not after minutes of measuring
    document = Document("Ablation of the compression", settings_of(config))
    _count(config, document)
    if config.cost:
        _cost(config, document)
    if config.compressed:
        _quality(config, document)
    publish(document, config.output)
    return document.data


def _count(config: AblationConfig, document: Document) -> None:
    rows, data = [], {}
    jobs = [(word, variant) for word in PAPER_SHAPES for variant in (VARIANTS[0], VARIANTS[1])]
    for word, variant in tqdm(jobs, unit="shape", disable=None if config.cost else True, file=sys.stderr):
        shape = Shape.parse(word)
        tokens, operations = variant.num_tokens(shape), variant.operations(shape, XL)
        frames, height, width = variant.latents(shape)
        memory = working_bytes(XL, Load(1, frames, (height // 2) * (width // 2), TEXT_TOKENS), 2, "cuda")
        latents = f"{frames}x{height}x{width}"
        short = variant.name.split(",")[0]
        figures = {"tokens": tokens, "operations": operations, "vdit_bytes": memory}
        cells = [f"{tokens:,}", f"{operations / 1e12:,.1f}", f"{memory / 2**30:,.2f}"]
        if config.cost:
            encode, decode = vae_operations(shape, variant.time_factor)
            figures |= {"encode_operations": encode, "decode_operations": decode}
            cells += [f"{encode / 1e12:,.1f}", f"{decode / 1e12:,.1f}"]
        rows.append((word, short, latents, *cells))
        data.setdefault(word, {})[short] = figures
    head = ("clip", "VAE", "latents", "tokens", "TFLOP a step", "VDiT's memory, GiB")
    head += ("TFLOP to encode", "TFLOP to decode") if config.cost else ()
    note = (
        "Of the paper's models, one video. The VDiT (28 blocks of 1152) without guidance: weights and attention, by "
        "formula; its working memory beside the weights, in 16 bits on an accelerator, by the cost model."
    )
    if config.cost:
        note += " The VidVAE's convolutions and products, whole, as torch counts them."
    document.tables.append(Table("Counted", head, rows, note))
    document.data["counted"] = data


def _cost(config: AblationConfig, document: Document) -> None:
    jobs = [(word, variant) for word in config.cost_shapes for variant in VARIANTS]
    device = pick_device(config.device)
    numbers = f"{str(pick_dtype(config.dtype, device)).removeprefix('torch.')} on {device.type}"
    cpu, unit = ("cpu_", "CPU s") if device.type == "cpu" else ("", "s")
    keys = (f"vdit_{cpu}seconds_a_step", f"encode_{cpu}seconds", f"decode_{cpu}seconds")
    rows, data = [], {}
    vdit: dict[tuple[str, int], Cost] = {}
    for word, variant in tqdm(jobs, unit="variant", disable=None, file=sys.stderr):
        shape, key = Shape.parse(word), (word, variant.time_factor)
        if key not in vdit:  # tokens are the same whichever way the VAE goes
            vdit[key] = measure(_job(config, "vdit", variant, shape))
        encode, decode = (measure(_job(config, what, variant, shape)) for what in ("encode", "decode"))
        scale = BLOCKS / config.depth
        figures = {
            "tokens": variant.num_tokens(shape),
            "vdit_seconds_a_step": vdit[key].seconds * scale,
            "vdit_cpu_seconds_a_step": vdit[key].cpu_seconds * scale,
            "vdit_peak_bytes": vdit[key].peak_bytes,
            "vdit_weight_bytes": vdit[key].weight_bytes * BLOCKS // config.depth,
            "encode_seconds": encode.seconds,
            "encode_cpu_seconds": encode.cpu_seconds,
            "decode_seconds": decode.seconds,
            "decode_cpu_seconds": decode.cpu_seconds,
            "vae_peak_bytes": max(encode.peak_bytes, decode.peak_bytes),
        }
        data.setdefault(word, {})[variant.name] = figures
        cells = (f"{figures['tokens']:,}", *(said(figures[key], 2) for key in keys))
        memory = (f"{vdit[key].peak_bytes / MIB:,.0f}", f"{figures['vae_peak_bytes'] / MIB:,.0f}")
        rows.append((word, variant.name, *cells, *memory))
    head = ("clip", "VAE", "tokens", f"VDiT, {unit} a step", f"encode, {unit}", f"decode, {unit}")
    head += ("VDiT's peak, MiB", "VAE's peak, MiB")
    scaled = f"VDiT's seconds are scaled from {config.depth} of {BLOCKS} blocks. " if config.depth < BLOCKS else ""
    note = (
        f"{scaled}In {numbers}. Peaks are above the weights. Random weights, one measurement each, a process each; "
        "at small shapes what is done once, whatever the shape, weighs more than at the paper's."
    )
    document.tables.append(Table("Measured, models of the paper's size", head, rows, note))
    document.data["measured"] = data
    for word, of in data.items():
        plots = ((keys[0], "VDiT's time", f"{unit} a step", 1), ("vae_peak_bytes", "The VAE's peak memory", "MiB", MIB))
        for key, what, said_in, scale in plots:
            points = {name: (each[key] / scale,) * 3 for name, each in of.items()}
            document.charts.append(Chart(f"{what}, {word}", whiskers(points, said_in)))


def _job(config: AblationConfig, what: Any, variant: Variant, shape: Shape) -> Job:
    size = dataclasses.asdict(shape)
    return Job(what, variant.way, **size, depth=config.depth, device=config.device, dtype=config.dtype)


def _quality(config: AblationConfig, document: Document) -> None:
    kept, clips = reconstructions(config)
    made, shown = films(config)
    document.films += clips + shown
    names = ("psnr_db", "ssim", "temporal_error", "seconds")
    rows = [
        (name, each.latents, f"{each.num_tokens:,}", *(said(_mean(each, key), 3) for key in names))
        for name, each in kept.items()
    ]
    head = ("VAE", "latents", "tokens", "PSNR, dB", "SSIM", "temporal error, levels", "s a clip")
    note = f"{config.num_clips} held-out clips of {config.shape}; tokens of 2x2 latent pixels."
    document.tables.append(Table("What is kept", head, rows, note))
    for key, what, unit in (("psnr_db", "PSNR", "dB"), ("temporal_error", "Temporal error", "levels of 255")):
        points = {name: _with_interval(each, key) for name, each in kept.items()}
        document.charts.append(Chart(what, whiskers(points, unit), "Means with 95 % intervals over clips."))
    _differences(document, "What it costs", kept, ((WITH, WITHOUT), (DIVIDED, WITH)), names)
    loss = document.data["differences"]["What it costs"][f"{WITH} against {WITHOUT}"]["psnr_db"]
    document.facts["dB that time compression costs"] = f"{-loss['mean']:.2f}"
    document.facts["the paper's, at 17 frames"] = f"{PAPER_LOSS_DB:.2f}"
    document.facts["times fewer tokens"] = f"{kept[WITHOUT].num_tokens / kept[WITH].num_tokens:.2f}"
    document.data["quality"] = {name: {"tokens": each.num_tokens, **_means(each)} for name, each in kept.items()}
    if made:
        keys = ("adherence", "all_shown", "seconds")
        rows = [(name, *(said(_mean(each, key), 3) for key in keys)) for name, each in made.items()]
        head = ("latents with", "what was asked is shown", "all of it", "s a film")
        document.tables.append(Table("Films of held-out prompts", head, rows))
        _differences(document, "What films lose or win", made, ((WITH, WITHOUT),), keys)
        document.data["films"] = {name: _means(each) for name, each in made.items()}


def _differences(
    document: Document, title: str, kept: dict[str, Kept], pairs: tuple[tuple[str, str], ...], names: tuple[str, ...]
) -> None:
    rows, data = [], {}
    for one, other in pairs:
        for name in names:
            found = difference(kept[other].figures[name], kept[one].figures[name])
            data.setdefault(f"{one} against {other}", {})[name] = found.to_dict()
            rows.append(
                (f"{one} against {other}", name, said_with(found.mean, found.low, found.high), said(found.p, 4))
            )
    note = "Paired, clip by clip; p by the sign-flip test."
    document.tables.append(Table(title, ("pair", "figure", "difference, 95 % interval", "p"), rows, note))
    document.data.setdefault("differences", {})[title] = data


def _with_interval(kept: Kept, name: str) -> tuple[float, float, float]:
    found = Running()
    for value in kept.figures[name]:
        found.add(value)
    return found.value, *found.interval


def _means(kept: Kept) -> dict[str, float]:
    return {name: _mean(kept, name) for name in kept.figures}


def _mean(kept: Kept, name: str) -> float:
    values = kept.figures[name]
    return sum(values) / len(values)
