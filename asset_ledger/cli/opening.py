"""Opening the ledger for one command: settings, a running database, today's schema, a connection."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.sources.platform import SourceConfig
    from asset_ledger.store.database import Connection


def open_ledger(*, reads_sources: bool = False, lock_wait_s: float | None = None) -> Ledger:
    """Return the ledger with a database that is up and of today's schema.

    Where no server is configured the embedded one is started and left running. With `reads_sources` sources.yaml is
    read before that, so that nothing is started for a file that is wrong. A migration waits so long for a table.
    """
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.settings import Settings
    from asset_ledger.store.database import LOCK_WAIT_S, ensure_database, migrate
    from asset_ledger.store.embedded.server import EmbeddedServer

    settings = Settings.load()
    ledger = Ledger(settings)
    if reads_sources:
        _ = ledger.sources
    if settings.database_url is None:
        server = EmbeddedServer(settings.home)
        if not server.running() and server.start():
            typer.echo("started the embedded PostgreSQL; `asset-ledger db stop` stops it", err=True)
    ensure_database(ledger.url)
    migrate(ledger.url, lock_wait_s=LOCK_WAIT_S if lock_wait_s is None else lock_wait_s)
    return ledger


@contextmanager
def connected(ledger: Ledger | None = None) -> Iterator[Connection]:
    """Open the ledger and a connection. A server that goes away meanwhile is a DATABASE_UNAVAILABLE."""
    import psycopg

    from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, RetryableError
    from asset_ledger.store.database import public

    opened = open_ledger() if ledger is None else ledger
    try:
        with opened.connect() as connection:
            yield connection
    except psycopg.OperationalError as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RetryableError(DATABASE_UNAVAILABLE, cause, target=public(opened.url)) from error


def actor() -> str:
    """Return who acts: ASSET_LEDGER_ACTOR, or the user's name."""
    if named := os.environ.get("ASSET_LEDGER_ACTOR"):
        return named
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return f"uid {os.getuid()}"


def choose_source(ledger: Ledger, name: str | None, *, source_type: str) -> SourceConfig:
    """Return the named source, or the only one of a type (`import`, `probe`).

    Raises PermanentError(CONFIG_INVALID) where there is none, several, or the named one is of another type.
    """
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.pipeline.ledger import platform_of

    fitting = [source for source in ledger.sources if platform_of(source).source_type == source_type]
    names = ", ".join(source.name for source in fitting)
    if name is not None:
        source = ledger.source(name)
        if source not in fitting:
            raise PermanentError(
                CONFIG_INVALID, f"it is no {source_type} source; there are: {names or 'none'}", target=name
            )
        return source
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise PermanentError(
            CONFIG_INVALID, f"there is no enabled {source_type} source in it", target=str(ledger.settings.sources_file)
        )
    raise PermanentError(
        CONFIG_INVALID, f"there are several {source_type} sources: {names}. Name one", target="--source"
    )
