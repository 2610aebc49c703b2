"""A report that waits to the raw record that is kept of it: as received, but for what looks like a secret. Pure."""

from __future__ import annotations

import hashlib

from asset_ledger.domain.agents.secrets import without_secrets
from asset_ledger.domain.raw import Delivered, RawRecord


def record(delivered: Delivered) -> RawRecord:
    """Return the raw record of a report. Its target is the client; its digest is of the bytes as they were received."""
    body, _ = without_secrets(delivered.body)
    return RawRecord(
        target=delivered.sender,
        media_type="application/json",
        body=body,
        sha256=delivered.sha256,
        document={
            "client_id": delivered.sender,
            "peer": delivered.peer,
            "collected_at": delivered.collected_at.isoformat(),
            "received_at": delivered.received_at.isoformat(),
        },
        observed_at=delivered.observed_at,
        # what was taken out of it when it came in is no more in what was delivered
        redacted=hashlib.sha256(body).digest() != delivered.sha256,
    )
