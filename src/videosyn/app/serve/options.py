"""What `videosyn serve` can be told, and the limits it holds its clients to. Torch-free. Next: `command.py`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from videosyn.app.options import Dtype
from videosyn.core.errors import UserError

TOKEN_VARIABLE = "VIDEOSYN_TOKEN"
SHORTEST_TOKEN = 16
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


@dataclass(frozen=True)
class Limits:
    """The most that one request may ask for."""

    prompt_chars: int = 1000
    """Characters of a prompt."""
    frames: int = 129
    """Frames a film."""
    side_px: int = 1024
    """Pixels of a film's longer side."""
    film_pixels: int = 64_000_000
    """Frames times height times width."""
    steps: int = 100
    """Sampling steps."""
    upload_mb: float = 64.0
    """Megabytes of an uploaded picture or clip."""
    upload_pixels: int = 40_000_000
    """Pixels of an uploaded picture, or of one frame of a clip."""
    upload_seconds: float = 20.0
    """For a separate process to decode an upload."""
    upload_memory_mb: int = 3000
    """Megabytes of memory for that process."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise UserError(f"limits.{name.replace('_', '-')} must be above 0, got {value:g}: leave it out")


@dataclass(frozen=True)
class ServeOptions:
    """Serve films over HTTP: an API and a web studio, one port, a worker process per device."""

    models: Annotated[tuple[str, ...], arg(metavar="[NAME=]MODEL ...")] = ("nano",)
    """What clients may use: the shipped model, folders, hub ids. A client sees NAME, else the last part of the path."""
    host: str = "127.0.0.1"
    """The address to listen on. Any other than this machine's own needs a token."""
    port: int = 8000
    """The port; 0: a free one."""
    data: Path | None = None
    """Where jobs, films and uploads are kept; left out: in the user's data folder."""
    datasets: Annotated[tuple[Path, ...], arg(metavar="FOLDER ...")] = ()
    """Dataset folders that the studio's Curate page may open."""
    devices: Annotated[tuple[str, ...], arg(metavar="DEVICE ...")] = ("auto",)
    """A worker process for each: auto, cpu, cuda:0, cuda:1, ..."""
    dtype: Dtype = "auto"
    """auto is bf16 where the machine computes in it, else fp32."""
    studio: bool = True
    """The web studio, under /studio."""
    token_file: Annotated[Path | None, arg(metavar="FILE")] = None
    """A file whose text every request must bear as its token; else the variable VIDEOSYN_TOKEN says it."""
    insecure: bool = False
    """Listen on another address without a token: anyone who reaches it may use it."""
    hostnames: Annotated[tuple[str, ...], arg(metavar="NAME ...")] = ()
    """Names by which clients reach this service, where it has no token: others are refused."""
    queue: int = 100
    """Jobs that may wait; beyond it a request is answered with 429."""
    batch: int = 4
    """Waiting jobs of one shape that are made together, at most."""
    keep_hours: float = 168.0
    """Finished films are removed after this long."""
    keep_gb: float = 20.0
    """And the oldest go when all take more than this."""
    limits: Limits = field(default_factory=Limits)
    """The most that one request may ask for."""

    def check(self) -> None:
        """Everything that can be checked before anything starts. Raises UserError."""
        names = [name for name, _ in self.named_models()]
        if not names:
            raise UserError("a model is needed: leave --models out for nano")
        for name in names:
            if not _NAME.fullmatch(name):
                raise UserError(f"a model's name must be letters, digits, '.', '_', '-', got {name!r}: use NAME=MODEL")
            if names.count(name) > 1:
                raise UserError(f"two models are named {name!r}: tell them apart with NAME=MODEL")
        if not 0 <= self.port < 65536:
            raise UserError(f"port must lie between 0 and 65535, got {self.port}: use 8000")
        for field_name, value in (("queue", self.queue), ("batch", self.batch), ("devices", len(self.devices))):
            if value < 1:
                raise UserError(f"{field_name} must be at least 1, got {value}: use 1 or more")
        for field_name, amount in (("keep-hours", self.keep_hours), ("keep-gb", self.keep_gb)):
            if amount <= 0:
                raise UserError(f"{field_name} must be above 0, got {amount:g}: leave it out")
        for folder in self.datasets:
            if not (folder / "metadata.parquet").is_file():
                raise UserError(f"{folder} is no dataset folder, it has no metadata.parquet: make one: videosyn curate")
        if self.token() is None and self.host not in LOOPBACK and not self.insecure:
            raise UserError(
                f"listening on {self.host} needs a token: set {TOKEN_VARIABLE} or --token-file (or --insecure, for all)"
            )

    def named_models(self) -> list[tuple[str, str]]:
        """(name for clients, model) of each."""
        pairs = []
        for each in self.models:
            name, equals, model = each.partition("=")
            pairs.append((name, model) if equals else (Path(each).name, each))
        return pairs

    def token(self) -> str | None:
        """The token that requests must bear; None: none is asked for. A UserError where it is too short."""
        if self.token_file is not None:
            try:
                token = self.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"cannot read the token from {self.token_file}: {error}") from error
        elif TOKEN_VARIABLE in os.environ:
            token = os.environ[TOKEN_VARIABLE].strip()
        else:
            return None
        if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise UserError(
                f"the token must be at least {SHORTEST_TOKEN} characters of ASCII without spaces: openssl rand -hex 32"
            )
        return token

    def data_folder(self) -> Path:
        """`data`, else videosyn/serve in the user's data folder."""
        if self.data is not None:
            return self.data
        home = os.environ.get("XDG_DATA_HOME")
        return (Path(home) if home else Path.home() / ".local" / "share") / "videosyn" / "serve"
