"""Many workers on each database, and two runs at the same time in one process: every task runs once."""

from __future__ import annotations

import threading
from collections import Counter

import ozelot
from ozelot.client import Client
from ozelot.engine import RunResult
from tests.engine.steps import LateStep, Step, asks, drawn, label, rows, wait_for


def wide(number: int) -> Step:
    drawn.requires["end"] = [f"n {index}" for index in range(number)]
    return Step(name="end")


def test_eight_workers_run_a_hundred_small_tasks_once_each(everywhere: Client) -> None:
    result = ozelot.run(wide(100), workers=8)
    assert result.ok, result.failed
    assert len(rows(everywhere)) == len(set(rows(everywhere))) == len(drawn.began) == len(result.ran) == 101
    assert next(reversed(result.ran)) == label("end")


def test_eight_tasks_run_at_the_same_time(everywhere: Client) -> None:
    meet = threading.Barrier(8)
    names = [f"n {number}" for number in range(8)]
    for name in names:
        drawn.acts[name] = lambda step: meet.wait(30)
    assert ozelot.run(wide(8), workers=8).ok


def test_more_workers_than_a_pool_of_connections_usually_has(everywhere: Client) -> None:
    number = 24 if everywhere.engine.dialect.name != "sqlite" else 40
    meet = threading.Barrier(number)
    for index in range(number):
        drawn.acts[f"n {index}"] = lambda step: meet.wait(30)
    assert ozelot.run(wide(number), workers=number).ok


def both(*roots: Step, workers: int) -> list[RunResult]:
    """Start a run of each root at the same moment."""
    results: list[RunResult] = []
    meet = threading.Barrier(len(roots))

    def go(root: Step) -> None:
        meet.wait(30)
        results.append(ozelot.run(root, workers=workers))

    threads = [threading.Thread(target=go, args=(root,)) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == len(roots)
    return results


def test_two_runs_of_one_graph_share_the_work(everywhere: Client) -> None:
    root = wide(60)
    results = both(root, root, workers=3)
    assert all(result.ok for result in results), [result.failed for result in results]
    assert len(rows(everywhere)) == 61
    ran = Counter(name for result in results for name in result.ran)
    assert set(ran.values()) == {1}
    assert len(ran) == 61
    for result in results:
        assert len({*result.ran, *result.elsewhere, *result.complete}) == 61


def test_two_runs_of_one_chain_keep_its_order(everywhere: Client) -> None:
    for number in range(1, 30):
        drawn.requires[str(number)] = [str(number - 1)]
    results = both(Step(name="29"), Step(name="29"), workers=1)
    assert all(result.ok for result in results), [result.failed for result in results]
    assert drawn.began == [str(number) for number in range(30)]
    assert len(rows(everywhere)) == 30


def test_a_run_waits_for_a_slow_task_of_another_one(here: Client) -> None:
    begun, waits = threading.Event(), threading.Event()

    def slow(step: Step) -> None:
        begun.set()
        wait_for(waits)

    drawn.acts["slow"] = slow
    drawn.requires["end"] = ["slow"]
    first: list[RunResult] = []
    thread = threading.Thread(target=lambda: first.append(ozelot.run(Step(name="slow"))))
    thread.start()
    wait_for(begun)
    second = ozelot.run(Step(name="end"), progress=lambda event: waits.set() if event.kind == "waiting" else None)
    thread.join(30)
    assert list(first[0].ran) == second.elsewhere == [label("slow")]
    assert list(second.ran) == [label("end")]
    assert rows(here) == ["end", "slow"]


def test_two_runs_with_late_requirements(here: Client) -> None:
    for number in range(6):
        drawn.acts[f"late {number}"] = asks(Step(name="shared"), Step(name=f"own {number}"))
    roots = [LateStep(name=f"late {number}") for number in range(6)]
    results: list[RunResult] = []
    threads = [threading.Thread(target=lambda: results.append(ozelot.run(roots, workers=2))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [result.ok for result in results] == [True, True], [result.failed for result in results]
    assert len(rows(here)) == 13
