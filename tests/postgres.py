"""One PostgreSQL server for a whole test session, and databases in it. Nothing starts before it is asked for.

ASSET_LEDGER_TEST_DATABASE_URL names a server to use instead; its user must be allowed to create databases.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from asset_ledger.store.embedded.server import EmbeddedServer

_PREFIX = "asset-ledger-tests-"
# Tests ask for correct results, not for surviving a power cut.
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class Server(Protocol):
    def url(self, database: str) -> str: ...


class ExternalServer:
    """The server of ASSET_LEDGER_TEST_DATABASE_URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self, database: str) -> str:
        return _with_database(self._url, database)


@cache
def shared_server() -> Server:
    """Return the session's server, started at the first call and stopped when the interpreter ends."""
    if external := os.environ.get("ASSET_LEDGER_TEST_DATABASE_URL"):
        return ExternalServer(external)
    _remove_leftovers()
    home = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    home.chmod(0o711)  # under root the server runs as another user
    server = EmbeddedServer(home, FAST)
    atexit.register(_dispose, os.getpid(), server, home)
    server.start()
    return server


def create_database(url: str, template: str | None = None) -> str:
    """Create a database with a name of its own on the server of `url`; return its URL.

    `template` is the name of a database to copy; nobody may be connected to it.
    """
    name = f"test_{secrets.token_hex(6)}"
    command = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        # through the WAL, as is usual, its hundreds of small tables take ten times as long
        command += sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
    with psycopg.connect(_with_database(url, "postgres"), autocommit=True) as connection:
        connection.execute(command)
    return _with_database(url, name)


def drop_database(url: str) -> None:
    """Drop the database of `url`, ending the connections to it."""
    name = database_name(url)
    with psycopg.connect(_with_database(url, "postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def database_name(url: str) -> str:
    """Return the database that a URL names: the `template` of `create_database`."""
    return urlsplit(url).path.lstrip("/")


def _with_database(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(database, safe="")))


def _dispose(owner: int, server: EmbeddedServer, home: Path) -> None:
    if os.getpid() == owner:  # not in a forked child
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def _remove_leftovers() -> None:
    """Stop and remove the servers of sessions that were killed before they could do it themselves."""
    for home in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = home.name.removeprefix(_PREFIX).split("-")[0]
        with suppress(FileNotFoundError):  # its own session removes it at this moment
            if owner.isdigit() and home.stat().st_uid == os.geteuid() and not _exists(int(owner)):
                EmbeddedServer(home).stop()
                shutil.rmtree(home, ignore_errors=True)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
