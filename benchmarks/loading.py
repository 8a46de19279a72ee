"""Loading rows: ozelot beside the drivers alone and other ways, in one run.

    python benchmarks/loading.py [--rows 1000000] [--databases sqlite postgresql mariadb] [--repeat 3]
                                 [--ways raw ozelot adbc ...] [--forms dataframe arrow ...]

Needs what `benchmarks/requirements.txt` names. Each measurement is one fresh process with a fresh database; ways take
turns, so that what else the machine does meets all of them; medians are printed:

rows/s   rows by the seconds from having the input in memory (a generator makes it meanwhile) to the end of the commit
of raw   that beside the driver alone, which is handed tuples as it takes them ("64 MB": with as much of SQLite's page
         cache as ozelot gives it while it loads; "frame": the driver handed the rows of a DataFrame, by itertuples())
cpu      seconds that this side's processor was busy
MB       the most that the process held meanwhile, above what it held before, input included
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict

from measure import Unfinished, machine, options_for_rows, state_of, told_by

#: What can be loaded how, and the package that does it.
WAYS = {
    "raw": (["tuples", "64 MB", "frame"], ""),
    "ozelot": (["dataframe", "arrow", "polars", "generator"], "ozelot"),
    "adbc": (["arrow"], "adbc-driver-manager"),
    "core": (["generator"], "sqlalchemy"),
    "add_all": (["generator"], "sqlalchemy"),
    "pandas": (["dataframe"], "pandas"),
    "dlt": (["arrow"], "dlt"),
}

Figures = dict[str, float]


def once(way: str, form: str, kind: str, asked: argparse.Namespace) -> tuple[Figures, list[str]]:
    """The figures of one measurement, and what is in the table then."""
    with state_of("ozelot", kind) as state:
        _, told = told_by("loaders", way, form, str(asked.rows), *state, cap=asked.cap)
    return {name: told[name] for name in ("seconds", "cpu", "grown")}, told["found"]


def compare(kind: str, asked: argparse.Namespace) -> None:
    """Print the table of one database."""
    print(f"\n{kind:10} {'from':10} {'rows/s':>10} {'of raw':>7} {'cpu':>7} {'MB':>6}")
    found: dict[tuple[str, str], list[Figures]] = defaultdict(list)
    instead: dict[tuple[str, str], str] = {}
    rows: set[tuple[str, ...]] = set()
    pairs = [(way, form) for way in asked.ways for form in WAYS[way][0] if form in asked.forms or way == "raw"]
    pairs = [pair for pair in pairs if kind == "sqlite" or pair[1] != "64 MB"]
    for _ in range(asked.repeat):
        for pair in pairs:
            if pair not in instead:
                try:
                    figures, there = once(*pair, kind, asked)
                    found[pair].append(figures)
                    rows.add(tuple(there))
                except Unfinished as exc:
                    instead[pair] = str(exc)
    raw = statistics.median(figures["seconds"] for figures in found["raw", "tuples"]) if "raw" in asked.ways else None
    for pair in pairs:
        if pair in instead:
            print(f"{pair[0]:10} {pair[1]:10} {instead[pair]}")
            continue
        seconds, cpu, grown = (statistics.median(f[name] for f in found[pair]) for name in ("seconds", "cpu", "grown"))
        ratio = f"{raw / seconds:7.2f}" if raw else f"{'':7}"
        print(f"{pair[0]:10} {pair[1]:10} {asked.rows / seconds:10,.0f} {ratio} {cpu:7.2f} {grown:6.0f}", flush=True)
    if len(rows) != 1:
        print(f"The tables differ: {sorted(rows)}")


def main() -> None:
    parser = options_for_rows(__doc__ or "", WAYS, 3)
    parser.add_argument("--forms", nargs="+", default=["dataframe", "arrow", "polars", "generator"])
    asked = parser.parse_args()
    packages = {"pyarrow", "polars", "psycopg", "pymysql", *(WAYS[way][1] for way in asked.ways)} - {""}
    print(machine(sorted(packages)))
    print(f"{asked.rows:,} rows of 6 columns, an id and a run; medians of {asked.repeat}")
    for kind in asked.databases:
        compare(kind, asked)


if __name__ == "__main__":
    main()
