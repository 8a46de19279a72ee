"""The base class of models: tables, indexes of foreign keys, dropping in order."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Integer, String, Table
from sqlalchemy.orm import Mapped, mapped_column, validates

from ozelot.client import Client
from ozelot.errors import TableReferenced
from ozelot.etl import completion, tasks
from ozelot.model.base import table_of
from ozelot.orm.base import Base, model_registry
from ozelot.state.markers import OWN_TABLES
from tests.etl.heroes import build
from tests.tables import create_tables

pytestmark = pytest.mark.servers


class Country(Base):
    name: Mapped[str] = mapped_column(String(50))


class City(Base):
    name = Column(String(10))  # the style of 0.2
    country_id = Column(Integer, ForeignKey("country.id"))
    twin_id = Column(Integer, ForeignKey("city.id"), index=False)

    @validates("name")
    def cut(self, field: str, value: str) -> str | None:
        return self.truncate_to_field_length(field, value)


class Street(Base):
    city_id: Mapped[int] = mapped_column(ForeignKey("city.id"))


class Person(Base):
    kind: Mapped[str] = mapped_column(String(20))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}


class Artist(Person):
    id: Mapped[int] = mapped_column(ForeignKey("person.id"), primary_key=True)
    style: Mapped[str | None] = mapped_column(String(50))
    __mapper_args__ = {"polymorphic_identity": "artist"}


lives_in = Table(
    "lives_in",
    Base.metadata,
    Column("person_id", ForeignKey("person.id"), primary_key=True),
    Column("city_id", ForeignKey("city.id"), primary_key=True),
)


def tables(db: Client) -> set[str]:
    return set(sa.inspect(db.engine).get_table_names())


def test_models_have_an_id_and_the_lower_cased_class_name_and_are_registered() -> None:
    assert City.__tablename__ == "city"
    assert [column.name for column in sa.inspect(City).primary_key] == ["id"]
    assert model_registry["City"] is City
    assert "Base" not in model_registry


def test_foreign_key_columns_get_an_index_unless_they_have_one_or_decline(db: Client) -> None:
    create_tables(db, Country, Artist)
    inspector = sa.inspect(db.engine)

    def indexed(table: str) -> set[str | None]:
        return {column for index in inspector.get_indexes(table) for column in index["column_names"]}

    assert "country_id" in indexed("city")
    assert "city_id" in indexed("street")
    assert "city_id" in indexed("lives_in")  # second in its primary key, so that this does not serve
    assert not {index.name for index in table_of(City).indexes} & {"ix_city_twin_id"}
    assert not table_of(Artist).indexes


@pytest.mark.parametrize("on", ["class", "instance"])
def test_a_table_is_created_and_dropped_on_the_class_and_on_an_instance(db: Client, on: str) -> None:
    model = Country if on == "class" else Country()
    model.create_table(db)
    assert "country" in tables(db)
    with pytest.raises(sa.exc.DBAPIError):
        model.create_table(db)
    model.drop_table(db)
    assert "country" not in tables(db)


def test_dropping_a_table_that_others_refer_to_is_refused_and_names_them(db: Client) -> None:
    create_tables(db, Country, Artist)
    with pytest.raises(TableReferenced, match=r"Cannot drop city: lives_in, street refer to it"):
        City.drop_table(db)
    assert {"city", "street"} <= tables(db)
    City.drop_table(db, cascade=True)
    assert not {"city", "street", "lives_in"} & tables(db)
    assert {"country", "person"} <= tables(db)
    City.create_table(db, cascade=True)
    assert {"city", "street", "lives_in"} <= tables(db)


def test_cascade_stops_at_tables_that_are_no_models(db: Client) -> None:
    create_tables(db, Country, Artist)
    with db.engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE foreigner (id INTEGER PRIMARY KEY, street_id INTEGER, "
                "FOREIGN KEY (street_id) REFERENCES street (id))"
            )
        )
    with pytest.raises(TableReferenced, match="foreigner refer to it or to a table"):
        Country.drop_table(db, cascade=True)
    assert {"country", "city", "street"} <= tables(db)
    with db.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE foreigner"))


def test_drop_all_and_create_all(db: Client) -> None:
    Base.create_all(db)
    assert {"city", "ormtargetmarker"} <= tables(db)
    Base.drop_all(db)
    assert tables(db) == set()


DROP_ALL = """
import sys
from ozelot.client import Client
from ozelot.orm import base, run

