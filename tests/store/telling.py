"""A ledger that is told readings record by record, without a platform: what the store makes of them is looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from typing import Any

from asset_ledger.domain.inventory import MACHINE, AssetRecord, Item, Proof, TargetFailure
from asset_ledger.domain.outcome import Outcome
from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.derive import evidence
from asset_ledger.store.derive.absences import settle_absences
from asset_ledger.store.derive.apply import apply_inventory, begin_day, begin_writing, end_of_day
from asset_ledger.store.derive.roots import repoint
from asset_ledger.store.derive.settle import settle_assets
from asset_ledger.store.raw import InventoryRow, inventories, save_inventory
from asset_ledger.store.sources import SourceRow, ensure_source


def document(**facts: Any) -> dict[str, Any]:
    """Return a normalized-v1 document; `ip`, `cores`, `hostname`, `uuid`, `on` are short for where they stand."""
    made: dict[str, Any] = {"schema": "normalized-v1", "kind": facts.get("kind", "vm"), "identity": {}, "unknown": {}}
    made["asset_type"] = "vm"
    identifiers = []
    if "hostname" in facts:
        made["identity"]["hostname"] = facts["hostname"]
    if ip := facts.get("ip"):
        made["identity"]["mgmt_ip"] = ip
        made["network"] = {"ip_addresses": [ip]}
        identifiers.append({"kind": "ip", "value": ip})
    if uuid := facts.get("uuid"):
        identifiers.append({"kind": "smbios_uuid", "value": uuid})
        made["identity"]["generation"] = {"uuid": uuid}
    made["identifiers"] = identifiers
    if "cores" in facts:
        made["hardware"] = {"cpu_count": facts["cores"]}
    if "on" in facts:
        made["relations"] = [{"kind": "runs_on", "external_kind": "host", "external_id": host} for host in facts["on"]]
    made["unknown"] = facts.get("unknown", {})
    if "tags" in facts:
        made["tags"] = facts["tags"]
    return made


@dataclass
class Telling:
    """A source that tells readings. Records are `{external id: document}`; the kind is the document's."""

    connection: Connection
    row: SourceRow
    version: int = 1
    known: dict[int, list[Item]] = field(default_factory=dict)
    mended: bool = False

    def tell(
        self,
        day: str,
        records: Mapping[str, Any],
        *,
        hour: int = 1,
        complete: bool = False,
        failures: Sequence[TargetFailure] = (),
        covers: Sequence[str] = (),
        external_kind: str | None = None,
    ) -> Outcome:
        """Keep a reading and derive it, as a run does."""
        items: list[Item] = [
            AssetRecord(
                external_kind or made["kind"],
                external_id,
                external_id,
                made,
                hashlib.blake2b(json.dumps([external_id, made]).encode(), digest_size=16).digest(),
            )
            for external_id, made in records.items()
        ]
        items += failures
        if self.row.proves:
            items.append(Proof({"records": len(records)}, () if complete else ("told to be partial",)))
        inventory = save_inventory(
            self.connection,
            self.row,
            [],
            scope="all",
            collected_date=date.fromisoformat(day),
            collected_at=datetime.combine(date.fromisoformat(day), time(hour), UTC),
            run_id="run",
            mode="collect",
            complete=complete and not self.row.proves,
            covers=covers,
        )
        self.known[inventory.id] = items
        return self._apply(inventory)

    def tell_again(self, day: str, **changed: Mapping[str, Any]) -> Any:
        """Derive a day again, with other documents for the records named, as a parser of the next version gives."""
        self.version += bool(changed) or self.mended
        self.mended = bool(changed)
        with self.connection.transaction():
            every = inventories(self.connection, self.row, date.fromisoformat(day))
            writing = begin_day(self.connection, self.row, every, parser_version=self.version)
            for inventory in every:
                items: list[Item] = []
                for item in self.known[inventory.id]:
                    if not isinstance(item, AssetRecord) or item.external_id not in changed:
                        items.append(item)
                    elif made := dict(changed[item.external_id]):
                        items.append(replace(item, document=made, record_digest=b"again" * 3 + b"."))
                self._apply(inventory, items=items, writing=writing)
            return end_of_day(self.connection, self.row, every, writing).corrections

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return rows(self.connection, query, list(parameters) or None)

    def one(self, query: str, *parameters: Any) -> Any:
        (row,) = self.connection.execute(query, list(parameters) or None).fetchall()
        return row[0] if len(row) == 1 else row

    def _apply(self, inventory: InventoryRow, *, items: list[Item] | None = None, writing: Any = None) -> Outcome:
        with self.connection.transaction():
            return apply_inventory(
                self.connection,
                self.row,
                inventory,
                ((0, item) for item in items or self.known[inventory.id]),
                parser_version=self.version,
                writing=writing,
            )


def rebuilt(*tellings: Telling) -> None:
    """Make a ledger again from its evidence, as a rebuild does; `tellings` are all its sources."""
    connection = tellings[0].connection
    by_source = {one.row.id: one for one in tellings}
    with connection.transaction():
        writing = begin_writing(connection, rebuild=True)
        evidence.drop_derived(connection)
        for source_id, inventory in evidence.derived_readings(connection):
            told = by_source[source_id]
            apply_inventory(
                connection,
                told.row,
                inventory,
                ((0, item) for item in told.known[inventory.id]),
                parser_version=told.version,
                writing=writing,
            )
        for source_id in by_source:
            settle_absences(connection, source_id)
        repoint(connection)
        settle_assets(connection, None)


@contextmanager
def telling(
    url: str, name: str = "lab", *, platform: bool = True, naming_rank: int = 10, specs_rank: int = 10, **settings: Any
) -> Iterator[Telling]:
    """Open a source that tells: a platform, whose readings are proven complete or fail, or else a probe."""
    with connect(url) as connection:
        yield Telling(
            connection,
            ensure_source(
                connection,
                name=name,
                platform="told",
                platform_type="pve" if platform else "unknown",
                source_type="platform" if platform else "probe",
                zone=settings.pop("zone", "default"),
                naming_rank=naming_rank,
                specs_rank=specs_rank,
                proves=platform,
                **settings,
            ),
        )


__all__ = ["MACHINE", "Telling", "document", "rebuilt", "telling"]
