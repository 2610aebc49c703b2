"""Values as the ECS API writes them: texts, numbers, lists wrapped twice, one thing in place of a list. Pure.

What is not of its kind is noted as a fault of the row; nothing raises. Used by `instances`, `network` and `disks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.normalized import NOT_REPORTED
from asset_ledger.domain.secrecy import REDACTED
from asset_ledger.sources.aliyun.errors import PARSE_ERROR

MOST = (1 << 63) - 1
"""The largest number that a column of the ledger takes."""
TEXT_MOST = 1024
NOT_TOLD = f"{NOT_REPORTED}: Aliyun does not tell it"


def clean(value: Any) -> str:
    """Return a text as a document may hold it: printable, stripped, at most 1024 long; "" for what is no text."""
    if not isinstance(value, str) or value == REDACTED:
        return ""
    if len(value) <= TEXT_MOST and value.isprintable():
        return value.strip()
    return "".join(c if c.isprintable() else " " for c in value).strip()[:TEXT_MOST].strip()


def whole(value: Any, most: int = MOST) -> int | None:
    """Return a whole number from 0 to `most`, or None. Texts of digits count."""
    number: int | None = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        number = int(value)
    return number if number is not None and 0 <= number <= most else None


def reason(code: ErrorCode, told: str) -> str:
    """Return what stands under `unknown`: the code's name and a sentence."""
    return f"{code.code}: {clean(told) or 'no reason given'}"[:TEXT_MOST]


def unwrapped(value: Any, inner: str) -> list[Any] | None:
    """Return the list in `{inner: [...]}`, also where one thing stands in its place; [] for none, None for neither."""
    if isinstance(value, dict):
        value = value.get(inner) if inner in value or not value else 0
    if value is None or value == "":
        return []
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict | str) else None


@dataclass(slots=True)
class Facts:
    """One row while its document grows: what is unknown and why, and what cannot be read."""

    row: Mapping[str, Any]
    unknown: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def text(self, name: str, row: Mapping[str, Any] | None = None) -> str:
        """Return a text, "" where there is none; what is no text is a fault."""
        value = (self.row if row is None else row).get(name)
        if value is not None and not isinstance(value, str):
            self.fault(f"{name} is no text")
        return clean(value)

    def number(self, name: str, most: int = MOST, row: Mapping[str, Any] | None = None) -> int:
        """Return a number, 0 where there is none; what is no number, or one that cannot be, is a fault."""
        value = (self.row if row is None else row).get(name)
        if value is None or value == "":
            return 0
        found = whole(value, most)
        if found is None:
            self.fault(f"{name} is no number that can be")
        return found or 0

    def mapping(self, name: str, row: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Return an object, an empty one where there is none; what is no object is a fault."""
        value = (self.row if row is None else row).get(name)
        if isinstance(value, dict):
            return value
        if value not in (None, ""):
            self.fault(f"{name} is no object")
        return {}

    def many(self, name: str, inner: str, row: Mapping[str, Any] | None = None) -> list[Any]:
        """Return a list that is wrapped twice, [] where there is none; what is no list is a fault."""
        found = unwrapped((self.row if row is None else row).get(name), inner)
        if found is None:
            self.fault(f"{name} is no list")
        return found or []

    def fault(self, told: str) -> None:
        """Note that something cannot be read, once."""
        if told not in self.faults:
            self.faults.append(told)

    def put(self, into: dict[str, Any], path: str, value: Any, name: str) -> None:
        """Set the last part of `path` in its group, or why `name`, which it comes from, is not known."""
        if value:
            into[path.rpartition(".")[2]] = value
        else:
            self.unknown[path] = self.absent(name)

    def label(self, custom: dict[str, Any], label: str, value: Any, name: str) -> None:
        """Set a custom field. One whose property cannot be read is unknown; one that is empty is none."""
        if value:
            custom[label] = value
        elif any(told.startswith(f"{name} is ") for told in self.faults):
            self.unknown[f"custom_fields.{label}"] = self.absent(name)

    def absent(self, name: str) -> str:
        """Return why a property is not known."""
        told = next((told for told in self.faults if told.startswith(f"{name} is ")), "")
        return reason(PARSE_ERROR, told) if told else NOT_TOLD
