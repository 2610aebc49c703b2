"""Raw evidence: the one value that passes from a collector or a dropped file to the store, and back for replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class RawRecord:
    """Raw evidence as received, redacted, ready to be committed before anything is derived from it.

    `body` holds the bytes; `sha256` is of the bytes before redaction; `document` is the JSON beside them:
    what was asked, how it went, timings, and the error of a target that failed.
    """

    target: str
    media_type: str
    body: bytes
    sha256: bytes
    document: Mapping[str, Any]
    observed_at: datetime
    redacted: bool = False

    def named(self, target: str) -> RawRecord:
        """Return the same evidence under another target name."""
        return replace(self, target=target)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a sender brought to the HTTP service, as it waits there: the bytes as received, who sent them, and when.

    `sha256` is of the bytes, `collected_at` the sender's word, `received_at` the service's, `observed_at` the one of
    them that counts, `peer` the address that the sender spoke from.
    """

    sender: str
    body: bytes
    sha256: bytes
    observed_at: datetime
    collected_at: datetime
    received_at: datetime
    peer: str | None = None
