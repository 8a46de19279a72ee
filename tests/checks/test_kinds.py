"""Each kind of check passes and fails on every database, and says why."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from ozelot.checks import (
    Check,
    Result,
    between,
    checked,
    fraction,
    fresh,
    holds,
    matches,
    no_orphans,
    no_rows,
    not_null,
    one_of,
    references,
    row_count,
    unique,
)
from ozelot.checks.runner import examined
from ozelot.client import Client
from ozelot.errors import CheckFailed, OzelotError
from ozelot.orm.base import Base
from tests.checks.voyages import EMPTY, GOOD, NOW, Liner, Ship, Voyage, filled
from tests.statements import recorded_statements

WEEK = datetime.timedelta(days=7)


def kinds() -> list[Check]:
    """Checks of every kind, which the good voyages pass."""
    return [
        row_count(Voyage, 20, 20),
        not_null(Voyage.code, Voyage.miles),
        between(Voyage.miles, 10, 200),
        one_of(Voyage.kind, ["mail", "freight"]),
        matches(Voyage.code, r"^V-[0-9]{3}$"),
        holds(Voyage.arrived >= Voyage.sailed),
        fraction(Voyage.kind == "mail", at_least=0.5, at_most=0.5),
        references(Voyage.ship_id),
        fresh(Voyage.sailed, WEEK, now=lambda: NOW),
        fresh(Voyage.day, WEEK, now=lambda: NOW),
        unique(Voyage.code),
        unique(Voyage.ship_id, Voyage.sailed),
        no_orphans(Voyage.ship_id),
        no_orphans(Voyage.best_before_id, Ship.id),
        no_rows(sa.select(Voyage).join(Ship).where(Ship.name == "Titanic"), name="voyages of the Titanic"),
        no_rows(sa.text("SELECT id FROM checks_voyage WHERE miles > 9000"), name="voyages around the world"),
    ]


def asked(db: Client, *checks: Check) -> list[Result]:
    with db.create_session() as session:
        return examined(session, checks)


def told(db: Client, *checks: Check) -> list[str]:
    return [f"{'ok' if result.ok else 'bad'}: {result}" for result in asked(db, *checks)]


def test_every_kind_passes_where_the_data_are_as_they_should_be(db: Client) -> None:
    filled(db, *GOOD)

    assert [str(result) for result in asked(db, *kinds()) if not result.ok] == []


def test_every_kind_fails_where_they_are_not_and_shows_the_rows(db: Client) -> None:
    bad = {"id": 21, "code": "V-020", "miles": -1.0, "kind": "Mail", "sailed": NOW.replace(tzinfo=None)}
    worse = {"id": 22, "miles": 9001.0, "arrived": NOW.replace(tzinfo=None), "best_before_id": 77}
    filled(db, *({**row, "sailed": row["arrived"] - 3 * WEEK} for row in GOOD), bad, worse)
    with db.transaction() as session:
        session.execute(sa.update(Voyage).where(Voyage.id == 21).values(arrived=NOW.replace(tzinfo=None) - WEEK))
    checks = [
        row_count(Voyage, 1000),
        row_count(Voyage, 0, 21),
        not_null(Voyage.code, Voyage.miles),
        between(Voyage.miles, 0, 200),
        between(Voyage.miles, high=9000),
        one_of(Voyage.kind, ["mail", "freight"]),
        matches(Voyage.code, "^v"),
        holds(Voyage.arrived >= Voyage.sailed),
        fraction(Voyage.miles > 115, at_least=0.5),
        fraction(Voyage.miles > 9000, at_most=0.01),
        references(Voyage.ship_id, at_least=0.95),
        fresh(Voyage.sailed, WEEK, now=lambda: NOW + 2 * WEEK),
        unique(Voyage.code),
        no_orphans(Voyage.best_before_id, Ship.id),
        no_rows(sa.select(Voyage.id, Voyage.miles).where(Voyage.miles < 0), name="voyages backwards"),
        no_rows(sa.text("SELECT id FROM checks_voyage WHERE miles > 9000"), name="voyages around the world"),
    ]

    assert [line.partition(", such as (id 1,")[0] for line in told(db, *checks)] == [
        "bad: row_count(Voyage): expected at least 1,000 rows, found 22",
        "bad: row_count(Voyage): expected 0 to 21 rows, found 22",
        "bad: not_null(Voyage.code, Voyage.miles): expected a value, found 1 of 22 rows otherwise, "
        "such as (id 22, code None, miles 9001.0)",
        "bad: between(Voyage.miles): expected 0 to 200, found 2 of 22 rows otherwise, "
        "such as (id 21, miles -1.0), (id 22, miles 9001.0)",
        "bad: between(Voyage.miles): expected at most 9000, found 1 of 22 rows otherwise, "
        "such as (id 22, miles 9001.0)",
        "bad: one_of(Voyage.kind): expected one of 'mail', 'freight', found 1 of 22 rows otherwise, "
        "such as (id 21, kind 'Mail')",
        "bad: matches(Voyage.code): expected a match of '^v', found 21 of 22 rows otherwise",
        "bad: holds(checks_voyage.arrived >= checks_voyage.sailed): expected it to hold, found 1 of 22 rows otherwise, "
        "such as (id 21, arrived 2026-04-27 12:00:00, sailed 2026-05-04 12:00:00)",
        "bad: fraction(checks_voyage.miles > 115): expected at least 50 % of rows, found 45.45 % (10 of 22 rows)",
        "bad: fraction(checks_voyage.miles > 9000): expected at most 1 % of rows, found 4.54 % (1 of 22 rows), "
        "such as (id 22, miles 9001.0)",
        "bad: references(Voyage.ship_id): expected at least 95 % of rows, found 90.9 % (20 of 22 rows), "
        "such as (id 21, ship_id None), (id 22, ship_id None)",
        "bad: fresh(Voyage.sailed): expected a value since 2026-05-11 12:00, found 2026-05-04 12:00:00",
        "bad: unique(Voyage.code): expected each once, found 1 value, such as (code 'V-020', times 2)",
        "bad: no_orphans(Voyage.best_before_id): expected a row of checks_ship for each, found 1 row, "
        "such as (id 22, best_before_id 77)",
        "bad: voyages backwards: expected no rows, found 1 row, such as (id 21, miles -1.0)",
        "bad: voyages around the world: expected no rows, found 1 row, such as (id 22)",
    ]


def test_null_passes_everything_but_not_null_and_fresh(db: Client) -> None:
    filled(db, EMPTY, EMPTY)
    of_null = [
        between(Voyage.miles, 10, 200),
        one_of(Voyage.kind, ["mail", None]),
        one_of(Voyage.kind, []),
        matches(Voyage.code, "^V"),
        holds(Voyage.arrived >= Voyage.sailed),
        fraction(Voyage.kind == "mail", at_least=0.95),
        unique(Voyage.code),
        unique(Voyage.code, Voyage.ship_id),
        no_orphans(Voyage.ship_id),
    ]

    assert [str(result) for result in asked(db, *of_null) if not result.ok] == []
    (none, filled_in) = asked(db, not_null(Voyage.code), references(Voyage.ship_id, at_least=0.1))
    assert (none.ok, filled_in.ok) == (False, False)
    assert told(db, fresh(Voyage.sailed, WEEK, now=lambda: NOW)) == [
        "bad: fresh(Voyage.sailed): expected a value since 2026-04-27 12:00, found none"
    ]


def test_an_empty_table_fails_only_where_something_has_to_be_there(db: Client) -> None:
    filled(db)

    failed = [result.name for result in asked(db, *kinds()) if not result.ok]
    assert failed == ["row_count(Voyage)", "fresh(Voyage.sailed)", "fresh(Voyage.day)"]


def test_upper_and_lower_case_and_blanks_count_on_every_database(db: Client) -> None:
    filled(db, {"kind": "mail"}, {"kind": "MAIL"}, {"kind": "mail "}, {"kind": "Übersee"})
    assert told(db, unique(Voyage.kind)) == ["ok: unique(Voyage.kind): expected each once, found 0 values"]

    results = asked(db, one_of(Voyage.kind, ["mail", "Übersee"]), matches(Voyage.kind, "^(mail|Ü[a-z]+) ?$"))
    assert [result.found for result in results] == ["2 of 4 rows otherwise", "1 of 4 rows otherwise"]
    assert [len(result.rows) for result in results] == [2, 1]


def test_backslashes_and_quotes_of_a_pattern_and_of_values_arrive(db: Client) -> None:
    filled(db, {"code": "a.b", "kind": "it's"}, {"code": "axb", "kind": "100 %s"})

    results = asked(db, matches(Voyage.code, r"^a\.b$"), one_of(Voyage.kind, ["it's", "100 %s"]))
    assert [(result.ok, result.rows) for result in results] == [(False, ("(id 2, code 'axb')",)), (True, ())]


def test_parts_are_met_to_the_row(db: Client) -> None:
    filled(db, *GOOD)
    thirds = Voyage.miles <= 30

    results = asked(
        db,
        fraction(Voyage.miles > 10, at_least=0.95),
        fraction(Voyage.miles > 10, at_least=0.9501),
        fraction(sa.case((thirds, Voyage.miles <= 10)), at_least=1 / 3, at_most=1 / 3, name="a third"),
        fraction(Voyage.miles > 10, at_least=0.2, at_most=0.9),
    )
    assert [(result.ok, result.expected, result.found) for result in results] == [
        (True, "at least 95 % of rows", "95 % (19 of 20 rows)"),
        (False, "at least 95.01 % of rows", "95 % (19 of 20 rows)"),
        (True, "33.3333333 % of rows", "33.33 % (1 of 3 rows)"),
        (False, "20 % to 90 % of rows", "95 % (19 of 20 rows)"),
    ]


def test_orphans_are_found_within_one_table_too(db: Client) -> None:
    filled(db, *({**row, "id": n, "best_before_id": n + 1} for n, row in enumerate(GOOD, 1)))

    assert told(db, no_orphans(Voyage.best_before_id, Voyage.id)) == [
        "bad: no_orphans(Voyage.best_before_id): expected a row of checks_voyage for each, found 1 row, "
        "such as (id 20, best_before_id 21)"
    ]


def test_no_more_than_five_rows_are_shown_and_all_are_counted(db: Client) -> None:
    filled(db, *GOOD)

    results = asked(
        db,
        between(Voyage.miles, 190),
        unique(Voyage.ship_id, name="one voyage a ship"),
        no_rows(sa.select(Voyage.id).order_by(Voyage.id), name="voyages"),
        no_rows(sa.text("SELECT id FROM checks_voyage"), name="voyages as text"),
    )
    assert [result.found for result in results] == ["18 of 20 rows otherwise", "2 values", "20 rows", "20 rows"]
    assert [len(result.rows) for result in results] == [5, 2, 5, 5]
    assert results[0].rows[0] == "(id 1, miles 10.0)"


def test_bounds_are_asked_for_when_the_check_is_made(db: Client) -> None:
    filled(db, *GOOD)
    settings: dict[str, Any] = {"MOST": 100, "KINDS": None}
    checks = [
        row_count(Voyage, most=lambda: settings["MOST"]),
        between(Voyage.miles, high=lambda: settings["MOST"]),
        one_of(Voyage.kind, lambda: settings["KINDS"]),
        references(Voyage.ship_id, at_least=lambda: settings["MOST"] / 100),
    ]

    assert [result.ok for result in asked(db, *checks)] == [True, False, True, True]
    settings |= {"MOST": 19, "KINDS": {"mail"}}
    assert [result.ok for result in asked(db, *checks)] == [False, False, False, True]
    settings |= {"MOST": None}
    assert told(db, *checks[:2], row_count(Voyage, None)) == [
        "ok: row_count(Voyage): expected at least 1 rows, found 20",
        "ok: between(Voyage.miles): expected any, found 0 of 20 rows otherwise",
        "ok: row_count(Voyage): expected any rows, found 20",
    ]


def test_checks_of_one_table_share_one_pass_over_it(sqlite_db: Client) -> None:
    filled(sqlite_db, *GOOD)
    statements = recorded_statements(sqlite_db)

    asked(sqlite_db, *kinds())
    assert len([statement for statement in statements if statement.startswith("SELECT")]) == 1 + 6


def test_secrets_and_what_would_steer_a_terminal_are_not_shown(db: Client) -> None:
    filled(db, {"code": "red\x1b[31m\nalert"})
    with db.transaction() as session:
        session.execute(sa.update(Ship).values(password="hunter2"))

    (secret, steering, condition) = told(
        db,
        one_of(Ship.password, ["letmein"]),
        matches(Voyage.code, "^V"),
        holds(Ship.password != "hunter2"),
    )
    assert "[hidden]" in secret
    assert not any(word in line for word in ("hunter2", "letmein") for line in (secret, condition))
    assert steering.isprintable()


def test_a_failure_is_one_line_that_names_all_that_fail_and_warnings_are_logged(
    db: Client, caplog: pytest.LogCaptureFixture
) -> None:
    filled(db, *GOOD)
    with db.create_session() as session, pytest.raises(CheckFailed) as caught:
        checked(
            session,
            [
                row_count(Voyage, 21),
                not_null(Voyage.code),
                row_count(Ship, 3),
                between(Voyage.miles, 20, severity="warn"),
            ],
            by="CheckVoyages {}",
        )

    assert isinstance(caught.value, OzelotError) and isinstance(caught.value, AssertionError)
    assert str(caught.value) == (
        "2 of 4 checks: row_count(Voyage): expected at least 21 rows, found 20; "
        "row_count(Ship): expected at least 3 rows, found 2"
    )
    assert [result.ok for result in caught.value.results] == [False, True, False, False]
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert warning == (
        "CheckVoyages {}: between(Voyage.miles): expected at least 20, found 1 of 20 rows otherwise, "
        "such as (id 1, miles 10.0)"
    )


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: holds(Voyage.ship_id == Ship.id), "the columns of one table"),
        (lambda: holds(sa.literal(1) == 1), "no column"),
        (lambda: not_null("code"), "Not a column"),
        (lambda: matches(Voyage.miles, "^1"), "matches\\(\\) is for text"),
        (lambda: no_orphans(Voyage.best_before_id), "name the other"),
        (lambda: not_null(Voyage.code, severity="warning"), "'error' or 'warn', not 'warning'"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_check_says_so_where_it_is_declared(make: Any, why: str) -> None:
    with pytest.raises((TypeError, ValueError), match=why):
        make()


def test_tables_derived_models_and_subqueries_can_be_checked(db: Client) -> None:
    filled(db, *GOOD)
    with db.transaction() as session:
        session.add_all([Liner(id=3, name="Titanic", decks=9), Liner(id=4, name="Alma", decks=0)])
    ship, voyage = (Base.metadata.tables[name] for name in ("checks_ship", "checks_voyage"))

    assert told(
        db,
        row_count(ship, most=3),
        not_null(voyage.c.code),
        row_count(Liner, 2, 2),
        between(Liner.decks, 1),
        matches(Liner.name, "^T"),
        fraction(Ship.id.in_(sa.select(Voyage.ship_id)), at_least=1, name="all sail"),
    ) == [
        "bad: row_count(checks_ship): expected 1 to 3 rows, found 4",
        "ok: not_null(checks_voyage.code): expected a value, found 0 of 20 rows otherwise",
        "ok: row_count(Liner): expected 2 rows, found 2",
        "bad: between(Liner.decks): expected at least 1, found 1 of 2 rows otherwise, such as (id 4, decks 0)",
        "bad: matches(Liner.name): expected a match of '^T', found 1 of 2 rows otherwise, such as (id 4, name 'Alma')",
        "bad: all sail: expected at least 100 % of rows, found 50 % (2 of 4 rows), such as (id 3), (id 4)",
    ]
