"""Starting commands, following how far they are, and killing them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.folders import EXAMPLES, ROOT

PATIENCE = 120.0  # seconds until a command counts as stuck


#: The shared file in which a command counts its beats: how many there were, and the time of the first.
BEATS = struct.Struct("qd")


class StuckError(Exception):
    """A command did not end, or left processes behind that do not."""


class Ended(NamedTuple):
    """What came of a command; ``code`` is negative where a signal ended it."""

    code: int
    output: str


class Setup(NamedTuple):
    """What is to go wrong within the process: see :mod:`tests.crash.faults`."""

    fault: tuple[str, int, int] | None = None
    page_limit: int = 0


class Zygote:
    """Starts commands as forks of a process that has imported everything.

    Args:
        folder: where outputs go.
        modules: to import beforehand.
        cwd: where the commands run.
        environment: for them.
    """

    def __init__(self, folder: Path, modules: Sequence[str], *, cwd: Path, environment: dict[str, str]) -> None:
        self.output = folder / "output.txt"
        self.beats = folder / "beats"
        self.beats.write_bytes(bytes(BEATS.size))
        self.pulse, self._theirs = os.pipe()
        self._zygote = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.crash.zygote", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=cwd,
            env=environment,
            pass_fds=[self._theirs],
            start_new_session=True,
        )
        self._seen = b""

    def start(self, *arguments: str, setup: Setup | None = None, beat: int = 0) -> Running:
        """Start a command, once the one before is over.

        Args:
            arguments: of the command.
            setup: what is to go wrong in it.
            beat: the one that :meth:`Running.until_beat` will wait for.
        """
        while select.select([self.pulse], [], [], 0)[0]:
            os.read(self.pulse, 65536)
        self.beats.write_bytes(bytes(BEATS.size))
        request = {
            "arguments": arguments,
            "output": str(self.output),
            "pulse": self._theirs,
            "beats": str(self.beats),
            "beat": beat,
            **(setup or Setup())._asdict(),
        }
        self.output.unlink(missing_ok=True)
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps(request).encode() + b"\n")
        self._zygote.stdin.flush()
        pid = None
        while pid is None:
            pid = self.answer(PATIENCE)
        return Running(self, pid)

    def answer(self, seconds: float, *, or_beat: bool = False) -> int | None:
        """The next number that the zygote tells; None where the time is over, or the awaited beat comes first."""
        assert self._zygote.stdout is not None
        told = self._zygote.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._seen:
            files = [told, self.pulse] if or_beat else [told]
            ready = select.select(files, [], [], max(0, deadline - time.monotonic()))[0]
            if told not in ready:
                return None
            chunk = os.read(told, 65536)
            if not chunk:
                raise StuckError("The zygote is gone: see what it wrote to stderr")
            self._seen += chunk
        line, _, self._seen = self._seen.partition(b"\n")
        return int(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._zygote.kill()
        self._zygote.communicate()
        os.close(self.pulse)
        os.close(self._theirs)


class Running:
    """A command that runs.

    Attributes:
        pid: of its process.
        took: seconds until it ended.
    """

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self.pid = pid
        self.took = 0.0
        self._zygote = zygote
        self._began = time.monotonic()
        self._code: int | None = None

    def until_beat(self) -> bool:
        """Let it run until the beat that was asked for at the start; says whether it ended before."""
        return self._wait(PATIENCE, or_beat=True)

    def until(self, seconds: float = PATIENCE) -> bool:
        """Let it run for so long; says whether it ended before."""
        return self._wait(seconds)

    def _wait(self, seconds: float, *, or_beat: bool = False) -> bool:
        if self._code is None:
            self._code = self._zygote.answer(seconds, or_beat=or_beat)
            self.took = time.monotonic() - self._began
        return self._code is not None

    def beats(self) -> tuple[int, float]:
        """How many beats there were, and after how many seconds the first one came."""
        beats, first = BEATS.unpack(self._zygote.beats.read_bytes())
        return beats, max(0.0, first - self._began)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self) -> Ended:
        """Wait for its end, and for that of all processes that it started.

        Raises:
            StuckError: that takes too long; all is killed then.
        """
        if not self.until():
            self.kill(signal.SIGABRT)  # it writes down where its threads are
            self.until()
            raise StuckError(f"Still running after {PATIENCE:.0f} s:\n{self._output()}")
        assert self._code is not None
        for _ in polled("processes that the command left behind"):
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                break
        return Ended(self._code, self._output())

    def _output(self) -> str:
        path = self._zygote.output
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def polled(what: str, seconds: float = PATIENCE, pause: float = 0.005) -> Iterator[None]:
    """Look again and again.

    Raises:
        StuckError: the caller has not left the loop in that time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(pause)
    raise StuckError(f"Waited {seconds:.0f} s in vain for: {what}")


def environment(**more: str) -> dict[str, str]:
    """What the processes need to find this package, these tests and the example."""
    example = EXAMPLES / "superheroes"
    path = os.pathsep.join(path for path in [str(ROOT), str(example), os.environ.get("PYTHONPATH", "")] if path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OZELOT_")}
    return {**kept, "PYTHONPATH": path, **more}
