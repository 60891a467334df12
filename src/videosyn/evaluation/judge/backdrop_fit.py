"""Which empty world lies behind the things: place, light, and where its horizon, sun and pattern are. Next:
`foreground.py`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from videosyn.evaluation.judge.bank import HORIZONS, SUNLESS, SUNS, Backdrop, bank_for, draw
from videosyn.evaluation.judge.picture import BINOMIAL, even, smoothed
from videosyn.world.layout import View

CAP = 0.12
"""Differences above this, on the even scale, count as this: a thing in front costs any backdrop the same."""
SHADES = (0.45, 1.04)
"""How dark and how light a shadow can make the ground, as factors."""
SHADOW_SHARE = 0.6
"""How much of what a shadow would explain still counts as unexplained when things are compared."""
FINE_CAP = 0.06
"""The same when styles are compared, which differ by less."""
NUM_CANDIDATES = 3
"""Places and lights that are fitted closely before one is chosen."""
NEAR_BEST = 1.5
"""A candidate is fitted closely only if its cost is within this of the best one's."""
ROUGH, FINE = (1.0, 0.5), (0.25, 0.125)
"""Parts of the bank's spacing by which a fit is moved: first, and once it is among the best."""
BEATEN = 1.3
"""What fits worse than the best by this factor after the rough moves is out: fine ones win a few per cent."""


