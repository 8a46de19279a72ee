"""Commands that start in milliseconds: a process that has imported everything forks for each.

To import Python, Luigi and SQLAlchemy takes half a second, and the tests have hundreds of commands. A fork is a process
of its own, with the terminal, the folder and the environment of its caller. It shares with a fresh process the modules
that ozelot itself imports. A test needs a new interpreter if it is about imports (their time, their warnings, which
tables are known without them), about limits, users or mounts of the caller, or about a signal to a process group. So
does one that kills the process and reads nothing from it until its end: the caller kills a client of the fork.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import importlib.machinery
import marshal
import multiprocessing.process
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType, ModuleType, TracebackType

ROOT = Path(__file__).parents[1]
#: A command that runs the blocks of Python of a page, as one session.
SESSION = "_session"
_COMMANDS = {"python": [], "ozelot": ["-m", "ozelot"], SESSION: [str(ROOT / "tests" / "run_page.py")]}

# To import socket, signal and a module for the request would take longer than all else that it does.
_CLIENT = """\
#!{python} -IS
import _signal, _socket, marshal, os, sys
words, options = [*{words!r}, *sys.argv[1:]], []
environment = dict(os.environ)
settings = {{name: value for name, value in environment.items() if name.startswith("PYTHON")}}
options += filter(None, settings.pop("PYTHONWARNINGS", "").split(","))
settings.pop("PYTHONPATH", None)
rest = words[:]
while rest[:1] == ["-W"]:
    options.append(rest[1])
    del rest[:2]
if settings != {settings!r} or not rest or rest[0].startswith("-") and rest[0] not in ("-c", "-m"):
    os.execv({python!r}, [{python!r}, *words])  # what only a new process can do
asked = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
asked.connect({address!r})
files = b"".join(file.to_bytes(4, sys.byteorder) for file in (0, 1, 2))
signals = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)
ignored = [number for number in signals if _signal.getsignal(number) == _signal.SIG_IGN]
request = marshal.dumps([rest, options, os.getcwd(), environment, ignored])
asked.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
command = int(asked.recv(16) or 0)
def pass_on(number, _):
    try:
        os.kill(command, number)
    except ProcessLookupError:
        pass
for number in signals:
    _signal.signal(number, pass_on)
for file in (0, 1, 2):
    os.close(file)  # so that who reads what the command writes sees its end
code = int(asked.recv(16) or 1)
if code < 0:
    if -code != _signal.SIGKILL:
        _signal.signal(-code, _signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""
_LARGEST = 150_000  # bytes of a request
#: What is passed on, and what Python does with it.
_SIGNALS: dict[int, Callable[[int, FrameType | None], None] | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


@functools.cache
def commands() -> Path:
    """A folder, to be put in front of PATH, with `ozelot`, `python` and the command for sessions."""
    folder = Path(tempfile.mkdtemp(prefix="ozelot-quick-"))
    address = str(folder / "socket")
    settings = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    for name in ("PYTHONPATH", "PYTHONWARNINGS"):
        settings.pop(name, None)
    for name, words in _COMMANDS.items():
        text = _CLIENT.format(python=sys.executable, words=words, settings=settings, address=address)
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    ours = ("OZELOT_", "LUIGI_", "PYTHONWARNINGS")  # which a test may have set
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__)), address],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(ours)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C at the terminal of the tests is for these
    )
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"

    def end() -> None:
        server.communicate()
        shutil.rmtree(folder)

    atexit.register(end)
    return folder


def ozelot(*arguments: str) -> list[str]:
    """The command line of `python -m ozelot`."""
    return [str(commands() / "ozelot"), *arguments]


def python(*arguments: str) -> list[str]:
    """The command line of `python`, with `-c`, `-m` or a script, and before these `-W` any number of times."""
    return [str(commands() / "python"), *arguments]


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is multi-threaded, use of fork", DeprecationWarning)  # those of NumPy
        return os.fork()


def _serve(address: str) -> list[str] | None:
    """Fork for each request: gives what was asked for in the fork, and nothing when nobody will ask any more."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(address)
    listening.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    commands: dict[int, tuple[int, socket.socket]] = {}  # by a file that is ready when they end
    while True:
        asking = {client.fileno(): command for command, client in commands.values() if client.fileno() >= 0}
        ready = select.select([sys.stdin, listening, *commands, *asking], [], [])[0]
        if sys.stdin in ready:
            for command, _ in commands.values():
                with suppress(ProcessLookupError):
                    os.killpg(command, signal.SIGKILL)  # left by tests that were killed
            return None
        if listening in ready:
            client, _ = listening.accept()
            request, files, _, _ = socket.recv_fds(client, _LARGEST, 3)
            if command := _fork():
                for file in files:
                    os.close(file)
                _tell(client, command)
                commands[os.pidfd_open(command)] = command, client
            else:
                for file in commands:
                    os.close(file)
                for opened in (listening, client, *(client for _, client in commands.values())):
                    opened.close()
                return _become(request, files)
        for file in commands.keys() & ready:
            command, client = commands.pop(file)
            os.close(file)
            _tell(client, os.waitstatus_to_exitcode(os.waitpid(command, 0)[1]))
            client.close()
        for _, client in commands.values():
            if client.fileno() in ready:  # it was killed
                os.kill(asking[client.fileno()], signal.SIGKILL)
                client.close()


def _tell(client: socket.socket, number: int) -> None:
    with suppress(OSError):  # it may have been killed
        client.send(str(number).encode())


def _become(request: bytes, files: list[int]) -> list[str]:
    """In a fork: be as the process that asked; gives the arguments of Python."""
    os.setsid()  # to signal its group reaches the processes that it starts, and not the server
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    words, options, folder, environment, ignored = marshal.loads(request)
    for number, usual in _SIGNALS.items():
        signal.signal(number, signal.SIG_IGN if number in ignored else usual)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = ["", *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    warnings._processoptions(options)  # type: ignore[attr-defined]
    _read_again(folder)
    return list(words)


def _read_again(folder: str) -> None:
    """What modules keep of the process that imported them."""
    import luigi.configuration
    import luigi.setup_logging

    time.tzset()
    tempfile.tempdir = None
    multiprocessing.process.ORIGINAL_DIR = folder  # type: ignore[attr-defined]
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # type: ignore[union-attr]
    luigi.configuration.LuigiConfigParser._instance = None
    if path := os.environ.get("LUIGI_CONFIG_PATH"):
        luigi.configuration.add_config_path(path)
    luigi.setup_logging.BaseLogging.config = luigi.configuration.get_config()  # which it took when it was imported


def _run(words: list[str]) -> None:
    """Do what Python does with these arguments."""
    sys.excepthook = _as_if_outermost
    main = sys.modules["__main__"] = ModuleType("__main__")
    sys.argv = words
    if words[0] == "-m":
        sys.path[0] = str(Path.cwd())
        sys.argv = ["-m", *words[2:]]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        code = compile(words[1], "<string>", "exec", dont_inherit=True)
    else:
        main.__file__ = str(Path.cwd() / words[0])
        sys.path[0] = str(Path(words[0]).resolve().parent)
        main.__loader__ = loader = importlib.machinery.SourceFileLoader("__main__", main.__file__)
        code = loader.source_to_code(loader.get_data(main.__file__), main.__file__)
    exec(code, vars(main))


def _as_if_outermost(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    while trace and trace.tb_next and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


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
        _run(found)
