"""Queries out: frames hold what the ORM gives, on every database, for every backend, by whatever way they come."""

from __future__ import annotations

import datetime as dt
import enum
import json
import sys
import uuid
from decimal import Decimal
from typing import Any, ClassVar

import hypothesis
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ozelot.client import Client, get_client
from ozelot.errors import ConfigError, DatabaseUnavailable, FrameError, UsageError
from ozelot.etl import tasks
from ozelot.frames import reader_mysql
from ozelot.orm.base import Base

pytestmark = pytest.mark.servers

BACKENDS = ["pandas", "polars", "arrow"]

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Models(DeclarativeBase):
    """A registry of its own: these tables are no part of any pipeline."""


class Sample(Models):
    """A column of each type; those down to ``size`` are read from text where the database sends it."""

    __tablename__ = "sample"
    id: Mapped[int] = mapped_column(primary_key=True)
    whole: Mapped[int | None]
    big: Mapped[int | None] = mapped_column(sa.BigInteger)
    real: Mapped[float | None] = mapped_column(sa.Double)
    amount: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 3))
    yes: Mapped[bool | None]
    text: Mapped[str | None] = mapped_column(sa.Text)
    day: Mapped[dt.date | None]
    at: Mapped[dt.datetime | None] = mapped_column(
        sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    )
    color: Mapped[Color | None] = mapped_column(sa.Enum(Color))
    size: Mapped[str | None] = mapped_column(sa.Enum("S", "M", name="size"))
    raw: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    clock: Mapped[dt.time | None] = mapped_column(sa.Time().with_variant(mysql.TIME(fsp=6), "mysql", "mariadb"))
    tree: Mapped[Any] = mapped_column(sa.JSON(none_as_null=True), nullable=True)
    key: Mapped[uuid.UUID | None]


PLAIN = ["id", "whole", "big", "real", "amount", "yes", "text", "day", "at", "color", "size"]
ALL = [column.name for column in Sample.__table__.columns]

#: NULL in PostgreSQL's text ends it; the others are no text of their own in UTF-8.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**50), 2**50) | TEXT
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "whole": st.integers(-(2**31), 2**31 - 1),
            "big": st.integers(-(2**63), 2**63 - 1),
            # MariaDB knows no numbers without end, and none below the normal ones.
            "real": st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
            "amount": st.decimals(-99_999_999, 99_999_999, places=3),
            "yes": st.booleans(),
            "text": TEXT,
            "day": st.dates(),
            "at": st.datetimes(),
            "color": st.sampled_from(Color),
            "size": st.sampled_from(["S", "M"]),
            "raw": st.binary(max_size=20),
            "clock": st.times(),
            "tree": st.lists(SCALARS, max_size=3) | st.dictionaries(TEXT, SCALARS, max_size=3),
            "key": st.uuids(version=4),
        },
    ),
    max_size=6,
)
EXAMPLES = hypothesis.settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
    database=None,
)
FULL: dict[str, Any] = {
    "whole": -(2**31),
    "big": 2**63 - 1,
    "real": 0.1,
    "amount": Decimal("-12345678.901"),
    "yes": False,
    "text": 'a "quoted",\r\n\t\\N \\. line, 中文 🦓',
    "day": dt.date(1, 1, 1),
    "at": dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
    "color": Color.BLUE,
    "size": "M",
    "raw": bytes(range(256)),
    "clock": dt.time(23, 59, 59, 999999),
    "tree": {"a": [1, None, "ü"]},
    "key": uuid.UUID(int=2**128 - 1),
}


@pytest.fixture
def samples(db: Client) -> Client:
    Models.metadata.create_all(db.engine)
    return db


def fill(db: Client, rows: list[dict[str, Any]]) -> None:
    with db.transaction() as session:
        session.execute(sa.delete(Sample))
        session.add_all(Sample(id=number, **row) for number, row in enumerate(rows, 1))


def columns(names: list[str]) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(*(getattr(Sample, name) for name in names)).order_by(Sample.id)


def by_orm(db: Client, query: Any) -> list[tuple[Any, ...]]:
    with db.create_session() as session:
        return [tuple(row) for row in session.execute(query)]


