"""JSON read and written without losing a digit: documents of states hold numbers that no float does.

`canonical` is the one text of a value: what hashes and digests are made of.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

_HALVES = re.compile("[\ud800-\udfff]")
WIDEST = 1_000
"""How many digits before or after the point a number may have; PostgreSQL takes 131,072 and 16,383."""

DEEPEST = 254
"""How many objects and lists may stand in each other: what orjson writes. Real states need twenty."""

MOST_HELD = 1 << 30
"""Bytes that a document may take once it is read; one of 46 MB takes some 150 MB."""
_PLACE, _LIST, _OBJECT = 64, 96, 200
"""Bytes that Python takes at most for a short text and its place, which a comma tells of, for a list, for an object."""


class TooDeepError(ValueError):
    """A document in which more than DEEPEST objects and lists stand in each other."""

    def __init__(self) -> None:
        super().__init__(f"nested deeper than {DEEPEST}, which no document of a tool is")


class TooLargeError(ValueError):
    """A document that would take more than MOST_HELD bytes of memory."""

    def __init__(self) -> None:
        super().__init__(f"of so many small values that reading it could take more than {MOST_HELD >> 30} GB of memory")


def loads(body: bytes) -> Any:
    """Return a document with every number as it stands: JSON knows no limit, a float does.

    Of a name that is told twice the last counts, as for the tools. Raises ValueError, of which TooLargeError is one,
    and RecursionError.
    """
    # what stands in texts is counted too: a glance has to do, and there is room to spare
    held = len(body) + body.count(b"[") * _LIST + body.count(b"{") * _OBJECT
    # every other byte may be a comma: counting the commas of 20 MB that have room for that is not worth its time
    if held + len(body) // 2 * _PLACE > MOST_HELD and held + body.count(b",") * _PLACE > MOST_HELD:
        raise TooLargeError
    text = body.decode()  # and not UTF-16 or a byte order mark, which `json` takes and the tools do not
    try:
        return json.loads(text, parse_float=exact, parse_constant=refused)
    except json.JSONDecodeError:
        raise
    except ValueError:  # a whole number of more digits than Python reads; asking for each would cost all documents
        return json.loads(text, parse_float=exact, parse_int=_whole, parse_constant=refused)


def exact(text: str) -> Any:
    """Return a number that is not whole, with every digit of it. Raises ValueError."""
    near = float(text)
    if repr(near) == text:
        return near
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise ValueError("a number with an exponent that nothing holds") from None
    return near if near - near == 0 and Decimal(repr(near)) == exact else exact


def _whole(text: str) -> Any:
    return int(text) if len(text) <= WIDEST else Decimal(text)


def refused(text: str) -> Any:
    """Raise ValueError for NaN and Infinity, which Python reads and nobody else does."""
    raise ValueError(f"{text} is no JSON")


def is_deep(value: Any) -> bool:
    """Say whether more than DEEPEST objects and lists of a document stand in each other. Quick."""
    try:
        orjson.dumps(value, default=_as_read)
    except TypeError:  # too deep, or a number or a text that orjson does not write
        level = [value]
        for _ in range(DEEPEST):
            level = [inner for each in level for inner in _inside(each)]
        return bool(level)
    return False


def canonical(value: Any) -> bytes:
    """Return the one JSON text of a value, keys sorted. Numbers stand as they were read.

    Text that no UTF-8 holds (half of a surrogate pair) becomes U+FFFD, and so does the zero character, which
    PostgreSQL does not take.
    """
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=_as_read)
        # one sign is looked for much faster than six, and most texts have no such one at all
        if b"\\" not in text or b"\\u0000" not in text:
            return text
    except TypeError:  # a whole number of more than 64 bits, half a surrogate pair
        pass
    return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS, default=_as_read)


def _inside(value: Any) -> list[Any]:
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [inner for inner in found if isinstance(inner, dict | list)]


def storable(text: str) -> str:
    """Return a text as PostgreSQL and UTF-8 can hold it."""
    if text.isascii():
        return text if "\0" not in text else text.replace("\0", "\ufffd")
    return _HALVES.sub("\ufffd", text.replace("\0", "\ufffd"))


def storable_number(value: int | float | Decimal) -> int | float | Decimal | str:
    """Return a number as PostgreSQL gives it back from JSONB, so that hashes of both agree; text where it has no room.

    It keeps every digit, writes none as a power of ten, and knows no negative zero.
    """
    if isinstance(value, float):
        return int(value) if abs(value) >= 1e16 else value + 0.0  # from there on floats are written as powers of ten
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 63 or abs(value) < 10**WIDEST else str(value)
    if not value:
        return 0
    if value.adjusted() >= WIDEST or value.as_tuple().exponent < -WIDEST:  # type: ignore[operator]  # never infinite
        return str(value)
    return int(value) if value == value.to_integral_value() else value


def _as_read(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} is no JSON")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 64:
        return orjson.Fragment(str(value))
    return value
