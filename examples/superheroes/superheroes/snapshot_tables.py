"""The facts of the sample, read from the CSV files in `snapshot/`."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

FOLDER = Path(__file__).parents[1] / "snapshot"

Row = TypeVar("Row")


@dataclass(frozen=True)
class UniverseRow:
    """A line of `universes.csv`."""

    name: str
    url_title: str


@dataclass(frozen=True)
class CharacterRow:
    """A line of `characters.csv`: text as the wiki shows it, empty where the page does not say."""

    title: str
    name: str
    universe: str
    real_name: str
    occupation: str
    gender: str
    height: str
    weight: str
    place_of_birth: str
    appearances: str
    first_issue: str
    first_month: str
    first_year: str


@dataclass(frozen=True)
class MovieRow:
    """A line of `movies.csv`."""

    title: str
    imdb_id: str
    year: str
    release_date: str
    budget: str


@dataclass(frozen=True)
class AppearanceRow:
    """A line of `appearances.csv`."""

    movie: str
    character: str
    appearance_type: str


def universes() -> list[UniverseRow]:
    """All realities."""
    return _read("universes.csv", UniverseRow)


def characters() -> list[CharacterRow]:
    """All characters that have a page."""
    return _read("characters.csv", CharacterRow)


def movies() -> list[MovieRow]:
    """All films, in the order of their release."""
    return _read("movies.csv", MovieRow)


def appearances() -> list[AppearanceRow]:
    """Who is in which film; not every character has a page."""
    return _read("appearances.csv", AppearanceRow)


def _read(name: str, row: Callable[..., Row]) -> list[Row]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as lines:
        return [row(**fields) for fields in csv.DictReader(lines, strict=True)]
