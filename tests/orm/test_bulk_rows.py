"""Bad rows are named, and nothing of their load stays; what is loaded is as an ORM add would make it."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from ozelot.client import Client
from ozelot.errors import LoadError
from ozelot.orm import bulk
from ozelot.orm.base import Base
from tests.tables import count_rows, create_only

pytestmark = pytest.mark.servers

UTC = datetime.UTC
NOON = datetime.datetime(2013, 1, 1, 12)


class Color(enum.Enum):
    red = 1
    green = 2


class Narrow(Base):
    """A column of each kind that can be filled wrongly."""

    text: Mapped[str | None] = mapped_column(String(5))
    small: Mapped[int | None] = mapped_column(sa.SmallInteger)
    number: Mapped[int | None]
    large: Mapped[int | None] = mapped_column(sa.BigInteger)
    real: Mapped[float | None] = mapped_column(sa.Double)
    exact: Mapped[Decimal | None] = mapped_column(sa.Numeric(5, 2))
    day: Mapped[datetime.date | None]
    moment: Mapped[datetime.datetime | None]
    zoned: Mapped[datetime.datetime | None] = mapped_column(sa.DateTime(timezone=True))
    time: Mapped[datetime.time | None]
    flag: Mapped[bool | None]
    raw: Mapped[bytes | None]
    color: Mapped[Color | None]
    one: Mapped[uuid.UUID | None]
    password: Mapped[str | None] = mapped_column(String(5))


class Kennel(Base):
    name: Mapped[str] = mapped_column(String(20), unique=True)


class Puppy(Base):
    parent_id: Mapped[int] = mapped_column(ForeignKey("kennel.id"))
    a: Mapped[int | None]
    b: Mapped[int | None]
    __table_args__ = (UniqueConstraint("a", "b"),)


def load(db: Client, model: type[Base], rows: Any, **options: Any) -> bulk.LoadReport:
    with db.transaction() as session:
        return bulk.load(session, model, rows, **options)


LONG = "at most 5 characters; row {row} has the string 'abcdef' (6 characters). Shorten it, or make the column longer"
LARGE = "a number below 1,000; row {row} has "
TYPE = "Correct it, or give the column a larger type"
ZONED = "a datetime without a time zone; row {row} has the datetime 2013-01-01 12:00:00+00:00. "
COLORS = "a member of Color (red, green); row {row} has the "
#: A column, a value that it does not take, and what the error says of it.
BAD: list[tuple[str, Any, str]] = [
    ("text", "abcdef", LONG),
    ("text", 7, "a string; row {row} has the integer 7. Convert it: str(value)"),
    ("text", b"a", "a string; row {row} has the bytes b'a'. Convert it: value.decode()"),
    (
        "text",
        "\ud800",
        "a string; row {row} has the string '\\ud800' (it contains half of a surrogate pair, which is not a "
        "character). Decode the source with its own encoding",
    ),
    ("small", 2**15, "an integer from -32,768 to 32,767; row {row} has the integer 32768. " + TYPE),
    (
        "number",
        -(2**31) - 1,
        "an integer from -2,147,483,648 to 2,147,483,647; row {row} has the integer -2147483649. " + TYPE,
    ),
    (
        "large",
        2**63,
        "an integer from -9,223,372,036,854,775,808 to 9,223,372,036,854,775,807; row {row} has the integer "
        "9223372036854775808. " + TYPE,
    ),
    ("number", 1.5, "an integer; row {row} has the float 1.5 (not a whole number)"),
    ("number", float("inf"), "an integer; row {row} has the float inf (not a whole number)"),
    ("number", "7", "an integer; row {row} has the string '7'. Convert it: int(value)"),
    ("number", "seven", "an integer; row {row} has the string 'seven'. Replace it with an integer"),
    (
        "large",
        2.0**53,
        "an integer; row {row} has the float 9007199254740992.0 (a float from 2**53 up may be a rounded integer). Keep "
        "integers as integers, in pandas with dtype 'Int64'",
    ),
    ("real", "1.0", "a float; row {row} has the string '1.0'. Convert it: float(value)"),
    (
        "real",
        10**30 + 1,
        "a float; row {row} has the integer 1000000000000000000000000000001 (too many digits for a float). "
        "Round it, or make the column Numeric",
    ),
    ("exact", Decimal("1000"), LARGE + "Decimal('1000')"),
    ("exact", 1000, LARGE + "the integer 1000"),
    ("exact", 1e300, LARGE + "the float 1e+300"),
    (
        "exact",
        Decimal("0.005"),
        "at most 2 digits after the decimal point; row {row} has Decimal('0.005'). Round it: "
        "value.quantize(Decimal('0.01'))",
    ),
    ("exact", Decimal("Infinity"), "a finite number; row {row} has Decimal('Infinity')"),
    ("exact", "0.5", "a Decimal; row {row} has the string '0.5'. Convert it: Decimal(value)"),
    (
        "day",
        NOON,
        "a date; row {row} has the datetime 2013-01-01 12:00:00 (it has a time). Take its date: value.date()",
    ),
    ("day", "2013-01-01", "a date; row {row} has the string '2013-01-01'. Convert it: date.fromisoformat(value)"),
    ("moment", NOON.replace(tzinfo=UTC), ZONED + "Remove the zone, or make the column DateTime(timezone=True)"),
    (
        "moment",
        pd.Timestamp("2013-01-01 00:00:00.000000001"),
        "a datetime; row {row} has the Timestamp 2013-01-01 00:00:00.000000001 (finer than a microsecond). Round it to "
        "microseconds, or store it as text",
    ),
    (
        "moment",
        "2013-01-01",
        "a datetime; row {row} has the string '2013-01-01'. Convert it: datetime.fromisoformat(value)",
    ),
    ("time", "12:00", "a time; row {row} has the string '12:00'. Convert it: time.fromisoformat(value)"),
    ("flag", 2, "a boolean; row {row} has the integer 2 (neither 0 nor 1)"),
    ("flag", "yes", "a boolean; row {row} has the string 'yes'. Replace it with a boolean"),
    ("raw", "text", "bytes; row {row} has the string 'text'. Convert it: value.encode()"),
    ("color", "blue", COLORS + "string 'blue'"),
    ("color", [], COLORS + "list []"),
    ("one", "no uuid", "a UUID; row {row} has the string 'no uuid'. Replace it with a UUID"),
    ("password", "secret", LONG.replace("the string 'abcdef'", "a string [hidden]")),
    ("password", 123456, "a string; row {row} has an integer [hidden]. Convert it: str(value)"),
]
BAD.append(
    (
        "zoned",
        NOON,
        "a datetime with a time zone; row {row} has the datetime 2013-01-01 12:00:00. Add it: "
        "value.replace(tzinfo=datetime.UTC)",
    )
)
#: What is bad on some databases only.
BAD_SOMEWHERE: list[tuple[str, Any, dict[str, str]]] = [
    (
        "text",
        "a\0",
        {
            "postgresql": "a string; row {row} has the string 'a\\x00' (it contains the character NUL, which this "
            "database cannot store). Remove it: value.replace('\\0', '')"
        },
    ),
    ("real", float("inf"), {"mysql": "a finite float; row {row} has the float inf"}),
]
ENDING = ". Nothing was loaded; rows count from 0"


def test_values_that_do_not_fit_are_named_with_their_row(db: Client) -> None:
    create_only(db, Narrow)
    bad = [
        *BAD,
        *(
            (name, value, by[db.engine.dialect.name])
            for name, value, by in BAD_SOMEWHERE
            if db.engine.dialect.name in by
        ),
    ]
    if db.engine.dialect.name == "sqlite":  # which keeps any whole number of 64 bits
        bad = [
            (name, value, reason)
            for name, value, reason in bad
            if (name, value) not in (("small", 2**15), ("number", -(2**31) - 1))
        ]
    for place, (name, value, reason) in enumerate(bad):
        rows = [{name: None} for _ in range(50)]
        rows[place][name] = value
        with pytest.raises(LoadError) as caught:
            load(db, Narrow, rows)
        assert str(caught.value) == f"Narrow.{name} expects {reason.format(row=place)}{ENDING}"
    assert count_rows(db, Narrow) == 0


def test_values_that_are_good_on_one_database_only_are_loaded_there(db: Client) -> None:
    create_only(db, Narrow)
    for name, value, by in BAD_SOMEWHERE:
        if db.engine.dialect.name not in by:
            load(db, Narrow, [{name: value}])


def test_a_bad_row_of_a_later_chunk_undoes_the_earlier_ones_and_no_more(db: Client) -> None:
    create_only(db, Kennel, Narrow)

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(30_000):
            yield {"number": number, "text": "long text" if number == 27_123 else "short"}

    with db.transaction() as session:
        session.add(Kennel(name="kept"))
        with pytest.raises(LoadError, match=r"Narrow.text .*; row 27123 has the string 'long text' \(9 char"):
            bulk.load(session, Narrow, rows())
        with pytest.raises(LoadError, match="row 27123 "):
            bulk.load(session, Narrow, pd.DataFrame(list(rows())))
        session.add(Kennel(name="kept, too"))
    assert (count_rows(db, Kennel), count_rows(db, Narrow)) == (2, 0)


def test_a_generator_that_fails_in_the_middle_leaves_nothing(db: Client) -> None:
    create_only(db, Narrow)

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(60_000):
            yield {"number": number}
        raise OSError("the source is gone")

    with db.transaction() as session, pytest.raises(OSError, match="the source is gone"):
        bulk.load(session, Narrow, rows())
    assert count_rows(db, Narrow) == 0


def test_what_only_the_database_finds_is_told_in_words(db: Client) -> None:
    create_only(db, Kennel, Puppy)
    load(db, Kennel, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    names = [{"name": f"n{n}"} for n in range(8_000)]
    names[7_500] = {"name": "a"}
    kind = db.engine.dialect.name
    with pytest.raises(LoadError) as twice:
        load(db, Kennel, pd.DataFrame(names))
    assert {
        "sqlite": "kennel.name expects a key that no other row has; row 7500 has the string 'a'. Leave out",
        "postgresql": "refuses row 7500 for kennel: duplicate key value violates unique",
        "mysql": "The database refuses rows for kennel: another row has the key 'a' already, by name",
    }[kind] in str(twice.value)
    children = [{"parent_id": 1 + n % 2} for n in range(100)]
    children[60] = {"parent_id": 77}
    with pytest.raises(LoadError) as dangling:
        load(db, Puppy, children)
    assert {
        "postgresql": 'Key (parent_id)=(77) is not present in table "kennel"',
    }.get(kind, "puppy.parent_id expects the id of a row in kennel; row 60 has the integer 77") in str(dangling.value)
    with pytest.raises(LoadError, match=r"already|duplicate key|no other row"):
        load(db, Puppy, [{"parent_id": 1, "a": 1, "b": 2}, {"parent_id": 1, "a": 1, "b": 2}])
    with pytest.raises(LoadError, match=r"already|duplicate key|no other row"):
        load(db, Kennel, [{"id": 2, "name": "c"}])
    assert (count_rows(db, Kennel), count_rows(db, Puppy)) == (2, 0)
    assert str(twice.value).endswith(ENDING)


def test_empty_cells_of_a_column_that_needs_values_are_named(sqlite_db: Client) -> None:
    create_only(sqlite_db, Kennel, Puppy)
    nan = pd.DataFrame({"parent_id": [1.0, float("nan"), 2.0, None]})
    for rows in [nan, nan.convert_dtypes(), pa.Table.from_pandas(nan), nan.to_dict("records")]:
        with pytest.raises(LoadError, match=r"parent_id expects a value in each row; row 1 has None, row 3 has None\."):
            load(sqlite_db, Puppy, rows)


def test_moments_with_a_time_zone_are_stored_as_the_orm_stores_them(db: Client) -> None:
    create_only(db, Narrow)
    moment = NOON.replace(tzinfo=UTC, microsecond=5)
    load(db, Narrow, [{"zoned": moment}])
    load(db, Narrow, pd.DataFrame({"zoned": pd.Series([moment], dtype="datetime64[ns, UTC]")}))
    load(db, Narrow, pa.table({"zoned": pa.array([moment], pa.timestamp("us", tz="America/New_York"))}))
    with db.transaction() as session:
        session.add(Narrow(zoned=moment))
    with db.engine.connect() as connection:
        driver: Any = connection.connection.cursor()
        driver.execute("SELECT zoned FROM narrow")
        assert len(set(driver.fetchall())) == 1


def test_whole_floats_and_values_of_numpy_and_pandas_fit(db: Client) -> None:
    create_only(db, Narrow)
    rows: list[dict[str, Any]] = [
        {"number": 3.0, "real": 2, "exact": 1.005, "day": NOON.replace(hour=0), "moment": pd.Timestamp(NOON)},
        {"number": np.int64(4), "real": np.float32(0.5), "exact": 7, "day": None, "moment": np.datetime64(NOON, "ns")},
        {"number": True, "real": Decimal("0.25"), "exact": None, "day": pd.NaT, "moment": NOON.date()},
        {
            "number": np.nan,
            "real": pd.NA,
            "exact": Decimal("NaN"),
            "flag": np.bool_(True),
            "moment": np.datetime64("NaT", "ns"),
        },
        {"flag": 1, "raw": bytearray(b"x"), "text": np.str_("ab"), "color": "green"},
    ]
    load(db, Narrow, rows)
    with db.create_session() as session:
        columns = [
            Narrow.number,
            Narrow.real,
            Narrow.exact,
            Narrow.day,
            Narrow.moment,
            Narrow.flag,
            Narrow.raw,
            Narrow.text,
        ]
        found = session.execute(sa.select(*columns, Narrow.color).order_by(Narrow.id)).all()
    midnight = NOON.replace(hour=0)
    assert [tuple(row) for row in found] == [
        (3, 2.0, Decimal("1.01"), NOON.date(), NOON, None, None, None, None),
        (4, 0.5, Decimal(7), None, NOON, None, None, None, None),
        (1, 0.25, None, None, midnight, None, None, None, None),
        (None, None, None, None, None, True, None, None, None),
        (None, None, None, None, None, True, b"x", "ab", Color.green),
    ]


class Numbered(Base):
    """Ids and defaults of every kind."""

    name: Mapped[str | None] = mapped_column(String(20))
    scalar: Mapped[int] = mapped_column(default=7)
    called: Mapped[str] = mapped_column(String(40), default=lambda: uuid.uuid4().hex)
    of_row: Mapped[str] = mapped_column(
        String(40), default=lambda context: context.get_current_parameters()["name"] + "!"
    )
    by_server: Mapped[int | None] = mapped_column(server_default=sa.text("5"))
    computed: Mapped[int | None] = mapped_column(sa.Computed("scalar + 1", persisted=True))
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}


class BySQL(Base):
    name: Mapped[str | None] = mapped_column(String(20), default=sa.func.lower("ABC"))
    info: Mapped[Any | None] = mapped_column(sa.JSON)


class Creature(Base):
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(20))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "creature"}


class Winged(Creature):
    id: Mapped[int] = mapped_column(ForeignKey("creature.id"), primary_key=True)
    wings: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "bird"}


class Finned(Creature):
    """In the table of its base."""

    fins: Mapped[int | None]
    __tablename__ = None
    __mapper_args__ = {"polymorphic_identity": "fish"}


class Checked(Base):
    name: Mapped[str] = mapped_column(String(5))
    first: Mapped[str | None] = mapped_column(String(1))
    number: Mapped[int | None]

    @validates("name")
    def _cut(self, field: str, value: str) -> str | None:
        self.first = value[0]
        return self.truncate_to_field_length(field, value)

    @validates("number")
    def _read(self, _field: str, value: Any) -> int | None:
        return None if value is None else int(value.replace(",", ""))


class Linked(Base):
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("kennel.id"))
    parent: Mapped[Kennel | None] = relationship()


def test_ids_that_the_database_gives_after_given_ones_do_not_collide(db: Client) -> None:
    create_only(db, Kennel)
    load(db, Kennel, [{"id": 50, "name": "fifty"}, {"id": 7, "name": "seven"}])
    with db.transaction() as session:
        session.add(Kennel(name="by the session"))
    load(db, Kennel, [{"name": "loaded"}])
    load(db, Kennel, [{"id": 20, "name": "twenty"}])  # lower: nothing goes backwards
    load(db, Kennel, [{"name": "again"}, {"id": 90, "name": "given"}, {"name": "not given", "id": None}])
    with db.create_session() as session:
        ids = {parent.name: parent.id for parent in session.scalars(sa.select(Kennel))}
    assert (ids["by the session"], ids["loaded"]) == (51, 52)
    assert ids["again"] > 52
    assert len(set(ids.values())) == len(ids) == 8
    with db.transaction() as session:
        session.add(Kennel(name="last"))
    assert count_rows(db, Kennel) == 9


def test_defaults_are_those_of_an_orm_add(db: Client) -> None:
    create_only(db, Numbered, BySQL)
    load(db, Numbered, [{"name": "a"}, {"name": "b", "scalar": None, "by_server": None}, {"name": "c", "by_server": 9}])
    load(db, Numbered, pd.DataFrame({"name": ["d"], "scalar": [1], "called": ["x"], "of_row": ["y"]}))
    load(db, BySQL, [{"info": {"a": [1]}}, {"name": "given", "info": None}, {"name": None, "info": 5}])
    with db.create_session() as session:
        rows = session.scalars(sa.select(Numbered).order_by(Numbered.name)).all()
        assert [(r.name, r.scalar, r.of_row, r.by_server, r.computed, r.version) for r in rows] == [
            ("a", 7, "a!", 5, 8, 1),
            ("b", 7, "b!", 5, 8, 1),
            ("c", 7, "c!", 9, 8, 1),
            ("d", 1, "y", 5, 2, 1),
        ]
        assert len({row.called for row in rows}) == 4
        found = {(row.name, str(row.info)) for row in session.scalars(sa.select(BySQL))}
        assert found == {("abc", "{'a': [1]}"), ("given", "None"), ("abc", "5")}
    with pytest.raises(LoadError, match=r"Numbered.computed cannot be loaded: the database computes it"):
        load(db, Numbered, [{"name": "a", "computed": 5}])


def test_rows_without_any_column_are_rows(db: Client) -> None:
    create_only(db, Linked, Kennel)
    load(db, Linked, [{}, {}, {}])
    load(db, Linked, [{"parent_id": None}])
    assert count_rows(db, Linked) == 4


def test_inherited_models_fill_all_their_tables(db: Client) -> None:
    create_only(db, Creature, Winged)
    load(db, Creature, [{"name": "animal"}])
    load(db, Winged, [{"name": f"bird {n}", "wings": n} for n in range(3)])
    load(db, Winged, pd.DataFrame({"id": [40, 41], "name": ["bird 40", "bird 41"], "wings": [40, 41]}))
    load(db, Finned, [{"name": "fish", "fins": 3}])
    load(db, Winged, [{"name": "bird 5", "wings": 5}])
    with db.create_session() as session:
        animals = session.scalars(sa.select(Creature).order_by(Creature.id)).all()
        told = [(type(a).__name__, a.name, getattr(a, "wings", None), getattr(a, "fins", None)) for a in animals]
    assert told == [
        ("Creature", "animal", None, None),
        *(("Winged", f"bird {n}", n, None) for n in (0, 1, 2, 40, 41)),
        ("Finned", "fish", None, 3),
        ("Winged", "bird 5", 5, None),
    ]


def test_validators_are_called_for_each_row(db: Client) -> None:
    create_only(db, Checked)
    rows: list[dict[str, Any]] = [{"name": "long name", "number": "1,234"}, {"name": "x", "number": None}]
    load(db, Checked, rows)
    load(db, Checked, pd.DataFrame(rows))
    load(db, Checked, [Checked(**row) for row in rows])
    with db.create_session() as session:
        found = [(c.name, c.first, c.number) for c in session.scalars(sa.select(Checked).order_by(Checked.id))]
    assert found == [("long ", "l", 1234), ("x", "x", None)] * 3
    with pytest.raises(
        LoadError,
        match=r"Checked.number .* its validator accepts; row 1 has the string 'z' \(ValueError: invalid literal",
    ):
        load(db, Checked, [{"name": "a", "number": "1"}, {"name": "a", "number": "z"}])


def test_instances_that_a_session_or_nobody_could_write_are_refused(sqlite_db: Client) -> None:
    create_only(sqlite_db, Linked, Kennel, Creature, Winged)
    with pytest.raises(LoadError, match=r"Row 1: Linked\.parent is an object, which load"):
        load(sqlite_db, Linked, [Linked(), Linked(parent=Kennel(name="a"))])
    with pytest.raises(LoadError, match="Row 1 is no Creature, but Winged: load each model by itself"):
        load(sqlite_db, Creature, [Creature(name="a"), Winged(name="b", wings=2)])
    with sqlite_db.transaction() as session:
        pending = Kennel(name="a")
        session.add(pending)
        with pytest.raises(LoadError, match="Row 0: this Kennel belongs to a session"):
            bulk.load(session, Kennel, [pending])


def test_pending_objects_of_the_session_are_written_first(db: Client) -> None:
    create_only(db, Kennel, Puppy)
    with db.transaction() as session:
        session.add(Kennel(id=1, name="a"))
        bulk.load(session, Puppy, [{"parent_id": 1}])
    assert count_rows(db, Puppy) == 1


def test_a_session_that_has_no_run_loads_in_its_own_transaction(db: Client) -> None:
    create_only(db, Kennel)
    session = db.create_session()
    bulk.load(session, Kennel, [{"name": "a"}])
    assert count_rows(db, Kennel) == 0
    session.rollback()
    bulk.load(session, Kennel, [{"name": "b"}])
    session.commit()
    session.close()
    assert count_rows(db, Kennel) == 1


def test_a_generator_may_ask_and_write_by_the_same_session(db: Client) -> None:
    create_only(db, Kennel, Puppy)

    def rows(session: sa.orm.Session) -> Iterator[dict[str, Any]]:
        for number in range(3):
            session.add(Kennel(id=number + 1, name=f"parent {number}"))
            session.flush()
            yield {"parent_id": session.scalars(sa.select(Kennel.id).order_by(Kennel.id.desc())).first()}

    with db.transaction() as session:
        bulk.load(session, Puppy, rows(session))
    assert (count_rows(db, Kennel), count_rows(db, Puppy)) == (3, 3)
