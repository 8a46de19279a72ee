"""The application: who answers what, and what is new as it comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ozelot.errors import OzelotError
from ozelot.ui.drawing import told
from ozelot.ui.guard import Guard
from ozelot.ui.keeper import Change, Keeper
from ozelot.ui.pages import Pages, number_in
from ozelot.ui.reading import within_the_limit

_BEAT = 1.0  # seconds between two looks for what is new
_MOST_LOOKS = 500  # changes that are sent one by one


class News:
    """What is new, as it comes.

    Args:
        keeper: what is known of the pipeline.
        is_stopping: whether the server waits for all answers to come to their end.
    """

    def __init__(self, keeper: Keeper, is_stopping: Callable[[], bool]) -> None:
        self.keeper = keeper
        self._is_stopping = is_stopping

    async def events(self, request: Request) -> Response:
        """What is new, as it comes."""
        version = number_in(request.query_params.get("version"), 0) or 0
        return StreamingResponse(
            self._stream(request, version), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def _stream(self, request: Request, version: int) -> AsyncIterator[str]:
        yield "retry: 2000\n\n"
        while not (self._is_stopping() or await request.is_disconnected()):
            change = await run_in_threadpool(self.keeper.since, version)
            if change.version != version:
                version = change.version
                yield f"id: {version}\ndata: {json.dumps(self._news(change))}\n\n"
            await asyncio.sleep(_BEAT)

    def _news(self, change: Change) -> dict[str, Any]:
        known = self.keeper.pipeline
        classes = known.classes()
        touched = {known.nodes[key].name for key in change.looks if key in known.nodes}
        return {
            "reload": change.all_new or len(change.looks) > _MOST_LOOKS,
            "counts": {look.css: number for look, number in known.counts().items()},
            "total": len(known.nodes),
            "tasks": {key: [look.css, str(look), why] for key, (look, why) in change.looks.items()},
            "classes": {
                name: {
                    "state": next(iter(counts)).css,
                    "words": told(counts, len(classes[name])),
                    "parts": [[look.css, number] for look, number in counts.items()],
                }
                for name in touched
                if (counts := known.counts(classes[name]))
            },
        }


def _limited(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    def within(request: Request) -> Response:
        with within_the_limit():
            return answer(request)

    return within


def make_app(
    keeper: Keeper, *, host: str, token: str | None = None, is_stopping: Callable[[], bool] = lambda: False
) -> Starlette:
    """The application.

    Args:
        keeper: what is known of the pipeline.
        host: where the server listens.
        token: what has to be known to be answered; None: nothing, for this machine alone.
        is_stopping: whether the server waits for all answers to come to their end.
    """
    pages = Pages(keeper)
    routes: list[Route | Mount] = [
        Route(path, _limited(answer))
        for path, answer in {
            "/": pages.pipeline,
            "/graph.json": pages.graph,
            "/tasks": pages.tasks,
            "/tasks/{key}": pages.task,
            "/tasks/{key}/clearing": pages.clearing,
            "/data": pages.data,
            "/schema.json": pages.schema,
            "/data/{name:path}": pages.table,
            "/runs": pages.runs,
            "/runs/{number}": pages.run,
        }.items()
    ]
    routes.append(Route("/events", News(keeper, is_stopping).events))
    routes.append(Mount("/static", StaticFiles(packages=[("ozelot.ui", "static")])))
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, host=host, token=token)],
        exception_handlers={HTTPException: pages.wrong, OzelotError: pages.wrong, DBAPIError: pages.wrong},
    )
