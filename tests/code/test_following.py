"""Which edits of a project change what a task is made of, and which do not."""

from __future__ import annotations

import importlib
import itertools
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ozelot.pipeline.declarations import task_classes
from ozelot.staleness.code_closure import Code, Piece, code_of, differences

PROJECT = {
    "models.py": """
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column
from ozelot.orm.base import Base

def label_of(name): return name.title()

class Product(Base):
    __tablename__ = __name__.replace(".", "_")
    name: Mapped[str] = mapped_column(String(100))
    price: Mapped[float | None] = mapped_column()

    @property
    def label(self): return label_of(self.name)
""",
    "text.py": '''
"""Text."""
import re

UNUSED = 1
_NUMBER = re.compile(r"[0-9.]+")
FACTOR = 100

def number(text: str) -> float:
    """A number."""
    found = _NUMBER.search(text)  # the first
    return float(found[0]) * scale()

def scale():
    return FACTOR

def never_called():
    return 1
''',
    "helpers/__init__.py": "from .more import clean as tidy\n",
    "helpers/more.py": """
def clean(text, sep=","):
    parts = [part.strip() for part in text.split(sep)]
    return parts

def decorate(function): return function
""",
    "tasks.py": """
import luigi
from ozelot.etl.tasks import ORMTask, InputFileTask
from . import helpers, text
from .helpers import more
from .models import Product

class Prices(InputFileTask):
    input_file = "prices.csv"
    def load(self): return [helpers.tidy(line) for line in open(self.input_file)]

class Common(ORMTask):
    creates = [Product]
    def made(self): return self.read()

class LoadProducts(Common):
    priority = 1
    def requires(self): return [Prices()]
    def run(self):
        for name, price in Prices().load():
            self.session.add(Product(name=name, price=text.number(price)))
    def read(self): return 1

class CountProducts(ORMTask):
    creates = ()
    year: int = luigi.IntParameter(default=2020)
    def requires(self): return [LoadProducts()]
    @more.decorate
    def run(self):
        from .models import Product as Counted
        print(self.session.query(Counted).count())
""",
}

LOAD, COUNT = "LoadProducts", "CountProducts"
numbers = itertools.count()


@pytest.fixture(autouse=True)
def own_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def codes(files: dict[str, str], folder: Path) -> dict[str, Code]:
    """What the tasks of a project are made of, with a name for its package that does not matter."""
    package = f"project_{next(numbers)}"
    for name, content in {"__init__.py": "", **files}.items():
        path = folder / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    importlib.invalidate_caches()
    importlib.import_module(f"{package}.tasks")
    found = {}
    for cls in [cls for cls in task_classes if cls.__module__ == f"{package}.tasks"]:
        code = code_of(cls)
        pieces = {name.replace(package, "PKG"): _renamed(piece, package) for name, piece in code.pieces.items()}
        roots = [root.replace(package, "PKG") for root in code.roots]
        found[cls.__name__] = Code(roots, pieces, version=code.version)
    return found


def _renamed(piece: Piece, package: str) -> Piece:
    return Piece(piece.parts, {name: label.replace(package, "PKG") for name, label in piece.uses.items()})


def changed(before: dict[str, Code], after: dict[str, Code]) -> dict[str, set[str]]:
    """The names of the parts that differ, by task."""
    found = {task: set(differences(before[task], code)) for task, code in after.items()}
    return {task: names for task, names in found.items() if names}


NOTHING: dict[str, set[str]] = {}

#: What the edits of a whole project in tests/stale leave open.
EDITS = [
    ("quotes", "text.py", 'r"[0-9.]+"', "'[0-9.]+'", NOTHING),
    ("a column", "models.py", "price: Mapped[float | None]", "price: Mapped[int | None]", NOTHING),
    ("a function", "text.py", "float(found[0])", "int(found[0])", {LOAD: {"PKG.text.number"}}),
    (
        "the name of a parameter",
        "helpers/more.py",
        "def clean(text, sep",
        "def clean(words, sep",
        {LOAD: {"PKG.helpers.more.clean"}},
    ),
    ("which file is read", "tasks.py", "prices.csv", "prices_2.csv", {LOAD: {"PKG.tasks.Prices"}}),
    ("what a task declares", "tasks.py", "creates = ()", "creates = None", {COUNT: {"PKG.tasks.CountProducts"}}),
    (
        "a parameter",
        "tasks.py",
        "    def requires(self): return [LoadProducts()]",
        "    month = luigi.IntParameter(default=1)\n    def requires(self): return [LoadProducts()]",
        {COUNT: {"PKG.tasks.CountProducts"}},
    ),
    ("a default of a parameter", "tasks.py", "default=2020", "default=2021", {COUNT: {"PKG.tasks.CountProducts"}}),
    (
        "what a model calls",
        "models.py",
        "name.title()",
        "name.upper()",
        {task: {"PKG.models.label_of"} for task in (LOAD, COUNT, "Common")},
    ),
    (
        "a base class",
        "tasks.py",
        "class LoadProducts(Common)",
        "class LoadProducts(Common, object)",
        {LOAD: {"PKG.tasks.LoadProducts"}},
    ),
    ("a version by hand", "tasks.py", "    priority = 1\n", "    priority = 1\n    code_version = 3\n", None),
]


