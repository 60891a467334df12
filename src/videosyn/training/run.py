"""Starts a run: data, model, step, loop.

    python -m videosyn.training.run vae configs/nano_vae.yaml --max-minutes 5
    torchrun --nproc-per-node 2 -m videosyn.training.run dit configs/small_dit.yaml

`videosyn train` calls `run_vae` and `run_dit` with the same options, `videosyn cache` `run_cache`.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from videosyn.core.config import load_yaml
from videosyn.core.errors import UserError
from videosyn.core.files import writing_to
from videosyn.sampling.model_index import is_foreign_vae
from videosyn.training.captioner_options import CaptionerTraining
from videosyn.training.cpu_runtime import tune
from videosyn.training.options import DiTTraining, Training, VAETraining

STOPPED = 3
"""Exit code of a run that was asked to leave."""


def run_vae(options: VAETraining, clock: Callable[[], float] = time.monotonic) -> str:
    """Trains a VidVAE, then measures its latents' mean and spread -> "finished", or "stopped" when asked to leave.

    The model is in `options.out`/model. Calling it again continues. clock: what `max_minutes` counts, in seconds.
    """
    tune()
    if options.dry_run:
        from videosyn.training.dry_run import dry_run_vae

        return dry_run_vae(options)
    from videosyn.training.parallel import processes

    device, dtype = _device_and_dtype(options)
    _begin(options)
    with processes(device, options.parallel) as (all_of_us, own_device):
        from videosyn.training.vae_run import train_vae

        return train_vae(options, all_of_us, own_device, dtype, clock)


def run_dit(options: DiTTraining) -> str:
    """Trains a VDiT, with its text encoder where that is a small one -> "finished", or "stopped" when asked to leave.

    `options.out`/model is a whole pipeline folder, the VidVAE included; with stages, each stage's folder has one.
    Calling it again continues.
    """
    tune()
    _check_vae_is_ours(options.vae)
    if options.dry_run:
        from videosyn.training.dry_run import dry_run_dit

        return dry_run_dit(options)
    from videosyn.training.parallel import processes

    device, dtype = _device_and_dtype(options)
    with processes(device, options.parallel) as (all_of_us, own_device):
        from videosyn.training.dit_run import check_stages, train_dit
        from videosyn.training.saving import stages_of

        stages = stages_of(options)
        check_stages(stages, all_of_us.count)
        for stage in stages:
            _begin(stage)
            if train_dit(stage, all_of_us, own_device, dtype) == "stopped":
                return "stopped"
            all_of_us.wait()  # the next stage begins with the model that the first process has saved
    return "finished"


def run_captioner(options: CaptionerTraining) -> str:
    """Trains a captioner -> "finished", or "stopped" when asked to leave.

    The captioner is in `options.out`/model; with stages, each stage's folder has one. Calling it again continues.
    """
    tune()
    if options.dry_run:
        raise UserError("dry_run is for train vae and train dit: a captioner's run has no table of buckets")
    if options.parallel == "fsdp":
        raise UserError("a captioner is trained with parallel ddp")
    from videosyn.training.parallel import processes

    device, dtype = _device_and_dtype(options)
    with processes(device, options.parallel) as (all_of_us, own_device):
        from videosyn.training.captioner_run import train_captioner

        for stage in options.staged():
            _begin(stage)
            if train_captioner(stage, all_of_us, own_device, dtype) == "stopped":
                return "stopped"
            all_of_us.wait()  # the next stage begins with the model that the first process has saved
    return "finished"


def run_cache(options: DiTTraining) -> None:
    """Fills `options.cache` with the latents, and the text features where the text encoder is frozen, of all stages.

    Calling it again goes on where it was; several processes under torchrun share the work. A dry run is that of the
    training: it encodes nothing. The VAE may be any of diffusers' AutoencoderKL*, which training does not take.
    """
    tune()
    if options.dry_run:
        _check_vae_is_ours(options.vae)
        from videosyn.training.dry_run import dry_run_dit

        dry_run_dit(options)
        return
    from videosyn.training.dit_run import fill_cache
    from videosyn.training.parallel import processes
    from videosyn.training.saving import stages_of

    device, _ = _device_and_dtype(options)
    with processes(device, "ddp") as (all_of_us, own_device):
        for stage in stages_of(options):
            fill_cache(stage, all_of_us, own_device)


def _check_vae_is_ours(folder: str) -> None:
    """A UserError for another VAE: a model folder holds a VidVAE, and no other is loaded from one."""
    if is_foreign_vae(Path(folder)):
        raise UserError(f"a model is trained on a VidVAE's latents, and {folder} is another VAE: only cache takes it")


def _begin(options: Training) -> None:
    """Makes the run folder, before anything is computed that could not be kept there."""
    with writing_to(options.out):
        Path(options.out).mkdir(parents=True, exist_ok=True)


def _device_and_dtype(options: Training):
    import torch

    from videosyn.core.runtime import pick_device, pick_dtype

    if options.threads:
        torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    return device, pick_dtype(options.dtype, device)


def preset(presets: Any, name: str) -> Any:
    """`presets.NANO` for "nano"; a UserError lists the names where there is none."""
    names = [each.lower() for each in vars(presets) if each.isupper() and dataclasses.is_dataclass(vars(presets)[each])]
    if name not in names:
        raise UserError(
            f"no preset {name!r}: use {', '.join(sorted(names))}, or init for the size of the model in init"
        )
    return getattr(presets, name.upper())


def check_same(config: Any, folder: str | Path, **known_later: Any) -> None:
    """Raises UserError unless a folder's config is `config`, but for what is `known_later`."""
    from videosyn.core.config import load_json
    from videosyn.core.model_folder import CONFIG_NAME

    found = dataclasses.replace(load_json(type(config), Path(folder) / CONFIG_NAME), **known_later)
    for field in dataclasses.fields(config):
        here, there = getattr(config, field.name), getattr(found, field.name)
        if here != there:
            raise UserError(f"init {folder} is another model: its {field.name} is {there}, the preset's is {here}")