class Town({owner}base.Base):
    pass

client = Client(connection_string=sys.argv[1])
Town.create_table(client)
assert "ozelot.etl" not in sys.modules and "ozelot.state.inputs" not in sys.modules
base.Base.drop_all(client)
"""


def drop_all(db: Client, owner: str) -> subprocess.CompletedProcess[str]:
    """Call drop_all() in a script that knows one model and imports no tasks."""
    Base.metadata.create_all(db.engine, tables=list(OWN_TABLES))
    url = db.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", DROP_ALL.format(owner=owner), url]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("owner", ["", "run.TaskOwned, "])
def test_drop_all_drops_the_tables_of_ozelot_where_no_tasks_are_imported(db: Client, owner: str) -> None:
    done = drop_all(db, owner)
    assert done.returncode == 0, done.stderr
    assert tables(db) == set()


def test_drop_all_names_an_unknown_table_that_refers_to_one_to_be_dropped(db: Client) -> None:
    Base.metadata.create_all(db.engine, tables=list(OWN_TABLES))
    with db.engine.begin() as connection:
        connection.execute(
            sa.text("CREATE TABLE theirs (run_id INTEGER NOT NULL, FOREIGN KEY (run_id) REFERENCES ozelot_run (id))")
        )
    before = tables(db)
    done = drop_all(db, "")
    assert done.stderr.splitlines()[-1].startswith(
        "ozelot.errors.TableReferenced: Cannot drop ozelot_run: theirs refer"
    )
    assert tables(db) == before | {"town"}
    with db.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE theirs"))


def test_get_max_id_is_that_of_the_base_model(db: Client) -> None:
    create_tables(db, Country, Artist)
    with db.create_session() as session:
        assert Artist.get_max_id(session) == 0
        session.add_all([Person(), Artist(), Person()])
        session.commit()
        assert Artist.get_max_id(session) == Person.get_max_id(session) == 3


def test_values_are_cut_to_the_length_of_their_column() -> None:
    assert City(name="Llanfairpwllgwyngyll").name == "Llanfairpw"
    assert City(name=None).name is None
    assert City(name="Rome").name == "Rome"


class LoadCountry(tasks.ORMTask):
    creates = [Country]

    def run(self) -> None:
        self.session.add(Country(name="Italy"))


class LoadCity(tasks.ORMTask):
    creates = [City]

    def requires(self) -> list[tasks.ORMTask]:
        return [LoadCountry()]

    def run(self) -> None:
        self.session.add(City(name="Rome", country_id=self.session.scalar(sa.select(Country.id))))


class LoadStreet(tasks.ORMTask):
    creates = [Street]

    def requires(self) -> list[tasks.ORMTask]:
        return [LoadCity()]

    def run(self) -> None:
        self.session.add(Street(city_id=self.session.scalar(sa.select(City.id))))


def test_rebuild_makes_a_model_anew_and_has_exactly_its_tasks_run_again(db: Client) -> None:
    create_tables(db, Country, Artist)
    assert build(LoadStreet())
    assert completion.rebuild(LoadStreet(), City) == ["LoadCity {}", "LoadStreet {}"]
    assert LoadCountry().complete()
    with db.create_session() as session:
        counts = [session.scalar(sa.select(sa.func.count()).select_from(model)) for model in (Country, City, Street)]
    assert counts == [1, 0, 0]
    assert build(LoadStreet())


class Chicken(Base):
    egg_id: Mapped[int | None] = mapped_column(ForeignKey("egg.id"))


class Egg(Base):
    chicken_id: Mapped[int | None] = mapped_column(ForeignKey("chicken.id"))


def test_tables_that_refer_to_each_other_are_created_and_dropped(db: Client) -> None:
    for _ in range(2):
        create_tables(db, Egg)
        with db.create_session() as session:
            session.add(egg := Egg())
            session.flush()
            session.add(chicken := Chicken(egg_id=egg.id))
            session.flush()
            egg.chicken_id = chicken.id
            session.commit()
        Base.drop_all(db)
        assert tables(db) == set()
    create_tables(db, Egg)
    Egg.drop_table(db, cascade=True)
    assert not {"egg", "chicken"} & tables(db)
    Egg.create_table(db, cascade=True)
    assert {"egg", "chicken"} <= tables(db)
