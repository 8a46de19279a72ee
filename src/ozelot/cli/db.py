"""``ozelot db``: models and database, and the tables that there are."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ozelot.clear.plan import ClearPlan
from ozelot.clear.unrecorded_rows import unrecorded_rows
from ozelot.cli.clear import how_to_run, show_steps
from ozelot.cli.database import connected, name_of, why_not_kept
from ozelot.cli.output import confirm, how_many, listed, prints_to_stderr, say, show_json, show_table, visible
from ozelot.cli.project import import_models, pipeline, pipeline_is_named
from ozelot.client import Client
from ozelot.errors import ClearRefused, ConfigError, ExitCode, NotClearable
from ozelot.etl.completion import clear_plan
from ozelot.etl.status import made_stale, status
from ozelot.formatting import amounts, task_text
from ozelot.model.base import Base
from ozelot.pipeline.declarations import task_of
from ozelot.pipeline.graph import walk
from ozelot.pipeline.marker_target import task_argument
from ozelot.schema.compare import differences
from ozelot.schema.difference import Difference
from ozelot.schema.upgrade import UpgradePlan, apply, plan
from ozelot.state.lineage import alive
from ozelot.state.markers import OWN_TABLES

_OWN = {table.name for table in OWN_TABLES}


def init(*, drop_first: bool, yes: bool) -> ExitCode:
    """Create all tables that are missing; on request, after dropping those that are there."""
    import_models()
    database = connected(may_create=True)
    if (why := why_not_kept(database)) is not None:
        raise ConfigError(f"Nothing was created: {why}")
    if drop_first:
        _drop(database, yes=yes)
    missing = missing_tables(database)
    Base.create_all(database)
    if missing:
        say(f"Created {_named(missing)} in {name_of(database)}")
    else:
        say(f"All tables are there already in {name_of(database)}")
    with database.engine.connect() as connection:
        if unrecorded := unrecorded_rows(connection):
            say(f"Rows that no run wrote: {amounts(unrecorded)}. They are kept; see the how-to on existing databases")
    return ExitCode.OK


def drop(*, yes: bool) -> ExitCode:
    """Drop all tables of the models, with all rows and all that is known about runs."""
    import_models()
    database = connected()
    if not _drop(database, yes=yes):
        say(f"There is no table to drop in {name_of(database)}")
    return ExitCode.OK


def _named(names: list[str]) -> str:
    """Tables by their names, but for ozelot's own."""
    theirs = [name for name in names if name not in _OWN]
    own = len(names) - len(theirs)
    told = [f"{how_many(len(theirs), 'table')} ({listed(theirs, limit=20)})"] if theirs else []
    return " and ".join([*told, *([f"{own} of ozelot's own"] if own else [])])


def missing_tables(database: Client) -> list[str]:
    """The names of tables of models that are not in the database."""
    return sorted(set(Base.metadata.tables).difference(sa.inspect(database.engine).get_table_names()))


def rows_by_table(database: Client) -> dict[str, int]:
    """How many rows each table of a model has, of those that are there."""
    with database.engine.connect() as connection:
        there = set(sa.inspect(connection).get_table_names())
        return {
            table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for name, table in sorted(Base.metadata.tables.items())
            if name in there
        }


def refuse_while_running(database: Client, outcome: str = "Nothing was dropped") -> None:
    """Return where no run is under way whose runner lives.

    Raises:
        ClearRefused: there is one.
    """
    with database.create_session() as session:
        running = [f"{entry.name} {entry.params} ({entry.host}, process {entry.process})" for entry in alive(session)]
    if running:
        raise ClearRefused(f"{outcome}: {listed(running, limit=3)} is running; wait until it ends")


def _drop(database: Client, *, yes: bool) -> int:
    rows = rows_by_table(database)
    if rows:
        refuse_while_running(database)
        say(f"To be dropped in {name_of(database)}, with all rows:")
        told = [(name, f"{number:,}") for name, number in rows.items() if name not in _OWN]
        own = [number for name, number in rows.items() if name in _OWN]
        told += [(f"ozelot's own ({len(own)})", f"{sum(own):,}")] if own else []
        show_table(("table", "rows"), told, right=("rows",))
        confirm(f"Drop {how_many(len(rows), 'table')}?", yes=yes)
        refuse_while_running(database)  # it may have begun meanwhile
        Base.drop_all(database)
        say(f"Dropped {how_many(len(rows), 'table')}")
    return len(rows)


_UPGRADE = "ozelot db upgrade"


def show_differences(*, as_json: bool) -> ExitCode:
    """Show in what models and database differ."""
    with prints_to_stderr():
        import_models()
        database = connected()
        with database.engine.connect() as connection:
            found = differences(connection)
        stale = _made_stale(found)
    if as_json:
        show_json([{**one.as_data(), "stale": None if stale is None else list(stale[one])} for one in found])
    elif found:
        say(f"Models and {name_of(database)} differ:")
        _show(found, stale)
        say(f"Apply them with: {_command(found)}")
    else:
        say(f"{name_of(database)} is as the models say")
    return ExitCode.INCOMPLETE if found else ExitCode.OK


