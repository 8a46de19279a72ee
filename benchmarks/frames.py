"""Reading a query's result into a frame: ozelot beside other ways, in one run.

    python benchmarks/frames.py [--rows 1000000] [--databases sqlite postgresql mariadb] [--repeat 5]

Needs what `benchmarks/requirements.txt` names. Each measurement is one fresh process; ways take turns, so that what
else the machine does meets all of them; medians are printed:

rows/s     rows by the seconds from the call to the frame, a new connection included
of best    its seconds beside those of the quickest way into the same kind of frame
cpu        seconds that this side's processor was busy
MB         the most that the process held meanwhile, above what it held before
types      what came where it is not what the table has: dates as text, numbers with gaps as floats
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from typing import Any

from measure import Unfinished, machine, options_for_rows, state_of, told_by

#: What each way gives, and the package that does it.
WAYS = {
    "ozelot": (["arrow", "pandas"], "ozelot"),
    "pandas": (["pandas"], "pandas"),
    "connectorx": (["arrow", "pandas"], "connectorx"),
    "adbc": (["arrow", "pandas"], "adbc-driver-manager"),
}
COLUMNS = ("name", "value", "number", "day", "flag", "code")
#: For each column, what a type may begin with that holds its values as what they are.
RIGHT = (
    ("str", "large_string", "object"),
    ("double", "float64"),
    ("int", "Int"),
    ("date", "datetime", "object"),
    ("bool",),
    ("str", "large_string", "object"),
)


def wrong(types: list[str]) -> str:
    """The columns whose values came as something else."""
    pairs = zip(COLUMNS, types, RIGHT, strict=True)
    return ", ".join(f"{name}: {kind}" for name, kind, right in pairs if not kind.startswith(right))


def compare(kind: str, asked: argparse.Namespace) -> None:
    """Print the table of one database."""
    print(f"\n{kind:10} {'into':7} {'rows/s':>10} {'of best':>8} {'cpu':>6} {'MB':>6}  types")
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    instead: dict[tuple[str, str], str] = {}
    pairs = [(way, form) for form in ("arrow", "pandas") for way in asked.ways if form in WAYS[way][0]]
    with state_of("ozelot", kind) as state:
        told_by("readers", "fill", "arrow", str(asked.rows), *state, cap=asked.cap)
        for _ in range(asked.repeat):
            for pair in pairs:
                if pair not in instead:
                    try:
                        found[pair].append(told_by("readers", *pair, str(asked.rows), *state, cap=asked.cap)[1])
                    except Unfinished as exc:
                        instead[pair] = str(exc)
    seconds = {pair: statistics.median(told["seconds"] for told in tolds) for pair, tolds in found.items() if tolds}
    for way, form in pairs:
        if (way, form) in instead:
            print(f"{way:10} {form:7} {instead[way, form]}")
            continue
        took, best = seconds[way, form], min(value for pair, value in seconds.items() if pair[1] == form)
        cpu, grown = (statistics.median(told[name] for told in found[way, form]) for name in ("cpu", "grown"))
        figures = f"{asked.rows / took:10,.0f} {took / best:8.2f} {cpu:6.2f} {grown:6.0f}"
        print(f"{way:10} {form:7} {figures}  {wrong(found[way, form][0]['types'])}".rstrip(), flush=True)


def main() -> None:
    asked = options_for_rows(__doc__ or "", WAYS, 5).parse_args()
    packages = {"pyarrow", "pandas", "psycopg", "pymysql", *(WAYS[way][1] for way in asked.ways)}
    print(machine(sorted(packages)))
    print(f"{asked.rows:,} rows of 6 columns; medians of {asked.repeat}")
    for kind in asked.databases:
        compare(kind, asked)


if __name__ == "__main__":
    main()
