"""Typed fields out of the objects of a report: what is missing is None, what is of another type is an error.

Keys are compared without case and underscores: gopsutil's major versions and the seed spell them differently.
`payload` reads reports with this.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from asset_ledger.domain.addresses import parse_address
from asset_ledger.domain.iac.exact_json import storable

MOST_ENTRIES = 4096
"""Of CPUs, disks and interfaces each: large machines have two thousand CPUs, busy nodes as many interfaces."""
MOST_FLAGS = 64
_LAST_SECOND = 253_402_300_800
_SIGNED = 1 << 63
_UNSIGNED = 1 << 64


class PayloadError(ValueError):
    """A report that is not of the known shape. `path` is where: `disks[2].total`; empty for the whole."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or 'the report'} {problem}")
        self.path = path


class Block:
    """One object of a report and the way to it. A key that is missing, null or an empty text gives None."""

    def __init__(self, fields: Mapping[str, Any], path: str) -> None:
        self._path = path
        # where two spellings of a key stand in one object, the last that says something counts
        self._fields = {_bare(key): value for key, value in fields.items() if value is not None}

    def path(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def _get(self, name: str) -> Any:
        return self._fields.get(_bare(name))

    def wrong(self, name: str, wanted: str) -> PayloadError:
        return PayloadError(self.path(name), f"is {kind_of(self._get(name))}, not {wanted}")

    def block(self, name: str) -> Block | None:
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.wrong(name, "an object")
        return Block(value, self.path(name))

    def _list(self, name: str, most: int) -> list[Any]:
        value = self._get(name)
        if value is None:  # what Go writes for a list that was never filled
            return []
        if not isinstance(value, list):
            raise self.wrong(name, "a list")
        if len(value) > most:
            raise PayloadError(self.path(name), f"has {len(value)} entries, more than {most}")
        return value

    def blocks(self, name: str, most: int = MOST_ENTRIES) -> list[Block]:
        found = []
        for n, value in enumerate(self._list(name, most)):
            if not isinstance(value, Mapping):
                raise PayloadError(f"{self.path(name)}[{n}]", f"is {kind_of(value)}, not an object")
            found.append(Block(value, f"{self.path(name)}[{n}]"))
        return found

    def words(self, name: str) -> tuple[str, ...]:
        """Return a list of words, which gopsutil v2 writes as one text with commas."""
        value = self._get(name)
        words = value.split(",") if isinstance(value, str) else self._list(name, MOST_FLAGS)
        if len(words) > MOST_FLAGS:
            raise PayloadError(self.path(name), f"has {len(words)} entries, more than {MOST_FLAGS}")
        for n, word in enumerate(words):
            if not isinstance(word, str):
                raise PayloadError(f"{self.path(name)}[{n}]", f"is {kind_of(word)}, not a text")
        return tuple(storable(word.strip()[:255]) for word in words)

    def text(self, name: str, most: int) -> str | None:
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        text = storable(value.strip())
        if len(text) > most:
            raise PayloadError(self.path(name), f"has {len(text)} characters, more than {most}")
        return text or None

    def _whole(self, name: str) -> int | None:
        value = self._get(name)
        # what some writers make of a large number; without the bounds an exponent would be written out
        if isinstance(value, float | Decimal) and -_UNSIGNED < value < _UNSIGNED and value == int(value):
            value = int(value)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, "a whole number")
        return value

    def count(self, name: str) -> int | None:
        """Return a number of 0 and more. None where a subtraction of the agent ran below 0 in its 64 bits."""
        value = self._whole(name)
        if value is None or 0 <= value < _SIGNED:
            return value
        if _SIGNED <= value < _UNSIGNED:
            return None
        raise PayloadError(self.path(name), "is negative" if value < 0 else "is larger than 64 bits hold")

    def number_of_any_sign(self, name: str) -> int | None:
        """Return a small number; None for a large one: Windows says -1 or 2^32-1 for the MTU of a loopback."""
        value = self._whole(name)
        return value if value is not None and abs(value) < 1 << 31 else None

    def number(self, name: str) -> float | None:
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
            raise self.wrong(name, "a number")
        return float(value) if -_UNSIGNED < value < _UNSIGNED else None

    def percent(self, name: str) -> float | None:
        """Return a share, None for what is none: a counter that ran below 0 gives billions."""
        value = self.number(name)
        return round(value, 2) if value is not None and 0 <= value <= 100 else None

    def truth(self, name: str) -> bool | None:
        value = self._get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def address(self, name: str) -> str | None:
        text = self.text(name, 100)
        if text is None:
            return None
        address = parse_address(text)
        if address is None:
            raise PayloadError(self.path(name), f"is {text!r}, not an IP address")
        return str(address)

    def instant(self, name: str) -> datetime | None:
        """Return an instant of RFC 3339 text or of unix seconds, in UTC."""
        value = self._get(name)
        try:
            if isinstance(value, str) and (text := self.text(name, 64)):
                instant = datetime.fromisoformat(text)
                if instant.tzinfo is None:
                    raise PayloadError(self.path(name), f"is {text!r}, which has no time zone; write a Z or an offset")
                return instant.astimezone(UTC)
            seconds = None if isinstance(value, str) else self.number(name)
            if value is None or isinstance(value, str):
                return None
            if seconds is None or not 0 <= seconds < _LAST_SECOND:
                raise PayloadError(self.path(name), "is a number, but not one of unix seconds (milliseconds?)")
            return datetime.fromtimestamp(seconds, UTC)
        except PayloadError:
            raise
        except (ValueError, OverflowError):
            raise PayloadError(self.path(name), f"is {value!r}, not an instant of RFC 3339") from None


@lru_cache(4096)
def _bare(key: str) -> str:
    return key.replace("_", "").lower()


def kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float() | Decimal():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"
