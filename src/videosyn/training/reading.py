"""The text encoder's first lesson: to say what a caption says, before any picture is made.

Where a VDiT must find out what words mean from the noise it removes, a colour is a few cells of a latent and is learnt
late. Captions with their meaning cost nothing (the parser reads them), so a minute of this on a CPU puts kind, colour,
motion and relation of every thing into the features that the VDiT's cross-attention reads. Next: `dit_step.py`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from videosyn.core.model_folder import load_state, load_strict
from videosyn.dataset.world_clips import TRAIN_SEEDS, VALIDATION_SEEDS, scenes_of
from videosyn.text.nano import TOKENIZER_NAME, NanoTextEncoder
from videosyn.world.caption import caption
from videosyn.world.parsed import Parsed
from videosyn.world.parser import parse
from videosyn.world.scene import Split
from videosyn.world.vocabulary import CAMERAS, COLOURS, KINDS, LIGHTS, MOTIONS, RELATIONS, SCENES, STYLES

MAX_THINGS = 3
THING_WORDS = {"kind": tuple(KINDS), "colour": tuple(COLOURS), "motion": tuple(MOTIONS)}
CLIP_WORDS = {
    "place": tuple(SCENES),
    "light": tuple(LIGHTS),
    "camera": tuple(CAMERAS),
    "style": tuple(STYLES),
    "relation": tuple(RELATIONS),
}
"""What is asked of a caption. Answer 0 is "not said"; words that no table has (a row, a walk) count as that too."""

BATCH = 128
NUM_CAPTIONS = 20_000
"""Different captions that are learnt from."""


class Reader(nn.Module):
    """One question a thing and one for the clip, put to the text's features by attention. Thrown away afterwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.questions = nn.Parameter(torch.randn(MAX_THINGS + 1, width) * 0.1)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.things = nn.Linear(width, sum(len(words) + 1 for words in THING_WORDS.values()))
        self.clip = nn.Linear(width, sum(len(words) + 1 for words in CLIP_WORDS.values()))

    def forward(self, features: Tensor, mask: Tensor) -> list[Tensor]:
        """Features (B, L, E), mask (B, L) -> logits (B, answers), in the order of `answers`."""
        asked = self.questions.expand(len(features), -1, -1)
        found = self.attention(asked, features, features, key_padding_mask=~mask, need_weights=False)[0]  # (B, 4, E)
        logits: list[Tensor] = []
        for thing in range(MAX_THINGS):
            logits += self.things(found[:, thing]).split([len(words) + 1 for words in THING_WORDS.values()], dim=-1)
        logits += self.clip(found[:, MAX_THINGS]).split([len(words) + 1 for words in CLIP_WORDS.values()], dim=-1)
        return logits


def answers(said: Parsed) -> list[int]:
    """The right answers for a caption: kind, colour and motion of each thing as named, then of the clip."""
    found: list[int] = []
    for place in range(MAX_THINGS):
        for name, words in THING_WORDS.items():
            value = getattr(said.things[place], name) if place < len(said.things) else None
            found.append(words.index(value) + 1 if value in words else 0)
    for name, words in CLIP_WORDS.items():
        value = getattr(said, name)
        found.append(words.index(value) + 1 if value in words else 0)
    return found


def spoken(seeds: Sequence[int], split: Split, seed: int) -> tuple[list[str], Tensor]:
    """Captions of the scenes of these seeds, and their answers (N, 14)."""
    captions = [
        caption(scene, Random(f"read/{seed}/{scene.seed}"), 17 if scene.seed % 8 else 1)
        for scene in scenes_of(seeds, split)
    ]
    return captions, torch.tensor([answers(parse(text)) for text in captions])


def learn_to_read(
    encoder: NanoTextEncoder, num_steps: int, seed: int, folder: Path, num_captions: int | None = None
) -> float:
    """Teaches `encoder` (fp32) in place, or takes what `folder` keeps of an earlier lesson.

    -> the share of captions of held-out scenes of which every answer is right (nan where it was read from the folder).
    """
    if (folder / TOKENIZER_NAME).is_file():  # written last
        load_strict(encoder, load_state(folder), folder)
        return float("nan")
    texts, right = spoken(range(TRAIN_SEEDS, TRAIN_SEEDS + (num_captions or NUM_CAPTIONS)), "train", seed)
    device = next(encoder.parameters()).device
    torch.manual_seed(seed)
    reader = Reader(encoder.config.width).to(device)
    learnt = [*encoder.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(learnt, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=num_steps, pct_start=0.1)
    rng, began = Random(f"reading/{seed}"), time.monotonic()
    for step in range(num_steps):
        chosen = [rng.randrange(len(texts)) for _ in range(BATCH)]
        loss = _loss(encoder, reader, [texts[index] for index in chosen], right[chosen].to(device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"reading: step {step}  loss {loss.item():.3f}", file=sys.stderr, flush=True)
    accuracy = measure(encoder, reader, *spoken(range(VALIDATION_SEEDS, VALIDATION_SEEDS + 1000), "held-out", seed))
    seconds = time.monotonic() - began
    print(f"reading: every answer right on {accuracy:.1%} of held-out captions after {seconds:.0f} s", file=sys.stderr)
    encoder.save(folder)
    return accuracy


@torch.no_grad()
def measure(encoder: NanoTextEncoder, reader: Reader, texts: Sequence[str], right: Tensor) -> float:
    """The share of captions of which every answer is right."""
    whole = 0
    for low in range(0, len(texts), BATCH):
        text = encoder.encode(texts[low : low + BATCH])
        logits = reader(text.features, text.mask)
        guessed = torch.stack([each.argmax(-1) for each in logits], dim=1).cpu()
        whole += int((guessed == right[low : low + BATCH]).all(1).sum())
    return whole / len(texts)


def _loss(encoder: NanoTextEncoder, reader: Reader, texts: list[str], right: Tensor) -> Tensor:
    text = encoder.encode(texts)
    logits = reader(text.features, text.mask)
    losses = [F.cross_entropy(each, right[:, place]) for place, each in enumerate(logits)]
    return torch.stack(losses).sum()
