"""A pipeline on a database: its undisturbed run, its commands, and what must hold whatever was done to it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from tests.crash.contents import Contents, contents
from tests.crash.databases import Database
from tests.crash.launching import Ended, Running, Setup, StuckError, Zygote, environment
from tests.folders import EXAMPLES


class BrokenPromiseError(AssertionError):
    """The database is not as it must be; the message says what was done, what is wrong, and what the command said."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that can be attacked.

    Attributes:
        root: as the commands take it.
        modules: to be imported by the zygote.
        cwd: where its settings are found; None: there are none.
        cleared: tasks to be cleared in attacks on that.
    """

    root: str
    modules: Sequence[str]
    cleared: Sequence[str]
    cwd: Path | None = None


PIPELINES = {
    "synthetic": Pipeline(
        "tests.crash.pipeline:Everything",
        ["tests.crash.pipeline"],
        ["LoadRegions", "LoadProducts", "LoadTags", "AllYears", "SumYear", "LoadSales(region=1, year=2021)"],
    ),
    "superheroes": Pipeline(
        "superheroes.pipeline:LoadEverything",
        ["superheroes.pipeline", "superheroes.checks"],
        ["LoadUniverses", "LoadCharacters", "LoadMovies", "LoadMovieAppearances"],
        EXAMPLES / "superheroes",
    ),
}


@dataclass
class Pace:
    """How long a command takes that nothing disturbs.

    Attributes:
        seconds: in all.
        start: seconds until its first statement.
        beats: statements and ends of transactions, each counted before and after.
    """

    seconds: float
    start: float
    beats: int

    def moment(self, rng: random.Random, left: float = 1.0) -> tuple[int, float]:
        """A random moment in what is left of the command: after a beat (0: its begin), and then so many seconds.

        A third of all moments is spread over its time, the rest over its statements and commits, where it matters.
        """
        if self.beats and rng.random() < 2 / 3:
            return rng.randint(1, max(1, round(self.beats * left))), rng.uniform(0, 0.002)
        return 0, rng.uniform(0, self.start + (self.seconds - self.start) * left)


@dataclass
class Subject:
    """A pipeline on a database of its own, and the commands about it.

    Attributes:
        complete: what is in the database after an undisturbed run.
        pace: that of the run.
        run_args: more arguments for ``ozelot run``.
    """

    pipeline: Pipeline
    database: Database
    zygote: Zygote
    rng: random.Random
    run_args: Sequence[str] = ()
    complete: Contents = field(init=False)
    pace: Pace = field(init=False)

    def start(self, *arguments: str, setup: Setup | None = None, beat: int = 0) -> Running:
        """Start a command of ``ozelot``."""
        named = ["--pipeline", self.pipeline.root, "--database", self.database.url]
        return self.zygote.start(*named, *arguments, setup=setup, beat=beat)

    def call(self, *arguments: str, setup: Setup | None = None) -> Ended:
        """Call a command of ``ozelot``."""
        return self.start(*arguments, setup=setup).end()

    @property
    def run(self) -> list[str]:
        """The arguments of ``ozelot run``."""
        return ["run", *self.run_args]

    def succeed(self, *arguments: str) -> Ended:
        """Call a command that must go well."""
        ended = self.call(*arguments)
        if ended.code:
            raise BrokenPromiseError(f"'ozelot {' '.join(arguments)}' ended with {ended.code}:\n{ended.output}")
        return ended

    def finish(self, done: str) -> None:
        """Run what is left, with nothing in its way: all must be as if nothing had ever been.

        Args:
            done: what was done before, in words.
        """
        ended = self.call(*self.run)
        if ended.code:
            raise BrokenPromiseError(f"After {done}, the next run ended with {ended.code}:\n{ended.output}")
        self.expect(self.complete, done, ended)

    def measure(self) -> None:
        """Run once, undisturbed, and remember what comes of it."""
        self.succeed("db", "init")
        self.pace = self.paced(*self.run)
        self.complete = contents(self.database)
        self.consistent("an undisturbed run", Ended(0, ""))
        self.database.empty()

    def paced(self, *arguments: str) -> Pace:
        """Call a command that must go well, and say how long it took."""
        running = self.start(*arguments)
        ended = running.end()
        if ended.code:
            raise BrokenPromiseError(f"'ozelot {' '.join(arguments)}' ended with {ended.code}:\n{ended.output}")
        beats, start = running.beats()
        return Pace(running.took, start, beats)

    def left(self) -> float:
        """The share of markers that are not there yet."""
        markers = self.database.tables.tables["ormtargetmarker"]
        with self.database.engine.connect() as connection:
            there = connection.scalar(sa.select(sa.func.count()).select_from(markers)) or 0
        return 1 - there / max(1, self.complete.complete.total())

    def expect(self, expected: Contents, done: str, ended: Ended) -> None:
        """The database must hold exactly that, and be consistent."""
        self.consistent(done, ended)
        if found := contents(self.database).differences(expected):
            raise BrokenPromiseError(
                f"After {done}, the database is another:\n"
                + "\n".join(found[:20])
                + f"\nThe command said:\n{ended.output}"
            )

    def consistent(self, done: str, ended: Ended) -> None:
        """Nobody runs, and ``ozelot verify`` must find nothing."""
        self.database.wait_until_left()
        found = self.call("verify")
        if found.code:
            raise BrokenPromiseError(
                f"After {done}, 'ozelot verify' found:\n{found.output}\nThe command had said:\n{ended.output}"
            )
        if running := self.database.told_as_running():
            raise BrokenPromiseError(f"After {done}, ozelot tells as running: {running}")


@contextmanager
def subject(
    name: str, database: Database, folder: Path, rng: random.Random, run_args: Sequence[str] = ()
) -> Iterator[Subject]:
    """One of :data:`PIPELINES` on a database, measured and empty.

    Args:
        name: that of the pipeline.
        database: a new one.
        folder: for what is needed beside it.
        rng: decides all that is random.
        run_args: more arguments for ``ozelot run``.
    """
    pipeline = PIPELINES[name]
    settings = {"OZELOT_REQUEST_CACHE_PATH": str(folder / "pages.db"), "OZELOT_LOG_LEVEL": "WARNING"}
    found = environment(**settings)
    if pipeline.cwd is not None:
        fill = [sys.executable, "-W", "ignore", "manage.py", "getdata"]
        subprocess.run(fill, cwd=pipeline.cwd, env=found, check=True, capture_output=True)
    with Zygote(folder, pipeline.modules, cwd=pipeline.cwd or folder, environment=found) as zygote:
        made = Subject(pipeline, database, zygote, rng, run_args)
        made.measure()
        yield made


__all__ = ["PIPELINES", "BrokenPromiseError", "StuckError", "Subject", "subject"]
