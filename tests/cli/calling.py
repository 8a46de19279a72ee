"""Calling the commands: within this process, as a process of its own, and at a terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import luigi

from ozelot.cli.app import main
from tests import quick

ROOT = Path(__file__).parents[2]
SHOP = "tests.cli.shop:LoadShop"
_PATIENCE = 60.0  # seconds


@dataclass(frozen=True)
class Called:
    """What came of a command."""

    code: int
    out: str
    err: str = ""


def called(*arguments: str) -> Called:
    """Call a command within this process; there is no terminal."""
    luigi.task_register.Register.clear_instance_cache()
    log = logging.getLogger("ozelot")
    level = log.level
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as exc:
            code = exc.code
        finally:
            log.setLevel(level)  # of which a command means the rest of its process
    assert isinstance(code, int), code
    return Called(int(code), out.getvalue(), err.getvalue())


def environment(**more: str) -> dict[str, str]:
    """What processes of their own need, to find this package and these tests."""
    path = os.pathsep.join(path for path in [str(ROOT), os.environ.get("PYTHONPATH", "")] if path)
    return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore", **more}


def command(*arguments: str) -> list[str]:
    """The command line of a process of its own."""
    return quick.ozelot(*arguments)


def process(folder: Path, *arguments: str, **more: str) -> Called:
    """Call a command as a process of its own, without a terminal."""
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=_PATIENCE,
    )
    return Called(done.returncode, done.stdout, done.stderr)


def at_terminal(
    folder: Path,
    *arguments: str,
    answers: Sequence[str] = (),
    interrupt_at: Path | None = None,
    when_stopping: Callable[[], object] | None = None,
    **more: str,
) -> Called:
    """Call a command at a terminal of 80 columns.

    Args:
        folder: where.
        arguments: of the command.
        answers: what to type at each question.
        interrupt_at: press Ctrl-C when this file is there.
        when_stopping: what to do when the command says that it stops; by default, to press Ctrl-C once more.
        **more: environment variables.
    """
    ours, theirs = os.openpty()
    size = {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
    started = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=environment(**size, **more),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    left = list(answers)
    seen = b""
    waited = 0.0
    told = False
    try:
        while waited < _PATIENCE:
            if interrupt_at is not None and interrupt_at.exists():
                started.send_signal(signal.SIGINT)
                interrupt_at = None
            if not select.select([ours], [], [], 0.05)[0]:
                waited += 0.05
                continue
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not chunk:
                break
            seen += chunk
            if b"Press Ctrl-C again" in seen and not told:
                told = True
                (when_stopping or (lambda: started.send_signal(signal.SIGINT)))()
            if left and seen.rstrip().endswith(b"[y/N]"):
                os.write(ours, f"{left.pop(0)}\n".encode())
        return Called(started.wait(timeout=_PATIENCE), seen.decode().replace("\r\n", "\n"))
    finally:
        started.kill()
        os.close(ours)
