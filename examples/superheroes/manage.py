"""The commands of this project: `python manage.py --help`."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import luigi
from sqlalchemy import func, inspect, select

from ozelot import cache, client, config
from ozelot.cli import db
from ozelot.cli import diagrams as drawing
from ozelot.errors import ExitCode, exit_on_error
from ozelot.etl.tasks import check_completion
from superheroes import checks, models, pipeline, snapshot

FOLDER = Path(__file__).resolve().parent
MODELS = (models.Universe, models.Place, models.Character, models.Movie, models.MovieAppearance)


def getdata(*, replace: bool = False) -> int:
    """Fill the request cache with the pages of the snapshot.

    Args:
        replace: Also put pages in the place of those that are in the cache already, read live maybe.
    """
    wiki_url = str(config.WIKI_URL).rstrip("/")
    store = cache.get_request_cache()
    pages = [(url, body, 200) for url, body in snapshot.pages(wiki_url)]
    gone = [(url, "", 404) for url in snapshot.gone(wiki_url)]
    new = [entry for entry in pages + gone if replace or not store.has(entry[0])]
    for url, body, status in new:
        store.put(url, body, status_code=status)
    kept = len(pages) + len(gone) - len(new)
    print(f"The snapshot has {len(pages)} pages, and {len(gone)} addresses of pages that are gone.")
    print(f"Put into the request cache: {len(new)}", end="")
    print(f"; there already, and left as they are: {kept} (--replace puts all)" if kept else "")
    print("This is a sample of the wiki, written from publicly known facts: see README.md.")
    return ExitCode.OK


def initdb(*, yes: bool = False) -> int:
    """Drop all tables and create them again; where there are some, only on consent."""
    return db.init(drop_first=True, yes=yes)


def ingest() -> int:
    """Run the pipeline and the checks on what it loaded."""
    if rows_by_table() is None:
        return refuse("There are tables missing. Create them with: manage.py initdb")
    roots = [pipeline.LoadEverything(), checks.Tests()]
    luigi.build(roots, local_scheduler=True, workers=1, log_level="WARNING")
    complete = [check_completion(root) for root in roots]
    if all(complete):
        print("Everything is loaded, and passed all checks.")
        return ExitCode.OK
    return refuse("Not complete: the log above names the tasks, and says why they failed.")


def analyze(directory: Path) -> int:
    """Write the character table, the plots and the network of films and characters."""
    if not any((rows_by_table() or {}).values()):
        return refuse("There is nothing to analyze yet. Load it with: manage.py ingest")
    from superheroes import analysis  # takes a second, which the other commands need not wait

    directory.mkdir(parents=True, exist_ok=True)
    for path in analysis.analyze(client.get_client(), directory):
        print(shown(path))
    return ExitCode.OK


def diagrams(directory: Path) -> int:
    """Draw the pipeline and the data model."""
    return max(drawing.draw_pipeline(shown(directory / "pipeline")), drawing.draw_schema(shown(directory / "schema")))


def demo(directory: Path) -> int:
    """Do it all on the snapshot, with a database and a request cache of its own, made anew each time."""
    for name in ("demo.db", "demo_cache.db"):
        for path in FOLDER.glob(f"{name}*"):
            path.unlink()
    config.DATABASE_URL = f"sqlite:///{FOLDER / 'demo.db'}"
    config.REQUEST_CACHE_PATH = str(FOLDER / "demo_cache.db")
    # Most pages lack some fact, which fills screens; facts that make no sense are still shown.
    pipeline.facts_log.setLevel(logging.WARNING)
    getdata()
    initdb()
    status = ingest()
    if status != ExitCode.OK:
        return status
    print("\nRows in the database demo.db:")
    print_table(rows_by_table() or {})
    print("\nAnalysis, to look at in a browser or a spreadsheet:")
    return analyze(directory)


def rows_by_table() -> dict[str, int] | None:
    """The number of rows of each table of the data model, `None` where not all tables are there.

    Raises:
        DatabaseUnavailable: if there is no connection to the database.
    """
    database = client.get_client()
    database.check_connection()
    there = inspect(database.get_engine()).get_table_names()
    if not {model.__tablename__ for model in MODELS} <= set(there):
        return None
    with database.create_session() as session:
        return {model.__tablename__: session.scalar(select(func.count()).select_from(model)) or 0 for model in MODELS}


def refuse(reason: str) -> int:
    """Say why a command does not do it, or did not."""
    print(reason, file=sys.stderr)
    return ExitCode.INCOMPLETE


def print_table(rows: dict[str, int]) -> None:
    """Print numbers under each other."""
    for table, number in rows.items():
        print(f"  {table:<16}{number:>8,}")


def shown(path: Path) -> Path:
    """The path as one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 1 not complete or refused, 2 wrongly called, 3 a setting or the database is wrong.
    """
    parser = argparse.ArgumentParser(description="The Marvel database wiki, read into a database.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Callable[..., int]) -> argparse.ArgumentParser:
        text = (run.__doc__ or "").partition("\n")[0]
        added = commands.add_parser(run.__name__, help=text[0].lower() + text[1:].rstrip("."), description=text)
        added.set_defaults(run=run)
        return added

    command(getdata).add_argument("--replace", action="store_true", help="also pages that are in the cache")
    command(initdb).add_argument("--yes", action="store_true", help="delete the rows that are there")
    command(ingest)
    for writes in (analyze, diagrams, demo):
        command(writes).add_argument(
            "--dir", dest="directory", type=Path, default=FOLDER / "output", help="where to write; default: output/"
        )
    options = vars(parser.parse_args(arguments))
    run: Callable[..., int] = options.pop("run")
    return run(**options)


if __name__ == "__main__":
    with exit_on_error():
        sys.exit(main())
