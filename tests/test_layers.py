"""The structure: which file may import which, and what the package shows to the outside."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

#: Each module may import those above it, and no others.
LAYERS = [
    "ozelot.errors",
    "ozelot.config",
    "ozelot.limits",
    "ozelot.url",
    "ozelot.value_reasons",
    "ozelot.value_lists",
    "ozelot.column_type",
    "ozelot.number_types",
    "ozelot.time_types",
    "ozelot.value_types",
    "ozelot.orm",
    "ozelot.orm.shown",
    "ozelot.rejections",
    "ozelot.exact_types",
    "ozelot.exact_dialect",
    "ozelot.quoting",
    "ozelot.statements",
    "ozelot.sqlite",
    "ozelot.mariadb",
    "ozelot.orm",
    "ozelot.orm.shown",
    "ozelot.column_limits",
    "ozelot.server_settings",
    "ozelot.pooler",
    "ozelot.claim",
    "ozelot.underway",
    "ozelot.write_counts",
    "ozelot.transaction",
    "ozelot.writes",
    "ozelot.database_code",
    "ozelot.joined",
    "ozelot.fork",
    "ozelot.frames.arrays",
    "ozelot.frames.database_types",
    "ozelot.frames.column",
    "ozelot.frames.columns",
    "ozelot.frames.values",
    "ozelot.frames.postgresql",
    "ozelot.frames.mariadb",
    "ozelot.frames.reading",
    "ozelot.frames.backends",
    "ozelot.frames",
    "ozelot.client",
    "ozelot.own_files",
    "ozelot.diagram",
    "ozelot.words",
    "ozelot.notebook",
    "ozelot.picture",
    "ozelot.orm.base",
    "ozelot.orm.prepared",
    "ozelot.orm.run",
    "ozelot.orm.version",
    "ozelot.orm.pages",
    "ozelot.orm.files",
    "ozelot.orm.fingerprint",
    "ozelot.orm.rows",
    "ozelot.orm.references",
    "ozelot.orm.removal",
    "ozelot.orm.target",
    "ozelot.orm.damage",
    "ozelot.orm.history",
    "ozelot.checks.check",
    "ozelot.checks.about",
    "ozelot.checks.comparison",
    "ozelot.checks.pattern_remedies",
    "ozelot.checks.patterns",
    "ozelot.checks.rows",
    "ozelot.checks.whole",
    "ozelot.checks.queries",
    "ozelot.checks.checking",
    "ozelot.checks",
    "ozelot.orm.bulk.faults",
    "ozelot.orm.bulk.report",
    "ozelot.orm.bulk.chunks",
    "ozelot.orm.bulk.frames",
    "ozelot.orm.bulk.cleaning",
    "ozelot.orm.bulk.validators",
    "ozelot.orm.bulk.fields",
    "ozelot.orm.bulk.keys",
    "ozelot.orm.bulk.told",
    "ozelot.orm.bulk.way",
    "ozelot.orm.bulk.into_sqlite",
    "ozelot.orm.bulk.into_postgresql",
    "ozelot.orm.bulk.into_mariadb",
    "ozelot.orm.bulk.load",
    "ozelot.orm.bulk",
    "ozelot.cache.secrets",
    "ozelot.cache.request",
    "ozelot.cache.options",
    "ozelot.cache.waiting",
    "ozelot.cache.redirects",
    "ozelot.cache.partial",
    "ozelot.cache.local_targets",
    "ozelot.cache.charset",
    "ozelot.cache.text",
    "ozelot.cache.layout",
    "ozelot.cache.store",
    "ozelot.cache.page",
    "ozelot.cache.hosts",
    "ozelot.cache.unpack",
    "ozelot.cache.unpack_file",
    "ozelot.cache.web",
    "ozelot.cache.asking",
    "ozelot.cache.flight",
    "ozelot.cache.robots",
    "ozelot.cache.many",
    "ozelot.cache.getting",
    "ozelot.cache.part",
    "ozelot.cache.download",
    "ozelot.cache.core",
    "ozelot.cache",
    "ozelot.fakeweb",
    "ozelot.etl",
    "ozelot.etl.identity",
    "ozelot.etl.late",
    "ozelot.etl.asked",
    "ozelot.etl.targets",
    "ozelot.etl.declared",
    "ozelot.etl.definition",
    "ozelot.etl.graph",
    "ozelot.code",
    "ozelot.code.form",
    "ozelot.code.sources",
    "ozelot.code.following",
    "ozelot.code.differences",
    "ozelot.etl.columns",
    "ozelot.etl.needs",
    "ozelot.etl.fingerprints",
    "ozelot.etl.base_rows",
    "ozelot.etl.row_counts",
    "ozelot.etl.missing_rows",
    "ozelot.etl.unrecorded",
    "ozelot.etl.former",
    "ozelot.etl.clearing",
    "ozelot.etl.plan",
    "ozelot.schema",
    "ozelot.schema.types",
    "ozelot.schema.defaults",
    "ozelot.schema.differences",
    "ozelot.schema.filling",
    "ozelot.schema.reading",
    "ozelot.schema.lacking",
    "ozelot.schema.judging",
    "ozelot.schema.comparing",
    "ozelot.schema.plan",
    "ozelot.schema.altering",
    "ozelot.schema.copying",
    "ozelot.schema.backup",
    "ozelot.schema.upgrade",
    "ozelot.etl.completion",
    "ozelot.etl.compared",
    "ozelot.etl.stale",
    "ozelot.etl.status",
    "ozelot.schema.staling",
    "ozelot.etl.findings",
    "ozelot.etl.verify",
    "ozelot.etl.leftovers",
    "ozelot.etl.execution",
    "ozelot.etl.methods",
    "ozelot.etl.tasks",
    "ozelot.etl.download",
    "ozelot.etl.picturing",
    "ozelot.etl.util",
    "ozelot.engine.told",
    "ozelot.engine.jobs",
    "ozelot.engine.order",
    "ozelot.engine.attempts",
    "ozelot.engine.frame",
    "ozelot.engine.worker",
    "ozelot.engine.executors",
    "ozelot.engine.interruption",
    "ozelot.engine.loop",
    "ozelot.engine.start",
    "ozelot.engine.again",
    "ozelot.engine",
    "ozelot.testing",
    "ozelot",
    "ozelot.starting",
    "ozelot.cli",
    "ozelot.cli.terminal",
    "ozelot.cli.output",
    "ozelot.cli.task_json",
    "ozelot.cli.asking",
    "ozelot.cli.database",
    "ozelot.cli.importing",
    "ozelot.cli.naming",
    "ozelot.cli.tables",
    "ozelot.cli.progress",
    "ozelot.cli.state",
    "ozelot.cli.staleness",
    "ozelot.cli.clearing",
    "ozelot.cli.schema",
    "ozelot.cli.run",
    "ozelot.cli.history",
    "ozelot.cli.diagrams",
    "ozelot.cli.pages",
    "ozelot.cli.new",
    "ozelot.ui",
    "ozelot.ui.reading",
    "ozelot.ui.shown",
    "ozelot.ui.past",
    "ozelot.ui.pipeline",
    "ozelot.ui.keeper",
    "ozelot.ui.drawing",
    "ozelot.ui.tables",
    "ozelot.ui.guard",
    "ozelot.ui.pages",
    "ozelot.ui.app",
    "ozelot.ui.connections",
    "ozelot.cli.ui",
    "ozelot.cli.groups",
    "ozelot.cli.typed",
    "ozelot.cli.cache",
    "ozelot.cli.db",
    "ozelot.cli.diagram",
    "ozelot.cli.runs",
    "ozelot.cli.app",
    "ozelot.__main__",
]

#: What code written for 0.2 imports.
NAMES_OF_0_2 = {
    "ozelot.cache": "RequestCache get_request_cache reset_request_cache ERROR_CONNECTION_ERROR ERROR_XPATH_NOT_FOUND",
    "ozelot.client": "Client get_client set_client",
    "ozelot.config": "logger TEMPLATE_DB_PARAMS DEFAULT_DB_PARAMS LOG_LEVEL REQUEST_CACHE_PATH DOT_EXECUTABLE",
    "ozelot.etl.targets": "ORMTarget",
    "ozelot.etl.tasks": "TaskBase ORMTask ORMTestTask ORMWrapperTask InputFileTask ORMObjectCreatorMixin "
    "check_completion get_task_name get_task_param_string",
    "ozelot.etl.util": "render_diagram sanitize",
    "ozelot.orm.base": "Base model_registry render_diagram",
    "ozelot.orm.target": "ORMTargetMarker",
}


def path_of(module: str) -> Path:
    path = SOURCE / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever in the file it does."""
    found = set()
    for node in ast.walk(ast.parse(path_of(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in LAYERS else node.module for name in inner}
    return {name for name in found if name.split(".")[0] == "ozelot"}


def test_every_module_has_its_layer() -> None:
    modules = {path.relative_to(SOURCE).with_suffix("") for path in SOURCE.rglob("*.py")}
    names = {".".join(path.parts).removesuffix(".__init__") for path in modules}
    assert names == set(LAYERS)


@pytest.mark.parametrize("module", LAYERS)
def test_a_module_imports_only_from_the_layers_above(module: str) -> None:
    assert imported(module) <= set(LAYERS[: LAYERS.index(module)])


@pytest.mark.parametrize("module", LAYERS)
def test_a_module_is_one_idea_of_at_most_450_lines(module: str) -> None:
    assert len(path_of(module).read_text(encoding="utf-8").splitlines()) <= 450


@pytest.mark.parametrize("module", NAMES_OF_0_2)
def test_names_of_0_2_can_be_imported(module: str) -> None:
    found = importlib.import_module(module)
    for name in NAMES_OF_0_2[module].split():
        getattr(found, name)


def test_importing_everything_is_silent() -> None:
    code = f"import logging, {', '.join(LAYERS)}; print(logging.getLogger('ozelot').handlers)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
