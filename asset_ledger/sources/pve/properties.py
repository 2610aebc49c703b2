"""Values as Proxmox VE writes them: property strings, sizes, numbers that may be texts, free text. Pure.

Every function takes whatever stands in the JSON and returns None or "" for what is not of its kind; none raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.sources.pve.errors import PARSE_ERROR

MOST = (1 << 63) - 1
"""The largest number that a column of the ledger takes."""
TEXT_MOST = 1024

_WHOLE = re.compile(r"[0-9]{1,19}\Z")
_SIZE = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,9}))?([KMGT]?)\Z")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def clean(value: Any) -> str:
    """Return a text as a document may hold it: printable, stripped, at most 1024 long; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    if len(value) <= TEXT_MOST and value.isprintable():
        return value.strip()
    return "".join(c if c.isprintable() else " " for c in value).strip()[:TEXT_MOST].strip()


def whole(value: Any, most: int = MOST) -> int | None:
    """Return a whole number from 0 to `most`, or None. Texts of digits count: their type differs by release."""
    number: int | None = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str) and _WHOLE.match(value):
        number = int(value)
    return number if number is not None and 0 <= number <= most else None


def rounded_up(value: Any) -> int | None:
    """Return a number that may be fractional, such as `cpulimit`, as the next whole one, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return math.ceil(number) if 0 <= number <= MOST else None  # NaN is not either


def flag(value: Any) -> bool:
    """Say whether a boolean of PVE is on: 1, "1", and in configurations written by hand also "yes", "on", "true"."""
    return value is True or value == 1 or (isinstance(value, str) and value.lower() in ("1", "yes", "on", "true"))


def properties(value: Any, first: str = "") -> dict[str, str]:
    """Return the parts of a property string `a,key=b,…` by key; a part without a key has the name `first`."""
    found: dict[str, str] = {}
    if not isinstance(value, str):
        return found
    for part in value.split(","):
        key, mark, rest = part.partition("=")
        if mark:
            found[key.strip()] = rest
        elif part:
            found.setdefault(first, part)
    return found


def size_bytes(value: Any) -> int | None:
    """Return a size such as `32G`, `2.5T` or `1024` in bytes, or None for what is none."""
    found = _SIZE.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    number, fraction, unit = found.groups()
    size = int(number) * _UNITS[unit]
    if fraction:
        size += math.ceil(int(fraction) * _UNITS[unit] / 10 ** len(fraction))
    return size if size <= MOST else None


def put(into: dict[str, Any], unknown: dict[str, str], path: str, value: Any, why: str) -> None:
    """Set the last part of `path` in its group, or the reason why it is not known."""
    if value:
        into[path.rpartition(".")[2]] = value
    else:
        unknown[path] = why[:TEXT_MOST]


def reason(code: ErrorCode | str, told: str) -> str:
    """Return what stands under `unknown`: the code's name and a sentence."""
    return f"{code if isinstance(code, str) else code.code}: {clean(told) or 'no reason given'}"[:TEXT_MOST]


def fault(unknown: dict[str, str], faults: list[str], path: str, told: str) -> None:
    """Note that the value of a field is not of its kind: the field is unknown, and the caution will say so."""
    unknown[path] = reason(PARSE_ERROR, told)
    faults.append(told)


def mapping(value: Any) -> Mapping[str, Any] | None:
    """Return a JSON object, or None for anything else."""
    return value if isinstance(value, dict) else None
