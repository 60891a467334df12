"""How good a clip looks (paper section 4, stage 3): LAION's head on CLIP features, or a photometric score.

The head is a file of linear layers, published in two forms: one layer (`sa_0_4_vit_l_14_linear.pth`: `weight`, `bias`)
and five (`sac+logos+ava1-l14-linearMSE.pth`: `layers.0.weight`, ...; between them was only dropout, which is nothing
outside training). Next: `motion.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig
from videosyn.curation.photometric import LOOK_PX, photometric_score
from videosyn.curation.pictures import open_picture
from videosyn.curation.records import Clip
from videosyn.curation.stages import Resources, rejected
from videosyn.curation.work import Work

if TYPE_CHECKING:
    from torch import Tensor, nn

    from videosyn.curation.clip_features import ClipFeatures

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


class Aesthetics:
    """A ClipStage. Score `aesthetic`, 0 to 10, the mean over the kept frames; label `aesthetic_model`: the head's name,
    or `photometric`.
    """

    name = "aesthetics"
    version = "1"

    def __init__(self, config: CurationConfig) -> None:
        self.config = config.aesthetics
        self.device = config.device
        self._features: ClipFeatures | None = None
        self._head: nn.Module | None = None

    @property
    def resources(self) -> Resources:
        if self.config.head:
            return Resources(cpus=1.0, memory_bytes=4_000_000_000, gpu=True, time_limit_s=300.0)
        return Resources(cpus=1.0, memory_bytes=300_000_000, time_limit_s=120.0)

    def setup(self) -> None:
        """Loads CLIP and the head where they are given. UserError where one of the two is, or they do not fit."""
        clip_model, head = self.config.clip_model, self.config.head
        if bool(clip_model) != bool(head):
            given, other = ("clip_model", "head") if clip_model else ("head", "clip_model")
            raise UserError(f"aesthetics.{given} needs aesthetics.{other} too: give both, or none")
        if not head:
            return
        from videosyn.curation.clip_features import ClipFeatures

        self._head = load_head(head)
        self._features = ClipFeatures(clip_model, self.device)
        wanted = next(self._head.parameters()).shape[1]
        if wanted != self._features.width:
            raise UserError(
                f"{head} is made for features of {wanted}, {clip_model} gives {self._features.width}: "
                f"LAION's heads want CLIP ViT-L/14"
            )

    def process(self, clip: Clip, work: Work) -> Clip:
        score = self._score(clip, work)
        model = Path(self.config.head).name or "photometric"
        clip = replace(
            clip,
            scores={**clip.scores, "aesthetic": round(score, 4)},
            labels={**clip.labels, "aesthetic_model": model},
        )
        rule = "min_score" if self.config.head else "min_photometric"
        least = self.config.min_score if self.config.head else self.config.min_photometric
        if score < least:
            return rejected(clip, self.name, f"{model} score {score:.2f} is under aesthetics.{rule} {least:g}")
        return clip

    def _score(self, clip: Clip, work: Work) -> float:
        """0 for a clip without kept frames."""
        if not clip.frames:
            return 0.0
        if self._features is None or self._head is None:
            return sum(photometric_score(open_picture(work, frame, LOOK_PX)) for frame in clip.frames) / len(
                clip.frames
            )
        import torch

        from videosyn.curation.clip_features import unit

        with torch.inference_mode():
            return float(self._head(torch.from_numpy(unit(self._features.of_clip(clip, work)))).mean())


def load_head(head: str) -> nn.Module:
    """A head from a file, OWNER/REPO/FILE or OWNER/REPO on the hub -> a module, (N, D) unit features -> (N, 1) scores.

    UserError where there is none, or it is no stack of linear layers that ends in one number.
    """
    from videosyn.convert.checkpoint import read_checkpoint

    return head_of(read_checkpoint(_head_file(head)).state, head)


def head_of(state: Mapping[str, Tensor], where: str) -> nn.Module:
    """The linear layers of a state, in order, as one module. Every key must be a layer's weight or bias."""
    import torch
    from torch import nn

    problem = UserError(f"{where} is no aesthetic head: linear layers that end in one number are wanted")
    if set(state) == {"weight", "bias"}:
        state = {f"layers.0.{key}": value for key, value in state.items()}
    parts = [key.split(".") for key in state]
    if not parts or any(len(part) != 3 or part[0] != "layers" or not part[1].isdigit() for part in parts):
        raise problem
    numbers = sorted({int(part[1]) for part in parts})
    if set(state) != {f"layers.{number}.{kind}" for number in numbers for kind in ("weight", "bias")}:
        raise problem
    layers = []
    width = state[f"layers.{numbers[0]}.weight"].shape[-1]
    for number in numbers:
        weight, bias = state[f"layers.{number}.weight"].float(), state[f"layers.{number}.bias"].float()
        if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
            raise problem
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        layers.append(layer)
        width = weight.shape[0]
    if width != 1:
        raise problem
    return nn.Sequential(*layers).eval().requires_grad_(False)


def _head_file(head: str) -> Path:
    path = Path(head).expanduser()
    if path.is_file():
        return path
    parts = head.strip("/").split("/")
    if path.exists() or head.startswith((".", "/", "~")) or len(parts) < 2:
        raise UserError(f"no aesthetic head at {head}: give a file, or OWNER/REPO/FILE on the hub")
    try:
        from huggingface_hub import hf_hub_download, list_repo_files
    except ImportError as error:
        raise UserError(f"{head} is no file here, and the hub needs huggingface_hub: give a file") from error
    repo, name = "/".join(parts[:2]), "/".join(parts[2:])
    try:
        if not name:
            names = [file for file in list_repo_files(repo) if file.endswith(_SUFFIXES)]
            if len(names) != 1:
                raise UserError(f"{repo} holds {len(names)} files of weights: name one, {repo}/FILE")
            name = names[0]
        return Path(hf_hub_download(repo, name))
    except UserError:
        raise
    except Exception as error:  # the hub's client has a dozen kinds
        line = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise UserError(f"no aesthetic head at {head} ({line}): give a file, or OWNER/REPO/FILE on the hub") from error
