"""The application: who answers what, and what is new as it comes."""

from __future__ import annotations

import asyncio
import json
import logging
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
from ozelot.ui.graph_view import told
from ozelot.ui.read_only_client import within_the_limit
from ozelot.ui.security import Guard
from ozelot.ui.snapshot import Change, Keeper
from ozelot.ui.views import Pages, number_in

log = logging.getLogger(__name__)

_EVENTS = "text/event-stream"
_TROUBLE = f"data: {json.dumps({'trouble': True})}\n\n"
_BEAT = 1.0  # seconds between two looks for what is new
_MOST_LOOKS = 500  # changes that are sent one by one
_MOST_STREAMS = 500  # clients that receive updates at the same time, unless fewer can connect


class News:
    """What is new, as it comes.

    Args:
        keeper: what is known of the pipeline.
        is_stopping: whether the server waits for all answers to come to their end.
        most: how many clients receive updates at the same time.
    """

    def __init__(self, keeper: Keeper, is_stopping: Callable[[], bool], most: int = _MOST_STREAMS) -> None:
        self.keeper = keeper
        self._most = most
        self._is_stopping = is_stopping
        self._streams = 0

    async def events(self, request: Request) -> Response:
        """What is new, as it comes."""
        if self._streams >= self._most:
            raise HTTPException(503, "Too many pages are open: close some")
        if request.method == "HEAD":
            return Response(media_type=_EVENTS)
        return StreamingResponse(
            self._stream(request, number_in(request.query_params.get("version"), 0)), media_type=_EVENTS
        )

    async def _stream(self, request: Request, version: int) -> AsyncIterator[str]:
        self._streams += 1
        try:
            yield "retry: 2000\n\n"
            trouble = False
            while not (self._is_stopping() or await request.is_disconnected()):
                version, told = await run_in_threadpool(self._told_since, version)
                if told or trouble:
                    yield told or f"id: {version}\ndata: {json.dumps({'trouble': False})}\n\n"
                trouble = told == _TROUBLE
                await asyncio.sleep(_BEAT)
        finally:
            self._streams -= 1

    def _told_since(self, version: int) -> tuple[int, str]:
        """The version that is known now, and what to tell those who know another one; empty where that is nothing."""
        try:
            change = self.keeper.since(version)
        except (OzelotError, DBAPIError):  # the page that asks anew says which
            return version, _TROUBLE
        if change.version == version:
            return version, ""
        return change.version, f"id: {change.version}\ndata: {json.dumps(self._news(change))}\n\n"

    def _news(self, change: Change) -> dict[str, Any]:
        known = self.keeper.known
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


def _limited(pages: Pages, answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    def within(request: Request) -> Response:
        try:
            with within_the_limit():
                return answer(request)
        except (HTTPException, OzelotError, DBAPIError):
            raise
        except Exception as exc:  # the project's own code is called, and may raise anything
            log.warning("%s could not be shown", request.url.path, exc_info=exc)
            return pages.wrong(request, exc)

    return within


def make_app(
    keeper: Keeper,
    *,
    host: str,
    token: str | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
    most_streams: int = _MOST_STREAMS,
) -> Starlette:
    """The application.

    Args:
        keeper: what is known of the pipeline.
        host: where the server listens.
        token: what has to be known to be answered; None: nothing, for this machine alone.
        is_stopping: whether the server waits for all answers to come to their end.
        most_streams: how many clients may receive updates at the same time.
    """
    pages = Pages(keeper)
    routes: list[Route | Mount] = [
        Route(path, _limited(pages, answer))
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
    routes.append(Route("/events", News(keeper, is_stopping, most_streams).events))
    routes.append(Mount("/static", StaticFiles(packages=[("ozelot.ui", "static")])))
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, host=host, token=token)],
        exception_handlers={HTTPException: pages.wrong, OzelotError: pages.wrong, DBAPIError: pages.wrong},
    )
