"""The rows of a WS-Enumeration: what Enumerate and Pull were answered with. Pure; used by `client` and by parsers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from asset_ledger.sources.wsman import soap

Row = Mapping[str, tuple[str | None, ...]]
"""A WMI object by its properties. An array has many values, of none is nothing known; nil is None."""

_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_ANSWERS = ("EnumerateResponse", "PullResponse")


@dataclass(frozen=True, slots=True)
class Page:
    """How an enumeration goes on: the context to pull with, None after its end; and how many rows came."""

    context: str | None
    rows: int


def rows(answers: Iterable[bytes]) -> list[Row]:
    """Return the rows that the answers to one query hold, in their order.

    Takes both forms of rows (`SELECT *` and `SELECT a, b`) and the items of both namespaces. Raises ValueError saying
    what is wrong with an answer, and where they are not the whole of an enumeration, from its beginning to its end.
    """
    found: list[Row] = []
    context: str | None = None
    begun = False
    for answer in answers:
        root = soap.envelope(answer)
        if begun and context is None:
            raise ValueError("an answer follows the one that ends the enumeration")
        begun, context = True, page(root, context).context
        found += map(_row, _items(_answer(root)))
    if not begun or context is not None:
        raise ValueError("the enumeration is not read to its end" if begun else "there is no answer")
    return found


def page(root: Any, context: str | None = None) -> Page:
    """Return how an enumeration goes on after an answer. Raises ValueError where that is not to be told.

    `context` is what was pulled with: an answer that names none goes on with it.
    """
    answer = _answer(root)
    count = sum(1 for _ in _items(answer))
    told = answer.find("{*}EnumerationContext")
    if answer.find("{*}EndOfSequence") is not None:
        if told is not None and (told.text or "").strip():
            raise ValueError("the answer ends the enumeration and says how it goes on")
        return Page(None, count)
    found = context if told is None else (told.text or "").strip()
    if not found:
        raise ValueError("the answer neither ends the enumeration nor says how it goes on")
    return Page(found, count)


def _answer(root: Any) -> Any:
    for found in soap.body(root):
        if soap.local(found) in _ANSWERS:
            return found
    raise ValueError("the answer is none to an enumeration")


def _items(answer: Any) -> Iterator[Any]:
    for items in answer.findall("{*}Items"):
        yield from items


def _row(item: Any) -> Row:
    found: dict[str, list[str | None]] = {}
    for field in item:
        found.setdefault(soap.local(field), []).append(_value(field))
    return {name: tuple(values) for name, values in found.items()}


def _value(field: Any) -> str | None:
    if field.get(_NIL) in ("true", "1"):
        return None
    if not len(field):
        return field.text or ""
    return "".join(field.itertext())  # dates come as <cim:Datetime>, embedded objects as their fields
