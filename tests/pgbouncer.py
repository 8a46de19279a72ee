"""PgBouncer, a connection pooler in front of PostgreSQL, as a process of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.ports import free_port

_CONFIG = """
[databases]
{name} = {there}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
"""


@contextmanager
def pgbouncer(database: str, folder: Path, **settings: object) -> Iterator[str]:
    """The URL of a database through a PgBouncer with these settings, which ends with the block."""
    if shutil.which("pgbouncer") is None:
        reason = "no pgbouncer is installed"
        if os.environ.get("OZELOT_TEST_ALL_DATABASES"):
            pytest.fail(reason)
        pytest.skip(reason)
    url = sa.make_url(database)
    own_port = free_port()
    config = folder / "pgbouncer.ini"
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    there = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
    known = " ".join(f"{name}={value}" for name, value in there.items() if value)
    config.write_text(_CONFIG.format(name=url.database, there=known, own_port=own_port) + "".join(lines))
    other_user = ["--user=nobody"] if os.getuid() == 0 else []  # it refuses to run as root
    process = subprocess.Popen(["pgbouncer", *other_user, config], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "process up" in line:
                break
        else:
            raise AssertionError("".join(said))
        yield url.set(host="127.0.0.1", port=own_port, password=None).render_as_string(hide_password=False)
    finally:
        process.kill()
        process.communicate()
