"""Planted secrets, and the search for them in everything that was written: databases, files, packed or dressed up."""

from __future__ import annotations

import base64
import gzip
import io
import secrets
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from asset_ledger.store.embedded.server import EmbeddedServer
from tests.postgres import shared_server


@dataclass
class Canaries:
    """Planted secrets by where they were planted. Each has a core that no way of quoting changes."""

    planted: dict[str, str] = field(default_factory=dict)
    dresses: list[tuple[str, bytes]] = field(default_factory=list)

    def plant(self, where: str) -> str:
        """Return a new secret with characters that JSON, CSV and shells quote."""
        return self.watch(where, f"Cnry{secrets.token_hex(8)}Z") + "\"\\ü'%"

    def watch(self, where: str, secret: str) -> str:
        """Look out for a secret as it is."""
        self.planted[where] = secret
        self.dresses += ((where, dress) for dress in _dresses(secret))
        return secret

    def traces(self, written: bytes, where: str) -> list[str]:
        """Return which canaries stand in something that was written: plain, packed, in base64 or in hexadecimal."""
        return [
            f"{name} in {where}{inside}"
            for inside, content in _unpacked(written)
            for name, dress in self.dresses
            if dress in content
        ]


def _dresses(secret: str) -> Iterator[bytes]:
    plain = secret.encode()
    yield plain
    yield plain.hex().encode()
    yield plain.decode().encode("utf-16-le")
    for shift in range(3):  # base64 looks different at each of three offsets; the ends depend on the neighbours
        packed = base64.b64encode(b"\0" * shift + plain).rstrip(b"=")
        core = packed[4 if shift else 0 : -2]
        yield core
        yield core.replace(b"+", b"-").replace(b"/", b"_")


def _unpacked(written: bytes, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    yield "", written
    if depth == 3:
        return
    if written.startswith(b"\x1f\x8b"):
        with suppress(OSError, EOFError, zlib.error):
            yield from ((f" (gzip){inside}", c) for inside, c in _unpacked(gzip.decompress(written), depth + 1))
    if written.startswith(b"PK") and zipfile.is_zipfile(io.BytesIO(written)):
        with zipfile.ZipFile(io.BytesIO(written)) as archive:
            for name in archive.namelist():
                yield from ((f" ({name}){inside}", c) for inside, c in _unpacked(archive.read(name), depth + 1))


def everything_in(url: str) -> Iterator[tuple[str, bytes]]:
    """Yield every value of every table of a database."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'm') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
        ).fetchall()
        for schema, table in tables:
            for row in connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))):
                packed = [bytes(value) for value in row if isinstance(value, (bytes, memoryview))]
                plain = "\n".join(str(value) for value in row if not isinstance(value, (bytes, memoryview)))
                yield from ((f"table {schema}.{table}", content) for content in (*packed, plain.encode()))


def everything_under(folder: Path, *, but: set[Path]) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path not in but:
            yield f"file {path.relative_to(folder)}", path.read_bytes()
            yield f"name of {path.relative_to(folder)}", path.name.encode()


def server_log() -> Iterator[tuple[str, bytes]]:
    server = shared_server()
    if isinstance(server, EmbeddedServer):
        yield "PostgreSQL's log", server.log_tail(10_000_000).encode()
