"""One property of a WMI row as text, number or list, and the reason where there is none. Pure; called by `parse`.

In a row of `wsman.enumeration` every property is a tuple of texts; `None` in it is null, what was not told is absent.
"""

from __future__ import annotations

from asset_ledger.domain.normalized import NOT_REPORTED
from asset_ledger.domain.secrecy import REDACTED
from asset_ledger.sources.probed import clean
from asset_ledger.sources.winrm.errors import FIELD_INVALID, FIELD_MISSING
from asset_ledger.sources.wsman.enumeration import Row

MOST_BYTES = (1 << 63) - 1


def text(row: Row, name: str) -> str:
    """Return the one text of a property without control characters, or "". What was redacted is nobody's name."""
    told = row.get(name, ())
    return clean(told[0]) if len(told) == 1 and told[0] is not None and REDACTED not in told[0] else ""


def texts(row: Row, name: str) -> list[str]:
    """Return the texts of a property, be it an array, one value or nothing."""
    return [value.strip() for value in row.get(name, ()) if value is not None and value.strip()]


def null(row: Row, name: str) -> bool:
    """Say whether a property is told, and has no value."""
    return name in row and not texts(row, name)


def flag(row: Row, name: str) -> bool | None:
    """Return a boolean, or None where it is not told or is none."""
    return {"true": True, "false": False}.get(text(row, name).lower())


def whole(row: Row, name: str, most: int = MOST_BYTES) -> tuple[int | None, str]:
    """Return a number from 1 to `most` and "", or None and the reason. 0 is no amount of anything that is asked for."""
    told = row.get(name)
    if told is None:
        return None, f"{FIELD_MISSING.code}: {name}"
    if null(row, name):
        return None, f"{NOT_REPORTED}: {name} is null"
    value = text(row, name)
    number = int(value) if value.isascii() and value.isdecimal() and len(value) <= 20 else 0
    return (number, "") if 1 <= number <= most else (None, f"{FIELD_INVALID.code}: {name} is {_shown(told)}")


def _shown(told: tuple[str | None, ...]) -> str:
    return repr([value if value is None else clean(value)[:40] for value in told][:3])[1:-1]
