"""What the files say, and what is made of it."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

from leonardo.files import FOLDER, ArtistsFile, PaintingsFile


def test_a_date_that_is_none_gives_no_year() -> None:
    years = {row["name"]: row["year_of_birth"] for row in ArtistsFile().load()}
    assert years["Leonardo da Vinci"] == 1452
    assert [name for name, year in years.items() if year is None] == ["Jan van Eyck", "Hieronymus Bosch", "Titian"]


def test_a_painting_with_two_years_is_there_once_with_the_first() -> None:
    paintings = PaintingsFile().load()
    assert len({row["title"] for row in paintings}) == len(paintings) == 45
    assert [row["year"] for row in paintings if row["title"] == "The Kiss"] == [1907]


def test_what_is_not_known_is_none() -> None:
    assert PaintingsFile().load()[0] == {
        "title": "Wilton Diptych",
        "artist": None,
        "width": None,
        "height": 53.0,
        "year": 1395,
    }


def test_every_creator_is_an_artist() -> None:
    artists = {row["source"] for row in ArtistsFile().load()}
    with (FOLDER / "paintings.csv").open(encoding="utf-8", newline="") as file:
        assert {row["creator"] for row in csv.DictReader(file)} - artists == {""}


def test_a_question_that_cannot_be_answered_yet_says_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(FOLDER.parent, tmp_path / "leonardo", ignore=shutil.ignore_patterns("*.db*", "__pycache__"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OZELOT_")}
    done = subprocess.run(
        [sys.executable, "ask.py"],
        cwd=tmp_path / "leonardo",
        env=environment | {"LEONARDO": "key_value"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "This data model does not know: git apply extension/key_value.diff\n"
