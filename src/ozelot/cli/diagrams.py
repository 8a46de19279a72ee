"""``ozelot diagram``: pictures of the pipeline and of the data model."""

from __future__ import annotations

from pathlib import Path

from ozelot import client, diagram
from ozelot.cli.database import TO_READ, connected, is_there
from ozelot.cli.output import say
from ozelot.cli.project import import_models, pipeline, task_named
from ozelot.diagram import Picture
from ozelot.errors import ExitCode, UsageError
from ozelot.etl.pipeline_diagram import pipeline_picture
from ozelot.model.base import schema_picture


def draw_pipeline(
    out: Path | None = None,
    mermaid: bool = False,
    *,
    by_class: bool = False,
    by_depth: bool = False,
    around: str | None = None,
) -> ExitCode:
    """Draw the pipeline; in colours that show the state of its tasks, where there is a database that knows."""
    root = pipeline()
    colored = is_there(client.get_client())
    if colored:
        connected(seconds=TO_READ)
    center = None if around is None else task_named(root, around)
    picture = pipeline_picture(root, colored=colored, by_class=by_class, by_depth=by_depth, around=center)
    return _draw(picture, out, mermaid=mermaid)


def draw_schema(out: Path | None = None, mermaid: bool = False) -> ExitCode:
    """Draw the tables of all models."""
    import_models()
    return _draw(schema_picture(), out, mermaid=mermaid)


def _draw(picture: Picture, out: Path | None, *, mermaid: bool) -> ExitCode:
    if mermaid:
        if out is not None:
            raise UsageError("--mermaid prints, and writes no files: leave out --out")
        say(picture.mermaid().rstrip())
        return ExitCode.OK
    base = out or Path(picture.name)
    base.parent.mkdir(parents=True, exist_ok=True)
    for path in diagram.write(picture.dot(), base):
        say(str(path))
    return ExitCode.OK
