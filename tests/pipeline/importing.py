"""A ledger with an import source, driven as a run drives it: files in, days derived, rows looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from asset_ledger.domain.outcome import Outcome
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import TakenFile, take_files
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.sources.import_files.config import ImportConfig
from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.sources import SourceRow


@dataclass
class Importing:
    """One import source on one connection."""

    connection: Connection
    source: ImportConfig
    row: SourceRow

    @property
    def inbox(self) -> Path:
        return self.source.inbox

    def drop(self, name: str, text: str | bytes) -> Path:
        """Put a file into the inbox."""
        path = self.inbox / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def take(self, day: str, *files: Path, complete: bool = False) -> list[TakenFile]:
        """Take files in as raw of a day."""
        return take_files(
            self.connection,
            self.source,
            self.row,
            files,
            date.fromisoformat(day),
            inbox=self.inbox,
            run_id="run",
            mode="collect",
            complete=complete,
        )

    def derive(self, day: str) -> list[Outcome]:
        """Derive a day and return what each reading did."""
        derived = derive_day(
            self.connection,
            self.source,
            self.row,
            date.fromisoformat(day),
            run_id="run",
            mode="collect",
            inbox=self.inbox,
        )
        return [one.outcome for one in derived.readings]

    def read(self, day: str, text: str | bytes, name: str | None = None) -> Outcome:
        """Drop a file, take it, derive its day, and return what it did."""
        (taken,) = self.take(day, self.drop(name or f"hosts_{day}.csv", text))
        assert taken.state == "taken", taken
        return self.derive(day)[-1]

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return rows(self.connection, query, list(parameters) or None)

    def one(self, query: str, *parameters: Any) -> Any:
        (row,) = self.connection.execute(query, list(parameters) or None).fetchall()
        return row[0] if len(row) == 1 else row


@contextmanager
def importing(url: str, inbox: Path, name: str = "office", **settings: Any) -> Iterator[Importing]:
    """Open an import source over a database."""
    inbox.mkdir(exist_ok=True)
    source = ImportConfig(name=name, platform="import", inbox=inbox, **settings)
    with connect(url) as connection:
        yield Importing(connection, source, source_row(connection, source))


def everything(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table of the ledger, in an order of its own, without what only says when."""
    # a record's digest only saves parsing it again
    volatile = {
        "record_digest",
        "recorded_at",
        "derived_at",
        "started_at",
        "duration_ms",
        "updated_at",
        "created_at",
        "resolved_at",
    }
    tables = connection.execute(
        """
        SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        GROUP BY 1 ORDER BY 1
        """
    ).fetchall()
    return {
        table: sorted(
            connection.execute(
                f"SELECT {', '.join(column for column in columns if column not in volatile)} FROM ledger.{table}"
            ).fetchall(),
            key=repr,
        )
        for table, columns in tables
    }