def held(frame: Any) -> list[tuple[Any, ...]]:
    """The rows of a frame as plain Python values; names and JSON that Arrow holds as text made what they stand for."""
    if isinstance(frame, pd.DataFrame):
        return [
            tuple(None if value is pd.NA or value is pd.NaT or value != value else _plain(value) for value in row)
            for row in zip(*(frame.iloc[:, at].astype(object) for at in range(frame.shape[1])), strict=True)
        ]
    table = frame if isinstance(frame, pa.Table) else frame.to_arrow()
    rows = frame.rows() if isinstance(frame, pl.DataFrame) else [tuple(row.values()) for row in frame.to_pylist()]
    meant: dict[str, Any] = {"color": lambda name: Color[name], "tree": json.loads, "key": uuid.UUID}
    return [
        tuple(
            meant[name](value) if name in meant and value is not None else value
            for name, value in zip(table.column_names, row, strict=True)
        )
        for row in rows
    ]


def _plain(value: Any) -> Any:
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value


def types(frame: Any) -> list[str]:
    return [str(kind) for kind in (frame.schema.types if isinstance(frame, pa.Table) else frame.dtypes)]


def query(db: Client, statement: Any, backend: str = "pandas") -> Any:
    return db.frame(statement, backend=backend)  # type: ignore[call-overload]


@pytest.mark.parametrize("names", [PLAIN, ALL], ids=["plain", "all"])
@EXAMPLES
@hypothesis.given(rows=ROWS)
@pytest.mark.slow
def test_any_values_come_out_as_the_orm_gives_them(
    samples: Client, names: list[str], rows: list[dict[str, Any]]
) -> None:
    fill(samples, rows)
    expected = by_orm(samples, columns(names))
    for backend in BACKENDS:
        assert held(query(samples, columns(names), backend)) == expected, backend
    pieces = list(samples.frames(columns(names), rows=2))
    assert [row for piece in pieces for row in held(piece)] == expected


