"""A real pipeline, cold: the example `flights` on SQLite beside a script that does the same by hand, in one run.

    python benchmarks/flights.py [--repeat 5]

Needs `pip install -e '.[examples]'`. Each measurement is one fresh process with a fresh database; both take turns.
Medians: seconds from the first statement to the last (imports, which are printed apart, left out), those of the
processor, and how much longer ozelot took than the script.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from measure import machine, state_of, told_by

WAYS = ("by_hand", "with_ozelot")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    told: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(asked.repeat):
        for way in WAYS:
            with state_of("ozelot", "sqlite") as state:
                whole, found = told_by("pipelines", way, *state, cap=600)
            told[way].append({**found, "around": whole - found["seconds"]})
    print(f"{machine()}; medians of {asked.repeat}")
    print(f"{'':12} {'seconds':>8} {'cpu':>6} {'start and imports':>18}")
    medians = {
        way: {name: statistics.median(once[name] for once in told[way]) for name in ("seconds", "cpu", "around")}
        for way in WAYS
    }
    for way, figures in medians.items():
        print(f"{way:12} {figures['seconds']:8.2f} {figures['cpu']:6.2f} {figures['around']:18.2f}")
    hand, ozelot = (medians[way] for way in WAYS)
    print(f"ozelot by hand: {ozelot['seconds'] / hand['seconds']:.2f}, cpu {ozelot['cpu'] / hand['cpu']:.2f}")
    found = {tuple(once["found"]) for way in WAYS for once in told[way]}
    print("Both give the same rows" if len(found) == 1 else f"The rows differ: {sorted(found)}")


if __name__ == "__main__":
    main()
