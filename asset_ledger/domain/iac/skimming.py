"""The outline of a large document: checked to its end, without being held in memory, and without stopping others.

`json.loads` of 46 MB keeps every other thread of a process waiting for most of a second, and makes a gigabyte of 46 MB
of empty lists. Here a document is walked, however deep, in pieces of at most WINDOW characters, and nothing is made of
what lies below its outermost level.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from asset_ledger.domain.iac.exact_json import DEEPEST, TooDeepError, exact, is_deep, refused

WINDOW = 64 << 10
"""Characters that are passed over at once: while they are, no other thread gets on."""
MOST_NAMES = 10_000
"""Of an object that is held; a state has ten at its outermost level."""
MOST_STEPS = 1_000_000
"""Values that are looked at one by one, some seconds' work: of a state of 46 MB they are some ten thousand."""

_LEVELS = 4
"""Lists and objects in each other that one expression passes over: most resources whole."""
# possessive: what was read is never read again. And each time of a group atomic: where one fails in its middle, Python
# before 3.11.5 goes on from there otherwise
_SPACES = r"[ \t\n\r]*+"
_WITHIN = r'[^"\\\x00-\x1f]*+(?:(?>\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+))*+'
# numbers of which it is known that they can be read
_NUMBER = r"-?(?:0|[1-9][0-9]{0,999}+)(?:(?>\.[0-9]{1,1000}+))?+(?:(?>[eE][+-]?[0-9]{1,15}+))?+"
_SCALAR = rf'"{_WITHIN}"|{_NUMBER}|true|false|null'


def _elements(value: str) -> str:
    """Return an expression for elements of a list, each with the comma and the beginning of the next, or the end."""
    return rf"(?:(?>(?:{value}){_SPACES}(?:,{_SPACES}(?=[^\]])|(?=\]))))*+"


def _members(value: str) -> str:
    return rf'(?:(?>"{_WITHIN}"{_SPACES}:{_SPACES}(?:{value}){_SPACES}(?:,{_SPACES}(?=")|(?=\}}))))*+'


def _values(levels: int) -> str:
    if not levels:
        return _SCALAR
    inner = _values(levels - 1)
    return rf"{_SCALAR}|\[{_SPACES}{_elements(inner)}\]|\{{{_SPACES}{_members(inner)}\}}"


_SPACE = re.compile(_SPACES)
_TEXT = re.compile(_WITHIN)
_RUNS = {"]": re.compile(_elements(_values(_LEVELS))), "}": re.compile(_members(_values(_LEVELS)))}
_FLAT_RUNS = {"]": re.compile(_elements(_SCALAR)), "}": re.compile(_members(_SCALAR))}
_BARE_MEMBERS = re.compile(_members(rf"{_SCALAR}|\[{_SPACES}\]|\{{{_SPACES}\}}"))
_CLOSING = {"[": "]", "{": "}"}


def outline(body: bytes, kept: Collection[tuple[str, ...]] = ()) -> Any:
    """Return a document with every list and object in it emptied.

    `kept` are ways, by names, to lists and objects that stay as they are: small ones. Below the outermost level
    nothing else stands beside them, and an empty one may be left out. Raises TooDeepError, and ValueError for what is
    no JSON or cannot be held.
    """
    text = body.decode()
    if len(text) <= WINDOW:
        return _emptied(_small(text), 0, frozenset(kept))
    value, end = _Walk(text).value(_space(text, 0), 0, frozenset(kept))
    if _space(text, end) != len(text):
        raise ValueError(f"more follows the document, at character {end}")
    return value


def member(body: bytes, *names: str) -> bytes | None:
    """Return the text of what stands in a document under names, one in the other; None where nothing does.

    Raises ValueError for what is no JSON.
    """
    text = body.decode()
    walk = _Walk(text)
    start, end = _space(text, 0), len(text)
    for depth, name in enumerate(names):
        found = walk.member(start, depth, name) if text[start : start + 1] == "{" else None
        if found is None:
            return None
        start, end = found
    return text[start:end].encode()


def _small(text: str) -> Any:
    """Return a document that may be held whole, and stops others no longer than a piece of a large one does."""
    try:
        document = json.loads(text, parse_constant=refused, parse_float=exact)
    except RecursionError:
        raise TooDeepError from None
    if is_deep(document):
        raise TooDeepError
    return document


def _emptied(value: Any, depth: int, kept: frozenset[tuple[str, ...]]) -> Any:
    """Return a value emptied below the outermost level, but for what is `kept`."""
    if () in kept or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        return []
    found = {}
    for name, inner in value.items() if kept or not depth else ():
        below = frozenset(way[1:] for way in kept if way[0] == name)
        if below or not depth:
            found[name] = _emptied(inner, depth + 1, below)
    return found


