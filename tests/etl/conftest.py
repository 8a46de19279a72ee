"""A central scheduler of Luigi."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import quick


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/task_list", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        time.sleep(0.05)
        return False
    return True


@pytest.fixture
def luigid(tmp_path: Path) -> Iterator[int]:
    """The port of a running central scheduler."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    code = "from luigi.cmdline import luigid; luigid()"
    command = quick.python("-c", code, "--port", str(port), "--address", "127.0.0.1")
    # By default a luigid ignores for 10 s that a task which it saw done is incomplete again.
    # And it would try again, in 15 minutes, what failed.
    (tmp_path / "luigid.cfg").write_text("[scheduler]\nstable_done_cooldown_secs = 0\nretry_count = 1\n")
    process = subprocess.Popen(
        [*command, "--state-path", str(tmp_path / "state.pickle"), "--logdir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LUIGI_CONFIG_PATH": str(tmp_path / "luigid.cfg")},
    )
    try:
        end = time.monotonic() + 30
        while not answers(port):
            assert process.poll() is None and time.monotonic() < end
        yield port
    finally:
        process.terminate()
        process.wait(30)
