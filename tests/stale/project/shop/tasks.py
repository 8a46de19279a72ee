from pathlib import Path

from ozelot import config
from ozelot.etl.tasks import InputFileTask, ORMTask, ORMTestTask, ORMWrapperTask

from . import helpers, text
from .helpers import more
from .models import Product, Shop


class PriceFile(InputFileTask):
    input_file = "prices.csv"

    def load(self):
        return [helpers.tidy(line) for line in Path(self.input_file).read_text().splitlines()]


class StockFile(InputFileTask):
    input_file = "stock.txt"


class LoadShops(ORMTask):
    creates = [Shop]
    priority = 1

    def run(self):
        assert config.USER_AGENT
        for name in config.SHOPS:
            self.session.add(Shop(name=name))


class Common(ORMTask):
    creates = [Product]

    def first_shop(self):
        return self.session.query(Shop).first()


class LoadProducts(Common):
    def requires(self):
        return [LoadShops(), PriceFile()]

    def run(self):
        shop = self.first_shop()
        for name, price in PriceFile().load():
            self.session.add(Product(name=name, price=text.number(price), shop_id=shop.id))


class CountStock(ORMTask):
    updates = [Product.stock]

    def requires(self):
        return [LoadProducts(), StockFile()]

    @more.counted
    def run(self):
        for product in self.session.query(Product):
            product.stock = 1 + len(product.label)


class CheckProducts(ORMTestTask):
    def requires(self):
        from .late import LoadLate

        return [LoadProducts(), LoadLate()]

    def run(self):
        assert self.session.query(Product).count() > 1


class Everything(ORMWrapperTask):
    def requires(self):
        return [CountStock(), CheckProducts(), LoadShops()]
