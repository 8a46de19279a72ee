"""``ozelot new`` and ``ozelot demo``: a project to begin with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ozelot.cli.output import say, visible
from ozelot.errors import ExitCode
from ozelot.starting import new_project


def new(name: str, *, example: str | None) -> int:
    """Make a project, and its database; says what to type next."""
    folder = new_project(Path(name), example)
    say(f"Created {visible(name)}")
    if example is not None:
        say(f"How to go on: {visible(str(Path(name) / 'README.md'))}")
        return ExitCode.OK
    code = _ozelot(folder, "db", "init")
    if code == ExitCode.OK:
        say(f"Run it with: cd {visible(name)}; ozelot run")
    return code


def demo(name: str) -> int:
    """Make a project, and run it."""
    folder = new_project(Path(name))
    say(f"Created {visible(name)}")
    for command in (("db", "init"), ("run", "--quiet"), ("status",)):
        say(f"$ ozelot {' '.join(command)}")
        if code := _ozelot(folder, *command):
            return code
    say(f"Look around: cd {visible(name)}; ozelot --help")
    return ExitCode.OK


def _ozelot(folder: Path, *arguments: str) -> int:
    """Call a command of ozelot in the folder of a project, by the settings of that project alone."""
    sys.stdout.flush()
    own = {name: value for name, value in os.environ.items() if not name.startswith("OZELOT_")}
    command = [sys.executable, "-m", "ozelot", *arguments]
    done = subprocess.run(command, cwd=folder, env=own, check=False)  # noqa: S603 - this very program
    return done.returncode
