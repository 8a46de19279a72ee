"""The database of the machine, looked at and tampered with past the package."""

from __future__ import annotations

import json
from typing import Any, Self

import sqlalchemy as sa

from ozelot.client import Client
from ozelot.orm.base import Base
from ozelot.state.inputs import run_page
from ozelot.state.markers import marker_key, markers
from ozelot.state.runs import run_edge, runs
from tests.etl.machine.oracle import Oracle
from tests.etl.machine.pipelines import Insert
from tests.etl.machine.shapes import SIDES, Shape

_OWN = [runs, run_edge, run_page, markers]


class Database:
    """The tables of a shape, seen through connections of its own; on SQLite these do not enforce foreign keys."""

    def __init__(self, client: Client, shape: Shape, classes: dict[str, Any]) -> None:
        self.client, self.shape = client, shape
        self.tables: dict[str, sa.Table] = {name: getattr(found, "__table__", found) for name, found in classes.items()}
        # Not kept open on SQLite: the machine forks.
        self.engine = sa.create_engine(client.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def __enter__(self) -> Self:
        with self.client.engine.begin() as connection:
            Base.metadata.create_all(connection, tables=[*_OWN, *self.tables.values()])
        self.ids: dict[int, int] = {}
        return self

    def __exit__(self, *_: object) -> None:
        with self.client.engine.begin() as connection:
            connection.execute(sa.delete(markers))
        with self.engine.connect() as connection:
            cascade = ""
            if connection.dialect.name == "postgresql":
                cascade = " CASCADE"
            elif connection.dialect.name != "sqlite":
                connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
            for name in [*([self.outside] if sa.inspect(connection).has_table(self.outside) else []), *self.tables]:
                connection.exec_driver_sql(f"DROP TABLE {name}{cascade}")
            for table in (run_page, run_edge, runs):
                connection.execute(sa.delete(table))
            if connection.dialect.name not in ("postgresql", "sqlite"):
                connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")
        self.engine.dispose()

    # Looking.

    def check(self, oracle: Oracle) -> None:
        """Assert that everything is what the oracle says."""
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(markers.c.name, markers.c.params, markers.c.key)).all()
            assert sorted(f"{row.name} {row.params}" for row in found) == sorted(oracle.markers)
            assert all(row.key == marker_key(row.name, row.params) for row in found)
            self._check_runs(connection, oracle)
            for name in self.shape.models:
                assert self._rows(connection, name) == self._expected(oracle, name), name
            for name, ends in self.shape.links.items():
                keys = [self._names(connection, end) for end in ends]
                pairs = connection.execute(sa.select(*(self.tables[name].c[side] for side in SIDES))).all()
                links = {(name, keys[0].get((left,), ""), keys[1].get((right,), "")) for left, right in pairs}
                assert links == {link for link in oracle.links if link[0] == name}

    def _check_runs(self, connection: sa.Connection, oracle: Oracle) -> None:
        found = connection.execute(sa.select(runs).order_by(runs.c.id)).all()
        lost = {serial for serial, run in oracle.runs.items() if run.was_lost}
        # Of several markers that are removed at once, the order in which that is recorded does not matter.
        told = sorted((f"{row.name} {row.params}", row.state) for row in found if not row.host)
        assert told == sorted((run.label, run.state) for serial, run in oracle.runs.items() if serial in lost)
        told = [(f"{row.name} {row.params}", row.state) for row in found if row.host]
        assert told == [(run.label, run.state) for serial, run in oracle.runs.items() if serial not in lost]
        self.ids = {row.id: serial for row, serial in zip(found, oracle.runs, strict=True)}
        edges = connection.execute(sa.select(run_edge.c.run_id, run_edge.c.built_on_id)).all()
        expected = {(n, other) for n, run in oracle.runs.items() for other in run.built_on if other in oracle.runs}
        assert {(self.ids[one], self.ids[other]) for one, other in edges} == expected
        for row, run in zip(found, oracle.runs.values(), strict=True):
            if run.state == "done" and not run.was_lost and row.host:
                assert json.loads(row.rows) == run.counts, run.label

    def _rows(self, connection: sa.Connection, model: str) -> dict[str, dict[str, Any]]:
        table, names = self.tables[model], self._names(connection, model)
        keys = self.shape.models[model].keys
        targets = {key.column: self._names(connection, key.target) for key in keys}
        found = {}
        for row in connection.execute(sa.select(table)).mappings():
            told: dict[str, Any] = {column: row[column] for column in (self.shape.models[model].value,)}
            for key in keys:
                pair = [row[name] for name in (key.column, f"{key.column}_half") if name in row]
                told[key.column] = None if None in pair else targets[key.column].get(tuple(pair), "nothing")
            if self.shape.models[model].owned:
                told["run_id"] = self.ids[row["run_id"]]
            if self.shape.models[model].kinds:
                told["kind"] = row["kind"]
            found[names[tuple(row[column.name] for column in table.primary_key)]] = told
        return found

    def _names(self, connection: sa.Connection, model: str) -> dict[tuple[int, ...], str]:
        """The names of the rows of a model by their keys."""
        own, root = self.tables[model], self.tables[self.shape.root(model)]
        query = sa.select(root.c.name, *root.primary_key.columns)
        if own is not root:
            query = query.join(own, own.c.id == root.c.id)
        return {tuple(key): name for name, *key in connection.execute(query)}

    def _expected(self, oracle: Oracle, model: str) -> dict[str, dict[str, Any]]:
        spec = self.shape.models[model]
        found = {}
        for row in oracle.rows_in(model):
            told: dict[str, Any] = {spec.value: row.values[spec.value]}
            for key in spec.keys:
                target = row.refs[key.column]
                told[key.column] = target if target is None or target in oracle.rows else "nothing"
            if spec.owned:
                told["run_id"] = row.run
            if spec.kinds:
                told["kind"] = row.model
            found[row.name] = told
        return found

    # Another application, and tampering.

    @property
    def outside(self) -> str:
        """The table of another application; no model has it."""
        return f"s{self.shape.number}outside"

    def insert_outside(self, label: str, model: str, name: str) -> None:
        """Another application adds a row that refers to one of a task; with the first one comes its table."""
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table(self.outside):
                connection.exec_driver_sql(
                    f"CREATE TABLE {self.outside} (label VARCHAR(60) PRIMARY KEY, about INTEGER, "
                    f"FOREIGN KEY (about) REFERENCES {model} (id))"
                )
            (number, *_) = self._key(connection, model, name)
            connection.execute(
                sa.text(f"INSERT INTO {self.outside} VALUES (:label, :about)"), {"label": label, "about": number}
            )

    def drop_outside(self) -> None:
        """Another application is removed."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql(f"DROP TABLE {self.outside}")

    def drop(self, model: str, models: set[str], classes: dict[str, Any]) -> None:
        """Drop the table of a model and all that refer to it, and create them again, empty."""
        classes[model].drop_table(self.client, cascade=True)
        with self.client.engine.begin() as connection:
            Base.metadata.create_all(connection, tables=list(self.tables.values()))

    def _key(self, connection: sa.Connection, model: str, name: str) -> tuple[int, ...]:
        return next(key for key, other in self._names(connection, model).items() if other == name)

    def delete(self, name: str, model: str) -> None:
        """Delete a row."""
        with self.engine.connect() as connection:
            (number, *_) = self._key(connection, model, name)
            for table in self.shape.chain(model):
                connection.execute(sa.delete(self.tables[table]).where(self.tables[table].c.id == number))

    def insert(self, row: Insert, serial: int) -> None:
        """Insert a row in the name of a run."""
        run_id = next(found for found, other in self.ids.items() if other == serial)
        with self.engine.connect() as connection:
            key: dict[str, Any] = {}
            for table in reversed(self.shape.chain(row.model)):
                spec = self.shape.models[table]
                columns: dict[str, Any] = {**key, spec.value: row.values[spec.value]}
                if spec.base is None:
                    columns["name"] = row.name
                if spec.kinds:
                    columns["kind"] = row.model
                if spec.owned:
                    columns["run_id"] = run_id
                if spec.composite:
                    number = int(row.name.rpartition(".")[2])
                    columns |= {"id": number, "half": number % 2}
                for reference in spec.keys:
                    target = row.refs[reference.column]
                    if target is not None:
                        names = (reference.column, f"{reference.column}_half")
                        values = self._key(connection, reference.target, target)
                        columns |= dict(zip(names, values, strict=False))
                made = connection.execute(sa.insert(self.tables[table]).values(columns))
                key = key or {"id": made.inserted_primary_key[0]}  # type: ignore[index]

    def set(self, name: str, model: str, column: str, value: int | None) -> None:
        """Change a value of a row in the table of a model."""
        with self.engine.connect() as connection:
            (number, *_) = self._key(connection, model, name)
            table = self.tables[model]
            connection.execute(sa.update(table).where(table.c.id == number).values({column: value}))

    def insert_marker(self, label: str) -> None:
        """Insert a marker."""
        name, _, params = label.partition(" ")
        with self.engine.connect() as connection:
            connection.execute(sa.insert(markers).values(name=name, params=params, key=marker_key(name, params)))

    def delete_marker(self, label: str) -> None:
        """Delete a marker."""
        name, _, params = label.partition(" ")
        with self.engine.connect() as connection:
            connection.execute(sa.delete(markers).where(markers.c.key == marker_key(name, params)))
