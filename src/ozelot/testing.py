"""For the tests of pipelines: a database of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import luigi

from ozelot import client as client_module
from ozelot.client import Client
from ozelot.orm.base import Base


@contextmanager
def temporary_client(folder: str | Path, *, create_all: bool = True) -> Iterator[Client]:
    """A client on a fresh SQLite database in ``folder``, which all tasks use until the block ends.

    ::

        @pytest.fixture
        def client(tmp_path):
            with temporary_client(tmp_path) as client:
                yield client

    Args:
        folder: where the file ``test.db`` is to be; it is not deleted.
        create_all: create the tables of all models that were imported.
    """
    client = Client(params={"driver": "sqlite", "database": str(Path(folder) / "test.db")})
    before = client_module.current_client()
    client_module.set_client(client)
    luigi.task_register.Register.clear_instance_cache()
    try:
        if create_all:
            Base.create_all(client)
        yield client
    finally:
        client_module.set_client(before)
        client.engine.dispose()
