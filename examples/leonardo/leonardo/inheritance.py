"""Inheritance: what all things have in common is in a table of its own, which those of each kind add to."""

from __future__ import annotations

import luigi
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from leonardo.files import ArtistsFile, PaintingsFile
from ozelot.etl import tasks
from ozelot.orm.base import Base


class Thing(Base):
    kind: Mapped[str] = mapped_column(String(20))
    source: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(100))
    __mapper_args__ = {"polymorphic_on": "kind"}


class Artist(Thing):
    id: Mapped[int] = mapped_column(ForeignKey("thing.id"), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "artist"}


class Painting(Thing):
    id: Mapped[int] = mapped_column(ForeignKey("thing.id"), primary_key=True)
    width: Mapped[float | None]
    height: Mapped[float | None]
    year: Mapped[int | None]
    artist_id: Mapped[int | None] = mapped_column(ForeignKey("artist.id"))
    artist: Mapped[Artist | None] = relationship(foreign_keys=artist_id)
    __mapper_args__ = {"polymorphic_identity": "painting", "inherit_condition": id == Thing.id}


class LoadArtists(tasks.ORMTask):
    creates = [Artist]

    def requires(self) -> list[luigi.Task]:
        return [ArtistsFile()]

    def run(self) -> None:
        self.load(Artist, [{"source": row["source"], "name": row["name"]} for row in ArtistsFile().load()])


class LoadPaintings(tasks.ORMTask):
    creates = [Painting]

    def requires(self) -> list[luigi.Task]:
        return [PaintingsFile(), LoadArtists()]

    def run(self) -> None:
        rows = [
            {
                "source": row["title"],
                "name": row["title"],
                "artist": row["artist"],
                "width": row["width"],
                "height": row["height"],
                "year": row["year"],
            }
            for row in PaintingsFile().load()
        ]
        self.load(Painting, rows, refs={"artist": Artist.source})


class LoadEverything(tasks.ORMWrapperTask):
    def requires(self) -> list[luigi.Task]:
        return [LoadArtists(), LoadPaintings()]
