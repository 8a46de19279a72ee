"""Random changes of random models: after an upgrade the database is as a new one, with all that could be kept.

With ``OZELOT_TEST_NIGHTLY=1`` there are many more examples, others each time.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ozelot.client import Client
from ozelot.db.sql_analysis import reads
from ozelot.schema.upgrade import UpgradePlan, apply, plan
from ozelot.state import markers as marker
from tests.schema.looking import drop_everything, rows_of, schema_of
from tests.schema.random_models import RandomModel, fill, metadata_of, pairs

pytestmark = pytest.mark.slow

NIGHTLY = bool(os.environ.get("OZELOT_TEST_NIGHTLY"))
EXAMPLES, EXAMPLES_ON_A_SERVER = (1000, 150) if NIGHTLY else (25, 5)


@pytest.fixture
def examples(db: Client) -> Iterator[settings]:
    marker.prepare(db.engine)
    number = EXAMPLES if db.engine.dialect.name == "sqlite" else EXAMPLES_ON_A_SERVER
    phases = [Phase.generate, Phase.shrink] if NIGHTLY else [Phase.generate]
    health = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sa.exc.SAWarning)  # of references in circles
        yield settings(
            max_examples=number,
            deadline=None,
            derandomize=not NIGHTLY,
            phases=phases,
            suppress_health_check=health,
            database=None,
            print_blob=True,
        )


def made(db: Client, model: RandomModel) -> sa.MetaData:
    """The tables of a model in an otherwise empty database, filled."""
    drop_everything(db.engine)
    metadata = metadata_of(model)
    with db.engine.begin() as connection:
        metadata.create_all(connection)
    with db.engine.begin() as connection:
        fill(connection, model, metadata)
    return metadata


def upgraded(db: Client, metadata: sa.MetaData, **options: bool) -> UpgradePlan:
    with db.engine.connect() as connection:
        planned = plan(connection, metadata=metadata, **options)
    apply(db, planned)
    return planned


def fresh(db: Client, metadata: sa.MetaData) -> dict[str, Any]:
    """The schema of a model in a new database."""
    drop_everything(db.engine)
    with db.engine.begin() as connection:
        metadata.create_all(connection)
    return schema_of(db.engine)


def assert_kept(before: dict[str, Any], after: dict[str, Any], lost: set[str], shared: sa.MetaData) -> None:
    for name, rows in before.items():
        if name in lost or name not in after:
            continue
        assert len(rows) == len(after[name]), name
        for old, new in zip(rows, after[name], strict=True):
            for column in old.keys() & new.keys() & {*shared.tables[name].columns.keys()}:
                assert new[column] == old[column], f"{name}.{column}"


def test_after_an_upgrade_the_schema_is_that_of_a_new_database_and_what_could_be_kept_is_there(
    db: Client, examples: settings
) -> None:
    @examples
    @given(pairs())
    def check(pair: tuple[RandomModel, RandomModel]) -> None:
        old, new = made(db, pair[0]), metadata_of(pair[1])
        before = rows_of(db.engine, old)
        planned = upgraded(db, new, rebuild=True, drop=True)
        found, after = schema_of(db.engine), rows_of(db.engine, new)
        with db.engine.connect() as connection:
            again = plan(connection, metadata=new)
        assert again.applied == again.left == ()
        assert_kept(before, after, {table.name for table in planned.rebuilt}, new)
        assert found == fresh(db, new)

    check()


def test_an_upgrade_without_options_keeps_all_that_is_there(db: Client, examples: settings) -> None:
    @examples
    @given(pairs())
    def check(pair: tuple[RandomModel, RandomModel]) -> None:
        old, new = made(db, pair[0]), metadata_of(pair[1])
        before = rows_of(db.engine, old)
        planned = upgraded(db, new)
        assert not planned.lost and not planned.unmarked
        after = rows_of(db.engine, old)
        assert before.keys() == after.keys()
        assert_kept(before, after, set(), old)
        assert all(before[name][0].keys() == after[name][0].keys() for name in before)
        with db.engine.connect() as connection:
            again = plan(connection, metadata=new)
        assert again.applied == ()
        assert {one.words for one in again.left} <= {one.words for one in planned.left}

    check()


def killed(db: Client, metadata: sa.MetaData, planned: UpgradePlan, step: int) -> bool:
    """Apply a plan in a process that is killed as it is about to write, or to commit, for the so-manieth time."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    code = 1
    try:
        own = Client(connection_string=db.url)
        count = 0

        def strike(*_: object) -> None:
            nonlocal count
            count += 1
            if count > step:
                os.kill(os.getpid(), signal.SIGKILL)

        def look(_conn: object, _cursor: object, statement: str, *_: object) -> None:
            if not reads(statement):
                strike()

        sa.event.listen(own.engine, "before_cursor_execute", look)
        sa.event.listen(own.engine, "after_cursor_execute", look)
        sa.event.listen(own.engine, "commit", strike)
        with own.engine.connect() as connection:
            same = plan(connection, rebuild=True, drop=True, metadata=metadata)
        apply(own, same)
        code = 0
    finally:
        os._exit(code)


def test_an_upgrade_that_is_killed_at_any_step_leaves_the_old_or_the_new_or_goes_on(
    db: Client, examples: settings
) -> None:
    @examples
    @given(pairs(), st.integers(0, 40))
    def check(pair: tuple[RandomModel, RandomModel], step: int) -> None:
        old, new = made(db, pair[0]), metadata_of(pair[1])
        was, before = schema_of(db.engine), rows_of(db.engine, old)
        with db.engine.connect() as connection:
            planned = plan(connection, rebuild=True, drop=True, metadata=new)
        was_killed = killed(db, new, planned, step)
        now = schema_of(db.engine)
        kept = rows_of(db.engine, old) if now == was else {}
        upgraded(db, new, rebuild=True, drop=True)
        after = rows_of(db.engine, new)
        found = schema_of(db.engine)
        wanted = fresh(db, new)
        assert found == wanted
        assert_kept(before, after, {table.name for table in planned.rebuilt}, new)
        assert was_killed or now == wanted
        if db.engine.dialect.name != "mysql":
            assert now in (was, wanted)
            assert now != was or kept == before

    check()