class _Walk:
    """A way through one document. A place is told with how many lists and objects it lies in."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at_once = json.JSONDecoder(parse_constant=refused, parse_float=exact).raw_decode
        self._steps = 0

    def value(self, at: int, depth: int, kept: frozenset[tuple[str, ...]]) -> tuple[Any, int]:
        """Return what begins at a place, emptied below the outermost level but for what is `kept`, and its end."""
        sign = self._text[at : at + 1]
        if sign not in _CLOSING:
            return self._at_once(self._text, at)
        if () in kept:
            end = self._end(at, depth)
            if end - at > WINDOW:
                raise ValueError(f"longer than {WINDOW} characters, which is not held, at character {at}")
            return self._at_once(self._text, at)[0], end
        if sign == "{" and (kept or not depth):
            return self._object(at, depth, kept)
        return ({} if sign == "{" else []), self._end(at, depth)

    def member(self, at: int, depth: int, wanted: str) -> tuple[int, int] | None:
        """Return where a member of the object at a place begins and ends; of a name that is told twice, the last."""
        found = None
        at = _space(self._text, at + 1)
        while self._text[at : at + 1] == '"':
            name, at = self._at_once(self._text, at)
            start = self._colon(at)
            end = self._end(start, depth + 1)
            if name == wanted:
                found = start, end
            at = _space(self._text, end)
            if self._text[at : at + 1] != ",":
                break
            at = _space(self._text, at + 1)
        self._sign("}", at)
        return found

    def _object(self, at: int, depth: int, kept: frozenset[tuple[str, ...]]) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = _space(self._text, at + 1)
        if self._text[at : at + 1] == "}":
            return found, at + 1
        for _ in range(MOST_NAMES):
            if depth and (at := _passed(_BARE_MEMBERS, self._text, at)) and self._text[at : at + 1] == "}":
                return found, at + 1
            if self._text[at : at + 1] != '"':
                raise ValueError(f"a name was expected at character {at}")
            name, at = self._at_once(self._text, at)
            below = frozenset(way[1:] for way in kept if way[0] == name)
            value, at = self.value(self._colon(at), depth + 1, below)
            if below or not depth:
                found[name] = value
            at = _space(self._text, at)
            if self._text[at : at + 1] == "}":
                return found, at + 1
            at = _space(self._text, self._sign(",", at))
            if self._text[at : at + 1] == "}":
                raise ValueError(f"a name was expected at character {at}")
        raise ValueError(f"more than {MOST_NAMES} names in one object, at character {at}")

    def _end(self, at: int, depth: int) -> int:
        """Return where a value ends that begins at a place. Nothing is made of it, however deep it is."""
        closing: list[str] = []
        while True:
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise ValueError(f"more than {MOST_STEPS} lists and objects with many others in them")
            if last := _CLOSING.get(self._text[at : at + 1]):
                closing.append(last)
                if depth + len(closing) > DEEPEST:
                    raise TooDeepError
                at = self._next(_space(self._text, at + 1), closing, depth, due=True)
            else:
                at = self._next(self._scalar_end(at), closing, depth, due=False)
            if not closing:
                return at

    def _next(self, at: int, closing: list[str], depth: int, *, due: bool) -> int:
        """Return where the next value begins that is to be entered, out of what is over; `due`: one may begin here."""
        text = self._text
        while closing:
            last = closing[-1]
            if not due and text[(at := _space(text, at)) : at + 1] == ",":
                at, due = _space(text, at + 1), True
                if text[at : at + 1] == last:
                    raise ValueError(f"one more was expected at character {at}")
            if due:
                runs = _RUNS if depth + len(closing) + _LEVELS <= DEEPEST else _FLAT_RUNS
                at = _passed(runs[last], text, at)
            if text[at : at + 1] != last:
                if not due:
                    raise ValueError(f"',' or {last!r} was expected at character {at}")
                return at if last == "]" else self._colon(self._name_end(at))
            closing.pop()
            at, due = at + 1, False
        return at

    def _name_end(self, at: int) -> int:
        if self._text[at : at + 1] != '"':
            raise ValueError(f"a name was expected at character {at}")
        return self._scalar_end(at)

    def _scalar_end(self, at: int) -> int:
        if self._text[at : at + 1] != '"':
            return self._at_once(self._text, at)[1]
        begins, at = at, at + 1
        while (end := _passed(_TEXT, self._text, at)) != at:
            at = end
        if self._text[at : at + 1] != '"':
            raise ValueError(f"what begins at character {begins} is no text")
        return at + 1

    def _colon(self, at: int) -> int:
        return _space(self._text, self._sign(":", _space(self._text, at)))

    def _sign(self, sign: str, at: int) -> int:
        if self._text[at : at + 1] != sign:
            raise ValueError(f"{sign!r} was expected at character {at}")
        return at + 1


def _space(text: str, at: int) -> int:
    return _passed(_SPACE, text, at, len(text))


def _passed(pattern: re.Pattern[str], text: str, at: int, within: int = WINDOW) -> int:
    """Return where something ends that may be nothing."""
    found = pattern.match(text, at, at + within)
    assert found is not None
    return found.end()
