"""Checks compare as Python does, on every database."""

from __future__ import annotations

import datetime
import enum
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.checks import between, fresh, matches, no_orphans, not_null, one_of, unique
from ozelot.checks.runner import examined
from ozelot.client import Client
from ozelot.orm.base import Base
from tests.tables import create_tables

pytestmark = pytest.mark.servers

UTC = datetime.UTC
NOON = datetime.datetime(2026, 5, 4, 12)
DAY = NOON.date()
HOUR = datetime.timedelta(hours=1)
WEEK = datetime.timedelta(days=7)


class Grade(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Wrapped(sa.types.TypeDecorator[str]):
    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else f"<{value}>"

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else value[1:-1]


class Sample(Base):
    __tablename__ = "checks_sample"

    text: Mapped[str | None] = mapped_column(sa.String(100))
    wrapped: Mapped[str | None] = mapped_column(Wrapped(100))
    fixed: Mapped[str | None] = mapped_column(sa.CHAR(5))
    long: Mapped[str | None] = mapped_column(sa.Text)
    grade: Mapped[Grade | None]
    small: Mapped[int | None] = mapped_column(sa.Integer)
    real: Mapped[float | None] = mapped_column(sa.Double)
    money: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 2))
    day: Mapped[datetime.date | None]
    moment: Mapped[datetime.datetime | None]


class Named(Base):
    __tablename__ = "checks_named"

    name: Mapped[str] = mapped_column(sa.String(100))


def sampled(db: Client, *rows: dict[str, Any]) -> None:
    create_tables(db, Sample, Named)
    with db.transaction() as session:
        session.add_all([Sample(id=number, **row) for number, row in enumerate(rows, 1)])


def holds(db: Client, *checks: Any) -> list[bool]:
    with db.create_session() as session:
        return [result.ok for result in examined(session, checks)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (NOON - 13 * HOUR, None, True),
        (datetime.datetime(2026, 5, 4), None, True),
        (NOON, None, False),
        (None, datetime.datetime(2026, 5, 4), True),
        (None, NOON, True),
        (None, NOON - 13 * HOUR, False),
        (DAY, DAY, True),
    ],
)
def test_a_date_is_compared_with_a_time_as_its_midnight(db: Client, low: Any, high: Any, expected: bool) -> None:
    sampled(db, {"day": DAY})

    assert holds(db, between(Sample.day, low, high)) == [expected]


def test_a_time_is_compared_with_a_date_as_the_midnight_of_that(db: Client) -> None:
    sampled(db, {"moment": datetime.datetime(2026, 5, 4)})

    assert holds(
        db,
        between(Sample.moment, DAY, DAY),
        one_of(Sample.moment, [DAY]),
        one_of(Sample.day, [datetime.datetime(2026, 5, 4)]),
        between(Sample.moment, DAY + datetime.timedelta(days=1)),
    ) == [True, True, True, False]


@pytest.mark.parametrize(
    ("column", "low", "high", "expected"),
    [
        (Sample.small, 6.5, None, True),
        (Sample.small, 7.5, None, False),
        (Sample.small, None, 7.5, True),
        (Sample.small, None, Decimal("6.9"), False),
        (Sample.small, -(10**30), 10**30, True),
        (Sample.small, 10**12, None, False),
        (Sample.small, None, 10**12, True),
        (Sample.small, float("-inf"), float("inf"), True),
        (Sample.real, Decimal("0.1"), Decimal("0.1"), True),
        (Sample.real, 0, 1, True),
        (Sample.money, 0.1, 0.1, True),
        (Sample.money, 0, Decimal("0.09"), False),
        (Sample.money, float("-inf"), float("inf"), True),
    ],
)
def test_numbers_are_compared_exactly(db: Client, column: Any, low: Any, high: Any, expected: bool) -> None:
    sampled(db, {"small": 7, "real": 0.1, "money": Decimal("0.10")})

    assert holds(db, between(column, low, high)) == [expected]


def test_nan_is_within_no_bounds(db: Client) -> None:
    create_tables(db, Sample, Named)
    kind = db.engine.name
    if kind == "postgresql":  # the others store NULL, or refuse it
        with db.transaction() as session:
            session.execute(sa.text("INSERT INTO checks_sample (id, real, money) VALUES (1, 'NaN', 'NaN')"))
    checks = [between(Sample.real, 0), between(Sample.real, high=5), between(Sample.money, 0), between(Sample.real)]

    assert holds(db, *checks) == [kind != "postgresql"] * 3 + [True]


def test_text_is_compared_by_its_characters(db: Client) -> None:
    texts = ["a", "A", "a ", "à", "Z", "é", "e\u0301", "ß", "ss", ""]
    sampled(db, *({"text": text, "wrapped": text} for text in texts))

    assert (
        holds(
            db,
            unique(Sample.text),
            unique(Sample.wrapped),
            one_of(Sample.text, texts),
            one_of(Sample.wrapped, texts),
            *(one_of(Sample.text, [text for text in texts if text != left_out]) for left_out in texts),
            *(one_of(Sample.wrapped, [text for text in texts if text != left_out]) for left_out in texts),
        )
        == [True] * 4 + [False] * 20
    )


