"""Runs the code blocks of one page of the documentation, in order, and compares what they print.

A block with prompts is a doctest: `...` stands for anything, log lines count as output. One without is executed.
Run in a process of its own (tests.quick), so that a page sees what a user sees: fresh settings and models, logs on
stderr.
"""

from __future__ import annotations

import contextlib
import doctest
import re
import sys
from pathlib import Path
from typing import Any


class _ToStdout:
    """A stderr that shows up in the output that a doctest compares."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


def run(page: Path) -> int:
    """Run a page; returns the number of failures."""
    names: dict[str, Any] = {"__name__": "__main__"}
    failures = 0
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        line = text[: match.start()].count("\n") + 1
        if ">>>" not in match[1]:
            exec(compile("\n" * line + match[1], str(page), "exec", dont_inherit=True), names)
            continue
        # Doctest takes an expected line that begins with '...' for a continuation of the prompt.
        source = re.sub(r"^\.\.\. - ozelot", "[...] - ozelot", match[1], flags=re.MULTILINE)
        source = re.sub(r"^(Traceback .*\n)(?=\S)", r"\1    ...\n", source, flags=re.MULTILINE)
        test = doctest.DocTestParser().get_doctest(source, names, page.name, str(page), line)
        runner = doctest.DocTestRunner(checker=_Checker(), optionflags=doctest.ELLIPSIS)
        with contextlib.redirect_stderr(_ToStdout()):
            failures += runner.run(test, clear_globs=False).failed
        names.update(test.globs)
    return failures


class _Checker(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        stamped = re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - ozelot", "[...] - ozelot", got, flags=re.MULTILINE)
        return super().check_output(want, stamped, optionflags)


if __name__ == "__main__":
    import luigi

    luigi.configuration.get_config().set("core", "no_configure_logging", "true")
    sys.path[0] = ""  # a session is in the folder of the reader
    sys.exit(run(Path(sys.argv[1])) != 0)