def counter(what: str) -> Callable[[int, int], None]:
    """Tells of shards as they come, some twenty times."""

    def say(done: int, total: int) -> None:
        if done == total or done % max(1, total // 20) == 0:
            print(f"{what}: {done} of {total} shards", file=sys.stderr, flush=True)

    return say


def main(arguments: Sequence[str] | None = None) -> int:
    """`vae|dit|captioner|cache CONFIG.yaml [--field value ...]`: flags override the file.

    Exit codes: 0 finished, 2 a user's mistake, 3 stopped before the end as asked, 130 by Ctrl-C outside the loop; the
    same command then goes on.
    """
    import tyro

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    kinds = {
        "vae": (VAETraining, run_vae),
        "dit": (DiTTraining, run_dit),
        "captioner": (CaptionerTraining, run_captioner),
        "cache": (DiTTraining, run_cache),
    }
    try:
        if not arguments or arguments[0] not in kinds:
            raise UserError(
                "say what to train: vae, dit or captioner, and a configuration such as configs/nano_vae.yaml"
            )
        cls, run = kinds[arguments[0]]
        rest = arguments[1:]
        default = load_yaml(cls, rest.pop(0)) if rest and not rest[0].startswith("-") else cls(max_minutes=20)
        options = tyro.cli(cls, args=rest, default=default)
        options.check_flags(default)
        outcome = run(options)
    except UserError as error:
        print(f"videosyn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:  # before or after the loop, which answers a first Ctrl-C itself
        print(f"videosyn: {str(stop) or 'stopped, nothing half written'}", file=sys.stderr)
        return 130
    return STOPPED if outcome == "stopped" else 0


if __name__ == "__main__":
    sys.exit(main())
