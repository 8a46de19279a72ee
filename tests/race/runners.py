"""Runners: processes that start on one pipeline at the same moment."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.folders import ROOT
from tests.race import gate

_ERROR = re.compile(r"^(error|failed)\b|^Failed:|\bTraceback\b|\b(ERROR|CRITICAL)\b", re.M)


def ozelot(url: str, root: str) -> list[str]:
    """The command that runs a pipeline with ``python -m ozelot``."""
    return ["ozelot", "--pipeline", root, "--database", url, "run"]


def luigi(module: str, *task: str) -> list[str]:
    """The command that runs a task with ``python -m luigi``, on the database that the environment names."""
    return ["luigi", "--module", module, *task]


class Race:
    """Runners that have started.

    Attributes:
        processes: their numbers.
    """

    def __init__(self, folder: Path, zygote: subprocess.Popen[str], processes: list[int]) -> None:
        self.processes = processes
        self._folder = folder
        self._zygote = zygote
        self._began = 0.0

    def wait(self) -> float:
        """Wait until all have ended; returns how many seconds after the gate opened that was."""
        self._zygote.wait(gate.PATIENCE)
        assert self._zygote.returncode == 0, self._zygote.returncode
        return time.monotonic() - self._began

    def printed(self) -> list[str]:
        """What each of them has printed so far."""
        ends = ("out", "err")
        return [
            "".join((self._folder / f"{number}.{end}").read_text() for end in ends)
            for number in range(len(self.processes))
        ]

    def codes(self) -> list[int]:
        """The exit codes of all of them, once they have ended."""
        found: list[int] = json.loads((self._folder / "codes").read_text())
        return found

    def wait_at_gate(self, path: Path) -> None:
        """Wait until all have come to the gate."""
        try:
            gate.until(lambda: all(gate.has_come(path, process) for process in self.processes), "runners at the gate")
        except TimeoutError as exc:
            exc.add_note("\n".join(self.printed()))
            raise

    def opens(self) -> None:
        """The gate opens now."""
        self._began = time.monotonic()

    def ended_well(self, *, but: Sequence[int] = ()) -> list[str]:
        """Hold all runners (but for some) to have ended with code 0 and to have printed no error.

        Returns:
            What each of them printed.
        """
        codes = self.codes()
        found = []
        for number, (process, printed) in enumerate(zip(self.processes, self.printed(), strict=True)):
            if process not in but:
                assert codes[number] == 0, f"exit code {codes[number]}: {printed}"
                assert not _ERROR.search(printed), printed
                found.append(printed)
        return found


@contextmanager
def racing(commands: Sequence[Sequence[str]], folder: Path, url: str, **more: str) -> Iterator[Race]:
    """Runners that have all come to the gate in the modules of their pipelines, which has just opened.

    Args:
        commands: one for each runner.
        folder: where they run, with nothing of another race in it.
        url: the database, for those whose command does not name it.
        **more: environment variables.
    """
    path = folder / "gate"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "PYTHONWARNINGS": "ignore",
        "OZELOT_DATABASE_URL": url,
        gate.VARIABLE: str(path),
        **more,
    }
    zygote = subprocess.Popen(
        [sys.executable, "-m", "tests.race.zygote"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        with zygote.stdin, zygote.stdout, gate.closed(path):
            json.dump(commands, zygote.stdin)
            zygote.stdin.close()
            processes = [int(process) for process in zygote.stdout.readline().split()]
            assert len(processes) == len(commands)
            race = Race(folder, zygote, processes)
            race.wait_at_gate(path)
            race.opens()
        yield race
    finally:
        with suppress(ProcessLookupError):
            os.killpg(zygote.pid, signal.SIGKILL)  # the zygote's own session: nobody else is in it
        zygote.wait()
