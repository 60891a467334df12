"""What `videosyn curate`, `videosyn worker` and `videosyn curate dead-letters` can be told. Next: `curate.py`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig

_POSTGRESQL = "postgresql://user@host/database"


@dataclass(frozen=True)
class CurateOptions(CurationConfig):
    """Footage into captioned clips: shots, duplicates, aesthetics, motion, overlaid text, captions.

    Every flag is also a field of the YAML file that --config names; flags override it. The same command again goes on
    with a run that was stopped.
    """

    sources: Annotated[Positional[tuple[str, ...]], arg(metavar="SOURCES ...")] = ()
    """Videos: files, folders, globs, fsspec URLs such as s3://bucket/footage."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("dataset")
    """The dataset's folder: clips/, metadata.parquet, rejected.parquet, report.html."""
    engine: Literal["local", "queue"] = "local"
    """local: this machine's cores. queue: any machine's `videosyn worker`, through a broker."""
    workers: int = 0
    """Local: worker processes, 0: one a core."""
    broker: str = ""
    """Queue: RabbitMQ, amqp://user:password@host:5672."""
    ledger: str = ""
    """Queue: the database that all workers reach, postgresql://user:password@host/database."""
    work: str = ""
    """Queue: folder or fsspec URL that all workers reach, for what stages leave each other. Empty: in the dataset."""
    shards: bool = False
    """Also write WebDataset shards and partitioned Parquet, as --write.shards does."""
    config: Annotated[str, arg(metavar="FILE")] = ""
    """YAML file with any of these fields."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers < 0:
            raise UserError(f"workers must not be negative, got {self.workers}: use 0 for the default")

    def check(self) -> None:
        """What can be checked without looking at sources. Raises UserError."""
        if not self.sources:
            raise UserError("sources are needed: videosyn curate FOLDER -o DATASET")
        self.check_effect()
        if self.output.is_file():
            raise UserError(f"{self.output} is a file: choose a new folder")
        if self.engine == "queue":
            check_places(self.broker, self.ledger)
            if self.workers:
                raise UserError("--workers is for the local engine: start `videosyn worker` on any machine instead")
        for name in ("broker", "ledger", "work"):
            if self.engine == "local" and getattr(self, name):
                raise UserError(f"--{name} is for the queue engine: add --engine queue, or leave it out")

    def curation(self) -> CurationConfig:
        """The part that decides what the dataset holds."""
        parts = {field.name: getattr(self, field.name) for field in fields(CurationConfig)}
        return CurationConfig(**{**parts, "write": replace(self.write, shards=self.write.shards or self.shards)})


@dataclass(frozen=True)
class WorkerOptions:
    """Works on tasks of a curation of the queue engine until it is stopped; start and stop as many as you like."""

    broker: str = ""
    """RabbitMQ, amqp://user:password@host:5672."""
    ledger: str = ""
    """The run's database, postgresql://user:password@host/database."""
    stages: Annotated[tuple[str, ...], arg(metavar="STAGE ...")] = ("all",)
    """Which stages to work on, such as shots,motion."""
    concurrency: Annotated[tuple[str, ...], arg(metavar="STAGE=N ...")] = ()
    """Worker processes of single stages, or of all=N each; of the others as many as cores and memory allow."""

    def check(self) -> None:
        check_places(self.broker, self.ledger)
        if not self.stage_names():
            raise UserError("--stages must name a stage, or all, got none: use --stages all")
        self.processes()

    def stage_names(self) -> tuple[str, ...]:
        """Whether parted by spaces or commas."""
        return tuple(name for word in self.stages for name in word.split(",") if name)

    def processes(self) -> dict[str, int]:
        """`concurrency` as stage -> number. Raises UserError."""
        words = [word for each in self.concurrency for word in each.split(",") if word]
        pairs = [word.partition("=") for word in words]
        for word, (_, _, number) in zip(words, pairs):
            if not number.isdigit() or int(number) < 1:
                raise UserError(f"concurrency is STAGE=N with N at least 1, got {word!r}: use text=2")
        return {name: int(number) for name, _, number in pairs}


@dataclass(frozen=True)
class DeadLettersOptions:
    """Lists tasks that failed too often, with the reason; with --requeue they get another try."""

    dataset: Annotated[Positional[Path | None], arg(metavar="DATASET")] = None
    """Folder of a curation of the local engine."""
    ledger: str = ""
    """Database of a curation of the queue engine, postgresql://user:password@host/database."""
    requeue: bool = False
    """Opens them again; then the curation's own command goes on, or its workers do at once."""
    sources: tuple[str, ...] = ()
    """Only those of these sources, paths or URLs."""

    def check(self) -> None:
        if (self.dataset is None) == (not self.ledger):
            raise UserError(f"say which curation: its DATASET folder, or --ledger {_POSTGRESQL}")


def check_places(broker: str, ledger: str) -> None:
    """Raises UserError for a place that the queue engine needs and does not have."""
    if not broker.startswith(("amqp://", "amqps://")):
        raise UserError(f"the queue engine needs --broker amqp://user:password@host:5672, got {broker or 'none'!r}")
    if not ledger.startswith(("postgresql://", "postgres://")):
        raise UserError(f"the queue engine needs --ledger {_POSTGRESQL}, got {ledger or 'none'!r}")
