"""Many processes that begin at once: imports what runners need, forks for each, and calls its command there.

Eight interpreters that import all of it would take longer than the race. A runner does what ``python -m MODULE`` does,
from the first line of that module to the exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
from pathlib import Path

import sqlalchemy as sa

#: Not luigi.cmdline, which looks at the arguments when it is imported.
_NEEDED = ["luigi", "ozelot.cli.app", "ozelot.cli.run", "ozelot.etl.tasks"]


def main() -> None:
    """Read commands from stdin (JSON: a list of ``[module, argument, ...]``) and run each in a process of its own.

    Runner ``n`` prints to ``n.out`` and ``n.err`` in the current folder. This one prints the process number of each in
    one line, and ends when all have ended, with their exit codes in ``codes``; minus a signal where one killed it.
    """
    commands: list[list[str]] = json.load(sys.stdin)
    for name in _NEEDED:
        importlib.import_module(name)
    sa.create_engine(os.environ["OZELOT_DATABASE_URL"])  # imports the driver, and connects to nothing
    processes = []
    for number, command in enumerate(commands):
        if (process := os.fork()) == 0:
            _become(number, command)
            return
        processes.append(process)
    print(*processes, flush=True)
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    Path("codes").write_text(json.dumps(codes))


def _become(number: int, command: list[str]) -> None:
    for stream, to in ((sys.stdout, f"{number}.out"), (sys.stderr, f"{number}.err")):
        opened = os.open(to, os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, stream.fileno())
        os.close(opened)
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
