"""Reports of agents as they wait, and as raw, for tests of the platform `agent` and of what follows it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from asset_ledger.domain.inventory import AssetRecord, Item
from asset_ledger.domain.raw import Delivered, RawRecord
from asset_ledger.sources.agent.accept import record
from asset_ledger.sources.agent.parse import parse
from tests.agents.payloads import payload

CLIENT = "6b1f3a52-6f0c-4a7e-9d67-0f3d0a1c2e11"
AT = datetime(2026, 11, 20, 3, 4, 5, tzinfo=UTC)


def delivered(document: Any, *, sender: str = CLIENT, at: datetime = AT, peer: str | None = None) -> Delivered:
    """Return a report as it waits; bytes are taken as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Delivered(sender, body, hashlib.sha256(body).digest(), at, at, at, peer)


def raw_of(document: Any, **told: Any) -> RawRecord:
    """Return the raw record of a report."""
    return record(delivered(document, **told))


def items_of(document: Any, **told: Any) -> list[Item]:
    """Return what parsing a report gives."""
    return list(parse(raw_of(document, **told), {}))


def document_of(os: str = "linux", *, peer: str | None = "192.0.2.10", **changes: Any) -> dict[str, Any]:
    """Return the normalized-v1 document of a report."""
    first = items_of(payload(os, **changes), peer=peer)[0]
    assert isinstance(first, AssetRecord), first
    return first.document
