"""The commands of this project: `python manage.py --help`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import ozelot
from flights import checks, models, pipeline
from flights.inputs import PACKAGE, AirlinesFile
from ozelot import client, config
from ozelot.cli import db
from ozelot.errors import ExitCode

FOLDER = Path(__file__).resolve().parents[1]


def initdb(*, yes: bool = False) -> int:
    """Drop all tables and create them again; where there are some, only on consent."""
    return db.init(drop_first=True, yes=yes)


def ingest() -> int:
    """Run the pipeline and the checks on what it loaded."""
    if not AirlinesFile.input_file.exists():
        return refuse(f"The data come from a package: pip install {PACKAGE}")
    for root in (pipeline.LoadEverything(), checks.Tests()):
        result = ozelot.run(root)
        for task, failure in result.failed.items():
            print(f"{task}: {failure.reason}", file=sys.stderr)
        if not result:
            return refuse("Not complete: run it again, once the reason is gone.")
    for table, rows in counts().items():
        print(f"  {table:<10}{rows:>9,}")
    print("Everything is loaded, and passed all checks.")
    return ExitCode.OK


def analyze(directory: Path) -> int:
    """Write the page of plots."""
    if not pipeline.LoadEverything().complete():
        return refuse("There is nothing to analyze yet. Load it with: manage.py ingest")
    from flights import analysis  # takes a second, which the other commands need not wait

    for path in analysis.analyze(client.get_client(), directory):
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return ExitCode.OK


def demo(directory: Path) -> int:
    """Do it all, with a database of its own, made anew each time."""
    for path in FOLDER.glob("demo.db*"):
        path.unlink()
    config.DATABASE_URL = f"sqlite:///{FOLDER / 'demo.db'}"
    return initdb() or ingest() or analyze(directory)


def counts() -> dict[str, int]:
    """The number of rows of each table."""
    with client.get_client().create_session() as session:
        return {model.__tablename__: session.query(model).count() for model in models.ALL}


def refuse(reason: str) -> int:
    """Say why a command does not do it, or did not."""
    print(reason, file=sys.stderr)
    return ExitCode.INCOMPLETE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 1 not complete or refused, 2 wrongly called, 3 a setting or the database is wrong.
    """
    parser = argparse.ArgumentParser(description="The flights that left New York in 2013, read into a database.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Callable[..., int]) -> argparse.ArgumentParser:
        text = (run.__doc__ or "").partition("\n")[0]
        added = commands.add_parser(run.__name__, help=text[0].lower() + text[1:].rstrip("."), description=text)
        added.set_defaults(run=run)
        return added

    command(initdb).add_argument("--yes", action="store_true", help="delete the rows that are there")
    command(ingest)
    for writes in (analyze, demo):
        command(writes).add_argument(
            "--dir", dest="directory", type=Path, default=FOLDER / "output", help="where to write; default: output/"
        )
    options = vars(parser.parse_args(arguments))
    run: Callable[..., int] = options.pop("run")
    return run(**options)
