"""Servers of the tests' own, which may be stopped: PostgreSQL and MariaDB, each with its own folder and port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.ports import free_port

PATIENCE = 60.0  # seconds that a server may take to start


class NoServerError(Exception):
    """A server is not to be had; the message says why."""


class NoProgramError(NoServerError):
    """Its programs are not installed."""


class OwnServer:
    """A server that runs until the tests end it.

    Attributes:
        url: of its database.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self._folder = folder
        self._changing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:  # neither server runs as root
            shutil.chown(folder, "nobody", "nogroup")
            self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        if kind == "postgresql":
            self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
            self._run([_postgresql("initdb"), "-U", "postgres", "-A", "trust", "--no-sync", "-D", folder / "data"])
        else:
            self.url = f"mysql+pymysql://root@127.0.0.1:{self.port}/mysql"
            way = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
            install = _program("mariadb-install-db")
            self._run([install, "--no-defaults", f"--datadir={folder / 'data'}", f"--tmpdir={folder}", *way])

    def start(self, *options: str) -> str:
        """Start it where it does not run, and wait until it answers; returns its URL."""
        with self._changing:
            if self._process is None:
                self._start(*options)
        return self.url

    def _start(self, *options: str) -> None:
        data = self._folder / "data"
        program: list[str | Path]
        if self.kind == "postgresql":
            settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", *options)
            program = [_postgresql("postgres"), "-D", data, "-p", str(self.port)]
            program += [part for setting in settings for part in ("-c", setting)]
        else:
            program = [_program("mariadbd"), "--no-defaults", f"--datadir={data}", f"--tmpdir={self._folder}"]
            program += [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self._folder / 's'}"]
            program += ["--innodb-buffer-pool-size=32M", *(f"--{option}" for option in options)]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(program, stdout=log, stderr=log, cwd=self._folder, **self._user)
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                engine.connect().close()
                self._process = process
                return
            except sa.exc.OperationalError:
                if process.poll() is not None or time.monotonic() > end:
                    raise NoServerError((self._folder / "log").read_text()) from None

    def stop(self, *, crash: bool = False) -> None:
        """End it with all its connections, and wait until it is gone."""
        with self._changing:
            if self._process is not None:
                self._stop(self._process, crash=crash)
                self._process = None

    def crash(self) -> None:
        """Let it end at once, with nothing written down, and start again."""
        self.stop(crash=True)
        self.start()

    def _stop(self, process: subprocess.Popen[bytes], *, crash: bool) -> None:
        if self.kind == "postgresql":
            how = signal.SIGQUIT if crash else signal.SIGINT
        else:
            how = signal.SIGKILL if crash else signal.SIGTERM
        process.send_signal(how)
        process.wait(PATIENCE)

    def _run(self, program: Sequence[str | Path]) -> None:
        done = subprocess.run(program, capture_output=True, text=True, cwd=self._folder, check=False, **self._user)
        if done.returncode:
            raise NoServerError(f"{program[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


class Replica(OwnServer):
    """A read-only copy of a PostgreSQL server, which follows it; it is gone with that.

    Args:
        primary: the server.
    """

    def __init__(self, primary: OwnServer) -> None:
        self.kind = primary.kind
        self.port = free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        self._folder = primary._folder / "replica"
        self._folder.mkdir()
        self._changing = threading.Lock()
        self._process = None
        self._user = primary._user
        if self._user:
            shutil.chown(self._folder, self._user["user"], self._user["group"])
        there = f"host=127.0.0.1 port={primary.port} user=postgres"
        copy: list[str | Path] = [_postgresql("pg_basebackup"), "-d", there, "-D", self._folder / "data"]
        self._run([*copy, "-R", "-c", "fast", "--no-sync"])


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NoProgramError(f"no {name} is installed")
    return found


def _postgresql(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else _program(name)


@contextmanager
def own_server(kind: str) -> Iterator[OwnServer]:
    """A server that was set up but not started; it is gone after the block.

    Raises:
        NoServerError: it cannot be set up.
    """
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ozelot-server-") as folder:
        server = OwnServer(kind, Path(folder))
        try:
            yield server
        finally:
            server.stop(crash=True)


@contextmanager
def wanted_server(kind: str) -> Iterator[OwnServer]:
    """The same for a test, which is left out without the programs, or fails where all databases have to be there."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(own_server(kind))
        except NoProgramError as exc:
            if os.environ.get("OZELOT_TEST_ALL_DATABASES"):
                pytest.fail(str(exc))
            pytest.skip(str(exc))
        yield server
