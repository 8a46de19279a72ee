"""The database client: engine, sessions, transactions, and queries to data frames.

Most code asks for the one configured client with :func:`get_client`. Inside a task's ``run()``, and inside
``client.transaction()``, all sessions and connections of the client join the one open transaction; see
:mod:`ozelot.db.joined_connection`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from ozelot import config
from ozelot.db import fork_safety, joined_connection, server_errors, sqlite_file, transaction, url
from ozelot.errors import ConfigError, DatabaseUnavailable, ValueRejected
from ozelot.values import checked_dialect

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

log = logging.getLogger(__name__)

Query: TypeAlias = orm.Query[Any] | sa.SelectBase | sa.TextClause | str
Backend: TypeAlias = Literal["pandas", "polars", "arrow"]

_client: Client | None = None
_making = threading.RLock()

#: The client of the work that a worker process does in this context (:func:`connected_to`).
_in_context: ContextVar[Client | None] = ContextVar("ozelot_client", default=None)
_clients: dict[sa.URL, Client] = {}
_connected = 0  # how many threads are inside connected_to()

#: What to install for a missing driver.
_PACKAGES = {
    "psycopg": "ozelot[postgres]",
    "pymysql": "ozelot[mysql]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}
_WITH_TIMEOUT = ("psycopg", "psycopg2", "pymysql", "mysqldb")

_CONNECT_TIMEOUT = 10  # seconds, unless the URL says otherwise


def _after_fork() -> None:
    global _making, _connected
    _making = threading.RLock()  # another thread of the parent may have held it
    _connected = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def get_client() -> Client:
    """The one client that the whole program shares, made from the settings at first use.

    Raises:
        ConfigError: the database is not configured as it should be.
    """
    global _client
    if (found_in_context := _in_context.get()) is not None:
        return found_in_context
    if _client is None:
        with _making:  # two threads must not get one each: transactions are joined per client
            if _client is None:
                found = config.database()
                _client = Client(params=found) if isinstance(found, dict) else Client(connection_string=found)
    return _client


def current_client() -> Client | None:
    """What :func:`get_client` would return, or None where it would make a new client."""
    return _in_context.get() or _client


def set_client(client: Client | None) -> None:
    """Make ``client`` the one that :func:`get_client` returns; None: make it anew from the settings."""
    global _client
    _client = client
    _in_context.set(None)


@contextmanager
def connected_to(database: sa.URL) -> Iterator[Client]:
    """Within the block, :func:`get_client` returns the client of that database, in this thread.

    For a worker process, whose threads may work on several databases at the same time. All threads share one client
    per database, since connections join an open transaction per client.
    """
    global _client, _connected
    with _making:
        client = _client if _client is not None and _client.url == database else _clients.get(database)
        if client is None:
            client = _clients[database] = Client(connection_string=database)
        if not _connected:
            _client = client  # also for threads that a task starts, which have a context of their own
        _connected += 1
    token = _in_context.set(client)
    try:
        yield client
    finally:
        _in_context.reset(token)
        with _making:
            _connected -= 1


class Client:
    """A database, its engine, and the sessions on it.

    Args:
        params: ``driver``, ``host``, ``port``, ``user``, ``password``, ``database``, as described in
            :mod:`ozelot.config`.
        connection_string: an SQLAlchemy URL (text or object), as an alternative to ``params``.

    Raises:
        ConfigError: not exactly one of the two is given, or it does not describe a database.
    """

    def __init__(self, params: dict[str, Any] | None = None, connection_string: str | sa.URL | None = None) -> None:
        config.show_logs()
        if params is not None and connection_string is None:
            self.url = url.from_params(params)
        elif connection_string is not None and params is None:
            self.url = url.parse(connection_string)
        else:
            raise ConfigError("Please give a client either 'params' or 'connection_string'")
        log.info("Client connecting to: %s", url.hide_password(self.url))
        self.engine = _create_engine(self.url)
        self.session_maker = orm.sessionmaker(bind=self.engine)

    def __repr__(self) -> str:
        return f"Client({url.hide_password(self.url)})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("A database client does not travel to another process: each makes its own with get_client()")

    def get_engine(self) -> sa.Engine:
        """The engine; inside an open transaction its connections join that transaction."""
        return self.engine

    def create_session(self) -> orm.Session:
        """A new session; inside an open transaction it joins, and its ``commit()`` holds once that commits."""
        return self.session_maker()

    @contextmanager
    def transaction(self) -> Iterator[orm.Session]:
        """One transaction: committed once at the end of the block, rolled back on any exception.

        Every session and connection that the client hands out within the block joins it. Within an open
        transaction the block is a part of that one, which can fail and be caught by itself.
        """
        outer = transaction.current(self.engine)
        session = None
        try:
            with transaction.open_transaction(self.engine) if outer is None else outer.nested() as opened:
                session = self.create_session()
                yield session
                session.commit()
                session.close()
                if opened is not None:
                    opened.settle()
        finally:
            if session is not None:
                session.close()  # after the rollback, on an exception: then it has nothing left to undo

    def check_connection(self) -> None:
        """Connect once.

        Raises:
            DatabaseUnavailable: with one line that says what to change.
        """
        try:
            with self.engine.connect() as connection:
                connection.execute(sa.text("SELECT 1"))
                if self.engine.dialect.name == "sqlite":
                    connection.execute(sa.text("SELECT count(*) FROM sqlite_master"))  # the first look at the file
        except (SQLAlchemyError, TypeError, ValueError, OSError) as exc:  # drivers check arguments late
            raise _unavailable(self.url, exc) from None  # the driver's own exception may quote the password

    def df_query(
        self,
        query: Query,
        with_labels: bool = False,
    ) -> pd.DataFrame:
        """The result of a query as a data frame.

        Args:
            query: ``session.query(...)`` or ``select(...)``.
            with_labels: name each column ``table_column``, for queries of equal names from several tables.

        Returns:
            One row a row of the result, one column a column of the query, in its order.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ConfigError("df_query needs pandas: pip install 'ozelot[pandas]'") from None
        selectable = self._statement(query)
        if with_labels:
            selectable = selectable.set_label_style(sa.LABEL_STYLE_TABLENAME_PLUS_COL)
        with self.engine.connect() as connection:
            return pd.read_sql_query(selectable, connection)

    @overload
    def frame(self, query: Query, *, backend: Literal["pandas"] = "pandas") -> pd.DataFrame: ...
    @overload
    def frame(self, query: Query, *, backend: Literal["polars"]) -> pl.DataFrame: ...
    @overload
    def frame(self, query: Query, *, backend: Literal["arrow"]) -> pa.Table: ...
    def frame(self, query: Query, *, backend: Backend = "pandas") -> Any:
        """The result of a query as a frame, with the values that the ORM gives, by the quickest way that there is.

        Types come from the columns of the query, not from the values: no NULL makes an integer a float, and an empty
        result has the types of a full one. Inside an open transaction, such as a run, it holds what that one sees.

        Args:
            query: ``select(...)``, also of entities, ``session.query(...)``, or SQL as text.
            backend: what to return: ``pandas``, ``polars`` or ``arrow``, a :class:`pyarrow.Table`.

        Raises:
            ConfigError: what the backend needs is not installed; the message says how to.
            FrameError: there is no result, or a value does not fit the type of its column.
        """
        return _frames(backend).frame(self.engine, self._statement(query), backend)

    @overload
    def frames(
        self, query: Query, *, rows: int = ..., backend: Literal["pandas"] = "pandas"
    ) -> Iterator[pd.DataFrame]: ...
    @overload
    def frames(self, query: Query, *, rows: int = ..., backend: Literal["polars"]) -> Iterator[pl.DataFrame]: ...
    @overload
    def frames(self, query: Query, *, rows: int = ..., backend: Literal["arrow"]) -> pa.RecordBatchReader: ...
    def frames(self, query: Query, *, rows: int = 100_000, backend: Backend = "pandas") -> Any:
        """As :meth:`frame`, in pieces of ``rows`` rows: memory does not grow with the result.

        Returns:
            An iterator of frames, at least one; for ``arrow`` a :class:`pyarrow.RecordBatchReader`. It holds a
            connection until it is read to its end, or closed.
        """
        return _frames(backend).frames(self.engine, self._statement(query), rows, backend)

    def _statement(self, query: Query) -> Any:
        if isinstance(query, str):
            return sa.text(query)
        if not isinstance(query, orm.Query):
            return query
        if query.session is not None and transaction.current(self.engine) is not None:
            query.session.flush()  # what the query itself would see
        return query.statement

    @staticmethod
    def store_password(params: dict[str, Any], password: str) -> None:
        """Store the password of a connection in the keyring: service ``host:driver``, the user as user name."""
        url.keyring_module().set_password(f"{params['host']}:{params['driver']}", params["user"], password)

    @staticmethod
    def get_connection_string(params: dict[str, Any], hide_password: bool = True) -> str:
        """The URL of connection parameters, by default with the password replaced by ``[password hidden]``."""
        full = url.from_params(params)
        return url.hide_password(full) if hide_password else full.render_as_string(hide_password=False)


