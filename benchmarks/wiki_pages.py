"""A made-up wiki for benchmarks/cache.py: the sample of the superheroes, with as many characters as wanted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ozelot import config
from superheroes import snapshot, snapshot_tables


def pages(characters: int) -> Iterator[tuple[str, str]]:
    """Yield the address and the text of each page: the characters of the sample over and over, under other names."""
    rows = snapshot_tables.characters()
    made = [
        dataclasses.replace(rows[number % len(rows)], title=f"Hero {number} ({rows[number % len(rows)].universe})")
        for number in range(characters)
    ]
    before, snapshot_tables.characters = snapshot_tables.characters, lambda: made
    try:
        yield from snapshot.pages(str(config.WIKI_URL).rstrip("/"))
    finally:
        snapshot_tables.characters = before