def test_text_is_sorted_as_in_python(db: Client) -> None:
    texts = ["a", "B", "Z", "_", "à", "é", "😀", "\uffee"]
    sampled(db, *({"text": text} for text in texts))

    for low in texts:
        for high in texts:
            with db.create_session() as session:
                (result,) = examined(session, [between(Sample.text, low, high)])
            outside = sum(not low <= text <= high for text in texts)
            assert result.found == f"{outside} of {len(texts)} rows otherwise", (low, high)


def test_blanks_that_fill_up_a_char_do_not_count(db: Client) -> None:
    sampled(db, {"fixed": "ab"}, {"fixed": "abc"})

    checks = [one_of(Sample.fixed, ["ab", "abc"]), matches(Sample.fixed, "^abc?$"), between(Sample.fixed, "ab", "abc")]
    assert holds(db, *checks) == [True] * 3


def test_long_texts_that_begin_alike_are_told_apart_and_repeats_are_found(db: Client) -> None:
    begin = "b" * 3000
    sampled(db, *({"long": f"{begin}{end}"} for end in [*range(1500), *range(1500, 1600)]))
    assert holds(db, unique(Sample.long)) == [True]

    with db.transaction() as session:
        session.execute(sa.update(Sample).where(Sample.id % 2 == 0, Sample.id > 1200).values(long=f"{begin}7"))
    with db.create_session() as session:
        (result,) = examined(session, [unique(Sample.long)])
    assert result.found == "1 value" and "times 201" in result.rows[0]


def test_a_text_of_other_case_or_blanks_refers_to_nothing(db: Client) -> None:
    sampled(db, {"text": "Ada"}, {"text": "ada"}, {"text": "Ada "}, {"text": "Adà"})
    with db.transaction() as session:
        session.add(Named(name="Ada"))

    with db.create_session() as session:
        (result,) = examined(session, [no_orphans(Sample.text, Named.name)])
    assert result.found == "3 rows"


def test_an_empty_text_is_a_value(db: Client) -> None:
    sampled(db, {"text": ""}, {"text": "  "})

    assert holds(db, not_null(Sample.text), matches(Sample.text, r"\S")) == [True, False]


def test_a_choice_of_an_enum_is_of_its_members(db: Client) -> None:
    sampled(db, {"grade": Grade.LOW}, {"grade": Grade.HIGH})

    assert holds(db, one_of(Sample.grade, list(Grade)), one_of(Sample.grade, [Grade.LOW])) == [True, False]


@pytest.mark.parametrize("column", [Sample.moment, Sample.day])
def test_a_value_in_the_future_does_not_make_old_data_fresh(db: Client, column: Any) -> None:
    def row(when: datetime.datetime) -> dict[str, Any]:
        return {"moment": when, "day": when.date()}

    check = fresh(column, WEEK, now=lambda: NOON.replace(tzinfo=UTC))
    sampled(db, row(NOON - 3 * WEEK), row(NOON + 1000 * WEEK))
    with db.create_session() as session:
        (result,) = examined(session, [check])
    assert not result.ok
    assert result.found.endswith("and 1 row more than a day in the future")

    with db.transaction() as session:
        session.add(Sample(id=100, **row(NOON + 10 * HOUR)))  # a time of another time zone
    assert holds(db, check) == [True]


def test_where_all_values_are_in_the_future_nothing_is_fresh(db: Client) -> None:
    sampled(db, {"day": DAY + WEEK}, {"day": DAY + 2 * WEEK})

    with db.create_session() as session:
        (result,) = examined(session, [fresh(Sample.day, WEEK, now=lambda: NOON.replace(tzinfo=UTC))])
    assert (result.ok, result.found) == (False, "none but 2 rows more than a day in the future")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda: between(Sample.grade, Grade.LOW),
            r"databases sort the Enum Sample.grade in different ways: use one_of",
        ),
        (lambda: fresh(Sample.text, WEEK), "fresh\\(\\) is for dates and times, which Sample.text is not"),
        (lambda: matches(Sample.grade, "^l"), "matches\\(\\) is for text, which Sample.grade is not"),
    ],
)
def test_a_check_that_databases_would_answer_differently_is_refused(make: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        make()


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (between(Sample.small, "7"), "'7' cannot be compared with Sample.small: the column holds numbers"),
        (between(Sample.small, float("nan")), "it is not a number"),
        (one_of(Sample.small, [1, 2.5]), "the column holds whole numbers"),
        (one_of(Sample.text, ["a", 1]), "1 cannot be compared with Sample.text: the column holds text; pass a str"),
        (between(Sample.day, "2026-05-04"), "the column holds dates; pass a datetime.date"),
        (between(Sample.day, NOON.replace(tzinfo=UTC)), r"pass its date: value.date\(\)"),
        (one_of(Sample.day, [NOON]), r"pass its date: value.date\(\)"),
        (between(Sample.moment, NOON.replace(tzinfo=UTC)), "it has a time zone, and the column has none"),
        (between(Sample.moment, 7), "the column holds times"),
    ],
)
def test_a_value_that_cannot_be_compared_is_refused_and_the_error_says_what_to_pass(
    sqlite_db: Client, check: Any, why: str
) -> None:
    sampled(sqlite_db)

    with sqlite_db.create_session() as session, pytest.raises((TypeError, ValueError), match=why):
        examined(session, [check])