def _frames(backend: str) -> Any:
    try:
        from ozelot import frames
    except ModuleNotFoundError as exc:
        if exc.name not in ("pyarrow", "numpy"):
            raise
        extras = {"pandas": "pandas,arrow", "polars": "polars"}.get(backend, "arrow")
        raise ConfigError(f"A frame needs {exc.name}: pip install 'ozelot[{extras}]'") from None
    return frames


def _unavailable(target: sa.URL, exc: BaseException) -> DatabaseUnavailable:
    path = sqlite_file.file_of(target)
    if path is not None and path.is_dir():
        return DatabaseUnavailable(f"The database {path} is a folder: name a file in DATABASE_URL")
    if path is not None and not path.absolute().parent.is_dir():
        return DatabaseUnavailable(
            f"No folder {path.absolute().parent} for the database {path.name}: create it, or change DATABASE_URL"
        )
    reason = str(exc.orig if isinstance(exc, DBAPIError) else exc).strip().splitlines()
    told = url.without_password(target, reason[0] if reason else type(exc).__name__)
    advice = server_errors.advice(exc.orig if isinstance(exc, DBAPIError) else exc, path)
    if path is not None:
        advice = advice or "name an SQLite file that you may read in DATABASE_URL"
        return DatabaseUnavailable(f"Cannot open the database {path} ({told}): {advice}")
    advice = advice or (
        "check that the server runs, and host, port, user, password and database in DATABASE_URL or DEFAULT_DB_PARAMS"
    )
    return _with_database(
        DatabaseUnavailable(f"Cannot connect to {url.hide_password(target)} ({told}): {advice}"), target
    )


