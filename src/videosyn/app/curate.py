"""`videosyn curate`, `videosyn worker`, `videosyn curate dead-letters`: words in, an engine's run, a table out.

Next: `curation/pipeline.py`, the visible list of stages.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from videosyn.app.curation_options import CurateOptions, DeadLettersOptions, WorkerOptions
from videosyn.core.errors import UserError
from videosyn.curation.results import Progress, SetAside, Summary
from videosyn.curation.sources import find_sources

LINE_SECONDS = 30.0
"""Between lines of progress where no terminal shows bars."""
MOST_SET_ASIDE = 10
"""Lines of the summary; the report has all."""


def run(options: CurateOptions) -> None:
    """Finds the sources, runs the engine, prints what was kept and why the rest was not."""
    _check_installed("sqlalchemy", "scenedetect", "cv2", "pyarrow")
    begun = (options.output / ".curation").is_dir()
    own = [str(options.output)] if begun else []
    sources = find_sources(options.sources, skip=[*own, options.work] if options.work else own)
    print(f"videosyn: {len(sources):,} sources{', going on where it stopped' if begun else ''}", file=sys.stderr)
    try:
        with _shown_progress() as progress:
            summary = _run_engine(options, sources, progress)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("stopped; the same command goes on from here, nothing is lost") from stop
    _print_summary(summary, options.output)


def _run_engine(options: CurateOptions, sources: list[str], progress: Callable[[Progress], None]) -> Summary:
    if options.engine == "local":
        from videosyn.curation.local_engine import run_local
        from videosyn.curation.weights import check_machine, check_weights

        check_machine(options.curation())
        check_weights(options.curation())
        return run_local(options.curation(), sources, options.output, options.workers, progress)
    _check_installed("dramatiq", "pika", "psycopg")
    from videosyn.curation.queue_engine import run_queue

    places = (options.broker, options.ledger, options.work)
    return run_queue(options.curation(), sources, options.output, *places, progress=progress)


def run_worker(options: WorkerOptions) -> None:
    """Works until the dataset is finished or the worker is stopped."""
    _check_installed("sqlalchemy", "scenedetect", "cv2", "dramatiq", "pika", "psycopg")
    from videosyn.curation.worker import run_worker as work

    work(
        options.broker,
        options.ledger,
        options.stage_names(),
        options.processes(),
        say=lambda line: print(f"videosyn: {line}", file=sys.stderr, flush=True),
    )


def run_dead_letters(options: DeadLettersOptions) -> None:
    """Prints a line a dead task, or opens them again."""
    _check_installed("sqlalchemy")
    from videosyn.curation.dead_letters import requeue
    from videosyn.curation.finish import absolute
    from videosyn.curation.ledger import Ledger

    ledger = Ledger(options.ledger or _ledger_of(options.dataset))
    try:
        chosen = [absolute(source) for source in options.sources]
        if unknown := sorted(set(chosen).difference(ledger.paths())):
            raise UserError(f"{unknown[0]} is no source of this curation: name it as the list without --sources does")
        if options.requeue:
            count = requeue(ledger, chosen)
            print(f"{count} tasks wait again{': the same curate command goes on' if count else ''}")
            return
        dead = [each for each in ledger.dead() if not chosen or each.path in chosen]
        for each in dead:
            print(_line(each))
        print(f"{len(dead)} tasks failed for good{'; --requeue tries them again' if dead else ''}")
    finally:
        ledger.database.close()


def _ledger_of(dataset: Path | None) -> str:
    path = Path(dataset or ".", ".curation", "ledger.sqlite")
    if not path.is_file():
        raise UserError(
            f"{dataset} holds no curation of the local engine: give its folder, or --ledger postgresql://..."
        )
    return str(path)


def _check_installed(*modules: str) -> None:
    if missing := [name for name in modules if find_spec(name) is None]:
        raise UserError(f"curation needs {missing[0]}, which is not installed: pip install 'videosyn[curate]'")


@contextmanager
def _shown_progress() -> Iterator[Callable[[Progress], None]]:
    """A function that shows progress on stderr: bars in a terminal, else a line now and then."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    from rich.live import Live

    with Live(console=console, transient=True, auto_refresh=False) as live:

        def show(progress: Progress) -> None:
            live.update(_bars(progress), refresh=True)

        yield show


class _Lines:
    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_SECONDS

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LINE_SECONDS
        stages = ", ".join(
            f"{name} {count.done}/{count.done + count.open}"
            for name, count in progress.stages.items()
            if count.done + count.open
        )
        line = f"{stages}; {_counts(progress)}{f'; {progress.note}' if progress.note else ''}"
        print(f"videosyn: {line}", file=sys.stderr, flush=True)


def _bars(progress: Progress):
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, count in progress.stages.items():
        known = count.done + count.open
        dead = f"[red]{count.dead} set aside[/red]" if count.dead else ""
        bar = ProgressBar(total=max(known, 1), completed=count.done, width=32, finished_style="green")
        table.add_row(name, bar, f"{count.done:,} of {known:,}" if known else "-", dead)
    table.add_row("", "", _counts(progress), progress.note)
    return table


def _counts(progress: Progress) -> str:
    return f"{progress.kept:,} clips alive, {progress.rejected:,} rejected"


def _print_summary(summary: Summary, dataset: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None, show_header=False)
    found = summary.num_kept + sum(summary.rejected.values())
    table.add_row("clips found", f"{found:,}", f"in {summary.num_sources:,} sources")
    for stage, count in summary.rejected.items():
        table.add_row(f"rejected by {stage}", f"{count:,}", "")
    table.add_row("[bold]clips kept[/bold]", f"[bold]{summary.num_kept:,}[/bold]", "")
    table.add_row("set aside", f"{len(summary.set_aside):,}", "")
    table.columns[1].justify = "right"
    console.print(table)
    for each in summary.set_aside[:MOST_SET_ASIDE]:
        console.print(f"  {_line(each)}", markup=False, highlight=False, soft_wrap=True)
    if len(summary.set_aside) > MOST_SET_ASIDE:
        console.print(f"  and {len(summary.set_aside) - MOST_SET_ASIDE:,} more", highlight=False)
    print(dataset / "report.html")


def _line(dead: SetAside) -> str:
    path = dead.path or dead.unit
    return f"{'' if path in dead.reason else f'{path}: '}{dead.reason} (stage {dead.stage})"
