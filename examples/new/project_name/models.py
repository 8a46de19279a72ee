"""The data model: what is to be in the database."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ozelot.orm.base import Base


class Country(Base):
    """A country, and the code that the files call it by."""

    code: Mapped[str] = mapped_column(String(2), unique=True)
    name: Mapped[str] = mapped_column(String(100))


class City(Base):
    """A city, and how many people live there."""

    name: Mapped[str] = mapped_column(String(100))
    population: Mapped[int | None]
    country_id: Mapped[int] = mapped_column(ForeignKey("country.id"))
    country: Mapped[Country] = relationship()
