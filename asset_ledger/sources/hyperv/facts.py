"""What the documents of hosts and virtual machines are put together with: values or reasons, digests. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.normalized import NOT_REPORTED, SCHEMA_NAME, Document, canonical_json, digest
from asset_ledger.sources.hyperv.answers import Trouble, trouble
from asset_ledger.sources.hyperv.errors import PARSE_ERROR
from asset_ledger.sources.hyperv.values import MOST, clean, reason, rows, whole

PARSER_VERSION = 1
MOST_PROCESSORS = 100_000
_NOT_TOLD = f"{NOT_REPORTED}: the host does not tell it"


@dataclass(slots=True)
class Facts:
    """One object of an answer while its document grows. `troubles` are what the script could not read, by part."""

    told: Mapping[str, Any]
    unknown: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    troubles: dict[str, Trouble] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any], unknown: Mapping[str, str]) -> Facts:
        """Take an object, and what its kind never tells."""
        found = [trouble(one) for one in rows(told.get("errors"))]
        return cls(told, dict(unknown), troubles={one.where: one for one in reversed(found)})

    def text(self, name: str) -> str:
        """Return a text as a document may hold it, "" where there is none; what is no text is a fault."""
        value = self.told.get(name)
        if value is not None and not isinstance(value, str | int | float):
            self.fault(f"{name} is no text")
        return clean(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else clean(value)

    def number(self, name: str, most: int = MOST) -> int:
        """Return a number from 1 to `most`, or 0; one that is no such number is a fault."""
        value = self.told.get(name)
        found = whole(value, most)
        if found is None and value is not None:
            self.fault(f"{name} is no number that can be")
        return found or 0

    def fault(self, told: str) -> None:
        """Note what cannot be read, once."""
        if told not in self.faults:
            self.faults.append(told)

    def absent(self, name: str, part: str = "") -> str:
        """Return why a value is not known: the script failed at its part, it is odd, or it is not told."""
        if (failed := self.troubles.get(part)) is not None:
            return reason(failed.code, failed.said)
        odd = next((fault for fault in self.faults if fault.startswith(f"{name} ")), "")
        return reason(PARSE_ERROR, odd) if odd else _NOT_TOLD

    def put(self, into: dict[str, Any], path: str, value: Any, name: str, part: str = "") -> None:
        """Set the last part of `path` in its group, or why `name`, which it comes from, is not known."""
        if value:
            into[path.rpartition(".")[2]] = value
        else:
            self.unknown[path] = self.absent(name, part)


def uuids(value: str | None) -> list[dict[str, str]]:
    """Return a firmware's UUID as identifiers: as told. Who compares it with what guests show turns the bytes round.

    A generation 1 guest shows the first three groups turned round, a generation 2 guest as they are here.
    """
    return [] if value is None else [{"kind": "smbios_uuid", "value": value}]


def digest_of(kind: str, told: Mapping[str, Any], *context: str) -> bytes:
    """Return the digest of what a document is made of: an object as told, and what it takes from beside it."""
    return digest(canonical_json({"v": PARSER_VERSION, "kind": kind, "told": told, "context": context}))


def described(kind: str, asset_type: str, parts: Mapping[str, Any], facts: Facts) -> Document:
    """Return the document of these parts; empty ones are left out."""
    document: Document = {"schema": SCHEMA_NAME, "kind": kind, "asset_type": asset_type}
    for name, part in parts.items():
        if part or name == "identity" or (name == "relations" and part is not None):
            document[name] = part
    document["unknown"] = facts.unknown
    return document
