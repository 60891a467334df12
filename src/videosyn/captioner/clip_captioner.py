"""Captioners as their users see them: frames of a clip in, a text out. Next: `vision_language.py`.

captioner = open_captioner("nano")
captioner.caption([frames])          # uint8 (T, H, W, 3) each -> one text each
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from videosyn.core.errors import UserError
from videosyn.weights import shipped_captioner

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FRAMES_AT_ONCE = 32
"""Frames of a clip that the vision encoder sees together: what bounds the memory, whatever the clip's length."""


class ClipCaptioner(Protocol):
    name: str
    """What metadata says of who wrote a caption."""
    num_frames: int
    """Frames it wants of a clip, spread evenly; it sees all that it is given."""
    look_px: int
    """Longer side of frames that it can use; larger ones may be made smaller."""

    def caption(
        self,
        clips: Sequence[np.ndarray],
        prompt: str | None = None,
        times: Sequence[Sequence[float]] | None = None,
    ) -> list[str]:
        """Clips, uint8 (T, H, W, 3) each, of any sizes -> one line each. A clip of no frames gets an empty one.

        prompt: what is asked; None: the captioner's own question. times: of each frame, 0 where the clip begins to 1
        where it ends; None: evenly spread.
        """
        ...


class MemoryCaptioner:
    """A captioner of ours: constant memory, whatever a clip's length."""

    def __init__(self, folder: str | Path, name: str = "", device: str = "auto", dtype: str = "auto") -> None:
        """folder: what `train captioner` wrote. UserError where it is not whole."""
        from videosyn.captioner.storage import load_captioner
        from videosyn.core.pretrained import place
        from videosyn.core.runtime import pick_device, pick_dtype

        where = pick_device(device)
        self.model = load_captioner(folder)
        place(self.model, where, pick_dtype(dtype, where))
        self.name = name or Path(folder).name
        self.num_frames = self.model.config.num_frames
        self.look_px = 4 * self.model.config.image_px

    def caption(
        self,
        clips: Sequence[np.ndarray],
        prompt: str | None = None,
        times: Sequence[Sequence[float]] | None = None,
    ) -> list[str]:
        """Clips of one shape are watched together."""
        texts = [""] * len(clips)
        alike: dict[tuple[int, ...], list[int]] = {}
        for number, clip in enumerate(clips):
            if len(clip):
                alike.setdefault(clip.shape, []).append(number)
        for numbers in alike.values():
            memory = self.watch(
                np.stack([clips[number] for number in numbers]),
                None if times is None else [times[number] for number in numbers],
            )
            for number, text in zip(numbers, self.model.say(memory, prompt)):
                texts[number] = text
        return texts

    def caption_whole(self, frames: Iterable[np.ndarray], num_frames: int, prompt: str | None = None) -> str:
        """Watches every one of `num_frames` frames, uint8 (H, W, 3) each, as they come; empty where none does."""
        memory: Tensor | None = None
        held: list[np.ndarray] = []
        seen = 0
        for frame in frames:
            held.append(frame)
            if len(held) == FRAMES_AT_ONCE:
                memory, seen, held = self._go_on(held, seen, num_frames, memory), seen + len(held), []
        if held:
            memory = self._go_on(held, seen, num_frames, memory)
        return "" if memory is None else self.model.say(memory, prompt)[0]

    def watch(self, clips: np.ndarray, times: Sequence[Sequence[float]] | None = None) -> Tensor:
        """Clips of one shape, uint8 (B, T, H, W, 3) -> memories (B, M, D)."""
        import torch

        assert clips.shape[1] > 0, clips.shape
        when = torch.linspace(0, 1, clips.shape[1]).expand(len(clips), -1) if times is None else torch.tensor(times)
        memory: Any = None
        for start in range(0, clips.shape[1], FRAMES_AT_ONCE):
            piece = slice(start, start + FRAMES_AT_ONCE)
            frames = torch.from_numpy(np.ascontiguousarray(clips[:, piece]))
            memory = self._see(frames, when[:, piece].float(), memory)
        return memory

    def log_likelihood(
        self, clips: np.ndarray, texts: Sequence[str], times: Sequence[Sequence[float]] | None = None
    ) -> np.ndarray:
        """How well texts tell clips, uint8 (B, T, H, W, 3): the mean log-likelihood of a text's tokens (B,), nats.

        The captioner is asked to retell, where it was trained to, so that any phrasing may be likely.
        """
        import torch

        config = self.model.config
        asked = config.retelling or config.prompt
        with torch.inference_mode():
            losses = self.model.likelihood(self.watch(clips, times), [asked] * len(texts), texts)
        return -losses.float().cpu().numpy()

    def _go_on(self, held: list[np.ndarray], seen: int, num_frames: int, memory: Tensor | None) -> Tensor:
        import torch

        numbers = torch.arange(seen, seen + len(held), dtype=torch.float32)
        times = (numbers / max(1, num_frames - 1)).clamp(max=1)[None]
        return self._see(torch.from_numpy(np.stack(held))[None], times, memory)

    def _see(self, frames: torch.Tensor, times: torch.Tensor, memory: Tensor | None) -> Tensor:
        import torch

        with torch.inference_mode():
            place = self.model.weight.device
            return self.model.watch(self.model.pictures(frames), times.to(place), memory)


def is_ours(name: str) -> bool:
    """Whether it names a captioner of ours: a shipped one, or a folder of `train captioner`."""
    from videosyn.captioner.storage import is_captioner

    return shipped_captioner(name) is not None or is_captioner(Path(name).expanduser())


def open_captioner(name: str, device: str = "auto", dtype: str = "auto", max_tokens: int = 200) -> ClipCaptioner:
    """ "nano", a folder of `train captioner`, or a vision language model's folder or hub id. UserError for others.

    max_tokens: longest answer of a vision language model; a captioner of ours has its own.
    """
    from importlib.util import find_spec

    from videosyn.captioner.storage import is_captioner

    if find_spec("transformers") is None:
        raise UserError("a captioner needs transformers: pip install 'videosyn[caption]'")
    if (shipped := shipped_captioner(name)) is not None:
        if not shipped.is_dir():
            raise UserError(f"the captioner {name!r} is not in this installation: install videosyn again")
        return MemoryCaptioner(shipped, f"videosyn-{name}", device, dtype)
    if Path(name).expanduser().is_dir() and is_captioner(Path(name).expanduser()):
        return MemoryCaptioner(Path(name).expanduser(), "", device, dtype)
    from videosyn.captioner.vision_language import VisionLanguageModel

    return VisionLanguageModel(name, device, dtype, max_tokens)
