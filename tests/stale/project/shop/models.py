from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, validates

from ozelot.orm.base import Base


def shortened(text):
    return text[:20]


class Shop(Base):
    name: Mapped[str] = mapped_column(String(50))
    town: Mapped[str | None] = mapped_column(String(50))


class Product(Base):
    name: Mapped[str] = mapped_column(String(100))
    price: Mapped[float | None] = mapped_column()
    shop_id: Mapped[int | None] = mapped_column(ForeignKey("shop.id"))
    stock: Mapped[int | None] = mapped_column()
    weight: Mapped[float | None] = mapped_column()

    @validates("name")
    def _shorten(self, key, value):
        return shortened(value)

    @property
    def label(self):
        return f"{self.name}: {self.price}"
