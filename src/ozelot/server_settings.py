"""Errors that a setting of the server causes, and what to do about each."""

from __future__ import annotations

import re
from typing import Any

_CONNECTIONS = "raise it, or use fewer workers (--workers)"
_IDLE = "raise it, or let the task compute before its first statement"
_DISK_FULL = "free space on the disk of the database, then run again"

#: By PostgreSQL's code or MariaDB's number.
_BY_CODE = {
    "25P03": f"idle_in_transaction_session_timeout of the server ended a transaction that waited for the task: {_IDLE}",
    "25P04": "transaction_timeout of the server ended the transaction: raise it",
    "53100": _DISK_FULL,
    "55P03": "lock_timeout of the server: raise it, or wait until other transactions end",
    "57P05": f"idle_session_timeout of the server ended a connection that waited for the task: {_IDLE}",
    1021: _DISK_FULL,
    1040: f"max_connections of the server is reached: {_CONNECTIONS}",
    1203: f"max_user_connections of the server is reached: {_CONNECTIONS}",
    1226: f"a limit of this user, such as MAX_USER_CONNECTIONS, is reached: {_CONNECTIONS}",
    1927: "an administrator ended the connection",
    1969: "max_statement_time of the server or the user: raise it",
    2006: f"the server restarted, or its wait_timeout ended a connection that waited for the task: {_IDLE}",
    2013: f"the server restarted, or its wait_timeout ended a connection that waited for the task: {_IDLE}",
    3024: "max_execution_time of the server: raise it",
    4031: f"wait_timeout of the server ended a connection that waited for the task: {_IDLE}",
}

#: By the text, where a driver passes on no code: PostgreSQL refuses connections, and poolers answer in its place.
_BY_TEXT = [
    (re.compile(pattern, re.IGNORECASE), text)
    for pattern, text in (
        (r"too many connections for role", f"CONNECTION LIMIT of the role is reached: {_CONNECTIONS}"),
        (r"too many connections for database", f"CONNECTION LIMIT of the database is reached: {_CONNECTIONS}"),
        (
            r"too many clients|remaining connection slots",
            f"max_connections of the server is reached: {_CONNECTIONS}",
        ),
        (r"max_client_conn", f"max_client_conn of the pooler is reached: {_CONNECTIONS}"),
        (r"query_wait_timeout", f"the pool has no free server connection: raise default_pool_size: {_CONNECTIONS}"),
        (r"statement pooling mode", "a run needs sessions: set pool_mode = session; see the how-to on poolers"),
        (r"statement timeout", "statement_timeout of the server or the role: raise it"),
        (r"no space left|disk is full|errcode: 28|error 28\b", _DISK_FULL),
    )
]


def advice(error: BaseException | None) -> str:
    """The setting behind an error of a database driver, and what to do; empty where none is known."""
    code: Any = getattr(error, "sqlstate", None) or next(iter(getattr(error, "args", ())), None)
    if isinstance(code, str | int) and code in _BY_CODE:
        return _BY_CODE[code]
    return next((text for pattern, text in _BY_TEXT if pattern.search(str(error))), "")
