from ozelot.etl.tasks import ORMTask

from .models import Product


class WeighProducts(ORMTask):
    """A task of another pipeline, that only those know who import this module, too."""

    updates = [Product.weight]
