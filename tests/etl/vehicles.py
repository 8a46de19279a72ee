"""Vehicles: a hierarchy of models with a discriminator, in tables of their own and in that of their parent."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.orm.base import Base


class Vehicle(Base):
    """Joined inheritance, with a discriminator."""

    kind: Mapped[str] = mapped_column(String(20))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}


class Car(Vehicle):
    id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)
    doors: Mapped[int | None] = mapped_column()
    __mapper_args__ = {"polymorphic_identity": "car"}


class Convertible(Car):
    id: Mapped[int] = mapped_column(ForeignKey("car.id"), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "convertible"}


class Bike(Vehicle):
    """Single-table inheritance."""

    __tablename__ = None
    gears: Mapped[int | None] = mapped_column(use_existing_column=True)
    __mapper_args__ = {"polymorphic_identity": "bike"}