def behind(frames: Tensor, camera: str) -> Tensor:
    """One picture (3, H, W) of what stands still in key frames (K, 3, H, W): of a pan, the middle frame."""
    if camera == "still":
        return frames.median(0).values
    return frames[len(frames) // 2]


def fit_backdrop(still: Tensor, style: str) -> Backdrop:
    """The backdrop in a style that is nearest to a picture (3, H, W) seen straight ahead."""
    height, width = still.shape[1:]
    bank = bank_for(height, width, style)
    rows, columns = bank.thumbnails.shape[2:]
    small = F.adaptive_avg_pool2d(even(still)[None], (rows, columns))[0]
    cost = (bank.thumbnails - small).abs_().mean(1).clamp_max_(CAP).mean((1, 2))  # (N,)
    best: dict[tuple[str, str], tuple[float, Backdrop]] = {}
    for index in cost.argsort()[:400].tolist():
        entry = bank.entries[index]
        best.setdefault((entry.place, entry.light), (float(cost[index]), entry))
    candidates = list(best.values())[:NUM_CANDIDATES]  # in order of cost
    first = candidates[0][1]
    for index in cost.argsort()[:40].tolist():  # another start, for another part of the same world
        entry = bank.entries[index]
        if (entry.place, entry.light) == (first.place, first.light) and entry.phase != first.phase:
            candidates.append((float(cost[index]), entry))
            break
    target = even(F.avg_pool2d(still[None], 2))[0]
    near = [entry for cost, entry in candidates if cost < NEAR_BEST * candidates[0][0]]
    rough = [_refine(target, entry, ROUGH) for entry in near]
    least = min(cost for _, cost in rough)
    fitted = [_refine(target, entry, FINE) for entry, cost in rough if cost <= BEATEN * least]
    return min(fitted, key=lambda pair: pair[1])[0]


def cost_of(still: Tensor, backdrop: Backdrop) -> float:
    """Mean capped difference of a picture (3, H, W), seen straight ahead, to a backdrop; both a little smoothed."""
    return _fine_cost(smoothed(even(still)[None], BINOMIAL), backdrop)


def _fine_cost(target: Tensor, backdrop: Backdrop) -> float:
    """The same from a picture (1, 3, H, W) already smoothed."""
    drawn = draw(undone(backdrop), View(target.shape[2], target.shape[3]))
    gap = target - smoothed(even(drawn), BINOMIAL)
    return float(gap.abs_().mean(1).clamp_max_(FINE_CAP).mean())


def settled(still: Tensor, backdrop: Backdrop) -> Backdrop:
    """A backdrop of pixel art with its horizon in the row of blocks where a picture (3, H, W) has it."""
    view = View(still.shape[1], still.shape[2])
    horizons = [backdrop.horizon + step * view.pixel / view.up for step in (0.0, -1.5, -1.0, -0.5, 0.5, 1.0, 1.5)]
    target = smoothed(even(still)[None], BINOMIAL)
    return min((replace(backdrop, horizon=each) for each in horizons), key=lambda each: _fine_cost(target, each))


def undone(backdrop: Backdrop) -> Backdrop:
    """The backdrop of a painting as it was before it was painted; any other as it is."""
    return replace(backdrop, style="plain") if backdrop.style == "painterly" else backdrop


def _refine(target: Tensor, entry: Backdrop, shrinks: tuple[float, ...]) -> tuple[Backdrop, float]:
    """Move horizon, pattern and sun, one at a time by these parts of the bank's spacing, to where they agree best with
    a picture (3, h, w) -> what is then drawn, and its cost.
    """
    view = View(target.shape[1], target.shape[2])
    cost = _cost(target, entry, view)
    steps = {"phase": 1 / 32, "horizon": (HORIZONS[1] - HORIZONS[0]) / 2, "sun": (SUNS[1] - SUNS[0]) / 2}
    if entry.place in SUNLESS:
        del steps["sun"]
    for shrink in shrinks:
        for name, step in steps.items():
            for sign in (-1.0, 1.0):
                moved = replace(entry, **{name: getattr(entry, name) + sign * step * shrink})
                moved_cost = _cost(target, moved, view)
                if moved_cost < cost:
                    entry, cost = moved, moved_cost
                    break  # the other way leads back
    return entry, cost


def _cost(target: Tensor, entry: Backdrop, view: View) -> float:
    drawn = even(draw(entry, view)[0])
    return float((drawn - target).abs_().mean(0).clamp_max_(CAP).mean())


def lit_as_seen(frames: Tensor, drawn: Tensor, backdrop: Backdrop) -> tuple[Tensor, Tensor]:
    """The empty world, drawn (K or 1, 3, H, W), with what it may bear added to come near to frames (K, 3, H, W).

    Two versions (K, 3, H, W): a lenient one, whose ground is as dark as a shadow would make it, and a strict one, with
    a part of that alone, as grey things look like shadows. In both a star may brighten the night sky.
    """
    lenient = drawn.expand_as(frames).clone()
    height = frames.shape[2]
    horizon_row = max(0, int(backdrop.horizon_row(View(height, frames.shape[3]))))
    if backdrop.light == "night" and backdrop.place not in SUNLESS:
        sky = slice(0, horizon_row)
        extra = (frames[:, :, sky] - lenient[:, :, sky]).mean(1, keepdim=True)
        starry = (lenient[:, :, sky] + extra).clamp(0.0, 1.0)
        plain_gap = (even(frames[:, :, sky]) - even(lenient[:, :, sky])).square().sum(1, keepdim=True)
        starry_gap = (even(frames[:, :, sky]) - even(starry)).square().sum(1, keepdim=True)
        side = 7 if backdrop.style == "pixel art" else 5  # what is wider is no star
        bright = (plain_gap > 0.02).float()
        wide = F.max_pool2d(-F.max_pool2d(-bright, side, 1, side // 2), side, 1, side // 2) > 0
        lenient[:, :, sky] = torch.where(~wide & (starry_gap < plain_gap), starry, lenient[:, :, sky])
    strict = lenient.clone()
    ground = slice(horizon_row, height)
    below = drawn.expand_as(frames)[:, :, ground]
    shade = (frames[:, :, ground] * below).sum(1) / below.square().sum(1).clamp_min(1e-6)
    shade = shade.clamp(*SHADES)[:, None]
    lenient[:, :, ground] = below * shade
    strict[:, :, ground] = below * torch.lerp(shade, torch.ones_like(shade), SHADOW_SHARE)
    return lenient, strict
