"""Settings: where they come from, when they are read, and what the log lines look like."""

from __future__ import annotations

import importlib
import logging
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import ozelot
from ozelot import client, config
from ozelot.errors import ConfigError
from tests import quick

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - ozelot - INFO - Client connecting to: sqlite:///x\.db")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, for a ``project_config.py``."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    # What a test imports is forgotten again; what it assigns in ozelot.config, too.
    monkeypatch.setitem(sys.modules, "project_config", sys)
    monkeypatch.delitem(sys.modules, "project_config")
    return folder


def write(folder: Path, text: str) -> Path:
    path = folder / "project_config.py"
    path.write_text(text)
    importlib.invalidate_caches()
    return path


def run(folder: Path, script: str, *, imports: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would, in that folder; where the test is about its imports, in a new interpreter."""
    path = folder / "script.py"
    path.write_text(script)
    strict = ("-W", "error", "-W", "ignore::DeprecationWarning:luigi", "script.py")
    return subprocess.run(
        [sys.executable, *strict] if imports else quick.python(*strict),
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


CONNECT = "from ozelot.client import Client\nClient(connection_string='sqlite:///x.db')\n"


def modules() -> list[str]:
    root = Path(ozelot.__file__).parent
    found = [path.relative_to(root.parent).with_suffix("") for path in root.rglob("*.py")]
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in found)


SILENT = f"""
import logging, os, socket, sqlite3, sys
import alembic.autogenerate, luigi, requests, sqlalchemy.orm, lxml.html  # what these do is not ours
opened = []
def watch(event, arguments):
    if event in ("socket.connect", "sqlite3.connect") or event == "open" and isinstance(arguments[0], str):
        opened.append(arguments[0])
sys.addaudithook(watch)
handlers = {{name: list(logging.getLogger(name).handlers) for name in ("ozelot", None)}}
before = set(os.listdir("."))
import importlib
for name in {modules()!r}:
    importlib.import_module(name)
code = (".py", ".pyc", ".so", ".pth", "METADATA", "entry_points.txt", "PKG-INFO")
others = [name for name in opened if not str(name).endswith(code) and ".pyc." not in str(name)]
assert not others, others
assert not any("project_config" in str(name) for name in opened)
assert "project_config" not in sys.modules
assert {{name: list(logging.getLogger(name).handlers) for name in ("ozelot", None)}} == handlers
assert set(os.listdir(".")) == before
assert not {{"pandas", "keyring", "pygraphviz", "psycopg", "pymysql"}} & set(sys.modules)
"""


def test_importing_everything_is_silent(tmp_path: Path) -> None:
    write(tmp_path, "raise RuntimeError('poison')")
    done = run(tmp_path, SILENT, imports=True, OZELOT_LOG_LEVEL="nonsense", OZELOT_DATABASE_URL="nonsense")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_defaults_without_any_setting(tmp_path: Path) -> None:
    assert config.DATABASE_URL == "sqlite:///ozelot.db"
    assert config.database() == "sqlite:///ozelot.db"
    assert config.REQUEST_CACHE_PATH == "ozelot_web_cache.db"
    assert config.LOG_LEVEL == logging.INFO
    assert config.DEFAULT_DB_PARAMS is None
    assert config.DOT_EXECUTABLE is None
    assert client.get_client().url.database == "ozelot.db"


def test_each_source_comes_before_the_next(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.REQUEST_CACHE_PATH == "ozelot_web_cache.db"
    write(project, "REQUEST_CACHE_PATH = 'from file'")
    assert config.REQUEST_CACHE_PATH == "from file"
    monkeypatch.setenv("OZELOT_REQUEST_CACHE_PATH", "from environment")
    assert config.REQUEST_CACHE_PATH == "from environment"
    monkeypatch.setitem(vars(config), "REQUEST_CACHE_PATH", "from program")
    assert config.REQUEST_CACHE_PATH == "from program"


def test_each_source_of_the_database_comes_before_the_next(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = {"driver": "sqlite", "database": "params.db"}
    write(project, "DATABASE_URL = 'sqlite:///file.db'")
    assert config.database() == "sqlite:///file.db"
    monkeypatch.delitem(sys.modules, "project_config")
    write(project, f"DATABASE_URL = 'sqlite:///other file.db'\nDEFAULT_DB_PARAMS = {params!r}")
    assert config.database() == params
    monkeypatch.setenv("OZELOT_DATABASE_URL", "sqlite:///environment.db")
    assert config.database() == "sqlite:///environment.db"
    monkeypatch.setitem(vars(config), "DEFAULT_DB_PARAMS", {**params, "database": "program.db"})
    assert config.database() == {**params, "database": "program.db"}
    monkeypatch.setitem(vars(config), "DATABASE_URL", "sqlite:///program url.db")
    assert config.database() == "sqlite:///program url.db"


def test_explicit_argument_comes_before_all_settings(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "raise RuntimeError('not to be read')")
    monkeypatch.setenv("OZELOT_DATABASE_URL", "nonsense")
    assert client.Client(connection_string="sqlite:///argument.db").url.database == "argument.db"


def test_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OZELOT_DATABASE_URL", "")
    assert config.database() == "sqlite:///ozelot.db"


def test_settings_of_the_program_make_a_broken_file_irrelevant(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "raise RuntimeError('not to be read')")
    params = {"driver": "sqlite", "database": "params.db"}
    monkeypatch.setitem(vars(config), "DEFAULT_DB_PARAMS", params)
    assert config.database() == params


def test_default_db_params_make_the_client(project: Path) -> None:
    write(project, "DEFAULT_DB_PARAMS = {'driver': 'sqlite', 'database': 'params.db'}")
    assert client.get_client().url.database == "params.db"


def test_default_db_params_that_are_no_dictionary_say_so(project: Path) -> None:
    write(project, "DEFAULT_DB_PARAMS = 'sqlite:///x.db'")
    with pytest.raises(ConfigError, match="DEFAULT_DB_PARAMS must be a dictionary"):
        client.get_client()


def test_any_upper_case_name_of_the_file_is_given(project: Path) -> None:
    write(project, "UNIVERSES = ['Earth-616']\nWIKI_URL = None\nlower = 1")
    assert config.UNIVERSES == ["Earth-616"]
    assert config.WIKI_URL is None
    with pytest.raises(AttributeError):
        _ = config.lower
    with pytest.raises(AttributeError, match=r"No setting 'MISSING': define it in .*project_config\.py"):
        _ = config.MISSING
    assert getattr(config, "MISSING", "default") == "default"


def test_file_is_read_once(project: Path) -> None:
    path = write(project, "UNIVERSES = ['Earth-616']")
    assert config.UNIVERSES is config.UNIVERSES
    path.write_text("UNIVERSES = []")
    assert config.UNIVERSES == ["Earth-616"]


def test_missing_file_is_no_error_and_unknown_names_say_so() -> None:
    with pytest.raises(AttributeError, match=r"No setting 'UNIVERSES': there is no project_config\.py on the path"):
        _ = config.UNIVERSES


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("X = 1\nX = 1 / 0\n", ZeroDivisionError, "(line 2): ZeroDivisionError: division by zero"),
        ("X = 1\n\nX = = 1\n", SyntaxError, "(line 3): SyntaxError: invalid syntax"),
        ("import no_such_module\n", ModuleNotFoundError, "(line 1): ModuleNotFoundError: No module named"),
        ("def f():\n    raise OSError('a\\nb')\n\nf()\n", OSError, "(line 2): OSError: a"),
        ("import sys\nsys.exit('stop')\n", SystemExit, "(line 2): SystemExit: stop"),
    ],
)
def test_broken_file_raises_with_cause_file_and_line(
    project: Path, text: str, kind: type[BaseException], message: str
) -> None:
    path = write(project, text)
    with pytest.raises(ConfigError) as caught:
        _ = config.UNIVERSES
    assert f"Cannot read {path} {message}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, kind)
    with pytest.raises(ConfigError):  # the second time, too
        config.database()


@pytest.mark.parametrize(
    "text",
    [
        "DATABASE_URL = 'postgresql://user:geheim@host/db\n",
        "DATABASE_URL = f'postgresql://user:geheim@{HOST}/db'\n",
        "DEFAULT_DB_PARAMS = dict(driver='postgresql', password='geheim', port=int('x'))\n",
    ],
)
def test_traceback_of_a_broken_file_does_not_show_its_lines(project: Path, text: str) -> None:
    write(project, text)
    try:
        config.database()
    except ConfigError:
        shown = traceback.format_exc()
    assert "line 1" in shown
    assert "geheim" not in shown


def test_folder_in_place_of_the_file_says_so(project: Path) -> None:
    (project / "project_config").mkdir()
    with pytest.raises(
        ConfigError, match=r"project_config is a folder, but ozelot looks for a file project_config\.py"
    ):
        config.database()


def test_package_in_place_of_the_file_is_read(project: Path) -> None:
    (project / "project_config").mkdir()
    (project / "project_config" / "__init__.py").write_text("from .more import UNIVERSES")
    (project / "project_config" / "more.py").write_text("UNIVERSES = ['Earth-616']")
    assert config.UNIVERSES == ["Earth-616"]


def test_log_line_in_a_plain_script(tmp_path: Path) -> None:
    done = run(tmp_path, CONNECT, imports=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert LINE.fullmatch(done.stderr.rstrip("\n")), done.stderr


def test_logger_of_0_2_writes_the_same_lines(tmp_path: Path) -> None:
    done = run(tmp_path, "from ozelot import config\nconfig.logger.info('Hello %s', 'you')\n")
    assert re.fullmatch(r"[-\d]{10} [:\d]{8},\d{3} - ozelot - INFO - Hello you\n", done.stderr), done.stderr


def test_no_handler_where_the_application_configured_logging(tmp_path: Path) -> None:
    setup = (
        "import logging, sys\nlogging.basicConfig(level='INFO', format='%(name)s: %(message)s', stream=sys.stdout)\n"
    )
    done = run(tmp_path, setup + CONNECT)
    assert done.stderr == ""
    assert done.stdout == "ozelot.client: Client connecting to: sqlite:///x.db\n"


@pytest.mark.parametrize("logger", ["", "ozelot"])
def test_no_double_lines_where_the_application_configures_logging_later(tmp_path: Path, logger: str) -> None:
    later = f"""
import logging, sys
handler = logging.StreamHandler(sys.stdout)
logging.getLogger({logger!r}).addHandler(handler)
"""
    done = run(tmp_path, CONNECT + later + CONNECT)
    assert LINE.fullmatch(done.stderr.rstrip("\n")), done.stderr
    assert done.stdout == "Client connecting to: sqlite:///x.db\n"


def test_many_threads_at_first_use_show_each_line_once(tmp_path: Path) -> None:
    script = """
import sys, threading
from ozelot.client import Client
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(16)
def connect():
    barrier.wait()
    Client(connection_string="sqlite:///x.db")
threads = [threading.Thread(target=connect) for _ in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    done = run(tmp_path, script)
    assert len(done.stderr.splitlines()) == 16, done.stderr


@pytest.mark.parametrize(
    ("level", "shown"), [("WARNING", False), ("info", True), ("10", True), ("30", False), ("DEBUG", True), ("", True)]
)
def test_log_level_from_the_environment(tmp_path: Path, level: str, shown: bool) -> None:
    done = run(tmp_path, CONNECT, OZELOT_LOG_LEVEL=level)
    assert done.returncode == 0, done.stderr
    assert bool(done.stderr) == shown


@pytest.mark.parametrize("level", ["logging.WARNING", "'WARNING'", "30"])
def test_log_level_from_the_file_or_the_program(tmp_path: Path, level: str) -> None:
    done = run(tmp_path, f"import logging\nfrom ozelot import config\nconfig.LOG_LEVEL = {level}\n" + CONNECT)
    assert (done.returncode, done.stderr) == (0, "")
    write(tmp_path, f"import logging\nLOG_LEVEL = {level}")
    done = run(tmp_path, CONNECT)
    assert (done.returncode, done.stderr) == (0, "")


def test_level_that_the_application_set_stays(tmp_path: Path) -> None:
    done = run(tmp_path, "import logging\nlogging.getLogger('ozelot').setLevel('ERROR')\n" + CONNECT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("level", ["nonsense", "-1", "1.5", "²"])
def test_log_level_that_is_none_says_so_each_time(tmp_path: Path, level: str) -> None:
    script = """
from ozelot.client import Client
from ozelot.errors import ConfigError
for _ in range(2):
    try:
        Client(connection_string="sqlite:///x.db")
    except ConfigError as exc:
        print(exc)
"""
    done = run(tmp_path, script, OZELOT_LOG_LEVEL=level, PYTHONUTF8="1")
    assert done.stdout.splitlines() == [f"LOG_LEVEL is {level!r}: use DEBUG, INFO, WARNING, ERROR or a number"] * 2
    assert done.stderr == ""
