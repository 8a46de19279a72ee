"""The crash proof: whatever is done to a run, the next one ends in the database of a run that nothing disturbed.

::

    python -m tests.crash --kills 1000 --database all
    python -m tests.crash --attack restart --kills 20 --database postgresql
    python -m tests.crash --kills 100 --pipeline superheroes --signal TERM --run-args="--timeout 60"

Each attack strikes again and again, at moments that are spread over the time that the run needs, and over its
statements and commits. After each, ``ozelot verify`` finds nothing and nobody is told as running who is dead; after the
run that gets through, every row of every table, every marker and every recorded run is what it is without the attack.

===========  ==========================================================================================
``kill``     kill runs (``--signal``), and run again until one gets through
``clear``    kill ``ozelot clear --yes``: all is cleared, or nothing
``cut``      have the server end the run's connections
``restart``  let a server of our own crash and start again in mid-run
``full``     let the disk be full: a limit of SQLite, and, for root, a small disk in memory
``faults``   let hooks of tasks and events of SQLAlchemy raise
``refresh``  kill ``--run-args="LoadRegions --force --atomic --yes"``, while a reader looks
===========  ==========================================================================================
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.crash import attacks
from tests.crash.databases import KINDS, Database, created, created_on
from tests.crash.launching import StuckError
from tests.crash.small_disks import NoDiskError, small_disk
from tests.crash.subject import PIPELINES, BrokenPromiseError, subject
from tests.own_servers import NoServerError, own_server

_BATCH = 50  # strikes between two lines of output
_DISK = 16  # megabytes; the log of SQLite needs some

#: Attacks that need a server, and those that need a file.
SERVERS_ONLY, SQLITE_ONLY = {"cut", "restart"}, {"full"}
ATTACKS: dict[str, attacks.Attack | None] = {
    "kill": attacks.kill,
    "clear": attacks.kill_clear,
    "cut": attacks.cut,
    "restart": None,
    "full": attacks.limit_pages,
    "faults": attacks.break_hooks,
    "refresh": attacks.kill_refresh,
}


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(
        "python -m tests.crash", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=25, help="how often to strike, on each database; default: 25")
    parser.add_argument("--database", choices=[*KINDS, "all"], default="all", help="default: all")
    parser.add_argument("--attack", choices=ATTACKS, default="kill", help="default: kill")
    parser.add_argument("--pipeline", choices=PIPELINES, default="synthetic", help="default: synthetic")
    parser.add_argument("--signal", choices=["KILL", "TERM", "INT"], default="KILL", help="of 'kill'; default: KILL")
    parser.add_argument("--seed", type=int, help="decides the moments; default: another each time, which is printed")
    parser.add_argument("--workers", type=int, help="handed to ozelot run")
    parser.add_argument("--run-args", default="", metavar="TEXT", help="more arguments for ozelot run")
    options = parser.parse_args(arguments)
    if options.workers is not None:
        options.run_args += f" --workers {options.workers}"
    return options


def attack(options: argparse.Namespace, kind: str, rng: random.Random) -> None:
    """Attack one kind of database, and print what came of it."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        strike = ATTACKS[options.attack]
        if options.attack == "kill":
            strike = partial(attacks.kill, number=signal.Signals[f"SIG{options.signal}"])
        if options.attack == "restart":
            server = stack.enter_context(own_server(kind))
            database = stack.enter_context(created_on(server.start()))
            strike = partial(attacks.restart, crash=server.crash)
        else:
            database = stack.enter_context(created(kind, folder))
        _repeat(options, database, folder, rng, strike)
        if options.attack == "full" and os.geteuid() == 0:
            small = Database(f"sqlite:///{stack.enter_context(small_disk(_DISK)) / 'crash.db'}")
            _repeat(options, small, folder, rng, attacks.fill_disk)


def _repeat(
    options: argparse.Namespace, database: Database, folder: Path, rng: random.Random, strike: attacks.Attack | None
) -> None:
    assert strike is not None
    with subject(options.pipeline, database, folder, rng, shlex.split(options.run_args)) as made:
        began = time.monotonic()
        counts: Counter[str] = Counter()
        pace = made.pace
        print(f"{database.kind}: an undisturbed run takes {pace.seconds:.2f} s and {pace.beats:,} beats", flush=True)
        while counts["strikes"] < options.kills:
            counts += strike(made, min(_BATCH, options.kills - counts["strikes"]))
            told = ", ".join(f"{number:,} {what}" for what, number in counts.items())
            print(f"{database.kind}: {options.attack}: {told} ({time.monotonic() - began:.0f} s)", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack all databases that were named.

    Returns:
        0: all promises were kept; 1: one was broken; 3: a server is not to be had.
    """
    options = parsed(arguments)
    logging.getLogger("ozelot").setLevel(logging.WARNING)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    kinds = KINDS if options.database == "all" else [options.database]
    if options.attack in SERVERS_ONLY:
        kinds = [kind for kind in kinds if kind != "sqlite"]
    if options.attack in SQLITE_ONLY:
        kinds = [kind for kind in kinds if kind == "sqlite"]
    if not kinds:
        print(f"The attack '{options.attack}' is not for {options.database}", file=sys.stderr)
        return 2
    print(f"Seed {seed}")
    for kind in kinds:
        try:
            attack(options, kind, random.Random(f"{seed} {kind}"))
        except (BrokenPromiseError, StuckError) as exc:
            print(f"BROKEN on {kind}, seed {seed}: {exc}", file=sys.stderr)
            return 1
        except (NoServerError, NoDiskError) as exc:
            print(exc, file=sys.stderr)
            return 3
    print("All promises were kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
