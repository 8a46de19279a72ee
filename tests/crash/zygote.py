"""A process that has imported everything, and turns into the command ``ozelot`` whenever it is asked to.

To import Python, Luigi and SQLAlchemy takes a second, to fork takes milliseconds: so a thousand kills take minutes.
The fork has no client, no engine and no connection yet; all that it shares with a fresh process are the modules.

It reads requests from its standard input, one a line, as JSON, and answers each with two lines: the number of the
process, and, when that is over, its exit code as :mod:`subprocess` counts it::

    python -m tests.crash.zygote MODULE...

The fork counts its beats, one for each statement and each end of a transaction, before it and after it, in a file that
is shared, and says when it comes to the one that it was asked for: so whoever is to kill it knows how far it is.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import importlib
import json
import mmap
import os
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from ozelot.cli.app import main
from tests.crash import faults
from tests.crash.launching import BEATS

#: What the commands import when they are called.
_LATER = [
    "ozelot.cli.clear",
    "ozelot.cli.history",
    "ozelot.cli.run",
    "ozelot.cli.status",
    "ozelot.cli.db",
    "multiprocessing.queues",
    "psycopg",
    "pydantic",
    "pymysql",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
]


def next_request() -> dict[str, Any] | None:
    """Fork for each request: gives it in the fork, and nothing at all in the zygote, when there are no more."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            request: dict[str, Any] = json.loads(line)
            return request
        _answer(child)
        _answer(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return None


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def become(request: dict[str, Any]) -> None:
    """Be the command from here on."""
    os.setsid()  # so that all that it starts can be found
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate([nothing, output, output]):
        os.dup2(file, number)
    faulthandler.enable(file=2)
    sys.argv = ["ozelot", *request["arguments"]]
    _beat(request["beats"], request["beat"], request["pulse"])
    if request["page_limit"]:
        faults.limit_pages(request["page_limit"])
    if request["fault"]:
        faults.arm(*request["fault"])
    main(request["arguments"])


def _beat(path: str, wanted: int, pulse: int) -> None:
    with Path(path).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), BEATS.size)
    beats = 0
    first = 0.0

    def beat(*_: object, **__: object) -> None:
        nonlocal beats, first
        beats += 1
        first = first or time.monotonic()
        BEATS.pack_into(shared, 0, beats, first)
        if beats == wanted:
            os.write(pulse, b".")

    for name in ("before_cursor_execute", "after_cursor_execute", "commit", "rollback"):
        sa.event.listen(sa.Engine, name, beat)


def end(code: object) -> None:
    """End as Python does, but for the taking apart of all modules, which takes longer than all else here."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    for module in [*sys.argv[1:], *_LATER]:
        with suppress(ImportError):  # drivers of databases that are not to be attacked
            importlib.import_module(module)
    orm.configure_mappers()
    gc.freeze()  # else the first collection in each fork would copy all memory
    if (found := next_request()) is not None:
        try:
            become(found)
        except SystemExit as exc:
            end(exc.code)
        except BaseException:  # noqa: BLE001 - as Python itself does with what nobody catches
            traceback.print_exc()
            end(1)
