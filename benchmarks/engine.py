"""Running graphs of trivial tasks: ozelot beside other engines, in one run.

    python benchmarks/engine.py [--sizes 100 1000] [--shapes wide deep layered] [--peers ozelot luigi doit] [--repeat 5]
                                [--database sqlite|postgresql|mariadb] [--workers 1 2 8 [--processes]]

Needs what `benchmarks/requirements.txt` names. Each measurement is one fresh process; peers take turns, so that what
else the machine does meets all of them; medians are printed:

cold     seconds from the start to the end of a process that runs all tasks, each with state that lasts
a task   milliseconds, cold by the number of tasks
second   seconds of another process that finds everything complete
graph    seconds of a process that imports, builds all tasks and walks them, and runs nothing
peak     megabytes that the cold process held at most
doit     cold by that of doit
growth   cold by that of the size before, beside how much larger this one is

Which of the finished tasks are still complete after a process was killed is told below. With --workers, ozelot alone:
tasks a second with that many threads or processes (whose start counts), and what a task costs beyond a bare loop of the
same commits, which has as many threads.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from typing import Any

from measure import Over, Unfinished, machine, measured, python_seconds, state_of
from peers.job import SHAPES

PEERS = {
    "ozelot": "ozelot",
    "ozelot_by_luigi": "luigi",
    "luigi": "luigi",
    "doit": "doit",
    "pytask": "pytask",
    "redun": "redun",
}
IMPORTS = ("ozelot", "ozelot.etl.tasks", "luigi", "doit")
KILLED_SIZE, KILLED_AT = 100, 50

Figures = dict[str, float]


def once(peer: str, shape: str, size: int, asked: argparse.Namespace) -> Figures:
    """The figures of one repeat.

    Raises:
        Unfinished: there are none, or the peer ran other tasks than it should have.
    """
    with state_of(peer, asked.database) as state:
        graph, cold, second = (
            measured(peer, action, shape, size, state, cap=asked.cap) for action in ("graph", "run", "run")
        )
    total = size if shape == "deep" else size + 1
    if (cold["ran"], second["ran"]) != (total, 0):
        raise Unfinished(f"ran {cold['ran']:,} of {total:,}, then {second['ran']:,}")
    each = 1_000 * cold["seconds"] / total
    return {
        "cold": cold["seconds"],
        "each": each,
        "second": second["seconds"],
        "graph": graph["seconds"],
        "peak": cold["peak"],
    }


def compare(shape: str, asked: argparse.Namespace) -> None:
    """Print the table of one shape, a row as soon as it is known."""
    heads = "".join(f" {name:>8}" for name in ("tasks", "cold", "a task", "second", "graph"))
    print(f"\n{shape:16}{heads} {'peak':>6} {'doit':>7}  growth")
    cold: dict[tuple[str, int], float] = {}
    stopped: set[str] = set()
    for size, before in zip(asked.sizes, [None, *asked.sizes], strict=False):
        found: dict[str, list[Figures]] = defaultdict(list)
        instead: dict[str, str] = {}
        for _ in range(asked.repeat):
            for peer in [name for name in asked.peers if name not in stopped]:
                try:
                    found[peer].append(once(peer, shape, size, asked))
                except Unfinished as exc:
                    instead[peer] = str(exc)
                    stopped.add(peer)
        medians = {
            peer: {name: statistics.median(figures[name] for figures in runs) for name in runs[0]}
            for peer, runs in found.items()
            if runs and peer not in instead
        }
        cold |= {(peer, size): figures["cold"] for peer, figures in medians.items()}
        for peer in asked.peers:
            if peer in instead:
                print(f"{peer:16} {size:8,}  {instead[peer]}")
            elif peer in medians:
                print(f"{peer:16} {size:8,} {row(peer, size, before, medians[peer], cold)}", flush=True)


def row(peer: str, size: int, before: int | None, median: Figures, cold: dict[tuple[str, int], float]) -> str:
    ratio = f"{median['cold'] / cold['doit', size]:.2f} x" if ("doit", size) in cold else ""
    growth = f"{median['cold'] / cold[peer, before]:.1f} for {size / before:g}" if before else ""
    return (
        f"{median['cold']:8.2f} {median['each']:8.3f} {median['second']:8.2f} {median['graph']:8.2f} "
        f"{median['peak']:6.0f} {ratio:>7}  {growth}"
    ).rstrip()


def after_kill(asked: argparse.Namespace) -> None:
    """Print how much of what was done a peer still knows after its process ended abruptly."""
    print(f"\ncomplete after a kill, of {KILLED_AT} finished tasks")
    for peer in asked.peers:
        with state_of(peer, asked.database) as state:
            try:
                measured(peer, "run", "wide", KILLED_SIZE, state, cap=asked.cap, options=("--die-at", str(KILLED_AT)))
                told = "was not killed"
            except Over as exc:
                told = str(exc)
            except Unfinished:
                try:
                    again = measured(peer, "run", "wide", KILLED_SIZE, state, cap=asked.cap)
                    told = f"{KILLED_SIZE + 1 - again['ran']:8,}"
                except Unfinished as exc:
                    told = str(exc)
        print(f"{peer:16} {told}")


def workers(asked: argparse.Namespace) -> None:
    """Print what several workers bring, and what ozelot costs beside its commits."""
    print(
        f"\n{'ozelot, wide':16} {'tasks':>8} {'workers':>8} {'tasks/s':>8} {'bare/s':>8}  ms a task beyond its commit"
    )
    for size in asked.sizes:
        runs: dict[int, list[dict[str, Any]]] = defaultdict(list)
        try:
            for _ in range(asked.repeat):
                for count in asked.workers:
                    with state_of("ozelot", asked.database) as state:
                        options = ("--workers", str(count), *(["--processes"] if asked.processes else []))
                        found = measured("ozelot", "bare", "wide", size, state, cap=asked.cap, options=options)
                    if found["ran"] != size + 1:
                        raise Unfinished(f"ran {found['ran']:,} of {size + 1:,}")
                    runs[count].append(found)
        except Unfinished as exc:
            print(f"{asked.database:16} {size:8,} {count:8}  {exc}")
            return
        for count, figures in runs.items():
            total = size + 1
            ran, bare = (statistics.median(f[name] for f in figures) for name in ("run_seconds", "bare_seconds"))
            beyond = 1_000 * statistics.median(f["run_seconds"] - f["bare_seconds"] for f in figures) / total
            rates = f"{total / ran:8,.0f} {total / bare:8,.0f}  {beyond:.3f}"
            print(f"{asked.database:16} {total:8,} {count:8} {rates}", flush=True)


def imports(peers: list[str], repeat: int) -> None:
    """Print what importing costs beyond starting Python."""
    packages = {"ozelot", *(PEERS[peer] for peer in peers)}
    codes = {name: f"import {name}" for name in IMPORTS if name.partition(".")[0] in packages}
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeat):
        for name, code in {"": "pass", **codes}.items():
            times[name].append(python_seconds(code))
    bare = statistics.median(times.pop(""))
    print(f"\nseconds to import, beyond the {bare:.3f} that Python takes to start")
    for name, found in times.items():
        print(f"{name:16} {statistics.median(found) - bare:8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=["ozelot", "luigi", "doit", "pytask", "redun"])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "mariadb"), default="sqlite")
    parser.add_argument("--cap", type=float, default=120, help="seconds that one process is given")
    parser.add_argument("--workers", type=int, nargs="+", help="measure only this, with so many threads of ozelot")
    parser.add_argument("--processes", action="store_true", help="with --workers: processes in place of threads")
    asked = parser.parse_args()
    asked.sizes = sorted(asked.sizes)
    if asked.workers:
        asked.peers = ["ozelot"]
    print(f"{machine(dict.fromkeys(PEERS[peer] for peer in asked.peers))}; ozelot on {asked.database}")
    print(f"Medians of {asked.repeat}, at most {asked.cap:g} s a process")
    if asked.workers:
        workers(asked)
        return
    imports(asked.peers, asked.repeat)
    for shape in asked.shapes:
        compare(shape, asked)
    after_kill(asked)


if __name__ == "__main__":
    main()
