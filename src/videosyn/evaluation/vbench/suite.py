"""Prompts in VBench's layout, and the names of their films: PROMPT-0.mp4 to PROMPT-4.mp4. Next: `films.py`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videosyn.core.errors import UserError
from videosyn.core.files import atomic_file
from videosyn.evaluation.vbench.dimensions import DIMENSIONS

WORLD_PROMPTS = 12
MAX_NAME_BYTES = 255


@dataclass(frozen=True)
class SuitePrompt:
    """A prompt, the dimensions that its films are measured in, and what these need to know beside it."""

    text: str
    dimensions: tuple[str, ...]
    auxiliary: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def film(self, index: int) -> str:
        """The file name of its film number `index`."""
        return f"{self.text}-{index}.mp4"

    def seed(self, base: int) -> int:
        """Of its first film; the others count up. The same wherever the prompt stands in a suite."""
        return base + zlib.crc32(self.text.encode()) % 2**31


def read_suite(name: str, num_prompts: int | None = None, seed: int = 0) -> list[SuitePrompt]:
    """ "world", VBench_full_info.json, or a text file with a prompt a line.

    A text file's prompts are measured in every dimension that needs no more than prompt and film. A UserError for what
    cannot be read, and prompts that make no file name.
    """
    if name == "world":
        prompts = _world(num_prompts or WORLD_PROMPTS, seed)
    else:
        path = Path(name)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the suite {name}: {error}") from error
        prompts = _full_info(text, path) if path.suffix == ".json" else _lines(text)
    prompts = prompts[:num_prompts]
    if not prompts:
        raise UserError(f"the suite {name} holds no prompts")
    for each in prompts:
        if "/" in each.text or "\0" in each.text or len(each.film(99).encode()) > MAX_NAME_BYTES:
            raise UserError(f"no file can be named after the prompt {each.text[:60]!r}: films bear their prompt's name")
    return prompts


def write_full_info(prompts: Sequence[SuitePrompt], path: Path) -> None:
    """The suite as the vbench package reads it."""
    rows = [
        {
            "prompt_en": each.text,
            "dimension": list(each.dimensions),
            **({"auxiliary_info": dict(each.auxiliary)} if each.auxiliary else {}),
        }
        for each in prompts
    ]
    with atomic_file(path) as hidden:
        hidden.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _full_info(text: str, path: Path) -> list[SuitePrompt]:
    try:
        rows = json.loads(text)
        found = [
            SuitePrompt(row["prompt_en"], tuple(row["dimension"]), row.get("auxiliary_info") or {}) for row in rows
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is not in the form of VBench_full_info.json ({error!r})") from error
    for each in found:
        if "appearance_style" in each.dimensions and "appearance_style" not in each.auxiliary:
            raise UserError(f"{path}: {each.text[:60]!r} is for appearance_style, but auxiliary_info names no style")
    unknown = {name for each in found for name in each.dimensions} - set(DIMENSIONS)
    if unknown:
        raise UserError(f"{path} names dimensions that VBench has not: {', '.join(sorted(unknown))}")
    return found


_FREE = (
    "subject_consistency",
    "background_consistency",
    "temporal_flickering",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
    "overall_consistency",
)
"""What VBench measures of any film and its prompt."""


def _lines(text: str) -> list[SuitePrompt]:
    return [SuitePrompt(line.strip(), _FREE) for line in dict.fromkeys(text.splitlines()) if line.strip()]


def _world(count: int, seed: int) -> list[SuitePrompt]:
    """Prompts kept from training. Flickering, as in VBench, only where nothing is asked to move."""
    from videosyn.world.prompts import held_out_prompts

    found = []
    for text, scene in held_out_prompts(count, seed):
        still = scene.camera == "still" and all(thing.motion == "rests" for thing in scene.things)
        names = [name for name in _FREE if name != "temporal_flickering" or still]
        auxiliary = {}
        if scene.style != "plain":
            names.append("appearance_style")
            auxiliary["appearance_style"] = f"{scene.style} style"
        found.append(SuitePrompt(text, tuple(names), auxiliary))
    if not any("temporal_flickering" in each.dimensions for each in found):  # a short suite may ask for motion alone
        found = [SuitePrompt(each.text, (*each.dimensions, "temporal_flickering"), each.auxiliary) for each in found]
    return found
