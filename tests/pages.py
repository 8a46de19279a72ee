"""Pages of the documentation, typed by a literal reader: files are saved, commands typed, what is printed compared.

A page is read from top to bottom, in one folder and one shell:

- a code block after "... as `NAME`:" is saved as that file, one after "... to the end of `NAME`:" is added to it, and
  one in `diff` after "... in `NAME`:" changes it;
- each line of a `console` block that begins with `$` is typed, the lines below it are what it prints, `...` for
  whatever differs from run to run;
- any other block of Python is typed in a session, one for all that follow each other, in the folder in which the
  reader is then.
"""

from __future__ import annotations

import doctest
import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from tests import quick

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(r"(as|to\s+the\s+end\s+of|in)\s+`([\w./-]+)`:$")
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_PATIENCE = 300  # seconds, for a whole page


class Block(NamedTuple):
    """A code block of a page."""

    language: str
    text: str
    line: int
    verb: str  # what is done to the file: as, to the end of, in
    file: str

    @property
    def kind(self) -> str:
        """What a reader does with it: save or change a file, type it in the shell, or in Python; or nothing."""
        return "file" if self.file else self.language if self.language in ("console", "python") else ""


def blocks(page: str) -> Iterator[Block]:
    """All code blocks of a page, in order."""
    for fence in _FENCE.finditer(page):
        before = re.search(r"(?:\A|\n\n)((?:(?!\n\n).)*)\n\n\Z", page[: fence.start()], re.DOTALL)
        named = _NAMED.search(before[1]) if before else None
        if named and (named[1] != "in" or fence[1] == "diff"):
            verb, file = " ".join(named[1].split()), named[2]
        else:
            verb = file = ""
        yield Block(fence[1], fence[2], page[: fence.start()].count("\n") + 1, verb, file)


def commands(block: str) -> list[tuple[str, str]]:
    """What is typed in a block of `console`, and what that prints."""
    joined = re.sub(r"\\\n", "", block)
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", joined, re.MULTILINE)


def check_page(page: Path, folder: Path) -> None:
    """Do all that a page says, in a folder.

    Raises:
        AssertionError: something is not as the page shows it; with the line, and what was printed.
    """
    with shell(folder) as reader:
        typed = [block for block in blocks(page.read_text(encoding="utf-8")) if block.kind]
        for kind, several in itertools.groupby(typed, key=lambda block: block.kind):
            if kind == "python":
                _session(list(several), folder / ".session", reader, page.name)
                continue
            for block in several:
                where = f"{page.name}:{block.line}"
                if kind == "file":
                    _write(reader.folder / block.file, block, where)
                    continue
                for command, expected in commands(block.text):
                    _compare(f"{where}: {command}", expected, reader.type(command))


def check_consoles(page: str, folder: Path, *, at_least: int) -> None:
    """Type the commands of a page alone, in a folder in which everything else is there already."""
    typed = [pair for block in blocks(page) if block.language == "console" for pair in commands(block.text)]
    assert len(typed) >= at_least
    with shell(folder) as reader:
        for command, expected in typed:
            _compare(command, expected, reader.type(command))


def _session(several: list[Block], file: Path, reader: Reader, page: str) -> None:
    lines: list[str] = []
    for block in several:  # on the lines on which they are in the page, for errors to name
        lines += [""] * (block.line - 1 - len(lines))
        lines += ["```python", *block.text.splitlines(), "```"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    printed = reader.type(f"{quick.SESSION} {shlex.quote(str(file))}")
    assert reader.code == 0, f"{page}:{several[0].line}: {printed}"


class Reader:
    """Somebody at a shell."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin: IO[str] = process.stdin
        self._stdout: IO[str] = process.stdout
        self._step = folder / ".step"
        self.folder = folder
        self.code = 0

    def type(self, command: str) -> str:
        """What a command prints; there is no terminal at which it could ask."""
        self._step.write_text(f"(exit {self.code})\n{command}\n", encoding="utf-8")
        mark = "@@ next @@"
        self._stdin.write(f'. {shlex.quote(str(self._step))} </dev/null\necho "{mark} $? $PWD"\n')
        self._stdin.flush()
        printed = ""
        for line in self._stdout:
            text, found, rest = line.partition(mark)
            printed += text
            if found:
                code, _, folder = rest.strip().partition(" ")
                self.code, self.folder = int(code), Path(folder)
                return printed
        raise AssertionError(f"the shell ended, or took more than {_PATIENCE} s: {command}\n{printed}")


@contextmanager
def shell(folder: Path) -> Iterator[Reader]:
    """A shell in a folder, as that of a reader who has installed ozelot."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OZELOT_")}
    with subprocess.Popen(
        ["sh"],
        cwd=folder,
        env={**plain, "PATH": f"{quick.commands()}:{Path(sys.executable).parent}:/usr/bin:/bin", "PWD": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        guard = threading.Timer(_PATIENCE, _end_all, [process])
        guard.start()
        try:
            yield Reader(process, folder)
        finally:
            guard.cancel()
            _end_all(process)


def _end_all(process: subprocess.Popen[str]) -> None:
    """End a shell, and what a page that stopped half-way left running in it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _compare(what: str, expected: str, printed: str) -> None:
    # Doctest takes `...` at the start of what is expected for a line that goes on.
    same = doctest.OutputChecker().check_output(f"[...]{expected}", f"[...]{printed}", _FLAGS)
    assert same, f"{what}\n--- the page says\n{expected}--- and it prints\n{printed}"


def _write(path: Path, block: Block, where: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if block.verb == "as":
        path.write_text(block.text, encoding="utf-8")
        return
    text = path.read_text(encoding="utf-8")
    if block.verb == "in":
        path.write_text(changed(text, block.text, where), encoding="utf-8")
    else:
        path.write_text(f"{text.rstrip()}\n\n\n{block.text}", encoding="utf-8")


def changed(text: str, diff: str, where: str) -> str:
    """A text with a diff applied, whose parts are found by what they take away and what stands around it.

    Raises:
        AssertionError: a part is not there, or more than once.
    """
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE):
        lines = [line for line in hunk.splitlines() if not line.startswith(("--- ", "+++ "))]
        if not any(line.startswith(("+", "-")) for line in lines):
            continue
        old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
        new = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
        assert text.count(old) == 1, f"{where}: {text.count(old)} places for\n{old}"
        text = text.replace(old, new)
    return text
