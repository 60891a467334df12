"""Stage code runs here: in a child process of its own, so that a crash or a hang costs that child and nothing else.

One child serves one worker slot for as long as it lives: it loads a stage once, then takes unit after unit through a
pipe. When the pipe ends, because the parent was killed, the child ends itself, even in the middle of a unit. What a
stage prints goes to the child's log. Next: `child.py` (the other end), `slots.py` (who uses this).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from videosyn.core.errors import UserError
from videosyn.curation.config import CurationConfig
from videosyn.curation.own_temporary import OwnTemporary
from videosyn.curation.pipeline import Step
from videosyn.curation.tasks import StageInfo

SETUP_LIMIT_S = 3600.0
"""A stage's `setup` may download weights."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_START = "from videosyn.curation.child import main; main()"


class StageUnusable(UserError):
    """A stage cannot start or write at all, whatever the unit: the run must not blame its sources."""


class ChildLost(Exception):
    """The child process ended, or was ended, in the middle of a unit. The message says how, in one line."""


@dataclass(frozen=True)
class ChildSetup:
    """What a child needs to make the stages; `steps` of the pipeline that are on."""

    steps: tuple[Step | StageInfo, ...]
    config: CurationConfig
    work: str
    threads: int = 1
    """For the numerical libraries of one child."""
    log: Path | None = None
    """Where its output goes; None: nowhere."""


class Child:
    """The parent's end of one child process, started when first used and again after it was lost."""

    def __init__(self, setup: ChildSetup) -> None:
        self._setup = setup
        self._process: subprocess.Popen[bytes] | None = None
        self._temporary: OwnTemporary | None = None
        self._replies: queue.Queue[Any] = queue.Queue()
        self._stopped = False

    def describe(self) -> tuple[StageInfo, ...]:
        """What each stage says of itself. Raises StageUnusable where a stage's code cannot be imported or made."""
        kind, value = self._ask(("describe",), SETUP_LIMIT_S)
        if kind != "ok":
            raise StageUnusable(str(value))
        return value[0]

    def run(self, stage: str, given: Any, limit_s: float) -> tuple[Any, float]:
        """(what the stage made of `given`, seconds in its code).

        Raises ChildLost when the child crashed or `limit_s` is over, StageFailed for an error of the stage's own, and
        StageUnusable where its `setup` fails or a disk is full.
        """
        kind, value = self._ask(("run", stage, given), limit_s)
        if kind == "ok":
            return value
        if kind == "unusable":
            self.end()
            raise StageUnusable(f"stage {stage} {value}")
        if kind == "memory":
            self.end()
        raise StageFailed(value)

    def end(self) -> None:
        """Ends the child at once; the next use starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was still to be written
                        pipe.close()
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.remove()

    def stop(self) -> None:
        """Ends the child for good, from any thread: a `run` under way raises ChildLost."""
        self._stopped = True
        if (process := self._process) is not None:
            process.kill()

    def _ask(self, message: tuple[Any, ...], limit_s: float) -> tuple[str, Any]:
        if self._process is not None and self._process.poll() is not None:  # it died between two units
            self.end()
        self._send(message, self._process or self._start())
        reply = self._reply(limit_s)
        if reply[0] == "setup":
            self._reply(SETUP_LIMIT_S)  # "ready", or the end
            reply = self._reply(limit_s)
        return reply

    def _reply(self, limit_s: float) -> tuple[str, Any]:
        try:
            reply = self._replies.get(timeout=limit_s)
        except queue.Empty:
            self.end()
            raise ChildLost(f"took longer than its limit of {limit_s:g} s") from None
        if reply is None:
            process, status = self._process, None
            if process is not None:
                status = process.wait()
            self.end()
            raise ChildLost(_how_it_ended(status))
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        if self._stopped:
            raise ChildLost("the run was stopped")
        setup = self._setup
        environment = {name: str(setup.threads) for name in THREADS} | dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self._temporary = OwnTemporary()
        environment["TMPDIR"] = str(self._temporary.path)
        if setup.log is not None:
            setup.log.parent.mkdir(parents=True, exist_ok=True)
        log = open(setup.log or os.devnull, "ab")  # noqa: SIM115
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # the terminal's Ctrl-C is for the parent
            )
        self._replies = queue.Queue()
        threading.Thread(target=_read, args=(self._process.stdout, self._replies), daemon=True).start()
        if self._stopped:  # `stop` came while it started
            self._process.kill()
        process = self._process
        self._send((os.getpid(), setup.steps, setup.config, setup.work), process)
        self._reply(SETUP_LIMIT_S)  # "ready": from here on, time is the stage's
        return process

    def _send(self, message: Any, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it is dead: `_reply` says so
            send(process.stdin, message)


class StageFailed(Exception):
    """The stage raised an error; the message is one line."""


def send(pipe: IO[bytes], message: Any) -> None:
    """A message as its length in 8 bytes and its pickle: only ever between a parent and the child it started."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(len(content).to_bytes(8, "little") + content)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """The next message. Raises EOFError when the other end is gone."""
    header = pipe.read(8)
    content = pipe.read(int.from_bytes(header, "little")) if len(header) == 8 else b""
    if len(header) < 8 or len(content) < int.from_bytes(header, "little"):
        raise EOFError
    return pickle.loads(content)


def _read(pipe: Any, replies: queue.Queue[Any]) -> None:
    try:
        while True:
            replies.put(receive(pipe))
    except (EOFError, OSError, ValueError, pickle.UnpicklingError):
        replies.put(None)


def _how_it_ended(status: int | None) -> str:
    if status is None:
        return "its process was ended"
    if status >= 0:
        return f"its process ended with exit code {status}"
    try:
        return f"its process was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"its process was ended by signal {-status}"
