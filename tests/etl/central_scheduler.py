"""A central scheduler of Luigi, as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port
from tests.waiting import until


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/task_list", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def central_scheduler(folder: Path) -> Iterator[int]:
    """The port of a central scheduler that runs until the block ends, with its files in a folder."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("luigid")), "--port", str(port), "--address", "127.0.0.1"]
    # By default a luigid ignores for 10 s that a task which it saw done is incomplete again.
    # And it would try again, in 15 minutes, what failed.
    (folder / "luigid.cfg").write_text("[scheduler]\nstable_done_cooldown_secs = 0\nretry_count = 1\n")
    process = subprocess.Popen(
        [*command, "--state-path", str(folder / "state.pickle"), "--logdir", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LUIGI_CONFIG_PATH": str(folder / "luigid.cfg")},
    )
    try:
        until(
            lambda: _answers(port),
            "luigid to answer",
            unless=lambda: process.poll() is not None,
            seconds=30,
            pause=0.05,
        )
        yield port
    finally:
        process.terminate()
        process.wait(30)
