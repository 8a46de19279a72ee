"""Asking until there is an answer: turns, redirects, retries, and servers that ask for patience."""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Callable
from typing import NamedTuple

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from ozelot.cache.rate_limit import Hosts, Paused, Timer
from ozelot.cache.redirects import redirected, target_of
from ozelot.cache.request import ERROR_CONNECTION_ERROR, Answer, Request, Unreachable
from ozelot.cache.transport import check_partial

#: Asks for one page, without following redirects: gives the status and the body (or an :class:`Answer`), or raises
#: :class:`Unreachable`.
Fetch = Callable[[Request], "Answer | tuple[int, str | bytes]"]

#: Prepares each request, the first one and those that redirects ask for: gives it as it is to be sent, and the seconds
#: between two requests to that server; or raises :class:`Unreachable`.
Prepare = Callable[[Request], "tuple[Request, float | None]"]

_REDIRECTS = 20
_PATIENCE = 120.0  # seconds to wait at most because a server said so
_BACKOFF = wait_exponential(multiplier=0.5, max=30) + wait_random(0, 0.5)
_MAY_BE_REPEATED = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_BUSY = (429, 503)
_REQUEST_TIMEOUT = 408  # the server closed a connection before the whole request came, so it has not acted on it


class Reply(NamedTuple):
    """What came of it in the end.

    Attributes:
        status: the HTTP status, or a code in its place.
        body: of the page.
        encoding: of the body, where that is certain.
        headers: by lower-case name.
        url: where redirects led.
        redirects: the status and the address of each that was followed.
        tries: how often the last address was asked.
        told: what went wrong, where the status alone does not say it.
        cause: what was raised then.
    """

    status: int
    body: bytes
    encoding: str | None
    headers: dict[str, str]
    url: str
    redirects: list[tuple[int, str]]
    tries: int
    told: str = ""
    cause: Exception | None = None


class _Again(Exception):
    def __init__(self, answer: Answer | None, unreachable: Unreachable | None, wait: float | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.unreachable = unreachable
        self.wait = wait


class _Failed(Exception):
    def __init__(self, unreachable: Unreachable | None, tries: int) -> None:
        super().__init__()
        self.status = unreachable.status if unreachable is not None else ERROR_CONNECTION_ERROR
        self.told = str(unreachable)
        self.cause = unreachable
        self.tries = tries


class Asker:
    """Asks for pages.

    Args:
        fetch: asks for one page.
        hosts: whose turn it is.
        timer: the time.
        tries: how often to ask, at most, where there is no good answer that may still come.
    """

    def __init__(self, fetch: Fetch, hosts: Hosts, timer: Timer, *, tries: int) -> None:
        self._fetch = fetch
        self._hosts = hosts
        self._timer = timer
        self._tries = tries

    def ask(self, request: Request, *, at_once: int | None, prepare: Prepare) -> Reply:
        """Ask, and follow redirects.

        Args:
            request: what for.
            at_once: requests under way to one server, at most.
            prepare: is called for each request.
        """
        followed: list[tuple[int, str]] = []
        while True:
            tries = 0
            try:
                asked, every = prepare(request)
                answer, tries = self._until_answered(asked, every, at_once)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                target = target_of(answer.status, headers)
                if target is None:
                    encoding = "utf-8" if isinstance(answer.body, str) else None
                    body = answer.body.encode() if isinstance(answer.body, str) else answer.body
                    return Reply(answer.status, body, encoding, headers, str(request), followed, tries)
                followed.append((answer.status, str(request)))
                if len(followed) > _REDIRECTS:
                    raise _Failed(Unreachable(f"over {_REDIRECTS} redirects, the last one to {target}"), tries)
                try:
                    request = redirected(request, answer.status, target)
                except ValueError as exc:
                    raise _Failed(Unreachable(f"a redirect to what is no address: {target!r} ({exc})"), 1) from exc
            except Unreachable as exc:
                return Reply(exc.status, b"", None, {}, str(request), followed, tries, str(exc), exc)
            except _Failed as exc:
                return Reply(exc.status, b"", None, {}, str(request), followed, exc.tries, exc.told, exc.cause)

    def _until_answered(self, request: Request, every: float | None, at_once: int | None) -> tuple[Answer, int]:
        """The answer to one request, and how often it was asked for."""
        tries = 0

        def attempt() -> Answer:
            nonlocal tries
            tries += 1
            return self._once(request, every, at_once)

        retrying = Retrying(
            stop=stop_after_attempt(self._tries),
            wait=_wait,
            retry=retry_if_exception_type(_Again),
            sleep=self._timer.sleep,
            reraise=True,
        )
        try:
            return retrying(attempt), tries
        except _Again as exc:
            if exc.answer is not None:
                return exc.answer, tries
            raise _Failed(exc.unreachable, tries) from exc
        except Unreachable as exc:
            raise _Failed(exc, tries) from exc
        except Paused as exc:
            raise _Failed(_asks_for_patience(ERROR_CONNECTION_ERROR, exc.seconds), tries) from exc
        except ValueError as exc:  # an address that Python cannot take apart
            raise _Failed(Unreachable(str(exc)), tries) from exc

    def _once(self, request: Request, every: float | None, at_once: int | None) -> Answer:
        host = request.host
        try:
            with self._hosts.turn(host, every=every, at_once=at_once, patience=_PATIENCE):
                answer = Answer(*self._fetch(request))
        except Unreachable as exc:
            if exc.again and (not exc.sent or request.method in _MAY_BE_REPEATED):
                raise _Again(None, exc) from exc
            raise
        check_partial(request, answer)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        if answer.status == _REQUEST_TIMEOUT:
            raise _Again(answer, None)
        if answer.status in _BUSY:
            seconds = _seconds(headers.get("retry-after"))
            if seconds is None:
                raise _Again(answer, None)
            self._hosts.pause(host, seconds)
            if seconds > _PATIENCE:
                raise _asks_for_patience(answer.status, seconds)
            raise _Again(answer, None, 0.0)  # the next turn waits, and so do those of all others
        if 500 <= answer.status < 600 and request.method in _MAY_BE_REPEATED:
            raise _Again(answer, None)
        return answer


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, _Again) and error.wait is not None:
        return error.wait
    return _BACKOFF(state)


def _asks_for_patience(status: int, seconds: float) -> Unreachable:
    found = Unreachable(f"the server asks to be left alone for {seconds:,.0f} s", again=False)
    found.status = status
    return found


def _seconds(retry_after: str | None) -> float | None:
    """The header Retry-After: seconds, or a date; None where it is not there, or makes no sense."""
    if retry_after is None:
        return None
    if retry_after.strip().isascii() and retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        when = email.utils.parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    return max(0.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())
