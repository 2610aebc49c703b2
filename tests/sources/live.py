"""What the tests of every platform's live half share: one collect against a double, and what it gave.

Each platform's own live.py says how its collector is made, and adds to Reading what is its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar

from asset_ledger.domain import normalized
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.inventory import AssetRecord, Caution, Item, Proof
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import Collector, Platform, ReadOrder


@dataclass(frozen=True)
class Credentials:
    """One credential for every reference."""

    fields: Mapping[str, str]

    def resolve(self, reference: str) -> Mapping[str, str]:
        return self.fields


def trusted(double: Any, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trust in a double's authority, unless the test says what is trusted."""
    return {} if {"fingerprint", "tls_verify", "ca_file"} & said.keys() else {"ca_file": double.ca_file}


def valid(document: Mapping[str, Any], locator: str = "it") -> None:
    """Fail for what is no normalized-v1 document, or cannot be written."""
    normalized.validate(document, target=locator)
    normalized.canonical_json(document).encode()


@dataclass
class Reading:
    """What one collect gave: its records, the error that ended it, and what the parser makes of the records."""

    platform: ClassVar[Platform]
    whole: ClassVar[str]  # the target of the record that tells of the whole reading, the last one

    records: list[RawRecord] = field(default_factory=list)
    error: LedgerError | None = None

    @classmethod
    def of(cls, collector: Collector, order: ReadOrder) -> Self:
        """Collect once; the error of a reading that failed is kept, not raised."""
        found = cls()
        try:
            for raw in collector.collect(order):
                found.records.append(raw)
        except LedgerError as error:
            found.error = error
        return found

    @property
    def items(self) -> list[Item]:
        return [item for raw in self.records for item in self.platform.parse(raw, {})]

    @property
    def assets(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The normalized documents by kind and id; each is valid, and there once."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for item in self.items:
            if isinstance(item, AssetRecord):
                key = (item.external_kind, item.external_id)
                assert key not in found, f"{key} twice"
                valid(item.document, item.locator)
                found[key] = item.document
        return found

    def kind(self, kind: str) -> dict[str, dict[str, Any]]:
        return {name: document for (of, name), document in self.assets.items() if of == kind}

    @property
    def cautions(self) -> list[tuple[str, str | None]]:
        return [(item.code.code, item.locator) for item in self.items if isinstance(item, Caution)]

    @property
    def proof(self) -> Proof:
        [proof] = [item for item in self.items if isinstance(item, Proof)]
        return proof

    @property
    def last(self) -> Mapping[str, Any]:
        assert self.records[-1].target == self.whole
        return self.records[-1].document

    @property
    def targets(self) -> list[str]:
        return [raw.target for raw in self.records]

    @property
    def bytes(self) -> bytes:
        return b"".join(raw.body + repr(raw).encode() for raw in self.records)


R = TypeVar("R", bound=Reading)


def complete(found: R) -> R:
    """Return a reading that ended well."""
    assert found.error is None, found.error
    assert found.proof.complete, found.proof.missing
    return found
