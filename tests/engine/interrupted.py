"""A program that runs a pipeline, says what came of Ctrl-C, and what a second run does."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import luigi

import ozelot
from ozelot.client import Client, get_client, set_client
from ozelot.errors import Interrupted
from ozelot.etl.tasks import ORMTask
from ozelot.orm.base import Base
from ozelot.orm.run import TaskOwned


class InRow(TaskOwned, Base):
    pass


class InStep(ORMTask):
    """Steps in a row; in the middle one comes the Ctrl-C."""

    creates = [InRow]
    number: int = luigi.IntParameter()

    def requires(self) -> Any:
        return [InStep(number=self.number - 1)] if self.number else []

    def run(self) -> None:
        self.session.add(InRow())
        if self.number == 5 and not Path("again").exists():
            self.session.flush()
            Path("ready").touch()
            hold.wait(30)


hold = threading.Event()


def main(workers: int, once: str) -> None:
    set_client(Client(connection_string="sqlite:///x.db"))
    Base.create_all(get_client())
    heard: list[str] = []

    def hear(event: ozelot.engine.Event) -> None:
        heard.append(event.kind)
        if event.kind == "stopping":
            if once == "once":
                hold.set()
            else:
                Path("stopping").touch()

    told: dict[str, Any] = {}
    try:
        with get_client().transaction() if workers == 0 else nullcontext():
            ozelot.run(InStep(number=9), workers=workers or None, progress=hear)
    except Interrupted as exc:
        told = {"ran": len(exc.result.ran), "not reached": exc.result.not_reached, "ok": exc.result.ok}
    except KeyboardInterrupt:
        told = {"at once": True}
    Path("again").touch()
    hold.set()
    told["stopping"] = heard.count("stopping")
    told["again"] = ozelot.run(InStep(number=9)).ok
    with get_client().create_session() as session:
        told["rows"] = session.query(InRow).count()
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
