"""Key-value store: a row for each fact, whatever it is."""

from __future__ import annotations

import luigi
from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from leonardo.files import ArtistsFile, PaintingsFile
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned


class Artist(Base):
    source: Mapped[str] = mapped_column(String(20), unique=True)


class ArtistFact(TaskOwned, Base):
    artist_id: Mapped[int] = mapped_column(ForeignKey("artist.id"))
    artist: Mapped[Artist] = relationship()
    key: Mapped[str] = mapped_column(String(20))
    value: Mapped[str] = mapped_column(String(100))
    __table_args__ = (UniqueConstraint("artist_id", "key"),)


class Painting(Base):
    title: Mapped[str] = mapped_column(String(100), unique=True)
    artist_id: Mapped[int | None] = mapped_column(ForeignKey("artist.id"))
    artist: Mapped[Artist | None] = relationship()


class PaintingFact(TaskOwned, Base):
    painting_id: Mapped[int] = mapped_column(ForeignKey("painting.id"))
    painting: Mapped[Painting] = relationship()
    key: Mapped[str] = mapped_column(String(20))
    value: Mapped[str] = mapped_column(String(100))
    __table_args__ = (UniqueConstraint("painting_id", "key"),)


class LoadArtists(tasks.ORMTask):
    creates = [Artist, ArtistFact]

    def requires(self) -> list[luigi.Task]:
        return [ArtistsFile()]

    def run(self) -> None:
        rows = ArtistsFile().load()
        self.load(Artist, [{"source": row["source"]} for row in rows])
        names = [{"artist": row["source"], "key": "name", "value": row["name"]} for row in rows]
        self.load(ArtistFact, names, refs={"artist": Artist.source})


class LoadPaintings(tasks.ORMTask):
    creates = [Painting, PaintingFact]

    def requires(self) -> list[luigi.Task]:
        return [PaintingsFile(), LoadArtists()]

    def run(self) -> None:
        rows = PaintingsFile().load()
        titles = [{"title": row["title"], "artist": row["artist"]} for row in rows]
        self.load(Painting, titles, refs={"artist": Artist.source})
        facts = [
            {"painting": row["title"], "key": key, "value": str(value)}
            for row in rows
            for key, value in row.items()
            if key in ("width", "height", "year") and value is not None
        ]
        self.load(PaintingFact, facts, refs={"painting": Painting.title})


class LoadEverything(tasks.ORMWrapperTask):
    def requires(self) -> list[luigi.Task]:
        return [LoadArtists(), LoadPaintings()]
