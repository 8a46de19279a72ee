"""Database URLs: made from parameters, read from text, and shown without what is secret in them."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ozelot.errors import ConfigError

HIDDEN = "[password hidden]"

_OF_FILES = (".db", ".sqlite", ".sqlite3")

_SECRET = re.compile(r"pass|secret|token|key", re.IGNORECASE)


def from_params(params: dict[str, Any]) -> URL:
    """The URL that ``driver``, ``host``, ``port``, ``user``, ``password`` and ``database`` describe.

    ``user`` and ``port`` count only with a ``host``. A ``password`` of None is asked from the keyring.

    Raises:
        ConfigError: something is missing.
    """
    driver, database = params.get("driver"), params.get("database")
    if not driver:
        raise ConfigError("Field 'driver' of the connection parameters is missing, such as 'postgresql+psycopg'")
    if database is None:
        raise ConfigError("Field 'database' of the connection parameters cannot be None")
    host, user, port = params.get("host"), params.get("user"), params.get("port")
    if host is None:
        return URL.create(driver, database=str(database))
    password = params.get("password") if user is not None else None
    if password is None and user is not None:
        password = from_keyring(f"{host}:{driver}", user)
        if password is None:
            raise ConfigError(
                f"No password for user '{user}' on {host}, nor in the keyring: set 'password' in the connection "
                "parameters ('' for none), or call Client.store_password(params, password)"
            )
    try:
        port = int(port) if port is not None else None
    except ValueError:
        raise ConfigError(f"Field 'port' of the connection parameters is {port!r}: it must be a number") from None
    return URL.create(driver, user, password or None, host, port, str(database))


def parse(text: str | URL) -> URL:
    """Read a URL.

    Raises:
        ConfigError: the text is none. It is not shown: who can say which part of it is the password.
    """
    url = None
    with suppress(ArgumentError, ValueError):  # these quote the text; the error below must not even refer to them
        url = make_url(text)
    if url is None:
        if isinstance(text, str) and text.endswith(_OF_FILES) and "@" not in text:  # so that nothing in it is secret
            raise ConfigError(f"'{text}' is not a database URL: for an SQLite file, write sqlite:///{text}")
        raise ConfigError(
            "DATABASE_URL (or --database) is not a database URL: write it like "
            "postgresql+psycopg://user:password@host:5432/database or sqlite:///file.db, with @, / and : in the "
            "password percent-encoded"
        )
    if url.host is not None and isinstance(text, str) and text.count("@") > 1:
        raise ConfigError("DATABASE_URL has more than one '@': percent-encode the one in the password as %40")
    for name in ("password", "passwd"):  # also taken by drivers as ?password=..., where nothing would hide it
        if isinstance(secret := url.query.get(name), str):
            url = url.difference_update_query([name]).set(password=url.password or secret)
    return url


def hide_password(url: URL) -> str:
    """The URL as text, with ``[password hidden]`` where its secrets are."""
    query = {name: HIDDEN if _SECRET.search(name) else value for name, value in url.query.items()}
    text = URL.create(url.drivername, url.username, None, url.host, url.port, url.database).render_as_string()
    if url.password is not None:
        scheme, _, rest = text.partition("://")
        user, _, host = rest.rpartition("@")
        text = f"{scheme}://{user}:{HIDDEN}@{host}"
    shown = "&".join(f"{name}={value}" for name, value in query.items())
    return f"{text}?{shown}" if shown else text


def without_password(url: URL, text: str) -> str:
    """A message (a driver's, or of a task that failed), without the secrets of the URL, plain or as in a URL."""
    for secret in [url.password, *(value for name, value in url.query.items() if _SECRET.search(name))]:
        if isinstance(secret, str) and secret:
            for written in (secret, quote(secret, safe=" +"), quote_plus(secret)):
                text = text.replace(written, HIDDEN)
    return text


def from_keyring(service: str, user: str) -> str | None:
    """The password that the keyring holds, None where it holds none.

    Raises:
        ConfigError: there is no keyring, or it cannot be read.
    """
    keyring = keyring_module()
    try:
        found: str | None = keyring.get_password(service, user)
    except keyring.errors.KeyringError as exc:
        raise ConfigError(
            f"The keyring does not give the password of user '{user}' for {service} ({type(exc).__name__}): set "
            "'password' in the connection parameters ('' for none), or set up a keyring on this machine"
        ) from exc
    return found


def keyring_module() -> Any:
    """The package ``keyring``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise ConfigError(
            "The password is to come from the keyring, which needs a package: pip install 'ozelot[keyring]'"
        ) from None
    return keyring
