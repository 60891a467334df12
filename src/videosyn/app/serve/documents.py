"""What goes over the wire, as JSON: requests and answers. OpenAPI is made from these classes. Next: `api.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="128 random bits as hex.")]
MAX_SEED = 2**63 - 1


class VideoRequest(BaseModel):
    """A film to make. What is left out comes from the model."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str = Field(min_length=1, max_length=100_000, description="What the film shows.")
    model: str | None = Field(None, max_length=64, description="One of /v1/models; left out: the first.")
    negative_prompt: str | None = Field(None, max_length=100_000, description="What the film should not show.")
    num_frames: int | None = Field(None, ge=1, le=100_000, description="Frames, 1 + 4k.")
    height: int | None = Field(None, ge=8, le=100_000, description="Pixels, a multiple of the model's step.")
    width: int | None = Field(None, ge=8, le=100_000, description="Pixels, a multiple of the model's step.")
    fps: float | None = Field(None, ge=0.001, le=240, description="Frames a second.")
    num_steps: int | None = Field(None, ge=1, le=100_000, description="Sampling steps.")
    guidance: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="How strongly the prompt pulls; 1: no guidance."
    )
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="The same seed gives the same frames; left out: the service draws one."
    )
    image: Id | None = Field(None, description="An uploaded picture that the film begins with.")
    extend: Id | None = Field(None, description="An uploaded clip, or a finished film, that the film goes on from.")
    last_image: Id | None = Field(None, description="An uploaded picture that the film ends with.")


class Film(BaseModel):
    """What was made."""

    num_frames: int
    height: int
    width: int
    fps: float
    bytes: int
    content: str = Field(description="Where the MP4 file is.")


class Video(BaseModel):
    """A job and, once there is one, its film."""

    id: Id
    state: State
    progress: float = Field(ge=0, le=1, description="Share of the steps that are done.")
    eta_s: float | None = Field(description="Seconds until it is probably finished; null: unknown, or finished.")
    position: int | None = Field(description="Jobs that wait before it; null unless queued.")
    model: str
    prompt: str
    negative_prompt: str | None
    num_frames: int
    height: int
    width: int
    fps: float
    num_steps: int
    guidance: float
    seed: int
    image: Id | None
    extend: Id | None
    last_image: Id | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    film: Film | None
    error: str | None = Field(description="Why it failed, in one line.")
    notes: list[str] = Field(description="What was done otherwise than asked or usual.")


class VideoList(BaseModel):
    """Jobs, the newest first."""

    videos: list[Video]
    next: int | None = Field(description="For `before`, to read on; null: there are no older ones.")


class Model(BaseModel):
    """A model that this service has, and what a request that leaves something out gets."""

    name: str
    num_frames: int
    height: int
    width: int
    fps: float
    num_steps: int
    guidance: float
    size_multiple: int = Field(description="Height and width are multiples of it.")
    time_factor: int = Field(description="Frames are 1 + a multiple of it.")
    takes_pictures: bool = Field(description="Whether image, extend and last_image work.")
    trained_frames: int | None = Field(description="The longest films that it saw in training; null: unknown.")
    trained_pixels: int | None = Field(description="Height times width of the largest; null: unknown.")


class LimitsDocument(BaseModel):
    """The most that a request may ask for."""

    prompt_chars: int
    frames: int
    side_px: int
    film_pixels: int
    steps: int
    upload_bytes: int


class ModelList(BaseModel):
    models: list[Model]
    limits: LimitsDocument


class Upload(BaseModel):
    """A picture or a clip that films may begin with."""

    id: Id
    kind: Literal["picture", "clip"]
    num_frames: int
    height: int
    width: int
    fps: float = Field(description="0 for pictures.")
    expires_at: datetime


class Health(BaseModel):
    status: Literal["ok", "degraded"]
    workers: dict[str, str] = Field(description="Device -> starting, ready or lost.")


class Problem(BaseModel):
    """RFC 9457. `type` tells problems apart; `errors` says where in the request."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = None
