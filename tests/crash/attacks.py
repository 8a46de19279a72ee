"""What is done to a run, and what must hold after it: one function for each attack.

Each takes a :class:`tests.crash.subject.Subject` and how often to strike, and returns how often it really did.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable

from tests.crash.contents import Contents, contents
from tests.crash.launching import Ended, Running, Setup
from tests.crash.subject import BrokenPromiseError, Pace, Subject

#: How often a command is left alone, so that it may get through.
_MERCY = 1 / 6


def _strike(subject: Subject, running: Running, pace: Pace, left: float, blow: Callable[[], object]) -> str:
    """Let a command run to a random moment, and strike; returns in words when that was, or nothing if it was over."""
    if subject.rng.random() < _MERCY:
        running.until()
        return ""
    beats, seconds = pace.moment(subject.rng, left)
    if beats is not None and running.until(beats=beats):
        return ""
    if running.until(seconds=seconds):
        return ""
    blow()
    return f"{seconds * 1000:.1f} ms" + (f" after beat {beats}" if beats is not None else " after its begin")


def kill(subject: Subject, times: int, *, number: signal.Signals = signal.SIGKILL) -> Counter[str]:
    """Kill runs at random moments, and run again until one gets through."""
    counts: Counter[str] = Counter()
    while counts["kills"] < times:
        subject.database.empty()
        done: list[str] = []
        while True:
            running = subject.start_run()
            when = _strike(subject, running, subject.pace, subject.left(), lambda running=running: running.kill(number))
            ended = running.end()
            if not when:
                break
            done.append(when)
            counts["kills"] += 1
            counts["kills in a run's tasks"] += bool(running.beats)
            if ended.code == 0:
                break  # it was about to end
            _fails_in_words(ended, f"{number.name} {when}")
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
    while counts["kills"] < times:
        task = subject.rng.choice(subject.pipeline.cleared)
        expected, pace = cleared[task]
        running = subject.start("clear", task, "--yes")
        when = _strike(subject, running, pace, 1.0, running.kill)
        ended = running.end()
        done = f"killing the clearing of {task} {when}"
        counts["kills"] += bool(when)
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
    while counts["cuts"] < times:
        subject.database.empty()
        running = subject.start_run()
        number = Counter[str]()
        when = _strike(subject, running, subject.pace, 1.0, lambda n=number: n.update(cut=subject.database.cut_others()))
        ended = running.end()
        if number["cut"]:
            counts["cuts"] += 1
            counts["runs that failed in words" if ended.code else "runs that recovered"] += 1
        _fails_in_words(ended, f"cutting the connections {when}")
        if ended.code and not number["cut"]:
            raise BrokenPromiseError(f"A run that nothing disturbed ended with {ended.code}:\n{ended.output}")
        subject.consistent(f"cutting the connections {when}", ended)
        subject.finish(f"cutting the connections {when}")
    return counts


def break_hook(subject: Subject, name: str, times: int) -> Counter[str]:
    """Let the calls of a hook or an event raise, one or some or all from a random one on."""
    counts: Counter[str] = Counter()
    for turn in range(times):
        subject.database.empty()
        first = 1 if turn == 0 else round(subject.rng.triangular(1, 200, 1))
        fault = name, first, subject.rng.choice([1, 1, 3, 10_000])
        done = f"letting {name} raise in call {first} and, in all, {fault[2]} times"
        running = subject.start_run(Setup(fault=fault))
        ended = running.end()
        counts["runs that failed in words" if ended.code else "runs that got through"] += 1
        _fails_in_words(ended, done)
        subject.consistent(done, ended)
        subject.finish(done)
    return counts


def fill_disk(subject: Subject, times: int) -> Counter[str]:
    """Let the disk be full at a random size of the file (SQLite): the run says so, and completes with more room."""
    counts: Counter[str] = Counter()
    with subject.database.engine.connect() as connection:
        low = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    for _ in range(times):
        subject.database.empty()
        with subject.database.engine.connect() as connection:
            connection.exec_driver_sql("VACUUM")
            low = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        limit = int(low) + subject.rng.randint(0, 24)
        done = f"limiting the database to {limit} pages, of which {low} were in use"
        ended = subject.start_run(Setup(page_limit=limit)).end()
        if ended.code:
            counts["runs that met a full disk"] += 1
            if "full" not in ended.output:
                raise BrokenPromiseError(f"After {done}, the run does not say why it failed:\n{ended.output}")
        _fails_in_words(ended, done)
        subject.consistent(done, ended)
        subject.finish(done)
        counts["runs"] += 1
    return counts


def _fails_in_words(ended: Ended, done: str) -> None:
    if "Traceback (most recent call last)" in ended.output:
        raise BrokenPromiseError(f"After {done}, the command ended with {ended.code} and a traceback:\n{ended.output}")
