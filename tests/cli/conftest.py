"""What tests of commands have in common."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from ozelot.client import Client
from ozelot.orm.base import Base
from ozelot.state import runs
from ozelot.state.inputs import fingerprints
from tests.cli.calling import SHOP, called


@pytest.fixture(autouse=True)
def nothing_left_behind(nothing_left_behind: None) -> None:
    """In each test: most call commands within this process."""


@pytest.fixture
def pipeline_of_the_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline that commands use is that of the shop."""
    monkeypatch.setenv("OZELOT_PIPELINE", SHOP)


@pytest.fixture
def every_key_is_created() -> None:
    """SQLAlchemy leaves a key that it once created by ALTER, on another database, out of all later CREATE TABLEs."""
    for table in Base.metadata.tables.values():
        for key in table.foreign_key_constraints:
            key._create_rule = None


@pytest.fixture
def stale_shop(pipeline_of_the_shop: None, db: Client) -> Client:
    """A shop whose goods of one year were loaded by other code."""
    assert called("db", "init").code == 0
    assert called("run").code == 0
    with db.engine.begin() as connection:
        one = runs.runs.c.name == "LoadGoods", runs.runs.c.params == "{'year': '2021'}"
        digest = connection.scalar(sa.select(runs.runs.c.fingerprint).where(*one))
        parts = json.loads(
            connection.scalar(sa.select(fingerprints.c.parts).where(fingerprints.c.digest == digest)) or ""
        )
        parts["code"]["pieces"]["tests.cli.shop.LoadGoods"][0]["run"] = "another one"
        connection.execute(sa.insert(fingerprints).values(digest="other", parts=json.dumps(parts)))
        connection.execute(sa.update(runs.runs).where(*one).values(fingerprint="other"))
    return db
