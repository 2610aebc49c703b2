"""A platform for measuring: a reading is lines of JSON, a machine a line, with identifiers, addresses and a relation.

Registered by the benchmarks that need a platform with relations; what it costs to read and parse is as little as such a
platform can cost, so that what is measured is the ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from hashlib import blake2b
from typing import Any

from asset_ledger.domain.calendar import moment_on
from asset_ledger.domain.inventory import AssetRecord, Item, Proof, UnchangedRecord
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import Platform, SourceConfig
from asset_ledger.sources.registry import PLATFORMS, platform
from asset_ledger.store.database import Connection
from asset_ledger.store.raw import save_inventory
from asset_ledger.store.sources import SourceRow

GUESTS_A_HOST = 100


def register() -> SourceConfig:
    """Make the platform known to this process and return a source of it."""
    PLATFORMS["lines"] = __name__
    platform.cache_clear()
    return SourceConfig(name="bench_lines", platform="lines")


def reading(count: int, *, changed: int = 0, turn: int = 0) -> bytes:
    """Return a reading of `count` guests and their hosts, of which `changed` others grow each `turn` from the first."""
    lines = [_host(number) for number in range(count // GUESTS_A_HOST)]
    lines += [_guest(number, cores=4 if number < turn * changed else 2) for number in range(count)]
    return ("\n".join(lines) + "\n").encode()


def _host(number: int) -> str:
    return json.dumps(
        {
            "kind": "host",
            "id": f"host-{number}",
            "document": {
                "schema": "normalized-v1",
                "kind": "host",
                "asset_type": "physical",
                "identity": {"hostname": f"esx-{number:04}.example"},
                "relations": [],
                "unknown": {},
            },
        }
    )


def _guest(number: int, *, cores: int) -> str:
    uuid = f"{number:08x}-1111-4111-8111-{number:012x}"
    mac = ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0, *number.to_bytes(3)))
    ips = [f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", f"fd00::{number >> 16:x}:{number & 65535:x}"]
    document: dict[str, Any] = {
        "schema": "normalized-v1",
        "kind": "vm",
        "asset_type": "vm",
        "identity": {"hostname": f"vm-{number:06}.example", "mgmt_ip": ips[0], "machine_uuid": uuid},
        "identifiers": [
            {"kind": "smbios_uuid", "value": uuid},
            {"kind": "mac", "value": mac},
            {"kind": "ip", "value": ips[0]},
        ],
        "hardware": {"cpu_count": cores, "memory_bytes": 8 << 30, "disk_total_bytes": 40 << 30},
        "os": {"family": "debian", "version": "12"},
        "network": {"ip_addresses": ips, "mac_addresses": [mac]},
        "runtime": {"power_state": "running"},
        "relations": [{"kind": "runs_on", "external_kind": "host", "external_id": f"host-{number // GUESTS_A_HOST}"}],
        "unknown": {},
    }
    return json.dumps({"kind": "vm", "id": f"vm-{number}", "document": document})


def keep(connection: Connection, row: SourceRow, day: date, came_at: datetime, body: bytes, run_id: str) -> None:
    """Keep a reading's raw, as a run does before it derives anything."""
    record = RawRecord("lines", "application/x-ndjson", body, hashlib.sha256(body).digest(), {}, came_at)
    save_inventory(
        connection,
        row,
        [record],
        scope="all",
        collected_date=day,
        collected_at=moment_on(day, came_at),
        run_id=run_id,
        mode="collect",
        complete=False,
    )


def parse(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:
    """Yield an item a line, then the proof that none is missing."""
    count = 0
    for count, line in enumerate(raw.body.splitlines(), 1):
        digest = blake2b(line, digest_size=16).digest()
        if (external_id := known.get(digest)) is not None:
            yield UnchangedRecord(external_id, f"line {count}", digest)
            continue
        told = json.loads(line)
        yield AssetRecord(told["kind"], told["id"], f"line {count}", told["document"], digest)
    yield Proof({"lines": count})


PLATFORM = Platform(
    name="lines",
    title="Lines for measuring",
    kind="json",
    platform_type="unknown",
    source_type="platform",
    contract="pull",
    config=SourceConfig,
    parse=parse,
    parser_version=1,
    error_codes=(),
    naming_rank=10,
    specs_rank=10,
    complete_by_nature=True,
    relations=True,
)
