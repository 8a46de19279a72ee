"""What is done to a run, and what must hold after it: one function for each attack.

Each takes a :class:`tests.crash.subject.Subject` and how often to strike, and returns how often it really did.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.crash.contents import Contents, contents
from tests.crash.faults import EVENTS, HOOKS
from tests.crash.launching import Ended, Running, Setup
from tests.crash.reading import watched
from tests.crash.subject import BrokenPromiseError, Pace, Subject

Attack = Callable[[Subject, int], Counter[str]]

#: How often a command is left alone, so that it may get through.
_MERCY = 1 / 6


def _strike(
    subject: Subject, arguments: Sequence[str], pace: Pace, left: float, blow: Callable[[Running], object]
) -> tuple[str, Ended, int]:
    """Start a command, strike at a random moment, and wait for its end.

    Args:
        subject: what is attacked.
        arguments: the command.
        pace: how long it takes.
        left: the share of that which is left to do.
        blow: what to do to it.

    Returns:
        When that was, in words (empty if it was over before), what came of the command, and how far it was.
    """
    beat, seconds = pace.moment(subject.rng, left)
    running = subject.start(*arguments, beat=beat)
    if subject.rng.random() < _MERCY or (beat and running.until_beat()) or running.until(seconds):
        return "", running.end(), 0
    blow(running)
    when = f"{seconds * 1000:.1f} ms after {f'its beat {beat}' if beat else 'its begin'}"
    ended = running.end()
    return when, ended, running.beats()[0]


def kill(subject: Subject, times: int, *, number: signal.Signals = signal.SIGKILL) -> Counter[str]:
    """Kill runs at random moments, and run again until one gets through."""
    counts: Counter[str] = Counter()
    while counts["strikes"] < times:
        subject.database.empty()
        done: list[str] = []
        while True:
            when, ended, beats = _strike(
                subject, subject.run, subject.pace, subject.left(), lambda running: running.kill(number)
            )
            if not when:
                break
            done.append(when)
            counts["strikes"] += 1
            counts["within statements and commits"] += beats > 0
            if ended.code == 0:
                break  # it was about to end
            _fails_in_words(ended, f"{number.name} {when}")
            if counts["strikes"] % 3 == 0:  # each time would take more than all else
                subject.consistent(f"{number.name} {', then '.join(done)}", ended)
        if ended.code:
            raise BrokenPromiseError(f"After {done}, the next run ended with {ended.code}:\n{ended.output}")
        subject.expect(subject.complete, f"{number.name} {', then '.join(done) or 'never'}", ended)
        counts["runs that got through"] += 1
    return counts


def kill_clear(subject: Subject, times: int) -> Counter[str]:
    """Kill ``ozelot clear --yes`` at random moments: either all is cleared, or nothing."""
    counts: Counter[str] = Counter()
    cleared: dict[str, tuple[Contents, Pace]] = {}
    subject.finish("nothing")
    for task in subject.pipeline.cleared:
        pace = subject.paced("clear", task, "--yes")
        cleared[task] = contents(subject.database), pace
        subject.finish(f"clearing {task}")
    while counts["strikes"] < times:
        task = subject.rng.choice(subject.pipeline.cleared)
        expected, pace = cleared[task]
        when, ended, beats = _strike(subject, ["clear", task, "--yes"], pace, 1.0, Running.kill)
        done = f"killing the clearing of {task} {when}"
        counts["strikes"] += bool(when)
        counts["within statements and commits"] += beats > 0
        subject.consistent(done, ended)
        now = contents(subject.database)
        if now == subject.complete and ended.code:
            counts["cleared nothing"] += 1
        elif not (found := now.differences(expected)):
            counts["cleared all"] += 1
            subject.finish(done)
        else:
            raise BrokenPromiseError(f"After {done}, it is half:\n" + "\n".join(found[:20]) + f"\n{ended.output}")
    return counts


def cut(subject: Subject, times: int) -> Counter[str]:
    """Have the server end the run's connections at random moments: it fails in words or recovers."""
    counts: Counter[str] = Counter()
    while counts["strikes"] < times:
        subject.database.empty()
        number = 0

        def blow(_: Running) -> None:
            nonlocal number
            number = subject.database.cut_others()

        when, ended, _ = _strike(subject, subject.run, subject.pace, 1.0, blow)
        if number:
            counts["strikes"] += 1
            counts["runs that failed in words" if ended.code else "runs that recovered"] += 1
        _fails_in_words(ended, f"cutting the connections {when}")
        if ended.code and not number:
            raise BrokenPromiseError(f"A run that nothing disturbed ended with {ended.code}:\n{ended.output}")
        subject.consistent(f"cutting the connections {when}", ended)
        subject.finish(f"cutting the connections {when}")
    return counts


