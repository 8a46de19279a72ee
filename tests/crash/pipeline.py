"""The pipeline that is attacked: about sixty small tasks that use everything that a task may do to a database.

Its data is arithmetic, so that two runs load the same, to the last value. Nothing here knows that it will be killed.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import Any

import luigi
import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, String, Table
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned

REGIONS, YEARS, PRODUCTS, SALES = 8, range(2020, 2025), 12, 10


class Region(Base):
    __tablename__ = "crash_region"
    name: Mapped[str] = mapped_column(String(50), unique=True)
    part_of_id: Mapped[int | None] = mapped_column(ForeignKey("crash_region.id"))
    sales: Mapped[int | None] = mapped_column()


class Product(Base):
    __tablename__ = "crash_product"
    name: Mapped[str] = mapped_column(String(50), unique=True)
    rank: Mapped[int | None] = mapped_column()


class Tag(Base):
    __tablename__ = "crash_tag"
    name: Mapped[str] = mapped_column(String(50), unique=True)


product_tag = Table(
    "crash_product_tag",
    Base.metadata,
    Column("product_id", ForeignKey("crash_product.id"), primary_key=True),
    Column("tag_id", ForeignKey("crash_tag.id"), primary_key=True),
)


class Sale(TaskOwned, Base):
    __tablename__ = "crash_sale"
    region_id: Mapped[int] = mapped_column(ForeignKey("crash_region.id"))
    product_id: Mapped[int] = mapped_column(ForeignKey("crash_product.id"))
    year: Mapped[int] = mapped_column()
    amount: Mapped[int] = mapped_column()


class Total(TaskOwned, Base):
    __tablename__ = "crash_total"
    region_id: Mapped[int] = mapped_column(ForeignKey("crash_region.id"))
    year: Mapped[int] = mapped_column()
    amount: Mapped[int] = mapped_column()


class Remark(TaskOwned, Base):
    __tablename__ = "crash_remark"
    text: Mapped[str] = mapped_column(String(100))


class LoadRegions(tasks.ORMTask):
    creates = [Region]

    def run(self) -> None:
        world = Region(name="world")
        self.session.add(world)
        self.session.flush()
        self.session.add_all(Region(name=f"region {n}", part_of_id=world.id) for n in range(REGIONS))


class LoadProducts(tasks.ORMTask):
    creates = [Product]

    def run(self) -> None:
        self.session.execute(sa.insert(Product), [{"name": f"product {n}"} for n in range(PRODUCTS)])
        self.done()


class LoadTags(tasks.ORMTask):
    """Fills an association table."""

    creates = [Tag, product_tag]

    def requires(self) -> Any:
        return [LoadProducts()]

    def run(self) -> None:
        tags = [Tag(name=f"tag {n}") for n in range(4)]
        self.session.add_all(tags)
        self.session.flush()
        products = self.session.scalars(sa.select(Product.id).order_by(Product.name)).all()
        pairs = [{"product_id": p, "tag_id": tags[n % 4].id} for n, p in enumerate(products)]
        self.session.execute(sa.insert(product_tag), pairs)


class LoadSales(tasks.ORMTask):
    """One of many tasks that share a table."""

    creates: Collection[Any] = [Sale]
    region: int = luigi.IntParameter()
    year: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [LoadRegions(), LoadProducts()]

    def run(self) -> None:
        region = self.session.scalars(sa.select(Region.id).where(Region.name == f"region {self.region}")).one()
        products = self.session.scalars(sa.select(Product.id).order_by(Product.name)).all()
        rows = [
            {
                "region_id": region,
                "product_id": products[(n * 5 + self.region) % PRODUCTS],
                "year": self.year,
                "amount": (self.year * 31 + self.region * 17 + n * n) % 97,
            }
            for n in range(SALES)
        ]
        if self.region % 2:
            self.session.execute(sa.insert(Sale), rows)
        else:
            self.session.add_all(Sale(**row) for row in rows)


class SumYear(tasks.ORMTask):
    creates: Collection[Any] = [Total]
    year: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [LoadSales(region=region, year=self.year) for region in range(REGIONS)]

    def run(self) -> None:
        query = sa.select(Sale.region_id, sa.func.sum(Sale.amount)).where(Sale.year == self.year)
        for region, amount in self.session.execute(query.group_by(Sale.region_id)).all():
            self.session.add(Total(region_id=region, year=self.year, amount=int(amount)))


class AllYears(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [SumYear(year=year) for year in YEARS]


class SumRegions(tasks.ORMTask):
    """Fills a column in rows of another task."""

    updates = [Region.sales]

    def requires(self) -> Any:
        return [AllYears()]

    def run(self) -> None:
        query = sa.select(Total.region_id, sa.func.sum(Total.amount)).group_by(Total.region_id)
        for region, amount in self.session.execute(query).all():
            self.session.get_one(Region, region).sales = int(amount)


class RankProducts(tasks.ORMTask):
    updates = [Product.rank]

    def requires(self) -> Any:
        return [AllYears()]

    def run(self) -> None:
        total = sa.func.sum(Sale.amount)
        query = sa.select(Product).join(Sale).group_by(Product.id, Product.name, Product.rank)
        for rank, product in enumerate(self.session.scalars(query.order_by(total.desc(), Product.name)).all(), 1):
            product.rank = rank


class LoadRemark(tasks.ORMTask):
    """Required by nobody until another task runs."""

    creates: Collection[Any] = [Remark]
    number: int = luigi.IntParameter()

    def run(self) -> None:
        self.session.add(Remark(text=f"remark {self.number}"))


class Discuss(tasks.ORMTask):
    """Finds what it requires while it runs, in two steps."""

    creates: Collection[Any] = [Remark]
    topic: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [LoadTags()]

    def run(self) -> Generator[Any, Any, None]:
        yield LoadRemark(number=self.topic)
        self.session.add(Remark(text=f"about {self.topic}"))
        yield [LoadRemark(number=self.topic + 1), LoadRemark(number=self.topic + 2)]
        self.session.add(Remark(text=f"more about {self.topic}"))


class CheckTotals(tasks.ORMTestTask):
    def requires(self) -> Any:
        return [SumRegions()]

    def run(self) -> None:
        sold, summed = (self.session.scalar(sa.select(sa.func.sum(column))) for column in (Sale.amount, Region.sales))
        assert sold == summed


class Everything(tasks.ORMWrapperTask):
    def requires(self) -> Any:
        return [SumRegions(), RankProducts(), CheckTotals(), *(Discuss(topic=topic) for topic in (10, 11, 20))]