@pytest.mark.parametrize("names", [PLAIN, ALL], ids=["plain", "all"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_types_do_not_depend_on_the_values(samples: Client, names: list[str], backend: str) -> None:
    fill(samples, [FULL])
    full = query(samples, columns(names), backend)
    fill(samples, [{}, {}])
    missing = query(samples, columns(names), backend)
    empty = query(samples, columns(names).where(sa.false()), backend)
    assert types(full) == types(missing) == types(empty)
    assert (len(full), len(missing), len(empty)) == (1, 2, 0)
    if backend == "pandas":
        known = dict(zip(names, types(full), strict=True))
        assert known["whole"] == known["big"] == "Int64"
        assert (known["yes"], known["real"], known["at"]) == ("boolean", "float64", "datetime64[us]")


@pytest.mark.parametrize("names", [PLAIN, ALL], ids=["plain", "all"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_extreme_values_come_out_as_they_went_in(samples: Client, names: list[str], backend: str) -> None:
    fill(samples, [FULL, {}, {"text": ""}])
    found = held(query(samples, columns(names), backend))
    assert found[0] == (1, *(FULL[name] for name in names[1:]))
    assert found[1] == (2, *(None for _ in names[1:]))
    assert found[2][names.index("text")] == ""


def test_a_lone_column_keeps_its_null_rows(samples: Client) -> None:
    fill(samples, [{}, {"text": ""}, {"text": "\\."}, {"text": "\n"}, {}])
    assert held(samples.frame(columns(["text"]))) == [(None,), ("",), ("\\.",), ("\n",), (None,)]


@pytest.mark.parametrize("length", [250, 251, 65_535, 65_536, 3_000_000])
def test_long_texts_come_out_whole(samples: Client, length: int) -> None:
    kind = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    long = sa.Table(
        "long", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("text", kind), sa.Column("n", sa.Integer)
    )
    long.create(samples.engine)
    with samples.engine.begin() as connection:
        connection.execute(sa.insert(long), [{"id": n, "text": str(n) * length, "n": n} for n in range(3)])
    found = samples.frame(sa.select(long).order_by(long.c.id), backend="arrow")
    assert found.column("text").to_pylist() == [str(n) * length for n in range(3)]
    assert found.column("n").to_pylist() == [0, 1, 2]


@pytest.mark.parametrize(
    "wanted", ["it's; DROP TABLE sample --", "100% %s %(x)s %%", "back\\slash", "中文 🦓", ":x ? $1"]
)
def test_parameters_are_bound_never_read_as_sql(samples: Client, wanted: str) -> None:
    fill(samples, [{"text": wanted}, {"text": "other"}])
    for condition in (Sample.text == wanted, Sample.text.in_([wanted, "none"]), Sample.text == sa.literal(wanted)):
        assert held(samples.frame(columns(["id", "text"]).where(condition))) == [(1, wanted)]
    literal = sa.select(
        sa.literal(wanted, literal_execute=True).label("a"), sa.literal_column("'5%'", sa.String).label("b")
    )
    assert held(samples.frame(literal)) == [(wanted, "5%")]
    assert held(samples.frame(columns(["id"]).where(Sample.text.like("%the%")))) == [(2,)]


def test_all_that_df_query_takes_can_be_asked(samples: Client) -> None:
    fill(samples, [{"whole": 1}, {"whole": 2}])
    with samples.create_session() as session:
        asked = session.query(Sample.id, Sample.whole).order_by(Sample.id)
        assert held(samples.frame(asked)) == [(1, 1), (2, 2)]
        assert list(samples.frame(session.query(Sample)).columns) == ALL
    assert list(samples.frame(sa.select(Sample)).columns) == ALL
    assert list(samples.frame(sa.select(Sample.id, Sample.whole.label("n"), Sample.id)).columns) == ["id", "n", "id__1"]
    union: Any = sa.union_all(sa.select(Sample.whole), sa.select(Sample.id)).order_by("whole")
    assert held(samples.frame(union)) == [(1,), (1,), (2,), (2,)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_sql_as_text_has_the_types_of_the_driver_or_those_that_it_names(samples: Client, backend: str) -> None:
    fill(samples, [{"whole": 1, "text": "a", "day": dt.date(2020, 1, 2)}, {}])
    text = "SELECT id, whole, text, day FROM sample ORDER BY id"
    found = held(query(samples, text, backend))
    day = "2020-01-02" if samples.engine.dialect.name == "sqlite" else dt.date(2020, 1, 2)
    assert found == [(1, 1, "a", day), (2, None, None, None)]
    named = sa.text(text).columns(id=sa.Integer, whole=sa.Integer, text=sa.String, day=sa.Date)
    assert held(query(samples, named, backend))[0] == (1, 1, "a", dt.date(2020, 1, 2))
    twice = held(query(samples, sa.text("SELECT id, id FROM sample WHERE id = :wanted").bindparams(wanted=2), backend))
    assert twice == [(2, 2)]


def test_results_of_functions_are_those_that_the_orm_gives(samples: Client) -> None:
    fill(samples, [{"whole": 1, "amount": Decimal("99999999.999")}, {"whole": 2, "amount": Decimal("99999999.999")}])
    asked = sa.select(
        sa.func.avg(Sample.whole), sa.func.sum(Sample.amount), sa.func.count(), sa.func.sum(Sample.whole) / 3
    )
    for backend in BACKENDS:
        assert held(query(samples, asked, backend)) == by_orm(samples, asked)


@on_postgresql
def test_decimals_without_a_scale_get_the_places_that_they_need(samples: Client) -> None:
    values = "VALUES (1, 0.5), (2, 0.1234567890123456789), (3, NULL)"
    asked = sa.text(f"SELECT n FROM ({values}) v (i, n) ORDER BY i").columns(n=sa.Numeric)
    assert held(samples.frame(asked)) == [(Decimal("0.5"),), (Decimal("0.1234567890123456789"),), (None,)]
    assert held(samples.frame(asked, backend="polars")) == by_orm(samples, asked)


@on_postgresql
def test_floats_and_times_that_only_postgresql_knows(samples: Client) -> None:
    zoned = sa.text("SELECT 'NaN'::float8 AS f, '2020-07-01 12:00:00.5+05:30'::timestamptz AS t").columns(
        f=sa.Double, t=sa.DateTime(timezone=True)
    )
    (row,) = samples.frame(zoned, backend="arrow").to_pylist()
    assert row["f"] != row["f"]
    assert row["t"] == dt.datetime(2020, 7, 1, 6, 30, 0, 500_000, tzinfo=dt.UTC)
    early = sa.text("SELECT '1800-01-01 12:00:00+00'::timestamptz AS t").columns(t=sa.DateTime(timezone=True))
    with samples.transaction() as session:
        session.execute(sa.text("SET LOCAL timezone = 'Europe/Amsterdam'"))  # seconds off the hour, then
        (row,) = samples.frame(early, backend="arrow").to_pylist()
    assert row["t"] == dt.datetime(1800, 1, 1, 12, tzinfo=dt.UTC)


@on_postgresql
def test_what_arrow_does_not_read_is_left_to_the_driver_and_does_no_harm(samples: Client) -> None:
    series = "SELECT '{}-01-01 12:00:00+00'::timestamptz AS t, repeat('x', 1000) AS x FROM generate_series(1, 20000) "
    kinds: dict[str, Any] = {"t": sa.DateTime(timezone=True), "x": sa.String}
    early, late = (sa.text(series.format(year) + "-- a comment").columns(**kinds) for year in (1800, 1990))
    with samples.transaction() as session:
        session.execute(sa.text("SET LOCAL timezone = 'Europe/Amsterdam'"))  # seconds off the hour, in 1800
        session.execute(sa.insert(Sample), [{"id": 1}])
        assert len(samples.frame(early)) == len(samples.frame(late)) == 20_000
        assert sum(len(piece) for piece in samples.frames(early)) == 20_000
        assert len(samples.frame(columns(PLAIN))) == 1


@pytest.mark.parametrize("names", [PLAIN, ALL], ids=["plain", "all"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_frames_are_pieces_of_as_many_rows_as_asked_for(samples: Client, names: list[str], backend: str) -> None:
    fill(samples, [{**FULL, "whole": number} for number in range(7)])
    pieces = samples.frames(columns(names), rows=3, backend=backend)  # type: ignore[call-overload]
    if backend == "arrow":
        assert isinstance(pieces, pa.RecordBatchReader)
        pieces = [pa.Table.from_batches([batch]) for batch in pieces]
    found = list(pieces)
    assert [len(piece) for piece in found] == [3, 3, 1]
    assert [row for piece in found for row in held(piece)] == by_orm(samples, columns(names))
    nothing = samples.frames(columns(names).where(sa.false()), backend=backend)  # type: ignore[call-overload]
    expected = types(query(samples, columns(names).where(sa.false()), backend))
    if backend == "arrow":
        assert [str(kind) for kind in nothing.schema.types] == expected
        assert list(nothing) == []
    else:
        (empty,) = nothing
        assert (len(empty), types(empty)) == (0, expected)


@pytest.mark.slow
def test_memory_does_not_grow_with_a_result_that_is_read_in_pieces(samples: Client) -> None:
    with samples.transaction() as session:
        session.execute(sa.insert(Sample), [{"id": number, "text": "x" * 100} for number in range(1, 60_001)])
    before, most = pa.total_allocated_bytes(), 0
    for piece in samples.frames(columns(PLAIN), rows=1000, backend="arrow"):
        most = max(most, pa.total_allocated_bytes() - before)
        assert len(piece) == 1000
    assert most < 30_000_000  # a piece that PostgreSQL sent is 8 MB of text, and its columns
    with pytest.raises(UsageError, match="ask for 1 or more"):
        samples.frames(columns(PLAIN), rows=0)


@pytest.mark.parametrize("names", [PLAIN, ALL], ids=["plain", "all"])
def test_a_stream_that_is_left_early_leaves_its_connection_usable(samples: Client, names: list[str]) -> None:
    fill(samples, [FULL] * 50)
    for _ in range(3):
        stream = samples.frames(columns(names), rows=2)
        assert len(next(iter(stream))) == 2
        stream.close()  # type: ignore[attr-defined]
        assert samples.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        with samples.create_session() as session:
            assert session.scalar(sa.select(sa.func.count(Sample.id))) == 50


class Stone(Base):
    number: Mapped[int]


class Boulder(Base):
    number: Mapped[int]


class LoadStones(tasks.ORMTask):
    creates = [Stone]

    def run(self) -> None:
        self.session.add_all(Stone(number=number) for number in range(2500))


class DoubleStones(tasks.ORMTask):
    """Reads a stream, and its own rows, while it writes."""

    creates = [Boulder]
    fails = False
    seen: ClassVar[list[int]] = []

    def requires(self) -> Any:
        return [LoadStones()]

    def run(self) -> None:
        found = get_client()
        for piece in found.frames(sa.select(Stone.number), rows=1000):
            self.session.execute(sa.insert(Boulder), [{"number": int(number) * 2} for number in piece["number"]])
            self.seen.append(len(found.frame(sa.select(Boulder.number))))
        self.session.add(Boulder(number=-1))
        self.seen.append(len(found.frame(self.session.query(Boulder.number))))


def test_a_run_sees_its_own_rows_and_may_write_while_it_reads(db: Client) -> None:
    Base.create_all(db)
    DoubleStones.seen.clear()
    assert DoubleStones.build()
    assert DoubleStones.seen == [1000, 2000, 2500, 2501]
    assert sorted(db.frame(sa.select(Boulder.number))["number"])[:3] == [-1, 0, 2]


def test_what_is_not_committed_is_seen_inside_alone(samples: Client) -> None:
    outside = Client(connection_string=samples.url)
    with pytest.raises(ZeroDivisionError), samples.transaction() as session:
        session.execute(sa.insert(Sample), [{"id": 1}, {"id": 2}])
        assert len(samples.frame(columns(PLAIN))) == 2
        assert len(outside.frame(columns(PLAIN))) == 0
        raise ZeroDivisionError
    assert len(samples.frame(columns(PLAIN))) == 0
    outside.engine.dispose()


@on_postgresql
@pytest.mark.parametrize("names", [PLAIN, ALL], ids=["plain", "all"])
def test_a_query_that_fails_on_its_way_can_be_caught_inside_a_transaction(samples: Client, names: list[str]) -> None:
    fill(samples, [FULL] * 5)
    failing = columns(names).add_columns((1 / (Sample.id - 4)).cast(sa.Integer).label("n"))
    with samples.transaction() as session:
        session.execute(sa.insert(Sample), [{"id": 10}])
        with pytest.raises(sa.exc.DataError, match="division by zero"):
            samples.frame(failing)
        assert len(samples.frame(columns(PLAIN))) == 6
    with pytest.raises(Exception, match="division by zero"):
        list(samples.frames(failing))
    assert len(samples.frame(columns(PLAIN))) == 6


@pytest.mark.parametrize("backend", BACKENDS)
@on_sqlite
def test_a_value_that_does_not_fit_its_type_is_told_with_its_column(samples: Client, backend: str) -> None:
    fill(samples, [{}])
    with samples.engine.begin() as connection:
        connection.execute(sa.text("UPDATE sample SET whole = 'eleven'"))
    with pytest.raises(FrameError, match=r"Column 'whole' .* does not fit int64 .*cast\(column, type\)"):
        query(samples, columns(ALL), backend)
    assert held(query(samples, sa.select(sa.cast(Sample.whole, sa.String)), backend)) == [("eleven",)]


@on_sqlite
def test_types_that_only_values_tell_are_those_that_hold_all(samples: Client) -> None:
    with samples.transaction() as session:
        session.execute(sa.insert(Sample), [{"id": number} for number in range(3000)])
    text = "SELECT {} AS n FROM sample ORDER BY id"
    rising = samples.frame(text.format("CASE WHEN id < 2000 THEN id ELSE id + 0.5 END"))
    assert str(rising["n"].dtype) == "float64"
    assert rising["n"].tolist()[-1] == 2999.5
    late = samples.frame(text.format("CASE WHEN id >= 2000 THEN id END"), backend="arrow")
    assert (str(late.schema.types[0]), late["n"].null_count) == ("int64", 2000)
    mixed = text.format("CASE WHEN id < 2000 THEN id ELSE 'text' END")
    with pytest.raises(FrameError, match="no common type"):
        samples.frame(mixed)
    with pytest.raises(FrameError, match="Column 'n'"):
        list(samples.frames(text.format("CASE WHEN id >= 2000 THEN id END"), rows=1000))


def test_what_has_no_result_is_refused_and_leaves_nothing(samples: Client) -> None:
    with pytest.raises(FrameError, match="use a SELECT"):
        samples.frame("INSERT INTO sample (id) VALUES (1)")
    with pytest.raises((FrameError, sa.exc.ProgrammingError)):
        list(samples.frames("INSERT INTO sample (id) VALUES (1)"))
    assert len(samples.frame(columns(PLAIN))) == 0


def test_a_statement_that_is_wrong_is_an_error_of_sqlalchemy(samples: Client) -> None:
    for statement in (sa.select(Sample.id, sa.literal_column("nothing", sa.Integer)), sa.text("SELECT nothing")):
        with pytest.raises(sa.exc.DBAPIError, match="nothing"):
            samples.frame(statement)


@pytest.mark.parametrize(
    ("missing", "backend", "extra"),
    [
        ("pyarrow", "arrow", "arrow"),
        ("pyarrow", "polars", "polars"),
        ("pyarrow", "pandas", "pandas,arrow"),
        ("polars", "polars", "polars"),
        ("pandas", "pandas", "pandas,arrow"),
    ],
)
def test_a_missing_package_is_told_with_what_to_install(
    sqlite_db: Client, monkeypatch: pytest.MonkeyPatch, missing: str, backend: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("ozelot.frames")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("ozelot.frames", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=rf"pip install 'ozelot\[{extra}\]'"):
        query(sqlite_db, "SELECT 1", backend)
    with pytest.raises(ConfigError, match="No backend 'spark' for frames: pandas, polars, arrow"):
        monkeypatch.undo()
        query(sqlite_db, "SELECT 1", "spark")


def test_no_password_is_told_when_there_is_no_connection() -> None:
    for url in ("postgresql+psycopg://me:secret@127.0.0.1:1/x", "mysql+pymysql://me:secret@127.0.0.1:1/x"):
        with pytest.raises(DatabaseUnavailable, match="password hidden") as raised:
            Client(connection_string=url).frame("SELECT 1")
        assert "secret" not in str(raised.value)


def packet(payload: bytes, number: int = 0) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number % 256]) + payload


END = packet(b"\xfe\x00\x00\x02\x00")


def read_packets(pieces: list[bytes]) -> list[list[bytes | None]]:
    """The rows of two columns in a stream that comes in pieces."""
    stream = iter(pieces)
    rows: list[list[bytes | None]] = []

    def fail(payload: bytes) -> None:
        raise ValueError(payload)

    for block, starts in reader_mysql.blocks(lambda: next(stream), fail):
        texts = [column.to_pylist() for column in reader_mysql.texts_of(block, starts, 2)]
        rows += [list(row) for row in zip(*texts, strict=True)]
    return rows


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_rows_of_mariadb_are_found_wherever_the_stream_is_cut(size: int) -> None:
    stream = packet(b"\x01a\xfb", 1) + packet(b"\x00\x02\xfe\xff", 2) + packet(b"\xfb\xfc\x03\x00xyz", 3) + END
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert read_packets(pieces) == [[b"a", None], [b"", b"\xfe\xff"], [None, b"xyz"]]


def test_a_row_of_mariadb_that_is_longer_than_a_packet_is_put_together() -> None:
    long = bytes(range(256)) * 200_000
    row = b"\xfe" + len(long).to_bytes(8, "little") + long + b"\x01b"
    cut = [row[at : at + 0xFFFFFF] for at in range(0, len(row), 0xFFFFFF)]
    stream = b"".join(packet(part, number) for number, part in enumerate(cut)) + packet(b"\x01c\x01d") + END
    pieces = [stream[at : at + 5_000_000] for at in range(0, len(stream), 5_000_000)]
    assert read_packets(pieces) == [[long, b"b"], [b"c", b"d"]]


def test_an_error_in_the_stream_of_mariadb_comes_after_the_rows_before_it() -> None:
    stream = iter([packet(b"\x01a\x01b") + packet(b"\xff\x01\x00#70100killed")])

    def fail(payload: bytes) -> None:
        raise ValueError(payload)

    found = reader_mysql.blocks(lambda: next(stream), fail)
    block, starts = next(found)
    assert [column.to_pylist() for column in reader_mysql.texts_of(block, starts, 2)] == [[b"a"], [b"b"]]
    with pytest.raises(ValueError, match="killed"):
        next(found)
