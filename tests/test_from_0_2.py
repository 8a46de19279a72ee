"""What code written for ozelot 0.2.4 uses: each public name works, or the page says what replaces it."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.client import Client
from ozelot.errors import UndeclaredWrite
from ozelot.etl import tasks, util
from ozelot.orm.base import Base
from tests import quick
from tests.etl.heroes import build
from tests.folders import DOCS
from tests.tables import create_tables

PAGE = (DOCS / "from-0.2.md").read_text(encoding="utf-8")
GONE = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`.*?) \| ", PAGE, re.MULTILINE)))

#: Public names of 0.2.4: a line for each class, function and setting; methods and attributes follow their class.
#: "(...)" are the parameters, in their order, with their defaults.
NAMES = """
ozelot.cache.ERROR_CONNECTION_ERROR
ozelot.cache.ERROR_XPATH_NOT_FOUND
ozelot.cache.reset_request_cache()
ozelot.cache.get_request_cache()
ozelot.cache.CachedRequest
ozelot.cache.RequestCache()
ozelot.cache.RequestCache.STATUS_CODE_SUFFIX
ozelot.cache.RequestCache.db_path
ozelot.cache.RequestCache.client
ozelot.cache.RequestCache.session
ozelot.cache.RequestCache.last_query
ozelot.cache.RequestCache.close()
ozelot.cache.RequestCache.get(url, store_on_error=False, xpath=None, rate_limit=None, log_hits=True, log_misses=True)
ozelot.cache.RequestCache.clear(url=None, xpath=None)
ozelot.cache.RequestCache.has(url, xpath=None)
ozelot.cache.RequestCache.get_timestamp(url, xpath=None)
ozelot.client.get_client()
ozelot.client.set_client(client)
ozelot.client.Client(params=None, connection_string=None)
ozelot.client.Client.get_engine()
ozelot.client.Client.create_session()
ozelot.client.Client.store_password(params, password)
ozelot.client.Client.get_connection_string(params, hide_password=True)
ozelot.client.Client.df_query(query, with_labels=False)
ozelot.config.logger
ozelot.config.logger_handler
ozelot.config.logger_formatter
ozelot.config.this_module
ozelot.config.TESTING_SQLITE_DB_PATH
ozelot.config.LOG_LEVEL
ozelot.config.TEMPLATE_DB_PARAMS
ozelot.config.DEFAULT_DB_PARAMS
ozelot.config.REQUEST_CACHE_PATH
ozelot.config.DOT_EXECUTABLE
ozelot.etl.targets.ORMTarget(name, params)
ozelot.etl.targets.ORMTarget.from_task(task)
ozelot.etl.targets.ORMTarget.exists()
ozelot.etl.targets.ORMTarget.create()
ozelot.etl.targets.ORMTarget.remove()
ozelot.etl.tasks.get_task_name(task)
ozelot.etl.tasks.get_task_param_string(task)
ozelot.etl.tasks.check_completion(task, mark_incomplete=False, clear=False, return_stats=False)
ozelot.etl.tasks.TaskBase
ozelot.etl.tasks.TaskBase.clear()
ozelot.etl.tasks.TaskBase.get_name()
ozelot.etl.tasks.TaskBase.get_param_string()
ozelot.etl.tasks.TaskBase.build(local_scheduler=True)
ozelot.etl.tasks.ORMTask
ozelot.etl.tasks.ORMTask.diagram_style
ozelot.etl.tasks.ORMTask.target_class
ozelot.etl.tasks.ORMTask.clear()
ozelot.etl.tasks.ORMTask.output()
ozelot.etl.tasks.ORMTask.mark_complete()
ozelot.etl.tasks.ORMTask.mark_incomplete()
ozelot.etl.tasks.ORMTask.client
ozelot.etl.tasks.ORMTask.session
ozelot.etl.tasks.ORMTask.close_session(commit=True)
ozelot.etl.tasks.ORMTask.done(commit=True)
ozelot.etl.tasks.ORMTestTask
ozelot.etl.tasks.ORMTestTask.diagram_style
ozelot.etl.tasks.ORMTestTask.clear()
ozelot.etl.tasks.ORMTestTask.done(commit=False)
ozelot.etl.tasks.ORMObjectCreatorMixin
ozelot.etl.tasks.ORMObjectCreatorMixin.object_classes
ozelot.etl.tasks.ORMObjectCreatorMixin.clear()
ozelot.etl.tasks.ORMWrapperTask
ozelot.etl.tasks.ORMWrapperTask.diagram_style
ozelot.etl.tasks.ORMWrapperTask.clear()
ozelot.etl.tasks.ORMWrapperTask.run()
ozelot.etl.tasks.ORMWrapperTask.complete()
ozelot.etl.tasks.InputFileTask
ozelot.etl.tasks.InputFileTask.input_file
ozelot.etl.tasks.InputFileTask.diagram_style
ozelot.etl.tasks.InputFileTask.output()
ozelot.etl.tasks.InputFileTask.clear()
ozelot.etl.tasks.InputFileTask.run()
ozelot.etl.tasks.InputFileTask.load()
ozelot.etl.util.render_diagram(root_task, out_base, max_param_len=20, horizontal=False, colored=False)
ozelot.etl.util.sanitize(s, normalize_whitespace=True, normalize_unicode=True, form='NFKC', enforce_encoding=True, \
encoding='utf-8')
ozelot.orm.base.model_registry
ozelot.orm.base.RegistryMeta
ozelot.orm.base.ExtendedBase
ozelot.orm.base.Base
ozelot.orm.base.Base.id
ozelot.orm.base.Base.create_table(client)
ozelot.orm.base.Base.drop_table(client)
ozelot.orm.base.Base.create_all(client)
ozelot.orm.base.Base.drop_all(client)
ozelot.orm.base.Base.get_max_id(session)
ozelot.orm.base.Base.truncate_to_field_length(field, value)
ozelot.orm.base.Base.metadata
ozelot.orm.base.render_diagram(out_base)
ozelot.orm.target.ORMTargetMarker
ozelot.orm.target.ORMTargetMarker.id
ozelot.orm.target.ORMTargetMarker.name
ozelot.orm.target.ORMTargetMarker.params
ozelot.orm.target.ORMTargetMarker.created
""".strip().splitlines()


MODULES = ["cache", "client", "config", "etl.targets", "etl.tasks", "etl.util", "orm.base", "orm.target"]


def find(path: str) -> Any:
    """What a dotted name means; a method as the function behind it."""
    (module,) = (name for name in MODULES if path.startswith(f"ozelot.{name}."))
    found: Any = importlib.import_module(f"ozelot.{module}")
    for name in path.removeprefix(f"ozelot.{module}.").split("."):
        found = inspect.getattr_static(found, name) if inspect.isclass(found) else getattr(found, name)
    return getattr(found, "__func__", getattr(found, "function", found))


def is_on_the_page(path: str) -> bool:
    return any(path == name or path.endswith(f".{name}") for name in GONE)


@pytest.mark.parametrize("line", NAMES, ids=[line.partition("(")[0] for line in NAMES])
def test_a_name_works_or_the_page_names_its_replacement(line: str) -> None:
    path, called, parameters = line.partition("(")
    if is_on_the_page(path):
        with pytest.raises(AttributeError):
            find(path)
        return
    found = find(path)
    if called:
        takes = [p for p in inspect.signature(found).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        own = [(p.name, p.default) for p in takes if p.name not in ("self", "cls", "self_or_class")]
        of_0_2 = inspect.signature(eval(f"lambda {parameters.rstrip(')')}: None")).parameters.values()
        assert own[: len(of_0_2)] == [(p.name, p.default) for p in of_0_2]
        assert inspect.Parameter.empty not in [default for _, default in own[len(of_0_2) :]]


def test_a_diagram_is_drawn_by_the_keywords_of_0_2(tmp_path: Path) -> None:
    util.render_diagram(root_task=tasks.ORMWrapperTask(), out_base=str(tmp_path / "pipeline"))
    assert (tmp_path / "pipeline.dot").exists()


def test_the_handler_of_the_log_can_be_changed() -> None:
    script = """
