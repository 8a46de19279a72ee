"""``ozelot diagram``: pictures of the pipeline and of the data model."""

from __future__ import annotations

from pathlib import Path

from ozelot import client
from ozelot.cli.database import connected, is_there
from ozelot.cli.importing import import_models
from ozelot.cli.naming import pipeline
from ozelot.cli.output import say
from ozelot.errors import ExitCode
from ozelot.etl import util
from ozelot.orm import base


def draw_pipeline(out: Path) -> ExitCode:
    """Draw the pipeline; in colours that show what is complete, where there is a database that knows."""
    root = pipeline()
    colored = is_there(client.get_client())
    if colored:
        connected()
    return _tell(util.render_diagram(root, _folder_for(out), colored=colored))


def draw_schema(out: Path) -> ExitCode:
    """Draw the tables of all models."""
    import_models()
    return _tell(base.render_diagram(_folder_for(out)))


def _folder_for(out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    return out


def _tell(paths: list[Path]) -> ExitCode:
    for path in paths:
        say(str(path))
    return ExitCode.OK