def upgrade(*, rebuild: bool, drop: bool, yes: bool) -> ExitCode:
    """Bring the database to what the models say; shows the plan, and asks."""
    import_models()
    database = connected()
    with database.engine.connect() as connection:
        planned = plan(connection, rebuild=rebuild, drop=drop)
    if not planned.applied:
        if not planned.left:
            say(f"{name_of(database)} is as the models say")
            return ExitCode.OK
        return _tell_left(planned.left)
    refuse_while_running(database, "Nothing was changed")
    say(f"To be changed in {name_of(database)}:")
    _show(planned.applied, _made_stale(planned.applied))
    _show_loss(planned)
    above, refused = _standing_on([*planned.unmarked.values()])
    if above is not None and above.steps:
        say("To be cleared along with that, as it stands on what goes, and to be loaded again:")
        show_steps(above.steps, above)
    confirm(f"Apply {how_many(len(planned.applied), 'difference')}?", yes=yes)
    done = apply(database, planned, above)
    if done.backup is not None:
        say(f"The database as it was before: {done.backup}")
    applied = len(planned.applied) - len([one for one in done.left if one not in planned.left])
    say(f"Applied {how_many(applied, 'difference')}")
    if planned.unmarked:
        _tell_to_load([*planned.unmarked.values()], above, refused or done.not_cleared)
    return _tell_left(done.left) if done.left else ExitCode.OK


def _standing_on(labels: Sequence[str]) -> tuple[ClearPlan | None, str]:
    """The plan to clear what stands on tasks, without these; None, and why, where it is not known or cannot be."""
    if not labels:
        return None, ""
    if not pipeline_is_named():
        return None, "no pipeline is named"
    root = pipeline()
    there = walk(root).tasks
    found = [there.get(label) or task_of(*label.split(" ", 1)) for label in labels]
    tasks = [task for task in found if task is not None]
    try:
        plan = clear_plan([root, *tasks], tasks).without(labels)
        return (None, plan.refused) if plan.refused else (plan, "")
    except (ClearRefused, NotClearable) as exc:
        return None, str(exc)
    except DBAPIError as exc:  # what it asks for is still to come with the upgrade
        return None, str(exc.orig).strip().splitlines()[0]


def _tell_to_load(labels: Sequence[str], above: ClearPlan | None, refused: str) -> None:
    if above is not None and not refused:
        labels = [*labels, *(step.label for step in above.steps)]
        say(f"{how_many(len(labels), 'task')} to load again. {how_to_run(labels, pipeline())}")
        return
    named = " ".join(task_argument(*label.split(" ", 1)) for label in labels)
    say(
        f"{how_many(len(labels), 'task')} to load again. What stands on {'it' if len(labels) == 1 else 'them'} was not "
        f"cleared ({visible(refused)}). Clear that, too, and run: ozelot clear {named}; ozelot run"
    )


def _made_stale(found: Sequence[Difference]) -> dict[Difference, tuple[str, ...]] | None:
    """The tasks that each difference makes stale; None where no pipeline is named, and so no task is known."""
    if not found or not pipeline_is_named():
        return None
    entries = status(pipeline())
    return {one: made_stale(one, entries) for one in found}


def _show(found: Sequence[Difference], stale: dict[Difference, tuple[str, ...]] | None = None) -> None:
    rows = [(one.words, one.takes_in_words, listed(one.tasks, limit=3)) for one in found]
    if stale is None or not any(stale.values()):
        show_table(("difference", "applying it", "filled by"), rows)
        if stale is not None and not any(one.takes.rebuilds for one in found):
            say("No task turns stale by it")
        return
    more = [(*row, listed(stale[one], limit=3)) for row, one in zip(rows, found, strict=True)]
    show_table(("difference", "applying it", "filled by", "makes stale"), more)


def _show_loss(planned: UpgradePlan) -> None:
    if planned.rebuilt:
        say(f"To be made anew: {listed([table.fullname for table in planned.rebuilt], limit=20)}")
    if told := amounts(planned.lost):
        say(f"Rows and values that go: {told}")
    if planned.unmarked:
        say(f"To be loaded again by: {listed([task_text(label) for label in planned.unmarked.values()])}")


def _tell_left(left: Sequence[Difference]) -> ExitCode:
    say("Not applied:")
    _show(left)
    say(f"Apply them with: {_command(left)}")
    return ExitCode.INCOMPLETE


def _command(found: Sequence[Difference]) -> str:
    options = [
        *(["--rebuild"] if any(one.takes.rebuilds for one in found) else []),
        *(["--drop"] if any(one.takes.drops for one in found) else []),
    ]
    return " ".join([_UPGRADE, *options])
