"""Who may ask, for what, and what a browser may do with the answer.

A page on this machine can be asked by any site that its user has open in another tab. So the name by which the server
is asked for has to be its own (a foreign name can be made to lead to 127.0.0.1), nothing can be changed by asking, and
beyond this machine only who knows the token is answered.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from urllib.parse import urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_COOKIE = "ozelot_token"
_HOST = re.compile(r"(\[[0-9a-f:.%]+\]|[^\[\]:@/]+)(?::[0-9]{1,5})?")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host in _LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Stands before the application.

    Args:
        app: the application.
        host: where the server listens.
        token: what has to be known to be answered; None: nothing.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None) -> None:
        self.app = app
        self._host = host
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                # Data is not to be kept; what comes with the package is, and only asked about.
                is_static = scope["path"].startswith("/static/")
                headers.setdefault("Cache-Control", "no-cache" if is_static else "no-store")
            await send(message)

        answer = self._refusal(Request(scope)) or self.app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        if not self._is_own(request.headers):
            return _said(400, "This server is not asked for by that name: open the address that 'ozelot ui' printed")
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("This page only shows: nothing can be changed here\n", 405, {"Allow": "GET, HEAD"})
        if _is_of_another_site(request.headers):
            return _said(403, "Another site asks for this: open it in a tab of its own")
        if self._token is None:
            return None
        if (typed := request.query_params.get("token")) is not None:
            return self._let_in(request) if self._knows(typed) else self._unknown()
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._knows(request.cookies.get(_COOKIE, "")) or self._knows(bearer):
            return None
        return self._unknown()

    def _is_own(self, headers: Headers) -> bool:
        asked = headers.getlist("host")
        if len(asked) != 1:
            return False
        found = _HOST.fullmatch(asked[0].lower())
        if found is None:
            return False
        name = found[1].strip("[]")
        if name in _LOOPBACK or name == self._host.lower():
            return True
        if is_loopback(self._host):
            return False
        try:
            ipaddress.ip_address(name)  # no foreign name leads there
        except ValueError:
            return name in (socket.gethostname().lower(), socket.getfqdn().lower())
        return True

    def _knows(self, typed: str) -> bool:
        return self._token is not None and hmac.compare_digest(typed.encode(), self._token.encode())

    def _let_in(self, request: Request) -> Response:
        """Keep the token where only this server gets it, and out of the address that is shown and copied."""
        rest = [(name, value) for name, value in request.query_params.multi_items() if name != "token"]
        path = "/" + request.url.path.lstrip("/")  # never another host
        answer = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
        answer.set_cookie(_COOKIE, self._token or "", httponly=True, samesite="strict")
        return answer

    @staticmethod
    def _unknown() -> Response:
        return _said(401, "The token is missing, or another one: open the address with ?token=... that was printed")


def _is_of_another_site(headers: Headers) -> bool:
    """Whether a page of another site asks: it could read nothing, but have the database work. Links may lead here."""
    return headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-dest") != "document"


def _said(code: int, text: str) -> Response:
    return PlainTextResponse(f"{text}\n", code)
