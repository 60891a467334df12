"""The child's end of `isolation.py`: makes the stages and runs them, unit after unit."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig
from videosyn.curation.isolation import receive, send
from videosyn.curation.pipeline import Step, named
from videosyn.curation.records import Clip, Source
from videosyn.curation.tasks import StageInfo
from videosyn.curation.work import Work, is_full


def main() -> None:
    """Serves its parent until the pipe ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what stages print must not look like a reply
    faulthandler.enable()
    messages: queue.Queue[Any] = queue.Queue()
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nor may they read the parent's messages
    parent, steps, config, work = receive(requests)
    _end_with_parent(parent)
    threading.Thread(target=_listen, args=(requests, messages), daemon=True).start()
    stages = Stages(steps, config, Work(work))
    send(replies, ("ready", ""))
    while True:
        message = messages.get()
        if message[0] == "describe":
            send(replies, stages.describe())
        else:
            send(replies, stages.run(message[1], message[2], replies))


class Stages:
    """The pipeline's stages in this process, each made and set up when first needed."""

    def __init__(self, steps: Sequence[Step | StageInfo], config: CurationConfig, work: Work) -> None:
        self._steps = {step.name: step for step in steps}
        self._config, self._work = config, work
        self._made: dict[str, Any] = {}
        self._ready: set[str] = set()

    def describe(self) -> tuple[str, Any]:
        infos = []
        for name, step in self._steps.items():
            try:
                stage = self._make(name)
                infos.append(StageInfo(name, step.over, step.code, stage.version, stage.resources))
            except Exception as error:  # whatever its author's code does
                traceback.print_exc()
                return "unusable", f"stage {name} cannot start: {one_line(error)}"
        return "ok", (tuple(infos), 0.0)

    def run(self, name: str, given: Any, replies: BinaryIO) -> tuple[str, Any]:
        """("ok", (value, seconds)), or "error", "memory" or "unusable" with one line.

        A disk without room is nothing of the unit's: "unusable".
        """
        if name not in self._ready:
            send(replies, ("setup", ""))
            problem = ""
            try:
                self._make(name).setup()
                self._ready.add(name)
            except Exception as error:
                traceback.print_exc()
                problem = one_line(error)
            send(replies, ("ready", ""))
            if problem:
                return "unusable", f"cannot start: {problem}"
        begin = time.perf_counter()
        try:
            value = self._process(name, given)
        except MemoryError:
            return "memory", "MemoryError: it needs more memory than there is"
        except Exception as error:
            traceback.print_exc()
            if is_full(error):
                return "unusable", f"cannot write: {one_line(error)}; make room, and the same command goes on"
            return "error", one_line(error)
        return "ok", (value, time.perf_counter() - begin)

    def _make(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = named(self._steps[name].code)(self._config)
        return self._made[name]

    def _process(self, name: str, given: Any) -> Any:
        stage, over, work = self._make(name), self._steps[name].over, self._work
        if over == "path":
            source: Source = stage.process_path(given, work)
            work.write_source(source)
            scanner = next(step.name for step in self._steps.values() if step.over == "span")
            return source, self._make(scanner).num_spans(source)
        if over == "span":
            source, span = given
            return stage.process_span(source, span, work)
        if over == "clip":
            return stage.process(given, work)
        if isinstance(given, Source):
            if work.source(given.id) != given:  # a file with the same content was probed later
                work.write_source(given)
            return stage.process_source(given, work)
        return _same_clips(given, stage.process_group(given, work)) if given else []


def _same_clips(given: Sequence[Clip], returned: Sequence[Clip]) -> list[Clip]:
    if [clip.id for clip in given] != [clip.id for clip in returned]:
        raise RuntimeError("the stage must return the clips it was given, in the same order")
    return list(returned)


def one_line(error: BaseException) -> str:
    """What went wrong: a user's mistake in its own words, anything else with its kind."""
    words = " ".join(str(error).split())[:500]
    return words if isinstance(error, UserError) else f"{type(error).__name__}: {words}".rstrip(": ")


def _listen(requests: BinaryIO, messages: queue.Queue[Any]) -> None:
    try:
        while True:
            messages.put(receive(requests))
    except BaseException:  # the parent is gone, however that shows
        os._exit(0)


def _end_with_parent(parent: int) -> None:
    """On Linux: also ends with the parent where stage code holds the interpreter, and is the first to go when memory
    runs out, so that the run survives."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    with contextlib.suppress(OSError):  # not permitted everywhere
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if os.getppid() != parent:
        os._exit(0)
