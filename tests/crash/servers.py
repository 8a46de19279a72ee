"""Servers of our own in temporary folders, so that they can be killed in mid-run without anybody else noticing."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.crash.launching import polled


class NoServerError(Exception):
    """A server is not to be had; the message says what is missing."""


class Postgres:
    """A PostgreSQL cluster of its own.

    Args:
        folder: where it is to be; must be empty.
    """

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        self._data = folder / "data"
        self._folder = folder
        self._as: list[str] = []
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            try:
                pwd.getpwnam("postgres")
            except KeyError:
                raise NoServerError("As root, PostgreSQL needs a user postgres to run as") from None
            shutil.chown(folder, "postgres")
            self._as = [_program("runuser"), "-u", "postgres", "--"]
        self._pg_ctl = _program("pg_ctl")
        _call([*self._as, _program("initdb"), "-D", str(self._data), "-U", "postgres", "-A", "trust", "-N"], folder)
        self._control("start")

    def _control(self, *what: str) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1"
        log = str(self._folder / "log")
        _call([*self._as, self._pg_ctl, "-D", str(self._data), "-w", "-l", log, "-o", options, *what], self._folder)

    def crash(self) -> None:
        """Let it end at once, with nothing written down, and start again."""
        self._control("-m", "immediate", "restart")

    def stop(self) -> None:
        """End it for good."""
        self._control("-m", "immediate", "stop")


class Replica(Postgres):
    """A read-only copy of a cluster, which follows it; it is deleted with that.

    Args:
        primary: the cluster.
    """

    def __init__(self, primary: Postgres) -> None:
        self.port = _free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        self._folder = primary._folder / "replica"
        self._folder.mkdir()
        self._data = self._folder / "data"
        self._as, self._pg_ctl = primary._as, primary._pg_ctl
        if self._as:
            shutil.chown(self._folder, "postgres")
        where = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "-D", str(self._data)]
        _call([*self._as, _program("pg_basebackup"), *where, "-R", "-c", "fast"], self._folder)
        self._control("start")


class MariaDB:
    """A MariaDB server with data of its own; the folder must be empty."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.url = f"mysql+pymysql://root@127.0.0.1:{self.port}/"
        user = ["--user=root"] if os.geteuid() == 0 else []
        data = folder / "data"
        made = ["--auth-root-authentication-method=normal", "--skip-test-db", *user]
        _call([_program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", *made], folder)
        options = [f"--datadir={data}", f"--port={self.port}", f"--socket={folder / 'socket'}", *user]
        options += [f"--pid-file={folder / 'pid'}", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=32M"]
        self._command = [_program("mariadbd"), "--no-defaults", *options]
        self._log = folder / "log"
        self._start()

    def _start(self) -> None:
        with self._log.open("a") as log:
            self._server = subprocess.Popen(self._command, stdout=log, stderr=log)
        engine = sa.create_engine(self.url, poolclass=NullPool)
        for _ in polled(f"the MariaDB server, which wrote to {self._log}", pause=0.05):
            if self._server.poll() is not None:
                raise NoServerError(f"mariadbd ended with {self._server.returncode}:\n{self._log.read_text()[-2000:]}")
            try:
                engine.connect().close()
            except OperationalError:
                continue
            return

    def crash(self) -> None:
        """Kill it, and start it again."""
        self.stop()
        self._start()

    def stop(self) -> None:
        """Kill it."""
        self._server.kill()
        self._server.wait()


SERVERS: dict[str, type[Postgres] | type[MariaDB]] = {"postgresql": Postgres, "mariadb": MariaDB}


@contextmanager
def own_server(kind: str) -> Iterator[Postgres | MariaDB]:
    """A server in a temporary folder, until the block ends.

    Raises:
        NoServerError: its programs are not here, or it does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="ozelot-crash-"))  # not below a folder that only this user may enter
    try:
        server = SERVERS[kind](folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A folder on a disk of that size, in memory; only root may make one.

    Raises:
        NoServerError: the system does not let us.
    """
    folder = Path(tempfile.mkdtemp(prefix="ozelot-crash-"))
    try:
        _call([_program("mount"), "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)], folder)
        try:
            yield folder
        finally:
            _call([_program("umount"), "--lazy", str(folder)], Path("/"))
    finally:
        folder.rmdir()


def _program(name: str) -> str:
    folders = [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise NoServerError(f"There is no program {name}: install the server, or leave this attack out")
    return found


def _call(command: Sequence[str], folder: Path) -> None:
    # Into a file: a server that goes on running would hold a pipe open, and we would wait for its end.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        output.seek(0)
        if done.returncode:
            raise NoServerError(f"'{' '.join(command)}' ended with {done.returncode}:\n{output.read()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
