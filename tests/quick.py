"""Commands that start in milliseconds: a process that has imported everything forks for each.

To import Python, Luigi and SQLAlchemy takes half a second, and the documentation has hundreds of commands. A fork is
a process of its own, with the terminal, the folder and the environment of whoever called it; what it shares with a
fresh one are the modules that ozelot itself imports (and the settings of Luigi, which reads them when it is imported).
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: A command that runs the blocks of Python of a page, as one session.
SESSION = "_session"

_CLIENT = """\
#!{python} -IS
import json, os, socket, sys
asked = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
asked.connect({address!r})
request = json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(asked, [request], [0, 1, 2])
sys.exit(int(asked.recv(16) or 1))
"""
_LARGEST = 150_000  # bytes of a request


@functools.cache
def commands() -> Path:
    """A folder, to be put in front of PATH, with `ozelot`, `python` and the command for sessions."""
    folder = Path(tempfile.mkdtemp(prefix="ozelot-quick-"))
    address = str(folder / "socket")
    for name in ("ozelot", SESSION):
        _executable(folder / name, _CLIENT.format(python=sys.executable, address=address, name=name))
    _executable(folder / "python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.quick", address],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"

    def end() -> None:
        server.communicate()
        shutil.rmtree(folder)

    atexit.register(end)
    return folder


def _executable(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is multi-threaded, use of fork", DeprecationWarning)  # those of NumPy
        return os.fork()


def _serve(address: str) -> tuple[str, list[str]] | None:
    """Fork for each request: gives what was asked for in the fork, and nothing when nobody will ask any more."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(address)
    listening.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while listening in select.select([listening, sys.stdin], [], [])[0]:
        asking, _ = listening.accept()
        if not _fork():
            listening.close()
            return _become(asking)
        asking.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    return None


def _become(asking: socket.socket) -> tuple[str, list[str]] | None:
    """In a fork: what was asked for, in yet another fork; this one tells its exit code."""
    request, files, _, _ = socket.recv_fds(asking, _LARGEST, 3)
    command = _fork()
    if command:
        for file in files:
            os.close(file)
        if asking.fileno() in select.select([os.pidfd_open(command), asking.fileno()], [], [])[0]:
            os.kill(command, signal.SIGTERM)  # whoever called it was killed
        code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        with suppress(BrokenPipeError):
            asking.send(str(code if code >= 0 else 128 - code).encode())
        os._exit(0)
    asking.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    name, arguments, folder, environment = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    if environment.get("PYTHONWARNINGS") == "ignore":
        warnings.simplefilter("ignore")
    return name, arguments


def _import() -> None:
    import ozelot.cli

    for module in pkgutil.iter_modules(ozelot.cli.__path__, "ozelot.cli."):
        importlib.import_module(module.name)
    for name in ("alembic.autogenerate", "pandas", "psycopg", "sqlalchemy.dialects.sqlite"):
        importlib.import_module(name)
    gc.freeze()  # else the first collection in each fork would copy all memory


if __name__ == "__main__":
    _import()
    if (found := _serve(sys.argv[1])) is not None:
        called, typed = found
        sys.argv = [called, *typed]
        if called == SESSION:
            from tests import run_page

            sys.exit(run_page.main(Path(typed[0])))
        from ozelot.cli.app import main

        main(typed)
