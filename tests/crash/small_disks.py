"""Small disks, which a run can fill."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NoDiskError(Exception):
    """The system does not let us have a small disk; the message says why."""


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A folder on a disk of that size, in memory; only root may make one.

    Raises:
        NoDiskError: the system does not let us.
    """
    folder = Path(tempfile.mkdtemp(prefix="ozelot-crash-"))  # not below a folder that only this user may enter
    try:
        _call("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder))
        try:
            yield folder
        finally:
            _call("umount", "--lazy", str(folder))
    finally:
        folder.rmdir()


def _call(name: str, *arguments: str) -> None:
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if program is None:
        raise NoDiskError(f"no {name} is installed")
    done = subprocess.run([program, *arguments], cwd="/", capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoDiskError(f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
