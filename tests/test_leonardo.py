"""Four data models are extended by two facts: no painting is loaded again, and all give the same answer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import quick
from tests.databases import only
from tests.folders import EXAMPLES
from tests.pages import check_consoles

pytestmark = pytest.mark.slow

FOLDER = EXAMPLES / "leonardo"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example, as it is when somebody begins."""
    folder = tmp_path / "leonardo"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.db*", "__pycache__", "tests"))
    return folder


def test_the_page_shows_what_the_commands_print(project: Path) -> None:
    check_consoles((project / "README.md").read_text("utf-8"), project, at_least=18)


def test_the_page_shows_the_change_as_it_is() -> None:
    (shown,) = re.findall(r"^```diff\n(.*?)^```$", (FOLDER / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    change = (FOLDER / "extension" / "standard.diff").read_text("utf-8")
    upper, lower = shown.split("...\n")
    assert lower in change
    assert upper.partition("name: ")[2] in change  # what is shown before is not in the three lines around the change


BEFORE = """
import ozelot
from ozelot.client import get_client
from ozelot.orm.base import Base
from leonardo.{model} import LoadEverything

Base.create_all(get_client())
print(ozelot.run(LoadEverything()).ok)
"""

AFTER = """
import ozelot
from ozelot.client import get_client
from ozelot.etl.status import status
from ozelot.schema.upgrade import plan
from ozelot.schema.upgrade import apply
from leonardo.{model} import LoadEverything, by_gender

database = get_client()
with database.engine.connect() as connection:
    planned = plan(connection)
print(apply(database, planned).left)
print([str(state.state) for state in status(LoadEverything())])
print(list(ozelot.run(LoadEverything()).ran))
with database.create_session() as session:
    for gender, *numbers in session.execute(by_gender()):
        print(gender, *(round(number) for number in numbers))
"""


# The page is the same on SQLite.
@only("postgresql", "mariadb")
@pytest.mark.parametrize("model", ["standard", "extra_columns", "inheritance", "key_value"])
def test_only_the_new_facts_are_loaded(model: str, project: Path, database_url: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OZELOT_")}
    environment |= {"LEONARDO": model, "OZELOT_DATABASE_URL": database_url}

    def call(*command: str) -> list[str]:
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout.splitlines()

    assert call(*quick.python("-c", BEFORE.format(model=model))) == ["True"]
    call("git", "apply", f"extension/{model}.diff")
    assert call(*quick.python("-c", AFTER.format(model=model))) == [
        "()",
        "['complete', 'complete', 'complete', 'complete', 'incomplete', 'complete on incomplete']",
        "['LoadArtistFacts {}', 'LoadEverything {}']",
        "female 1593 15 24720",
        "male 1445 29 78789",
    ]
