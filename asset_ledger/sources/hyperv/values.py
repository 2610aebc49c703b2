"""Values as PowerShell's JSON has them: numbers that may be texts, single elements for arrays, ids in braces. Pure.

Every function takes whatever stands in the JSON and returns None, "" or nothing for what is not of its kind.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from asset_ledger.domain.addresses import parse_address
from asset_ledger.domain.errors import ErrorCode

MOST = (1 << 63) - 1
"""The largest number that a column of the ledger takes."""
TEXT_MOST = 1024

_WHOLE = re.compile(r"[0-9]{1,19}\Z")
_GUID = re.compile(r"\{?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}?\Z")
_NO_GUID = "00000000-0000-0000-0000-000000000000"
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")


def clean(value: Any) -> str:
    """Return a text as a document may hold it: printable, stripped, at most 1024 long; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    if len(value) <= TEXT_MOST and value.isprintable():
        return value.strip()
    return "".join(c if c.isprintable() else " " for c in value).strip()[:TEXT_MOST].strip()


def whole(value: Any, most: int = MOST) -> int | None:
    """Return a whole number from 0 to `most`, or None. Texts of digits count, and 4.0 as a 4."""
    number: int | None = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str) and _WHOLE.match(value.strip()):
        number = int(value)
    if isinstance(value, float) and value.is_integer():
        number = int(value)
    return number if number is not None and 0 <= number <= most else None


def flag(value: Any) -> bool | None:
    """Return a truth value, also one that is a text or 0 and 1; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False, "1": True, "0": False}.get(value.strip().lower())
    return bool(value) if value in (0, 1) and isinstance(value, int) else None


def guid(value: Any) -> str | None:
    """Return a GUID as the ledger spells it, lower case without braces; None for anything else, and for all zeros."""
    found = _GUID.match(value.strip().lower()) if isinstance(value, str) else None
    return found[1] if found is not None and found[1] != _NO_GUID else None


def rows(value: Any) -> list[Any]:
    """Return the elements of an array. PowerShell unwraps one with a single element, and wraps some twice."""
    if isinstance(value, dict) and set(value) == {"value", "Count"}:
        value = value["value"]
    if value is None or value == "":
        return []
    return value if isinstance(value, list) else [value]


def moment(value: Any) -> str | None:
    """Return a time as the script writes it (UTC, seconds), None for anything else or a day that there is not."""
    if not isinstance(value, str) or _MOMENT.match(value) is None:
        return None
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return None
    return value


def node_name(value: Any) -> str:
    """Return a computer's short name in lower case, an address as it is, "" for what is neither."""
    told = clean(value).lower()
    return told[:63] if parse_address(told) else told.split(".", 1)[0].strip()[:63]


def reason(code: ErrorCode, told: str) -> str:
    """Return what stands under `unknown`: the code's name and a sentence."""
    return f"{code.code}: {clean(told) or 'no reason given'}"[:TEXT_MOST]


def shown(names: list[str], most: int = 10) -> str:
    """Return the first few of many, sorted, and how many more there are."""
    every = sorted(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
