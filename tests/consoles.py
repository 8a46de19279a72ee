"""What pages show of a terminal, typed again and compared."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

_MARK = "@@@ next @@@"


def check_consoles(page: str, folder: Path, *, at_least: int) -> None:
    """Type all commands of a page in a folder, one shell for each, and compare what they print.

    `...` stands for anything, and columns are as wide as the times in them.
    """
    (folder / "bin").mkdir()
    for name, module in (("ozelot", "-m ozelot"), ("python", "")):
        shim = folder / "bin" / name
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W ignore {module} "$@"\n')
        shim.chmod(0o755)
    examples = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        examples += re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    script = "\n".join(f"{command}\ncode=$?\ncd {folder}\necho '{_MARK}'\n(exit $code)" for command, _ in examples)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OZELOT_")}
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env={**plain, "PATH": f"{folder / 'bin'}:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    printed = done.stdout.split(f"{_MARK}\n")[:-1]
    assert len(printed) == len(examples) >= at_least
    checker = doctest.OutputChecker()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for (command, expected), got in zip(examples, printed, strict=True):
        assert checker.check_output(f"[...]{expected}", f"[...]{got}", flags), f"{command}\n{got}"