def _with_database(error: DatabaseUnavailable, target: sa.URL) -> DatabaseUnavailable:
    error.database = url.hide_password(target)
    return error


def _create_engine(target: sa.URL) -> sa.Engine:
    path = sqlite_file.file_of(target)
    is_sqlite = target.get_backend_name() == "sqlite"
    options: dict[str, Any] = {
        "poolclass": joined_connection.JoiningQueuePool,
        "max_overflow": -1,
    }  # one for each worker
    if sqlite_file.is_in_memory(target):
        options = {
            "poolclass": joined_connection.JoiningThreadPool,
            "connect_args": {"factory": sqlite_file.Connection},
        }
    elif path is not None and sqlite_file.is_read_only(path):
        options["creator"] = lambda: sqlite_file.connect_read_only(path)
    elif is_sqlite:
        options["connect_args"] = {"factory": sqlite_file.Connection}
    else:
        options["pool_pre_ping"] = True  # a server may have been restarted since
        arguments = options["connect_args"] = {}
        try:
            driver = target.get_driver_name()
        except NoSuchModuleError:
            driver = ""  # create_engine says so below
        if driver in _WITH_TIMEOUT and "connect_timeout" not in target.query:
            arguments["connect_timeout"] = _CONNECT_TIMEOUT
        if driver == "pymysql" and target.password:
            arguments["password"] = target.password.encode()  # PyMySQL would take it for latin-1
        if target.get_backend_name() in ("postgresql", "mysql", "mariadb"):
            # Other levels hide from a run what others complete in the meantime, or let runs fail side by side.
            options["isolation_level"] = "READ COMMITTED"
    try:
        engine = sa.create_engine(target, **options)
    except NoSuchModuleError:
        raise ConfigError(
            f"No database driver '{target.drivername}': use sqlite, postgresql+psycopg or mysql+pymysql, as in "
            "postgresql+psycopg://user@host/database"
        ) from None
    except ArgumentError as exc:
        raise ConfigError(f"DATABASE_URL does not fit its driver: {str(exc).splitlines()[0]}") from None
    except ImportError as exc:
        package = _PACKAGES.get(str(exc.name), exc.name)
        missing = isinstance(exc, ModuleNotFoundError)
        raise ConfigError(
            f"The driver '{target.drivername}' needs a package: pip install '{package}', or name another driver"
            if missing
            else f"The driver '{target.drivername}' does not load: {next(iter(str(exc).splitlines()), '')}"
        ) from None
    joined_connection.set_up(engine)  # first: it refuses writes that would wait for the run that they come from
    if is_sqlite:
        sqlite_file.set_up(engine)
    elif engine.dialect.name == "postgresql":
        server_errors.set_up(engine)
    elif engine.dialect.name in ("mysql", "mariadb"):
        from ozelot.db import mysql_columns, mysql_sessions  # takes a while to import, and is needed with MariaDB alone

        mysql_sessions.set_up(engine)
        mysql_columns.set_up(engine)
    checked_dialect.install(engine.dialect)  # refines the types of each database

    @sa.event.listens_for(engine.dialect, "handle_error")
    def _say_it_in_one_line(context: ExceptionContext) -> BaseException | None:
        if isinstance(context.original_exception, DatabaseUnavailable):  # SQLAlchemy would wrap it
            return _with_database(DatabaseUnavailable(str(context.original_exception)), target)
        if isinstance(context.original_exception, ValueRejected):
            return ValueRejected(str(context.original_exception))
        never_connected = context.connection is None and not context.is_pre_ping
        return _unavailable(target, context.original_exception) if never_connected else None

    if not is_sqlite:

        @sa.event.listens_for(engine, "do_connect")
        def _connect(dialect: sa.Dialect, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
            # Here, as an invalidated connection that connects again raises what the driver does.
            try:
                return dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.Error as exc:
                raise _unavailable(target, exc) from exc

    if not sqlite_file.is_in_memory(target):  # what is in memory, a fork copies
        fork_safety.set_up(engine)
    return engine


_SUFFIXES = ("", "-wal", "-shm", "-journal", "-claims")

OwnFiles: TypeAlias = dict[str | sqlite_file.Identity, str]


def own_files() -> OwnFiles:
    """The databases that this process uses, by the path of each of their files and, where it exists, its identity."""
    databases = sqlite_file.open_files()
    current = current_client()
    if current is not None and (configured := sqlite_file.file_of(current.engine.url)) is not None:
        databases.add(str(sqlite_file.resolved(configured)))
    found: OwnFiles = {}
    for database in databases:
        for suffix in _SUFFIXES:
            path = f"{database}{suffix}"
            found[path] = database
            if (there := sqlite_file.identity(path)) is not None:
                found[there] = database
    return found


def refuse_own_file(path: str | os.PathLike[str], user: str, own: OwnFiles | None = None) -> None:
    """Make sure that a file which is about to be opened is none of an SQLite database in use.

    Args:
        path: of the file, which need not exist.
        user: what opens it, for the message.
        own: what :func:`own_files` returns.

    Raises:
        ConfigError: it is one.
    """
    own = own_files() if own is None else own
    database = own.get(sqlite_file.identity(path) or os.path.realpath(path)) if own else None
    if database is not None:
        name = user.removesuffix(" {}")
        raise ConfigError(
            f"{name}: {os.fspath(path)} is a file of the database in use. Opening it as a file would release the "
            f"database's locks and lose rows. Name another file; for a copy, use: sqlite3 {database} '.backup COPY'"
        )
