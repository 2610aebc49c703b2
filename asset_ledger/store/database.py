"""Connections, and bringing a database to today's schema.

Every connection is in UTC whatever the server says: days are computed by `domain.calendar`, never by a session.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow, dict_row

from asset_ledger.domain.errors import (
    CONFIG_INVALID,
    DATABASE_NEWER,
    DATABASE_UNAVAILABLE,
    DATABASE_UNSUPPORTED,
    PermanentError,
    RetryableError,
)

Connection = psycopg.Connection[TupleRow]
OLDEST_SERVER = 15
_WATCHFUL = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}
"""By libpq's names, in seconds and milliseconds: a network that says nothing is noticed within half a minute."""


@contextmanager
def connect(url: str, *, application_name: str = "asset_ledger", watchful: bool = False) -> Iterator[Connection]:
    """Open a connection in autocommit mode; `with connection.transaction()` makes transactions.

    With `watchful` it fails soon where the network swallows everything, unless the URL says itself how that is noticed.
    Raises RetryableError(DATABASE_UNAVAILABLE) when the server does not answer, PermanentError(CONFIG_INVALID)
    for a URL that libpq does not take.
    """
    told = set(words_of(url))
    watch: dict[str, Any] = {name: value for name, value in _WATCHFUL.items() if watchful and name not in told}
    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=10,
            application_name=application_name,
            options="-c TimeZone=UTC",
            **watch,
        )
    except psycopg.OperationalError as error:
        raise RetryableError(DATABASE_UNAVAILABLE, _first_line(error), target=public(url)) from None
    try:
        yield connection
    finally:
        connection.close()


def public(url: str) -> str:
    """Return a database URL that may be shown: without its password."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit((parts.scheme, f"{user}{host}{port}", parts.path, "", ""))


def is_away(error: BaseException) -> bool:
    """Say whether an error means that a database, Dagster's too, or a disk is not there now."""
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | OSError):
        return True
    # by name: Dagster's storage raises them, and they are not imported here for that alone
    return any(each.__module__ == "sqlalchemy.exc" for each in type(error).__mro__)


def words_of(url: str) -> dict[str, str]:
    """Return what a database URL says, by libpq's names (`host`, `dbname`, `sslmode`). The password is among it."""
    _demand_valid(url)
    return {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}


def libpq_variables(words: Mapping[str, str]) -> dict[str, str]:
    """Return words of a URL as the environment variables that libpq reads them from.

    Raises PermanentError(CONFIG_INVALID) for one that has none: it would be left out without a word.
    """
    names = {one.keyword.decode(): one.envvar for one in pq.Conninfo.get_defaults()}
    found: dict[str, str] = {}
    for word, value in words.items():
        variable = names.get(word)
        if not variable:
            if word.startswith("keepalives") or word in ("tcp_user_timeout", "fallback_application_name"):
                continue  # of how long is waited, and how the session is called
            raise PermanentError(
                CONFIG_INVALID, f"`{word}` cannot be handed on to dbt; leave it out", target="ASSET_LEDGER_DATABASE_URL"
            )
        found[variable.decode()] = value
    return found


def _demand_valid(url: str) -> None:
    """Raise PermanentError where libpq cannot read the URL. Its own words are lost on purpose: they quote the URL."""
    try:
        conninfo_to_dict(url)
    except (psycopg.ProgrammingError, UnicodeError):
        valid = False
    else:
        valid = True
    if not valid:  # outside of the handler, so that no traceback hangs on to the words
        raise PermanentError(
            CONFIG_INVALID,
            "the URL is not valid; percent-encode signs such as % / # @ in the password, and check what is behind the ?",
            target="the database's URL",
        )


def ledger_lock(connection: Connection) -> None:
    """Put the writers of derived rows in order, until the transaction ends.

    What is derived of an asset hangs on every source and decision about it: two writers at once would each miss the
    other's word. Reading and parsing happen before; holding it takes as long as a day takes to write.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('asset_ledger.ledger'), 0)")


def clock(connection: Connection) -> datetime:
    """Return the instant by the server's clock, with which everything that is published is stamped."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


