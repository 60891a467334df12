"""The models that the operator named: their defaults and what they can make. Torch-free. Next: `service.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videosyn.app.serve.options import Limits
from videosyn.core import config as config_io
from videosyn.core.errors import UserError
from videosyn.core.shapes import check_left_to_make, check_num_frames, check_size, frames_shared
from videosyn.sampling.families import family_in
from videosyn.sampling.model_index import Defaults, ModelIndex, find_model, is_foreign

FOREIGN_SIZE = (256, 256)
"""Height and width for diffusers' pipelines, whose own take a larger machine than most have."""
FOREIGN_STEPS = 25


@dataclass(frozen=True)
class ServedModel:
    """One model. Its folder is known to the service alone."""

    name: str
    folder: Path
    defaults: Defaults
    index: ModelIndex | None
    """None: a diffusers pipeline of another kind."""
    size_multiple: int
    """Pixels that height and width must be a multiple of."""
    time_factor: int
    """Frames are 1 + a multiple of it."""

    @classmethod
    def open(cls, name: str, model: str) -> ServedModel:
        """Reads the model's configuration, not its weights. Raises UserError where there is none."""
        folder = find_model(model)
        if is_foreign(folder):
            family = family_in(folder)
            defaults = Defaults(family.num_frames, *FOREIGN_SIZE, FOREIGN_STEPS, family.guidance, family.fps)
            return cls(name, folder, defaults, None, family.size_multiple, family.time_factor)
        from videosyn.vdit.config import VDiTConfig
        from videosyn.vidvae.config import VidVAEConfig

        index = ModelIndex.load(folder)
        vae = config_io.load_json(VidVAEConfig, folder / "vae" / "config.json")
        vdit = config_io.load_json(VDiTConfig, folder / "transformer" / "config.json")
        return cls(name, folder, index.defaults, index, vae.space_factor * vdit.patch_size, vae.time_factor)

    @property
    def takes_pictures(self) -> bool:
        """Whether films may begin with a picture or go on from a clip."""
        return self.index is not None

    def complete(self, asked: Mapping[str, Any], limits: Limits) -> Defaults:
        """The settings of a film, with the model's own where none was asked for.

        Raises UserError for what the model cannot make and for what is beyond the limits.
        """
        settings = self.defaults.updated(**asked)
        size = (settings.num_frames, settings.height, settings.width)
        if self.index is not None:
            self.index.check_size(self.folder, *size)
        else:
            check_num_frames(settings.num_frames, self.time_factor)
            check_size(settings.height, settings.width, self.size_multiple)
        for side, value in (("height", settings.height), ("width", settings.width)):
            if value % 2:
                raise UserError(f"{side} must be even, got {value}: use {value + 1}")
            if value > limits.side_px:
                raise UserError(f"{side} must be at most {limits.side_px} here, got {value}")
        if settings.num_frames > limits.frames:
            raise UserError(f"num_frames must be at most {limits.frames} here, got {settings.num_frames}")
        if (pixels := settings.num_frames * settings.height * settings.width) > limits.film_pixels:
            raise UserError(
                f"frames x height x width must be at most {limits.film_pixels:,} here, got {pixels:,}: "
                "ask for fewer frames or a smaller size"
            )
        if settings.num_steps > limits.steps:
            raise UserError(f"num_steps must be at most {limits.steps} here, got {settings.num_steps}")
        return settings

    def check_given(
        self, film: Defaults, has_image: bool, clip: tuple[int, float] | None, has_last: bool, limits: Limits
    ) -> None:
        """What a film begins and ends with. clip: its frames, and how many of them a second (0: as the film's).

        Raises UserError where nothing is left to make, and where the clip and what follows are beyond the limits.
        """
        num_clip, clip_fps = clip or (0, 0.0)
        if clip is not None and clip_fps > 0:
            num_clip = max(1, round(num_clip * film.fps / clip_fps))
        check_left_to_make(film.num_frames, has_image, num_clip, has_last, self.time_factor)
        if clip is None:
            return
        num_new = film.num_frames - frames_shared(film.num_frames, num_clip, self.time_factor)
        most = min(limits.frames, limits.film_pixels // (film.height * film.width))
        if num_clip + num_new > most:
            raise UserError(
                f"a clip and what follows must be at most {most} frames of {film.height}x{film.width} here, "
                f"got {num_clip} and {num_new} at {film.fps:g} a second: cut the clip, or ask for fewer frames"
            )

    def within(self, limits: Limits) -> ServedModel:
        """The same, once its own defaults are known to lie within the limits. Raises UserError where they do not."""
        try:
            self.complete({}, limits)
        except UserError as error:
            raise UserError(f"the model {self.name} by its own defaults: {error}: raise the limit") from error
        return self


def open_models(named: Iterable[tuple[str, str]], limits: Limits) -> dict[str, ServedModel]:
    """Name -> model, in the operator's order; the first is the one that a request without a model gets."""
    return {name: ServedModel.open(name, model).within(limits) for name, model in named}
