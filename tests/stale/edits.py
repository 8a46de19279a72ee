"""Edits of a project, and which of its tasks turn stale by each, for which part."""

from __future__ import annotations

from typing import NamedTuple

SHOPS, PRODUCTS, STOCK, CHECK, ALL = "LoadShops", "LoadProducts", "CountStock", "CheckProducts", "Everything"


class Edit(NamedTuple):
    """An edit of one file (or several): what is replaced by what, and what turns stale for which reasons."""

    name: str
    file: str
    old: str
    new: str
    stale: dict[str, str]
    also: tuple[tuple[str, str, str], ...] = ()


_SCALE = "def scale():\n    return FACTOR\n"
_LABEL = '    @property\n    def label(self):\n        return f"{self.name}: {self.price}"\n'


def _all_with_product(reason: str) -> dict[str, str]:
    return {PRODUCTS: reason, STOCK: reason, CHECK: reason}


EDITS = [
    # What changes nothing
    Edit("a comment", "shop/text.py", "# the first", "# the very first", {}),
    Edit("a docstring", "shop/text.py", '"""A number."""', '"""A price."""', {}),
    Edit("a docstring is added", "shop/text.py", "def scale():\n", 'def scale():\n    """A scale."""\n', {}),
    Edit("the docstring of a module", "shop/text.py", '"""Text."""', '"""Numbers."""', {}),
    Edit("layout and quotes", "shop/text.py", 'r"[0-9.]+"', "\n    '[0-9.]+'\n", {}),
    Edit("lines move", "shop/text.py", "UNUSED = 1", "\n\n\nUNUSED = 1", {}),
    Edit("a local variable has another name", "shop/text.py", "result", "outcome", {}),
    Edit("an annotation of a function", "shop/text.py", "(text: str) -> float", "(text)", {}),
    Edit("a constant that nothing uses", "shop/text.py", "UNUSED = 1", "UNUSED = 2", {}),
    Edit("a setting that nothing uses", "project_config.py", "UNUSED_SETTING = 1", "UNUSED_SETTING = 2", {}),
    Edit("a function that nothing calls", "shop/text.py", "return 1\n", "return 2\n", {}),
    Edit("an import that nothing uses", "shop/tasks.py", "from pathlib", "import json\nfrom pathlib", {}),
    Edit(
        "the order of functions",
        "shop/text.py",
        f"{_SCALE}\n\ndef never_called():\n    return 1\n",
        f"def never_called():\n    return 1\n\n\n{_SCALE}",
        {},
    ),
    Edit(
        "a function moves to another module, with the constant that it uses",
        "shop/text.py",
        _SCALE,
        "from .units import scale\n",
        {},
        (("shop/units.py", "", f"FACTOR = 100\n{_SCALE}"),),
    ),
    Edit("when a task runs", "shop/tasks.py", "priority = 1", "priority = 2", {}),
    Edit(
        "a new task that nothing requires yet",
        "shop/tasks.py",
        "class Everything",
        "class Later(ORMTask):\n    creates = ()\n\n\nclass Everything",
        {},
    ),
    Edit(
        "the order of columns",
        "shop/models.py",
        "    name: Mapped[str] = mapped_column(String(50))\n",
        "",
        {},
        (
            (
                "shop/models.py",
                "    town: Mapped[str | None] = mapped_column(String(50))\n",
                "    town: Mapped[str | None] = mapped_column(String(50))\n"
                "    name: Mapped[str] = mapped_column(String(50))\n",
            ),
        ),
    ),
    Edit(
        "an index",
        "shop/models.py",
        "price: Mapped[float | None] = mapped_column()",
        "price: Mapped[float | None] = mapped_column(index=True)",
        {},
    ),
    Edit("a file is touched", "prices.csv", "", "", {}),
    Edit(
        "a parameter with a default is added to a task",
        "shop/tasks.py",
        "    updates = [Product.stock]\n",
        "    updates = [Product.stock]\n    year = luigi.IntParameter(default=2026)\n",
        {},
        (("shop/tasks.py", "from pathlib", "import luigi\nfrom pathlib"),),
    ),
    Edit("a setting of ozelot itself", "project_config.py", '"shop"', '"shops"', {}),
    # Code
    Edit("a function", "shop/text.py", "float(found[0])", "int(float(found[0]))", {PRODUCTS: "code: shop.text.number"}),
    Edit(
        "a constant of a helper of a helper",
        "shop/text.py",
        "FACTOR = 100",
        "FACTOR = 1000",
        {PRODUCTS: "code: shop.text.FACTOR"},
    ),
    Edit(
        "the type of a constant", "shop/text.py", "FACTOR = 100", "FACTOR = 100.0", {PRODUCTS: "code: shop.text.FACTOR"}
    ),
    Edit("a regular expression", "shop/text.py", "[0-9.]+", "[0-9,.]+", {PRODUCTS: "code: shop.text._NUMBER"}),
    Edit(
        "a helper behind another name",
        "shop/helpers/more.py",
        "part.strip()",
        "part.rstrip()",
        {PRODUCTS: "code: shop.helpers.more.clean"},
    ),
    Edit("a default", "shop/helpers/more.py", 'sep=";"', 'sep="; "', {PRODUCTS: "code: shop.helpers.more.clean"}),
    Edit(
        "a parameter with a default is added to a helper",
        "shop/helpers/more.py",
        'sep=";"',
        'sep=";", limit=-1',
        {PRODUCTS: "code: shop.helpers.more.clean"},
    ),
    Edit(
        "an import brings in another function of that name",
        "shop/helpers/__init__.py",
        "clean as tidy",
        "counted as tidy",
        {PRODUCTS: "code: shop.helpers.more.counted"},
    ),
    Edit(
        "a function moves to where a name means something else",
        "shop/text.py",
        _SCALE,
        "from .units import scale\n",
        {PRODUCTS: "code: shop.units.FACTOR"},
        (("shop/units.py", "", f"FACTOR = 10\n{_SCALE}"),),
    ),
    Edit(
        "what a decorator does",
        "shop/helpers/more.py",
        "return function(*args)",
        "return [function(*args)]",
        {STOCK: "code: shop.helpers.more.counted"},
    ),
    Edit("a decorator goes", "shop/tasks.py", "    @more.counted\n", "", {STOCK: "code: shop.tasks.CountStock.run"}),
    Edit("what run() does", "shop/tasks.py", "1 + len(", "2 + len(", {STOCK: "code: shop.tasks.CountStock.run"}),
    Edit("a check", "shop/tasks.py", "count() > 1", "count() > 0", {CHECK: "code: shop.tasks.CheckProducts.run"}),
    Edit(
        "a method of a base class",
        "shop/tasks.py",
        "query(Shop).first()",
        "query(Shop).limit(1).first()",
        {PRODUCTS: "code: shop.tasks.Common.first_shop"},
    ),
    Edit(
        "how a file is read",
        "shop/tasks.py",
        "read_text()",
        'read_text(encoding="utf-8")',
        {PRODUCTS: "code: shop.tasks.PriceFile.load"},
    ),
    Edit("a setting", "project_config.py", '"South"]', '"South", "West"]', {SHOPS: "code: project_config.SHOPS"}),
    Edit(
        "a method of a model",
        "shop/models.py",
        "{self.name}: ",
        "{self.name}, ",
        _all_with_product("code: shop.models.Product.label"),
    ),
    Edit(
        "what a validator calls",
        "shop/models.py",
        "text[:20]",
        "text[:30]",
        _all_with_product("code: shop.models.shortened"),
    ),
    Edit(
        "a version that is counted by hand",
        "shop/tasks.py",
        "    updates = [Product.stock]\n",
        "    updates = [Product.stock]\n    code_version = 2\n",
        {STOCK: "code: shop.tasks.CountStock.code_version"},
    ),
    # Inputs
    Edit("a byte of a file", "prices.csv", "1.20", "1.30", {PRODUCTS: "input: prices.csv"}),
    Edit("a line more in a file", "stock.txt", "ink\n", "ink\npen\n", {STOCK: "input: stock.txt"}),
    Edit(
        "another file",
        "shop/tasks.py",
        'input_file = "stock.txt"',
        'input_file = "prices.csv"',
        {STOCK: "code: shop.tasks.StockFile; input: prices.csv"},
    ),
    # The schema
    Edit(
        "a nullable column is added",
        "shop/models.py",
        "    stock:",
        "    color: Mapped[str | None]\n    stock:",
        _all_with_product("schema: product.color added"),
    ),
    Edit(
        "a column that is not null is added",
        "shop/models.py",
        "    stock:",
        "    color: Mapped[str]\n    stock:",
        _all_with_product("schema: product.color added"),
    ),
    Edit(
        "a String is widened",
        "shop/models.py",
        "String(100)",
        "String(200)",
        _all_with_product("schema: product.name: VARCHAR(200) NOT NULL, was VARCHAR(100) NOT NULL"),
    ),
    Edit(
        "a column may be NULL",
        "shop/models.py",
        "    name: Mapped[str] = mapped_column(String(100))",
        "    name: Mapped[str | None] = mapped_column(String(100))",
        _all_with_product("schema: product.name: VARCHAR(100), was VARCHAR(100) NOT NULL"),
    ),
    Edit(
        "a column goes",
        "shop/models.py",
        "    town: Mapped[str | None] = mapped_column(String(50))\n",
        "",
        {
            SHOPS: "schema: shop.town is no more",
            PRODUCTS: "schema: shop.town is no more",
            ALL: "schema: shop.town is no more",
        },
    ),
    Edit(
        "a foreign key goes",
        "shop/models.py",
        'mapped_column(ForeignKey("shop.id"))',
        "mapped_column()",
        _all_with_product("schema: product.shop_id: INTEGER, was INTEGER REFERENCES shop.id"),
    ),
    Edit(
        "a column that another task fills is added",
        "shop/models.py",
        "    stock:",
        "    size: Mapped[float | None] = mapped_column()\n    stock:",
        {STOCK: "code: shop.tasks.CountStock; schema: product.size added", ALL: "schema: product.size added"},
        (("shop/tasks.py", "updates = [Product.stock]", "updates = [Product.stock, Product.size]"),),
    ),
]
