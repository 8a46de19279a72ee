"""A process that loads many rows, for tests that kill it: `python -m tests.orm.loader URL ROWS FORM [PAUSE_AT]`.

It writes a line when it begins, and one where it pauses: from there on it waits for a line that never comes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from ozelot import client
from ozelot.client import Client
from ozelot.etl import tasks
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned


class Sample(TaskOwned, Base):
    name: Mapped[str] = mapped_column(String(20))
    number: Mapped[int]
    value: Mapped[float]


class LoadSamples(tasks.ORMTask):
    creates = [Sample]
    size = 1_000
    form = "generator"
    pause_at = -1

    def run(self) -> None:
        rows: Any = samples(self.size, self.pause_at)
        if self.form == "frame":
            import pandas as pd

            rows = pd.DataFrame(list(rows))
        print("begins", flush=True)
        self.load(Sample, rows)


def samples(size: int, pause_at: int) -> Iterator[dict[str, Any]]:
    for number in range(size):
        if number == pause_at:
            print("pauses", flush=True)
            sys.stdin.readline()
        yield {"name": f"sample {number}", "number": number, "value": number / 7}


def main() -> None:
    url, size, LoadSamples.form, *pause = sys.argv[1:]
    LoadSamples.size = int(size)
    LoadSamples.pause_at = int(pause[0]) if pause else -1
    client.set_client(Client(connection_string=url))
    LoadSamples().run()


if __name__ == "__main__":
    main()
