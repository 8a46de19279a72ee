"""``ozelot ui``: the status page."""

from __future__ import annotations

import secrets
import socket
import sys
from contextlib import suppress
from urllib.parse import quote

from ozelot import config
from ozelot.cli.database import connected
from ozelot.cli.output import prints_to_stderr, say
from ozelot.cli.project import import_models, pipeline, pipeline_is_named
from ozelot.errors import ConfigError, ExitCode, UsageError

_SECONDS = 5.0  # for one statement
_MAKE_ONE = "new"  # as a token


def serve(host: str, port: int, token: str | None) -> ExitCode:
    """Serve the status page until Ctrl-C.

    Args:
        host: where to listen.
        port: the port; 0: any that is free.
        token: what has to be known to be answered; ``new``: make one.

    Raises:
        UsageError: others could reach it, and no token is set.
        ConfigError: a package is missing, or the port is taken.
    """
    try:
        import jinja2  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as exc:
        raise ConfigError(f"The status page needs {exc.name}: pip install 'ozelot[ui]'") from None
    from ozelot.ui.app import make_app
    from ozelot.ui.connections import bounded_server, most_connections
    from ozelot.ui.read_only_client import make_read_only
    from ozelot.ui.security import is_loopback
    from ozelot.ui.snapshot import Keeper

    if token == _MAKE_ONE:
        token = secrets.token_urlsafe(24)
    if token is None and not is_loopback(host):
        raise UsageError(f"Others could reach {host}: add --token SECRET, or --token new, which makes one")
    if token is not None and len(token) < 16:
        raise UsageError("A token that short can be guessed: take 16 characters or more, or --token new")
    if token is not None and not (token.isascii() and token.isprintable()):
        raise UsageError("A token is sent in headers: take ASCII characters that can be printed, or --token new")
    with prints_to_stderr():
        root = pipeline() if pipeline_is_named() else None
        if root is None and config.MODELS:
            import_models()  # which say what is to be hidden
        database = connected()
        make_read_only(database, _SECONDS)
        keeper = Keeper(database, root)
    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/"
    say(f"Open {address}{f'?token={quote(token)}' if token else ''}")
    say("It shows what is there, and changes nothing. Stop it with Ctrl-C")
    sys.stdout.flush()
    most = most_connections()
    app = make_app(keeper, host=host, token=token, is_stopping=lambda: server.should_exit, most_streams=most // 2)
    with bounded_server(app, most) as server, suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    return ExitCode.OK


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as exc:
        listening.close()
        raise ConfigError(
            f"Cannot listen on {host}, port {port}: {exc.strerror or exc}. Choose another with --port"
        ) from None
    listening.listen(100)
    return listening