import logging
from ozelot import config
from ozelot.config import logger_handler
assert config.logger.handlers == [logger_handler]
assert logger_handler.formatter is config.logger_formatter
logger_handler.setFormatter(logging.Formatter("changed: %(message)s"))
config.logger.info("one")
logger_handler.setLevel(logging.WARNING)
config.logger.info("two")
config.logger.removeHandler(logger_handler)
config.logger.warning("three")
"""
    done = subprocess.run(quick.python("-c", script), capture_output=True, text=True, check=True)
    assert done.stderr == "changed: one\nthree\n"  # the last by logging itself


class Summary(Base):
    text: Mapped[str] = mapped_column(sa.String(50))


class Bundle(tasks.ORMWrapperTask):
    def run(self) -> None:
        self.session.add(Summary(text="all"))
        super().run()


class DeclaredBundle(Bundle):
    creates = [Summary]


class OwnWays(tasks.ORMObjectCreatorMixin, tasks.ORMTask):
    object_classes = [Summary]

    def run(self) -> None:
        tasks.ORMTask.mark_incomplete(self)
        self.session.add(Summary(text="one"))
        tasks.ORMTask.done(self)

    def clear(self, **_: Any) -> None:
        tasks.ORMTask.mark_incomplete(self)
        tasks.ORMObjectCreatorMixin.clear(self)


def summaries(db: Client) -> int:
    with db.create_session() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Summary)) or 0


def test_a_wrapper_that_writes_has_to_declare_it(db: Client) -> None:
    create_tables(db, Summary)
    with pytest.raises(UndeclaredWrite, match=r"creates = \[Summary\]"):
        Bundle().run()
    assert summaries(db) == 0
    assert build(DeclaredBundle())
    assert summaries(db) == 1
    DeclaredBundle().clear()
    assert summaries(db) == 0


def test_methods_of_a_base_class_can_be_called_with_the_task(db: Client) -> None:
    create_tables(db, Summary)
    assert build(OwnWays())
    assert (summaries(db), OwnWays().complete()) == (1, True)
    OwnWays().clear()
    assert (summaries(db), OwnWays().complete()) == (0, False)
    assert build(OwnWays())
    assert tasks.check_completion(OwnWays()) is True