@pytest.mark.parametrize(("file", "old", "new", "expected"), [edit[1:] for edit in EDITS], ids=[e[0] for e in EDITS])
def test_exactly_what_an_edit_touches_is_another(
    file: str, old: str, new: str, expected: dict[str, set[str]] | None, tmp_path: Path
) -> None:
    assert PROJECT[file].count(old) == 1
    before = codes(PROJECT, tmp_path)
    after = codes({**PROJECT, file: PROJECT[file].replace(old, new)}, tmp_path)
    if expected is None:
        assert changed(before, after) == {LOAD: {"PKG.tasks.LoadProducts.code_version"}}
    else:
        assert changed(before, after) == expected


MOVES = [
    (
        "a function and what it uses move to another module",
        {
            "text.py": ("def scale():\n    return FACTOR\n", "from .units import scale\n"),
            "units.py": ("", "FACTOR = 100\ndef scale():\n    return FACTOR\n"),
        },
        NOTHING,
    ),
    (
        "a function moves to where a name means something else",
        {
            "text.py": ("def scale():\n    return FACTOR\n", "from .units import scale\n"),
            "units.py": ("", "FACTOR = 10\ndef scale():\n    return FACTOR\n"),
        },
        {LOAD: {"PKG.units.FACTOR"}},
    ),
    (
        "an import brings in another function of that name",
        {
            "tasks.py": ("from . import helpers, text\n", "from . import helpers, other as text\n"),
            "other.py": ("", "def number(text): return text\n"),
        },
        {LOAD: {"PKG.other.number"}},
    ),
    (
        "two functions change places behind one name each",
        {"helpers/__init__.py": ("import clean as tidy", "import decorate as tidy")},
        {LOAD: {"PKG.helpers.more.decorate"}},
    ),
    (
        "a function of a library comes from another one",
        {"text.py": ("import re\n", "import regex_of_ours as re\n"), "../regex_of_ours.py": ("", "from re import *\n")},
        {LOAD: {"PKG.text._NUMBER"}},
    ),
    (
        "a builtin is shadowed",
        {"text.py": ("UNUSED = 1", "from .helpers.more import decorate as float")},
        {LOAD: {"PKG.text.number"}},
    ),
]


@pytest.mark.parametrize(("edits", "expected"), [move[1:] for move in MOVES], ids=[move[0] for move in MOVES])
def test_what_moves_is_the_same_and_what_a_name_brings_in_counts(
    edits: dict[str, tuple[str, str]], expected: dict[str, set[str]], tmp_path: Path
) -> None:
    before = codes(PROJECT, tmp_path)
    files = dict(PROJECT)
    for file, (old, new) in edits.items():
        assert files.get(file, "").count(old) == 1
        files[file] = files.get(file, "").replace(old, new)
    assert changed(before, codes(files, tmp_path)) == expected


def test_what_has_no_source_is_told(tmp_path: Path) -> None:
    compiled = tmp_path / "kernels.pyc"
    py_compile.compile(str(_written(tmp_path / "kernels.txt", "def clean(text): return text\n")), cfile=str(compiled))
    package = f"project_{next(numbers)}"
    (tmp_path / package).mkdir()
    _written(tmp_path / package / "__init__.py", "")
    text = "from ozelot.etl.tasks import ORMTask\nfrom kernels import clean\n"
    text += "class Load(ORMTask):\n    def run(self): clean('')\n"
    _written(tmp_path / package / "tasks.py", text)
    importlib.invalidate_caches()
    code = code_of(importlib.import_module(f"{package}.tasks").Load)
    assert code.not_followed == ("kernels, which is no Python source",)


def test_a_task_that_is_imported_late_is_one_before_and_after(tmp_path: Path) -> None:
    package = f"project_{next(numbers)}"
    (tmp_path / package).mkdir()
    _written(tmp_path / package / "__init__.py", "")
    head = "from ozelot.etl.tasks import ORMTask\n"
    _written(
        tmp_path / package / "broken.py", "raise SystemError('not to be imported here')\ndef draw(): return FACTOR\n"
    )
    late = f"{head}class Late(ORMTask):\n    creates = ()\n    def run(self): print(1)\n"
    _written(tmp_path / package / "late.py", late)
    requires = "    def requires(self):\n        from .late import Late\n        return Late()\n"
    requires += "    def run(self):\n        from .broken import draw\n        draw()\n"
    _written(tmp_path / package / "tasks.py", f"{head}class Load(ORMTask):\n    creates = ()\n{requires}")
    importlib.invalidate_caches()
    code = code_of(importlib.import_module(f"{package}.tasks").Load)
    assert code.pieces.keys() == {f"{package}.tasks.Load", f"{package}.broken.draw"}
    assert f"{package}.broken" not in sys.modules
    assert code.pieces[f"{package}.tasks.Load"].uses["Late"] == "task Late"


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
