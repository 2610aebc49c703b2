"""The kept readings of tests/fixtures/pve/contract, made anew from the double: `python -m tests.sources.pve.kept`.

Each file is one raw record; what differs from run to run (times, ports) is set to one value. Afterwards
`pytest tests/contract --update-golden` writes what parsing gives: read both before you keep them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from asset_ledger.domain.raw import RawRecord
from tests.doubles.pve import PveDouble, load
from tests.sources.pve.live import read

FOLDER = Path(__file__).parents[2] / "fixtures" / "pve" / "contract"
_AT = datetime(2026, 11, 1, 18, 30, tzinfo=UTC)


def records() -> Iterator[tuple[str, RawRecord]]:
    """Yield name and record of every kept reading."""
    with PveDouble(load("standalone"), version="8.4") as pve:
        yield from _named("standalone", read(pve, "agent@pve!asset").records)
    with PveDouble(load("cluster"), version="9.1") as pve:
        pve.cluster.set_offline("n3", minutes=2)
        yield from _named("cluster", read(pve, "ledger@pve!asset", tls_verify=False).records)
    with PveDouble(load("cluster"), version="5.0") as pve:
        first, *_, last = read(pve, "agent@pve", max_parallel_nodes=1).records
        yield from _named("release-5-0", [first, last])
    with PveDouble(load("cluster"), version="8.4") as pve:
        yield from _named("refused", read(pve, "ledger@pve!bare").records)
        pve.faults.add(match="GET /nodes/n2/*", kind="status", status=595, times=None)
        failed = [raw for raw in read(pve, "agent@pve!asset").records if raw.target == "node n2"]
        yield from _named("unreachable", failed)


def _named(name: str, found: list[RawRecord]) -> Iterator[tuple[str, RawRecord]]:
    for raw in found:
        document = {**raw.document, "started_at": _AT.isoformat(), "duration_ms": 412}
        if "endpoint" in document:
            document["endpoint"] = "192.0.2.11:8006"
        yield f"{name}-{raw.target.replace(' ', '-')}", replace(raw, document=document, observed_at=_AT)


def write() -> None:
    """Write every kept reading."""
    for name, raw in records():
        kept = {
            "target": raw.target,
            "media_type": raw.media_type,
            "observed_at": raw.observed_at.isoformat(),
            "redacted": raw.redacted,
            "sha256": raw.sha256.hex(),
            "document": dict(raw.document),
            "body_text": raw.body.decode(),
        }
        text = json.dumps(kept, ensure_ascii=False, indent=1) + "\n"
        (FOLDER / f"{name}.raw.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
