"""The pages: what each shows, as HTML or as data."""

from __future__ import annotations

from importlib import resources
from typing import Any
from urllib.parse import quote

import jinja2
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

import ozelot
from ozelot.db import url
from ozelot.errors import ClearRefused, NotClearable, OzelotError
from ozelot.etl.completion import clear_plan
from ozelot.formatting import amounts, duration, moment, task_text
from ozelot.pipeline.marker_target import task_argument
from ozelot.state.markers import marker_key
from ozelot.ui import cells, run_list, table_view
from ozelot.ui.graph_view import drawing, told
from ozelot.ui.snapshot import Keeper, Look

_PAGE = 100  # tasks on a page
_LARGEST = 2**31 - 1
_STATES = ("running", "done", "failed", "aborted", "cleared")


class Pages:
    """Answers requests.

    Args:
        keeper: what is known of the pipeline.
    """

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.database = keeper.database
        loader = jinja2.FileSystemLoader(str(resources.files("ozelot.ui") / "templates"))
        self._templates = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        self._templates.undefined = jinja2.StrictUndefined
        self._templates.filters |= {
            "ago": cells.ago,
            "discreet": cells.discreet,
            "quoted": lambda name: quote(name, safe=""),
            "amounts": amounts,
            "duration": duration,
            "moment": moment,
            "named": cells.named,
            "seconds": run_list.seconds,
            "type_name": cells.type_name,
            "task": task_text,
        }
        self._templates.globals |= {
            "database": url.hide_password(self.database.url),
            "label_of_run": run_list.label,
            "key_of_run": run_list.key,
            "version": ozelot.__version__,
            "Look": Look,
            "told": told,
        }

    def _show(self, template: str, request: Request, **values: Any) -> Response:
        page = self._templates.get_template(template)
        return HTMLResponse(page.render(path=request.url.path, has_code=self.keeper.root is not None, **values))

    def pipeline(self, request: Request) -> Response:
        """The graph, and what is to be looked at first."""
        known = self.keeper.pipeline
        asked = request.query_params
        states = _looks(asked)
        around = asked.get("around", "")
        return self._show(
            "pipeline.html",
            request,
            known=known,
            counts=known.counts(),
            version_of_state=self.keeper.version,
            states=states,
            around=known.nodes.get(around),
            by=asked.get("by", ""),
            urgent=[n for n in known.nodes.values() if n.look in (Look.FAILED, Look.RUNNING)][:20],
            query=str(asked),
        )

    def graph(self, request: Request) -> Response:
        """The graph as data."""
        asked = request.query_params
        known = self.keeper.pipeline
        around = asked.get("around", "")
        return JSONResponse(
            drawing(
                known,
                by=asked.get("by", ""),
                around=around if around in known.nodes else "",
                states=_looks(asked),
            )
        )

    def tasks(self, request: Request) -> Response:
        """A list of tasks."""
        known = self.keeper.pipeline
        asked = request.query_params
        states, name, text = _looks(asked), asked.get("name", ""), asked.get("q", "").strip()
        found = [
            node
            for node in known.nodes.values()
            if (not states or node.look in states)
            and (not name or node.name == name)
            and (not text or text.casefold() in node.label.casefold())
        ]
        of = [node.key for node in known.nodes.values() if not name or node.name == name]
        pages = max(1, -(-len(found) // _PAGE))
        number = min(max(1, number_in(asked.get("page"), 1)), pages)
        shown_ones = found[(number - 1) * _PAGE : number * _PAGE]
        return self._show(
            "tasks.html",
            request,
            known=known,
            found=found,
            nodes=shown_ones,
            states=states,
            name=name,
            text=text,
            number=number,
            pages=pages,
            counts=known.counts(of),
        )

    def task(self, request: Request) -> Response:
        """All about a task."""
        known = self.keeper.pipeline
        key = request.path_params["key"]
        node = known.nodes.get(key)
        before = number_in(request.query_params.get("before"))
        with self.database.create_session() as session:
            newest = run_list.find(session, task=key)
            if node is None and not newest.runs:
                raise HTTPException(404, "There is no such task: it never ran, and is not in the pipeline")
            found = newest if before is None else run_list.find(session, task=key, before=before)
            last = newest.runs[0] if newest.runs else None
            made = next((entry for entry in newest.runs if entry.state == "done"), None)
            sources, number = run_list.sources(session, made.id) if made else ([], 0)
        name = node.name if node else newest.runs[0].name
        params = node.params if node else newest.runs[0].params
        filled = {}
        rows = node.rows if node else {}
        there = table_view.described(self.database, {table.partition(".")[0] for table in rows}) if rows else {}
        for table, count in rows.items():
            base = table.partition(".")[0]
            if base in there:
                filled[table] = (
                    count,
                    base,
                    table_view.sample(self.database, there[base], run_id=made.id if made else None, few=True),
                )
        return self._show(
            "task.html",
            request,
            node=node,
            key=key,
            name=name,
            params=params,
            label=task_text(f"{name} {params}"),
            argument=task_argument(name, params),
            requires=[known.nodes[one] for one in node.requires if one in known.nodes] if node else [],
            required_by=[known.nodes[one] for one in known.required_by(key)],
            last=last,
            past=found,
            made=made,
            sources=sources,
            number_of_sources=number,
            filled=filled,
        )

    def clearing(self, request: Request) -> Response:
        """What clearing a task would delete."""
        known = self.keeper.pipeline
        node = known.nodes.get(request.path_params["key"])
        if node is None:
            raise HTTPException(404, "There is no such task in the pipeline")
        plan, refused = None, ""
        task = node.status.task if node.status else None
        if self.keeper.root is None or task is None:
            refused = "The code of the pipeline is not at hand here: call 'ozelot ui' in the folder of the project"
        else:
            try:
                plan = clear_plan([self.keeper.root, task], [task])
            except (ClearRefused, NotClearable) as exc:
                refused = str(exc)
        steps = [(marker_key(*_identity(step.label)), step) for step in plan.steps] if plan else []
        return self._show(
            "clearing.html",
            request,
            node=node,
            plan=plan,
            steps=steps,
            refused=refused,
            argument=task_argument(node.name, node.params),
        )

    def data(self, request: Request) -> Response:
        """All tables."""
        there = table_view.names(self.database)
        numbers = table_view.counts(self.database, there)
        known = self.keeper.pipeline
        return self._show(
            "data.html",
            request,
            tables=there,
            numbers=numbers,
            filled=table_view.filled_by(known),
        )

    def schema(self, request: Request) -> Response:
        """The data model as data."""
        there = table_view.described(self.database)
        return JSONResponse(table_view.schema(there, table_view.counts(self.database, there)))

    def table(self, request: Request) -> Response:
        """A table."""
        name = request.path_params["name"]
        there = table_view.described(self.database, [name])
        if name not in there:
            raise HTTPException(404, f"There is no table {name}")
        profile = number = None
        if "profile" in request.query_params:
            number, profile = table_view.profile(self.database, there[name])
        else:
            number = table_view.counts(self.database, [name]).get(name)
        return self._show(
            "table.html",
            request,
            name=name,
            table=there[name],
            number=number,
            profile={column.name: column for column in profile} if profile is not None else None,
            sample=table_view.sample(self.database, there[name]),
            filled=table_view.filled_by(self.keeper.pipeline).get(name, {}),
            hidden=cells.is_hidden,
        )

    def runs(self, request: Request) -> Response:
        """Runs, newest first."""
        asked = request.query_params
        state, name = asked.get("state", ""), asked.get("name", "").strip()
        with self.database.create_session() as session:
            found = run_list.find(
                session,
                name=name,
                state=state if state in _STATES else "",
                before=number_in(asked.get("before")),
            )
        return self._show(
            "runs.html",
            request,
            past=found,
            state=state,
            name=name,
            states=_STATES,
            names=list(self.keeper.pipeline.classes())[:500],
            is_first="before" not in asked,
        )

    def run(self, request: Request) -> Response:
        """A run."""
        number = number_in(request.path_params["number"])
        with self.database.create_session() as session:
            found = run_list.one(session, number) if number is not None else None
            if found is None:
                raise HTTPException(404, "There is no such run")
            sources, many = run_list.sources(session, found.id)
            built_on = run_list.built_on(session, found.id)
        return self._show("run.html", request, run=found, sources=sources, number_of_sources=many, built_on=built_on)

    def wrong(self, request: Request, exc: Exception) -> Response:
        """What went wrong, in one line."""
        code = 503 if isinstance(exc, OzelotError | DBAPIError) else 500
        text = str(exc) if isinstance(exc, OzelotError) else f"{type(exc).__name__}: where 'ozelot ui' runs, it is told"
        if isinstance(exc, HTTPException):
            code, text = exc.status_code, exc.detail
        if isinstance(exc, DBAPIError):
            text = url.without_password(self.database.url, (str(exc.orig).strip().splitlines() or ["no reason"])[0])
            text = f"The database says: {cells.discreet(text)}"
        page = self._templates.get_template("wrong.html")
        return HTMLResponse(page.render(path="", has_code=self.keeper.root is not None, text=text, code=code), code)


def _looks(asked: Any) -> list[Look]:
    css = {look.css: look for look in Look}
    return [css[state] for state in dict.fromkeys(asked.getlist("state")) if state in css]


def number_in(text: str | None, default: int | None = None) -> Any:
    """The number that was typed, or the default where it is none that a database could take for an id."""
    number = int(text) if text is not None and text.isdecimal() and text.isascii() and len(text) < 16 else default
    return default if number is not None and number > _LARGEST else number


def _identity(label: str) -> tuple[str, str]:
    name, _, params = label.partition(" ")
    return name, params
