"""What a run tells while it goes on."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

import ozelot
from ozelot.client import Client
from ozelot.engine import Event
from tests.engine.steps import LateStep, Step, asks, chain, drawn, fail, label

ENDS = {"done", "failed", "paused", "retry"}


def told_by(root: Step | LateStep | list[Step], **how: int) -> list[Event]:
    told: list[Event] = []
    ozelot.run(root, progress=told.append, **how)  # type: ignore[arg-type]
    return [event for event in told if event.kind != "tick"]


@pytest.mark.parametrize("workers", [1, 4])
def test_each_task_starts_before_it_ends_and_totals_count_up_to_all(here: Client, workers: int) -> None:
    drawn.requires["end"] = [f"n {number}" for number in range(30)]
    told = told_by(Step(name="end"), workers=workers)
    assert (told[0].kind, told[0].total, told[0].complete) == ("planned", 31, 0)
    assert {event.total for event in told} == {31}
    done = [event for event in told if event.kind == "done"]
    assert [event.complete for event in done] == list(range(1, 32))
    assert all(event.rows == {"estep": 1} and event.seconds is not None for event in done)
    state: dict[str, str] = {}
    for event in told[1:]:
        assert (event.kind == "started") is (event.label not in state), event
        state[event.label] = event.kind
    assert set(state.values()) == {"done"} and len(state) == 31


def test_what_was_complete_before_counts_from_the_start(here: Client) -> None:
    ozelot.run(chain(5))
    told = told_by(chain(8))
    assert (told[0].total, told[0].complete) == (8, 5)
    assert told[-1].complete == 8


def test_late_requirements_raise_the_total(here: Client) -> None:
    drawn.acts["late"] = asks([Step(name="a"), Step(name="b")])
    told = told_by(LateStep(name="late"))
    assert [event.kind for event in told] == [
        *["planned", "started", "paused", "started", "done", "started", "done", "started", "done"]
    ]
    assert [event.total for event in told] == [1, 1, *[3] * 7]
    assert told[-1].complete == 3


def test_a_failure_is_told_with_its_reason_and_does_not_count_as_complete(here: Client) -> None:
    drawn.requires |= {"top": ["bad", "good"]}
    drawn.acts["bad"] = fail
    told = told_by(Step(name="top"))
    (failure,) = [event for event in told if event.kind == "failed"]
    assert (failure.label, failure.text) == (label("bad"), "ValueError: no bad")
    assert Counter(event.kind for event in told) == {"planned": 1, "started": 2, "failed": 1, "done": 1}
    assert (told[-1].total, told[-1].complete) == (3, 1)


def test_events_come_in_the_thread_that_called(here: Client) -> None:
    threads: set[int] = set()
    ozelot.run(chain(20), workers=3, progress=lambda event: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


def test_what_another_run_completed_meanwhile_is_told_as_done_elsewhere(here: Client) -> None:
    drawn.acts["first"] = lambda step: ozelot.run(Step(name="second")) and None
    drawn.requires["end"] = ["first", "second"]
    told: list[Event] = []
    result = ozelot.run(Step(name="end"), progress=told.append)
    assert result.ok
    assert [event.complete for event in told if event.kind in ("done", "done elsewhere")] == [1, 2, 3]


def test_a_progress_that_raises_ends_the_run_with_its_error(here: Client) -> None:
    def hear(event: Event) -> None:
        if event.kind == "done":
            raise LookupError("from progress")

    with pytest.raises(LookupError, match="from progress"):
        ozelot.run(chain(3), progress=hear)
    assert ozelot.run(chain(3)).ok


def test_events_are_plain_json(here: Client) -> None:
    told = told_by(Step(name="a"))
    assert told[-1].as_json() | {"seconds": 0} == {
        "event": "done",
        "task": label("a"),
        "seconds": 0,
        "rows": {"estep": 1},
        "total": 1,
        "complete": 1,
    }
