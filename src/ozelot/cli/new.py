"""``ozelot new`` and ``ozelot demo``: a project to begin with."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ozelot.cli.output import say, visible
from ozelot.errors import ExitCode, ProjectRefused

#: Whole projects that can be copied as they are.
EXAMPLES = ("employees", "flights", "leonardo", "superheroes")

_TEMPLATE, _NAME = "new", "project_name"
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.db", "*.db-*", "output", ".*")


def new_project(folder: Path, example: str | None = None) -> Path:
    """Make a project: a small one, whose package is called as the folder is, or a copy of an example.

    Args:
        folder: where it is to be; not there yet, or empty.
        example: one of :data:`EXAMPLES`.

    Returns:
        The folder, which holds all of the project; in case of an error it is as it was.

    Raises:
        ProjectRefused: the folder is taken, its name is none for a package, or there is no such example.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay what they are
    if example is not None and example not in EXAMPLES:
        raise ProjectRefused(f"No example is called {example!r}. There are: {', '.join(EXAMPLES)}")
    try:
        _make(folder, example)
    except OSError as exc:
        raise ProjectRefused(f"Cannot create {folder}: {exc.strerror or exc}") from exc
    return folder


def _make(folder: Path, example: str | None) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ProjectRefused(f"{folder} is there already, and not empty: choose another name")
    if not folder.parent.is_dir():
        raise ProjectRefused(f"There is no folder {folder.parent}: create it first")
    package = None if example else package_of(folder.name)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as temporary:
        made = Path(temporary) / "project"
        shutil.copytree(_shipped(example or _TEMPLATE), made, ignore=_LEFT_OUT)
        if package is not None:
            _rename(made, package)
        else:  # in the repository, the settings of all tests hold for those of examples
            shutil.copy(_shipped(_TEMPLATE) / "pytest.ini", made)
        made.replace(folder)


def package_of(name: str) -> str:
    """The name of a package for a project of this name: ``My-Project`` gives ``my_project``.

    Raises:
        ProjectRefused: there is none.
    """
    found = re.sub(r"\W+", "_", name.lower()).strip("_")
    if not found.isidentifier() or keyword.iskeyword(found):
        raise ProjectRefused(f"{name!r} gives no name for a Python package: begin it with a letter")
    spec = importlib.util.find_spec(found)
    if spec is not None and spec.origin is not None:
        raise ProjectRefused(f"There is a Python module {found!r} already, which this would hide: choose another name")
    return found


def _shipped(name: str) -> Path:
    """The folder of a project that ozelot brings along: in the package, or beside it in a clone."""
    here = Path(__file__).resolve()
    found = [folder / "examples" / name for folder in (here.parents[1], here.parents[3])]
    return next((path for path in found if path.is_dir()), found[0])


def _rename(folder: Path, package: str) -> None:
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(_NAME, package), encoding="utf-8")
    (folder / _NAME).rename(folder / package)
    (folder / "gitignore").rename(folder / ".gitignore")


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