def break_hook(subject: Subject, name: str, times: int, *, start: int = 0) -> Counter[str]:
    """Let calls of a hook or an event raise: first the first call of all, then one or some or all from a random one on.

    Args:
        subject: what is attacked.
        name: of the hook or the event.
        times: how often.
        start: the number of such attacks before.
    """
    counts: Counter[str] = Counter()
    for turn in range(start, start + times):
        subject.database.empty()
        first = 1 if turn == 0 else round(subject.rng.triangular(1, 200, 1))
        fault = name, first, subject.rng.choice([1, 1, 3, 10_000])
        done = f"letting {name} raise in call {first} and, in all, {fault[2]} times"
        ended = subject.call(*subject.run, setup=Setup(fault=fault))
        counts["strikes"] += 1
        if ended.code:
            counts["runs that said why they failed" if f"{name} broke" in ended.output else "runs that did not"] += 1
        else:
            counts["runs that got through"] += 1
        subject.consistent(done, ended)
        subject.finish(done)
    return counts


def break_hooks(subject: Subject, times: int) -> Counter[str]:
    """The same for each hook in turn."""
    counts: Counter[str] = Counter()
    for turn in range(times):
        name = [*HOOKS, *EVENTS][turn % (len(HOOKS) + len(EVENTS))]
        counts += break_hook(subject, name, 1, start=turn // (len(HOOKS) + len(EVENTS)))
    return counts


def limit_pages(subject: Subject, times: int) -> Counter[str]:
    """Let SQLite refuse to grow its file at a random size: the run says so, and completes when the limit is gone."""
    counts: Counter[str] = Counter()
    for _ in range(times):
        pages = _shrunk(subject)
        limit = pages + subject.rng.randint(0, 24)
        done = f"limiting the database to {limit} pages, of which {pages} were in use"
        ended = subject.call(*subject.run, setup=Setup(page_limit=limit))
        _judge_full_disk(subject, done, counts, ended)
    return counts


def fill_disk(subject: Subject, times: int) -> Counter[str]:
    """Fill the disk on which the SQLite file is, but for a random rest; it should be a small one."""
    counts: Counter[str] = Counter()
    ballast = Path(str(subject.database.engine.url.database)).parent / "ballast"
    for _ in range(times):
        _shrunk(subject)
        rest = subject.rng.choice([0, subject.rng.randint(0, 4_000_000)])
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        os.truncate(ballast, max(0, ballast.stat().st_size - rest))
        done = f"leaving {rest} bytes on the disk"
        try:
            ended = subject.call(*subject.run)
        finally:
            ballast.unlink()
        _judge_full_disk(subject, done, counts, ended)
    return counts


def _shrunk(subject: Subject) -> int:
    """Empty an SQLite database, and return how many pages are left."""
    subject.database.empty()
    with subject.database.engine.connect() as connection:
        connection.exec_driver_sql("VACUUM")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())


def _judge_full_disk(subject: Subject, done: str, counts: Counter[str], ended: Ended) -> None:
    counts["strikes"] += 1
    counts["runs that met a full disk" if ended.code else "runs that got through"] += 1
    if ended.code and not re.search("full|disk I/O error", ended.output):
        raise BrokenPromiseError(f"After {done}, the run does not say why it ended with {ended.code}:\n{ended.output}")
    _fails_in_words(ended, done)
    subject.consistent(done, ended)
    subject.finish(done)


def restart(subject: Subject, times: int, crash: Callable[[], None]) -> Counter[str]:
    """Let the server crash and start again at random moments of runs: they fail in words or recover."""
    counts: Counter[str] = Counter()
    while counts["strikes"] < times:
        subject.database.empty()
        when, ended, _ = _strike(subject, subject.run, subject.pace, 1.0, lambda _: crash())
        done = f"a crash of the server {when}"
        counts["strikes"] += bool(when)
        counts["runs that failed in words" if ended.code else "runs that got through"] += bool(when)
        _fails_in_words(ended, done)
        subject.consistent(done, ended)
        subject.finish(done)
    return counts


def kill_refresh(subject: Subject, times: int) -> Counter[str]:
    """Kill runs that load a complete database anew, while a reader looks all the time: it never sees half of it.

    Meant for ``--run-args="LoadRegions --force --atomic --yes"``.
    """
    counts: Counter[str] = Counter()
    subject.finish("nothing")
    pace = subject.paced(*subject.run)
    while counts["strikes"] < times:
        with watched(subject.database, subject.complete) as reader:
            when, ended, beats = _strike(subject, subject.run, pace, 1.0, Running.kill)
        counts["looks of the reader"] += reader.looks
        counts["strikes"] += bool(when)
        counts["within statements and commits"] += beats > 0
        done = f"killing a refresh {when}"
        if reader.seen:
            raise BrokenPromiseError(f"While {done}, a reader saw:\n" + "\n".join(reader.seen[:20]))
        subject.expect(subject.complete, done, ended)
    return counts


#: What Python says of an exception that nobody saw, as where Ctrl-C hit SQLAlchemy, is none.
_TRACEBACK = re.compile(r"^(?!Exception ignored in).*\nTraceback \(most recent call last\)", re.MULTILINE)


def _fails_in_words(ended: Ended, done: str) -> None:
    if _TRACEBACK.search(f"\n{ended.output}"):
        raise BrokenPromiseError(f"After {done}, the command ended with {ended.code} and a traceback:\n{ended.output}")
