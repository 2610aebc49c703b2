"""Platform `spoken`: readings are what a test says they are, of any day, in any order, with failed targets among them.

It has no client: `Speaker` keeps raw and derives its day, as a run does. Its parser is pure and honours `known`; what a
record has under `mended`, and a record that is `overlooked`, only the version RIGHT reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import pytest

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.inventory import MACHINE, AssetRecord, Item, TargetFailure, UnchangedRecord
from asset_ledger.domain.normalized import canonical_json
from asset_ledger.domain.outcome import Outcome
from asset_ledger.domain.raw import RawRecord
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.sources.platform import Platform, SourceConfig
from asset_ledger.sources.registry import platform
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.raw import save_inventory
from asset_ledger.store.sources import SourceRow
from tests.faults.site import instant
from tests.store.telling import document

MISREAD = 1
RIGHT = 2
DOWN = ErrorCode("SPOKEN_DOWN", "network", True, "a target did not answer", "Read again")


def parse(raw: RawRecord, known: Mapping[bytes, str], *, version: int = RIGHT) -> Iterator[Item]:
    """Yield an item for each record of a reading."""
    for place, record in enumerate(json.loads(raw.body)):
        kind = record.get("kind", "vm")
        if record.get("overlooked") and version == MISREAD:
            continue
        if record.get("failed"):
            yield TargetFailure(kind, record["id"], record.get("ip"), DOWN, f"{record['id']} is down")
            continue
        digest = hashlib.blake2b(canonical_json([version, record]).encode(), digest_size=16).digest()
        if known.get(digest) == record["id"]:
            yield UnchangedRecord(record["id"], str(place), digest)
        else:
            yield AssetRecord(kind, record["id"], str(place), _document(record, version), digest)


def _document(record: Mapping[str, Any], version: int) -> dict[str, Any]:
    facts = dict(record) | (record.get("mended", {}) if version == RIGHT else {})
    made = document(**{name: facts[name] for name in ("hostname", "ip", "cores") if name in facts})
    if told := facts.get("generation"):
        made["identity"]["generation"] = dict(told)
    return made


def platform_of_version(version: int) -> Platform:
    """Return the platform with the parser of a version."""
    return Platform(
        name="spoken",
        title="What a test says",
        kind="script",
        platform_type="unknown",
        source_type="probe",
        contract="pull",
        config=SourceConfig,
        parse=partial(parse, version=version),
        parser_version=version,
        error_codes=(DOWN,),
        naming_rank=41,
        specs_rank=41,
    )


PLATFORM = platform_of_version(RIGHT)


def parser(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """Let the parser of a version read from now on."""
    monkeypatch.setattr("tests.faults.spoken.PLATFORM", platform_of_version(version))
    platform.cache_clear()


@dataclass
class Speaker:
    """A source of the platform `spoken` on one connection."""

    connection: Connection
    source: SourceConfig
    row: SourceRow

    def keep(
        self, day: str, records: Sequence[Mapping[str, Any]], *, at: str = "09:00", complete: bool = False
    ) -> None:
        """Keep a reading of a day as raw."""
        body = json.dumps(records).encode()
        when = instant(day, at)
        raw = RawRecord("spoken", "application/json", body, hashlib.sha256(body).digest(), {}, when)
        save_inventory(
            self.connection,
            self.row,
            [raw],
            scope="all",
            collected_date=date.fromisoformat(day),
            collected_at=when,
            run_id="run",
            mode="collect",
            complete=complete,
        )

    def derive(self, day: str) -> list[Outcome]:
        """Derive what waits of a day; where nothing does, the whole day again."""
        derived = derive_day(
            self.connection, self.source, self.row, date.fromisoformat(day), run_id="run", mode="collect"
        )
        return [one.outcome for one in derived.readings]

    def say(self, day: str, *records: Mapping[str, Any], at: str = "09:00", complete: bool = False) -> list[Outcome]:
        """Keep a reading and derive its day."""
        self.keep(day, records, at=at, complete=complete)
        return self.derive(day)


@contextmanager
def speaking(url: str, name: str = "mouth") -> Iterator[Speaker]:
    """Open a source of the platform `spoken` over a database."""
    source = SourceConfig(name=name, platform="spoken")
    with connect(url) as connection:
        yield Speaker(connection, source, source_row(connection, source))


__all__ = ["MACHINE", "MISREAD", "RIGHT", "Speaker", "parser", "speaking"]
