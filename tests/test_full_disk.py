"""A disk that is full: the message says so, and what is complete stays known."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calling import environment

pytestmark = pytest.mark.slow

#: Mounts a disk of 400 KB in a namespace of its own, fills it, and calls a command.
FULL = """
mount -t tmpfs -o size=400k tmpfs "$1" && cd "$1" || exit 99
"$2" -m ozelot db init && "$2" -m ozelot run --quiet && "$2" -m ozelot status > /dev/null || exit 98
dd if=/dev/zero of=fill bs=1k 2> /dev/null
shift 2
exec "$@"
"""


def on_full_disk(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    namespace = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        reason = "no disk can be mounted here"
        if os.environ.get("OZELOT_TEST_ALL_DATABASES"):
            pytest.fail(reason)
        pytest.skip(reason)
    settings = {"OZELOT_DATABASE_URL": "sqlite:///a.db", "OZELOT_LOG_LEVEL": "ERROR"}
    pipeline = {"OZELOT_PIPELINE": "tests.cli.shop:LoadShelves", "OZELOT_MODELS": "tests.cli.shop"}
    done = subprocess.run(
        [*namespace, "sh", "-c", FULL, "sh", folder, sys.executable, sys.executable, "-m", "ozelot", *arguments],
        env=environment(**settings, **pipeline),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode not in (98, 99), done.stdout + done.stderr
    return done


@pytest.mark.parametrize("command", ["status", "history", "run"])
def test_a_command_on_a_full_disk_says_so_in_one_line(tmp_path: Path, command: str) -> None:
    done = on_full_disk(tmp_path, command)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "free space on the disk of the database, then run again" in done.stderr
    assert "that you may read" not in done.stderr
