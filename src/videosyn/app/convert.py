"""`videosyn convert`: published weights into folders that every other command takes. Path: `convert/` does the work."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from videosyn.app.convert_options import ImageVaeOptions, TransformerOptions
from videosyn.convert import image_vae, transformer
from videosyn.convert.checkpoint import Checkpoint, read_checkpoint
from videosyn.convert.image_vae import to_vidvae
from videosyn.convert.transformer import pixart_to_vdit, stdit2_to_vdit
from videosyn.core.config import read_json
from videosyn.core.errors import UserError
from videosyn.core.files import atomic_folder
from videosyn.core.model_folder import CONFIG_NAME, save_module
from videosyn.core.runtime import pick_dtype
from videosyn.dataset.latent_cache import load_vae
from videosyn.diffusion.epsilon import EpsilonDDPM
from videosyn.sampling.model_index import Defaults, Trained
from videosyn.sampling.pipeline import VideoSynPipeline

if TYPE_CHECKING:
    from torch import nn

    from videosyn.text.t5 import T5TextEncoder
    from videosyn.vdit.model import VDiT
    from videosyn.vidvae.model import VidVAE

PIXART_TOKENS, OPEN_SORA_TOKENS = 120, 200
"""Tokens of a caption in their training."""


def run_sd_vae(options: ImageVaeOptions) -> None:
    """Writes a VidVAE folder."""
    halvings = {1: 0, 4: 2}[options.time_factor]
    checkpoint = _read(options.source, "vae", image_vae.PREFIX)
    vae = to_vidvae(checkpoint, halvings, options.norm_groups, options.scaling_factor)
    with _new_folder(options.output) as folder:
        save_module(folder, vae, vae.config)
    _report(options.output, checkpoint, vae, image_vae.why_dropped)


def run_pixart(options: TransformerOptions) -> None:
    """Writes a pipeline that makes PixArt's images, and films once its temporal attention is trained."""
    checkpoint = _read(options.source, "transformer")
    vdit = pixart_to_vdit(checkpoint, options.heads, options.base_size)
    latent_px = checkpoint.config.get("sample_size")  # the size that it was trained at, where the folder says
    px = latent_px * 8 if latent_px else vdit.config.base_size_px
    defaults = Defaults(num_frames=1, height=px, width=px, num_steps=20, guidance=4.5, sampler="dpm++")
    _save(options, vdit, 2, PIXART_TOKENS, EpsilonDDPM(), defaults, Trained(max_frames=1, max_pixels=px * px))
    _report(options.output, checkpoint, vdit, transformer.why_dropped)
    print("videosyn: its temporal attention is new and silent: it makes images until it is trained", file=sys.stderr)


def run_open_sora(options: TransformerOptions) -> None:
    """Writes a pipeline that samples by Open-Sora 1.1's rules: image VAE frame by frame, 100 steps of DDPM, guidance 7.

    The steps' variances are those that it learned, where it has channels for them, as the published model does.
    """
    checkpoint = _read(options.source, "transformer", transformer.PREFIX)
    vdit = stdit2_to_vdit(checkpoint, options.heads, options.base_size)
    defaults = Defaults(num_frames=16, height=240, width=432, num_steps=100, guidance=7.0, fps=8.0, sampler="ddpm")
    learned = vdit.config.num_out_channels == 2 * vdit.config.latent_channels
    objective = EpsilonDDPM(guided_channels=3, learned_variance=learned)
    _save(options, vdit, 0, OPEN_SORA_TOKENS, objective, defaults, Trained())
    _report(options.output, checkpoint, vdit, transformer.why_dropped)


def _save(
    options: TransformerOptions,
    vdit: VDiT,
    time_halvings: int,
    max_tokens: int,
    objective: EpsilonDDPM,
    defaults: Defaults,
    trained: Trained,
) -> None:
    vae = _vae(options, time_halvings)
    if vae.config.latent_channels != vdit.config.latent_channels:
        raise UserError(
            f"the VAE has {vae.config.latent_channels} latent channels, the transformer {vdit.config.latent_channels}: "
            "give its own VAE with --vae"
        )
    if vae.time_factor != vdit.config.time_factor:
        raise UserError(
            f"the VAE puts {vae.time_factor} frames into one, the transformer was trained on "
            f"{vdit.config.time_factor}: give --vae the image VAE"
        )
    text_encoder = _text_encoder(options, max_tokens)
    width = text_encoder.model.config.d_model
    if width != vdit.config.text_width:
        raise UserError(f"the text encoder is {width} wide, the transformer wants {vdit.config.text_width}")
    if options.dtype != "as-is":
        number = pick_dtype(options.dtype, next(vdit.parameters()).device)
        vdit, vae = vdit.to(number), vae.to(number)
    with _new_folder(options.output) as folder:
        VideoSynPipeline(vae, vdit, text_encoder, objective, defaults, trained).save_pretrained(folder)


def _vae(options: TransformerOptions, time_halvings: int) -> VidVAE:
    path = options.vae or (options.source / "vae" if (options.source / "vae").is_dir() else None)
    if path is None:
        raise UserError(f"{options.source} has no VAE beside it: name its image VAE with --vae")
    if (path / CONFIG_NAME).is_file() and read_json(path / CONFIG_NAME).get("_class_name") == "VidVAE":
        return load_vae(path)
    return to_vidvae(_read(path, "vae", image_vae.PREFIX), time_halvings)


def _text_encoder(options: TransformerOptions, max_tokens: int) -> T5TextEncoder:
    import torch

    from videosyn.text.t5 import T5TextEncoder

    beside = options.source / "text_encoder"
    name = options.text_encoder or (str(beside) if beside.is_dir() else None)
    if name is None:
        raise UserError(f"{options.source} has no text encoder beside it: name its T5 encoder with --text-encoder")
    return T5TextEncoder(name, max_tokens, dtype=torch.bfloat16, pickled=True)


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Yields a hidden folder that becomes `path`, or goes, whatever is raised. UserError where it cannot be written."""
    try:
        with atomic_folder(path) as hidden:
            yield hidden
    except (OSError, SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{path} cannot be written ({why}): make room, or choose another folder") from error


def _read(path: Path, part: str, prefix: str = "") -> Checkpoint:
    checkpoint = read_checkpoint(path, part, prefix)
    if checkpoint.unread:
        names = _some(checkpoint.unread)
        print(f"videosyn: {checkpoint.path} also holds tensors under {names}: they are not read", file=sys.stderr)
    return checkpoint


def _report(output: Path, checkpoint: Checkpoint, model: nn.Module, why_dropped: Callable[[str], str | None]) -> None:
    """Prints what was used, and what was not: a line for all names that begin alike."""
    count = sum(value.numel() for value in model.state_dict().values())
    dropped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in checkpoint.state:
        if (why := why_dropped(name)) is not None:
            dropped[name.split(".")[0], why].append(name)
    total = sum(map(len, dropped.values()))
    used = f"{len(checkpoint.state) - total} tensors of {checkpoint.path}"
    print(f"{output}: {used}, {total} dropped, {count / 1e6:.1f} M parameters")
    for (_, why), names in dropped.items():
        print(f"{output}: {len(names)} dropped, {why}: {_some(names)}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
