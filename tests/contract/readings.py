"""Kept readings of every platform as files: `tests/fixtures/<platform>/contract/NAME.raw.json` and its golden.

A raw file holds what the store keeps of a `RawRecord`: target, media_type, observed_at, document, and the body as
`body_text` or `body_base64`; `sha256` and `redacted` where they are not the body's own and False. The golden,
`NAME.items.json`, holds what parsing gives and is written by `pytest tests/contract --update-golden`.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.inventory import Item
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import Platform
from asset_ledger.sources.registry import PLATFORMS, platform

FIXTURES = Path(__file__).parents[1] / "fixtures"


@dataclass(frozen=True)
class Reading:
    """One kept reading of one platform."""

    platform: Platform
    path: Path

    @property
    def name(self) -> str:
        return f"{self.platform.name}/{self.path.name.removesuffix('.raw.json')}"

    @property
    def golden(self) -> Path:
        return self.path.with_name(self.path.name.replace(".raw.json", ".items.json"))

    def raw(self) -> RawRecord:
        kept = json.loads(self.path.read_text(encoding="utf-8"))
        text = kept.get("body_text")
        body = base64.b64decode(kept["body_base64"], validate=True) if text is None else text.encode()
        return RawRecord(
            target=kept["target"],
            media_type=kept["media_type"],
            body=body,
            sha256=bytes.fromhex(kept["sha256"]) if "sha256" in kept else hashlib.sha256(body).digest(),
            document=kept["document"],
            observed_at=datetime.fromisoformat(kept["observed_at"]),
            redacted=kept.get("redacted", False),
        )

    def items(self, known: Mapping[bytes, str] | None = None) -> list[Item]:
        return list(self.platform.parse(self.raw(), known or {}))


def readings() -> list[Reading]:
    """Return the kept readings of every registered platform."""
    return [
        Reading(platform(name), path)
        for name in PLATFORMS
        for path in sorted((FIXTURES / name / "contract").glob("*.raw.json"))
    ]


def as_json(items: list[Item]) -> str:
    """Return items as the golden's text: codes by name, bytes in hexadecimal."""
    plain = [{"item": type(item).__name__} | _plain(item) for item in items]
    return json.dumps(plain, ensure_ascii=False, indent=1) + "\n"


def _plain(value: Any) -> Any:
    match value:
        case ErrorCode():
            return value.code
        case bytes():
            return value.hex()
        case date():
            return value.isoformat()
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _ if dataclasses.is_dataclass(value):
            return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _:
            return value


def written(platform_name: str) -> dict[str, str]:
    """Return what parsing every reading of a platform gives, as text by name: for another process to compare."""
    return {r.name: as_json(r.items()) for r in readings() if r.platform.name == platform_name}
