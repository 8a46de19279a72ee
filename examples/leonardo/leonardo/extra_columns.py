"""Extra columns: as standard, with spare columns, of which it is settled later what they hold."""

from __future__ import annotations

import luigi
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from leonardo.files import ArtistsFile, PaintingsFile
from ozelot.etl import tasks
from ozelot.orm.base import Base


class Artist(Base):
    source: Mapped[str] = mapped_column(String(20), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    text_1: Mapped[str | None] = mapped_column(String(100))
    text_2: Mapped[str | None] = mapped_column(String(100))
    integer_1: Mapped[int | None]
    integer_2: Mapped[int | None]


class Painting(Base):
    title: Mapped[str] = mapped_column(String(100), unique=True)
    width: Mapped[float | None]
    height: Mapped[float | None]
    year: Mapped[int | None]
    artist_id: Mapped[int | None] = mapped_column(ForeignKey("artist.id"))
    artist: Mapped[Artist | None] = relationship()


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
        self.load(Painting, PaintingsFile().load(), refs={"artist": Artist.source})


class LoadEverything(tasks.ORMWrapperTask):
    def requires(self) -> list[luigi.Task]:
        return [LoadArtists(), LoadPaintings()]
