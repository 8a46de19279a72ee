"""The two files: a row an artist, a row a painting, as a query to a knowledge base gives them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TypedDict

from ozelot.etl import tasks

FOLDER = Path(__file__).resolve().parents[1] / "input"


class ArtistRow(TypedDict):
    """What is known of an artist; `source` is what the file calls them."""

    source: str
    name: str
    gender: str | None
    year_of_birth: int | None


class PaintingRow(TypedDict):
    """What is known of a painting; `artist` is what the file calls the artist. Sizes in centimetres."""

    title: str
    artist: str | None
    width: float | None
    height: float | None
    year: int | None


class ArtistsFile(tasks.InputFileTask):
    input_file = FOLDER / "artists.csv"

    def load(self) -> list[ArtistRow]:
        """A row an artist."""
        return [
            {
                "source": row["artist"],
                "name": row["name"],
                "gender": row["gender"] or None,
                "year_of_birth": _year(row["date_of_birth"]),
            }
            for row in _rows(self.input_file)
        ]


class PaintingsFile(tasks.InputFileTask):
    input_file = FOLDER / "paintings.csv"

    def load(self) -> list[PaintingRow]:
        """A row a painting. One that has several years is there several times in the file: the first is taken."""
        found: dict[str, PaintingRow] = {}
        for row in _rows(self.input_file):
            painting: PaintingRow = {
                "title": row["painting"],
                "artist": row["creator"] or None,
                "width": _size(row["width"]),
                "height": _size(row["height"]),
                "year": _year(row["inception"]),
            }
            found.setdefault(painting["title"], painting)
        return list(found.values())


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _year(date: str) -> int | None:
    """The year of a date such as `1452-04-15T00:00:00Z`; None for anything else."""
    year, _, _ = date.partition("-")
    return int(year) if year.isdecimal() else None


def _size(text: str) -> float | None:
    return float(text) if text else None
