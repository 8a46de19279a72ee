"""The data model: characters live in universes, were born in places, and appear in films."""

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from ozelot import client
from ozelot.orm.base import Base
from ozelot.orm.target import ORMTargetMarker

__all__ = ["Character", "Movie", "MovieAppearance", "ORMTargetMarker", "Place", "Universe", "reinitialize"]


class Universe(Base):
    """One of the realities in which the stories happen."""

    name: Mapped[str] = mapped_column(String(255))
    url: Mapped[str] = mapped_column(String(1000))

    characters: Mapped[list["Character"]] = relationship(back_populates="universe")

    @validates("name", "url")
    def _fit(self, field: str, value: str | None) -> str | None:
        return self.truncate_to_field_length(field, value)


class Place(Base):
    """A place where characters were born."""

    name: Mapped[str] = mapped_column(String(255))
    url: Mapped[str] = mapped_column(String(1000))

    characters: Mapped[list["Character"]] = relationship(back_populates="place_of_birth")

    @validates("name", "url")
    def _fit(self, field: str, value: str | None) -> str | None:
        return self.truncate_to_field_length(field, value)


class Character(Base):
    """A character in one universe; the same hero elsewhere is another character.

    Attributes:
        name: The title of the page without the universe.
        height: In meters.
        weight: In kilograms.
        number_of_appearances: In comics, as the wiki counts them.
        first_appearance_year: When the first comic with the character came out.
    """

    name: Mapped[str] = mapped_column(String(255))
    url: Mapped[str] = mapped_column(String(1000))
    real_name: Mapped[str | None] = mapped_column(String(1000))
    occupation: Mapped[str | None] = mapped_column(String(2000))
    gender: Mapped[str | None] = mapped_column(String(100))
    height: Mapped[float | None]
    weight: Mapped[float | None]
    number_of_appearances: Mapped[int | None]
    first_appearance_year: Mapped[int | None]
    universe_id: Mapped[int | None] = mapped_column(ForeignKey("universe.id"))
    place_of_birth_id: Mapped[int | None] = mapped_column(ForeignKey("place.id"))

    universe: Mapped[Universe | None] = relationship(back_populates="characters")
    place_of_birth: Mapped[Place | None] = relationship(back_populates="characters")
    movie_appearances: Mapped[list["MovieAppearance"]] = relationship(back_populates="character")

    @validates("name", "url", "real_name", "occupation", "gender")
    def _fit(self, field: str, value: str | None) -> str | None:
        return self.truncate_to_field_length(field, value)


class Movie(Base):
    """A film.

    Attributes:
        budget: In dollars of the year in which the film came out.
        budget_inflation_adjusted: In dollars of the last year of the consumer price index.
        imdb_rating: Of 10.
    """

    name: Mapped[str] = mapped_column(String(255))
    url: Mapped[str] = mapped_column(String(1000))
    year: Mapped[int | None]
    budget: Mapped[int | None] = mapped_column(BigInteger)
    budget_inflation_adjusted: Mapped[int | None] = mapped_column(BigInteger)
    imdb_rating: Mapped[float | None]

    movie_appearances: Mapped[list["MovieAppearance"]] = relationship(back_populates="movie")

    @validates("name", "url")
    def _fit(self, field: str, value: str | None) -> str | None:
        return self.truncate_to_field_length(field, value)


class MovieAppearance(Base):
    """A character in a film.

    Attributes:
        appearance_type: The label of the list that names the character, as in `Featured Characters`.
    """

    __table_args__ = (UniqueConstraint("movie_id", "character_id", "appearance_type"),)

    movie_id: Mapped[int] = mapped_column(ForeignKey("movie.id"))
    character_id: Mapped[int] = mapped_column(ForeignKey("character.id"))
    appearance_type: Mapped[str] = mapped_column(String(100))

    movie: Mapped[Movie] = relationship(back_populates="movie_appearances")
    character: Mapped[Character] = relationship(back_populates="movie_appearances")

    @validates("appearance_type")
    def _fit(self, field: str, value: str | None) -> str | None:
        return self.truncate_to_field_length(field, value)


def reinitialize() -> None:
    """Drop all tables with all that is in them, markers of complete tasks too, and create them again."""
    database = client.get_client()
    Base.drop_all(database)
    Base.create_all(database)
