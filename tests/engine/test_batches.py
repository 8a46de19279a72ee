"""Tasks that share a batch: each runs only on top of what is complete."""

from __future__ import annotations

import threading

import ozelot
from ozelot.client import Client
from ozelot.db import locks
from ozelot.etl.targets import ORMTarget
from ozelot.etl.tasks import ORMWrapperTask
from ozelot.pipeline.declarations import keys_of
from tests.engine.steps import Step, chain, drawn, fail, label, rows, wait_for


class TenSteps(ORMWrapperTask):
    def requires(self) -> list[Step]:
        return [Step(name=f"wide {number}") for number in range(10)]


def test_followers_of_a_task_that_fails_in_the_middle_of_a_batch_do_not_run(everywhere: Client) -> None:
    drawn.acts["7"] = fail
    result = ozelot.run(chain(20))
    assert rows(everywhere) == ["0", "1", "2", "3", "4", "5", "6"]
    assert list(result.failed) == [label("7")]
    assert result.not_reached == {label(str(number)): label("7") for number in range(8, 20)}
    assert drawn.began == [str(number) for number in range(8)]


def test_siblings_of_a_task_that_fails_in_the_middle_of_a_batch_run(everywhere: Client) -> None:
    drawn.acts["wide 5"] = fail
    result = ozelot.run(TenSteps())
    assert len(result.ran) == len(rows(everywhere)) == 9
    assert result.not_reached == {"TenSteps {}": label("wide 5")}


def test_followers_of_a_task_that_another_runner_is_at_wait_for_it(everywhere: Client) -> None:
    last = chain(12)
    other = Step(name="6")
    followed = threading.Event()

    def refuse_to_overtake(step: Step) -> None:
        if not other.complete():
            followed.set()
            raise AssertionError(f"{step.name} began before 6 was complete")

    for number in range(7, 12):
        drawn.acts[str(number)] = refuse_to_overtake
    waits = threading.Event()
    told: list[str] = []

    def hear(event: ozelot.engine.Event) -> None:
        told.append(f"{event.kind} {event.label}")
        if event.kind == "waiting":
            waits.set()

    with everywhere.engine.connect() as connection:
        assert locks.take(connection, [keys_of(other)[0]])
        connection.commit()
        results: list[ozelot.engine.RunResult] = []
        runner = threading.Thread(target=lambda: results.append(ozelot.run(last, progress=hear)))
        runner.start()
        wait_for(waits)
        assert not followed.wait(0.2)
        locks.give_back(connection, [keys_of(other)[0]])
    runner.join(30)
    assert results[0].ok, results[0].failed
    assert len(rows(everywhere)) == 12


def test_another_runner_completes_what_waits_here_for_a_task_that_it_had(everywhere: Client) -> None:
    """A claim was looked for when the other runner had it, and the next one when it was done with both."""

    def complete_the_third(step: Step) -> None:
        thread = threading.Thread(target=ORMTarget.from_task(Step(name="2")).create)
        thread.start()
        thread.join(30)

    drawn.acts["0"] = complete_the_third
    key = keys_of(Step(name="1"))[0]
    with everywhere.engine.connect() as connection:
        assert locks.take(connection, [key])
        connection.commit()
        result = ozelot.run(
            chain(5), progress=lambda event: locks.give_back(connection, [key]) if event.kind == "waiting" else None
        )
    assert result.ok, result.failed
    assert result.elsewhere == [label("2")]
    assert rows(everywhere) == ["0", "1", "3", "4"]


def test_a_slow_first_task_of_a_class_holds_up_nobody_else(here: Client) -> None:
    others_ran = threading.Event()
    drawn.acts["wide 0"] = lambda step: wait_for(others_ran)
    left = {label(f"wide {number}") for number in range(1, 10)}

    def hear(event: ozelot.engine.Event) -> None:
        if event.kind == "done":
            left.discard(event.label)
            if not left:
                others_ran.set()

    result = ozelot.run(TenSteps(), workers=2, progress=hear)
    assert result.ok
    assert next(iter(result.ran)) != label("wide 0")


def test_a_slow_task_among_trivial_ones_holds_up_only_those_of_its_own_batch(everywhere: Client) -> None:
    done = threading.Event()
    drawn.requires["end"] = [f"n {number}" for number in range(60)]
    drawn.acts["n 30"] = lambda step: wait_for(done)
    finished: set[str] = set()

    def hear(event: ozelot.engine.Event) -> None:
        if event.kind == "done":
            finished.add(event.label)
            if len(finished) >= 25:
                done.set()

    assert ozelot.run(Step(name="end"), workers=2, progress=hear).ok
    assert len(rows(everywhere)) == 61