def ensure_database(url: str) -> bool:
    """Create the database of `url` if its server lacks it; return True if it was created.

    The database's time zone becomes UTC: Dagster reads its own timestamps as UTC and is hours off otherwise.
    """
    name = urlsplit(url).path.lstrip("/")
    _demand_valid(url)
    try:
        psycopg.connect(url, connect_timeout=10).close()
        return False
    except psycopg.OperationalError as error:
        if "does not exist" not in str(error):
            raise RetryableError(DATABASE_UNAVAILABLE, _first_line(error), target=public(url)) from None
    maintenance = urlunsplit(urlsplit(url)._replace(path="/postgres"))
    with connect(maintenance) as connection:
        try:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
            )
            connection.execute(sql.SQL("ALTER DATABASE {} SET timezone TO 'UTC'").format(sql.Identifier(name)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return False  # another made it, before this one looked or while it did
        except psycopg.errors.InsufficientPrivilege as error:
            raise PermanentError(
                DATABASE_UNAVAILABLE, f"{_first_line(error)}; create the database by hand", target=public(url)
            ) from None
    return True


LOCK_WAIT_S = 20.0
"""For how long a migration tries again to get the tables of its next step."""
_GIVE_WAY_MS = 400
"""How long it waits for one at a time: whoever comes after it waits behind it."""


def migrate(url: str, *, lock_wait_s: float = LOCK_WAIT_S) -> bool:
    """Bring the schema to this release; return True if anything was done.

    Two callers at once are put in order by an advisory lock. Raises PermanentError: DATABASE_UNSUPPORTED
    for a server older than 15, DATABASE_NEWER for a schema that this program does not know; and
    RetryableError(DATABASE_UNAVAILABLE) where somebody held tables for longer than that: steps that were done stay
    done, and the next call goes on.
    """
    with connect(url) as connection:
        version = connection.info.server_version // 10000
        if version < OLDEST_SERVER:
            raise PermanentError(DATABASE_UNSUPPORTED, f"the server is PostgreSQL {version}", target=public(url))
        if current_revision(connection) == head_revision():
            return False
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('asset_ledger.migrate'))")
            _upgrade(url, lock_wait_s)
    return True


def current_revision(connection: Connection) -> str | None:
    """Return the revision the database's schema is at, or None for an empty database."""
    if connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT version_num FROM public.alembic_version").fetchone()
    return str(row[0]) if row else None


def head_revision() -> str:
    """Return the newest revision that this program brings, from the file names alone: alembic is slow to import."""
    return max(path.name.split("_", 1)[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


_MIGRATIONS = Path(__file__).with_name("migrations")


def _upgrade(url: str, lock_wait_s: float) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy import create_engine
    from sqlalchemy.exc import OperationalError, ProgrammingError

    engine = create_engine(
        url.replace("postgres://", "postgresql://", 1).replace("postgresql://", "postgresql+psycopg://", 1)
    )
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    try:
        deadline = time.monotonic() + lock_wait_s
        while True:
            try:
                with engine.connect() as connection:
                    # shorter than PostgreSQL's deadlock_timeout: who gives way is the migration, never a writer
                    connection.exec_driver_sql(f"SET lock_timeout = {_GIVE_WAY_MS}")
                    connection.commit()
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
                return
            except OperationalError as error:
                held = isinstance(error.orig, (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected))
                if not held or time.monotonic() > deadline:
                    raise
            time.sleep(_GIVE_WAY_MS / 1000)
    except CommandError as error:
        raise PermanentError(
            DATABASE_NEWER,
            f"its schema is not one this release knows, up to {head_revision()} ({error})",
            target=public(url),
        ) from None
    except OperationalError as error:
        if not isinstance(error.orig, (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)):
            raise
        raise RetryableError(
            DATABASE_UNAVAILABLE,
            f"transactions held tables that the migration needs for {lock_wait_s:g} s, so the step was not done."
            " pg_stat_activity says whose it is (xact_start); run `asset-ledger db migrate` again when it has ended",
            target=public(url),
        ) from None
    except ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        said, hint = error.orig.diag.message_primary, error.orig.diag.message_hint
        raise PermanentError(DATABASE_UNAVAILABLE, f"{said}{f'; {hint}' if hint else ''}", target=public(url)) from None
    finally:
        engine.dispose()


def rows(connection: Connection, query: sql.SQL | sql.Composed | str, parameters: Any = None) -> list[dict[str, Any]]:
    """Return all rows of a query as dictionaries by column name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()


def run_script(connection: Connection, script: str, parameters: dict[str, Any]) -> None:
    """Run statements that end with `;` at a line's end one by one: the extended protocol takes a single one with
    parameters."""
    for statement in script.split(";\n"):
        if statement.strip():
            connection.execute(statement, parameters if "%(" in statement else None)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
