"""Databases with the tables of the steps, and a clean drawing for each test."""

from __future__ import annotations

from collections.abc import Iterator

import luigi
import pytest

from ozelot.client import Client
from tests.engine.steps import EStep, drawn
from tests.tables import create_tables


@pytest.fixture(autouse=True)
def nothing_drawn() -> Iterator[None]:
    luigi.task_register.Register.clear_instance_cache()
    drawn.clear()
    yield
    drawn.clear()


@pytest.fixture
def everywhere(db: Client) -> Client:
    """Each kind of database in turn, with its tables."""
    create_tables(db, EStep)
    return db


@pytest.fixture
def here(sqlite_db: Client) -> Client:
    """SQLite, with its tables."""
    create_tables(sqlite_db, EStep)
    return sqlite_db
