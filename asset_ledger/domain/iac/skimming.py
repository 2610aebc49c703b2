"""The outline of a large document: checked to its end, without being held in memory, and without stopping others.

`json.loads` of 46 MB keeps every other thread of a process waiting for most of a second. Here the outer levels are
walked step by step, and only what lies deeper, which is small, is decoded at once, and dropped.
"""

from __future__ import annotations

import json
import re
from typing import Any

STEPPED = 4
"""Levels that are walked: document, its resources, a resource, its instances."""
_SPACE = re.compile(r"[ \t\n\r]*")
# possessive: what was read is never read again. A text or a number that is longer is read by itself
_PLAIN = (
    r'(?:"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){0,1000}+"|true|false|null|\[\]|\{\}'
    r"|-?(?:0|[1-9][0-9]{0,1000}+)(?:\.[0-9]{1,1000}+)?+(?:[eE][+-]?[0-9]{1,1000}+)?+)"
)
_RUN = re.compile(rf"(?:{_PLAIN}[ \t\n\r]*+,[ \t\n\r]*+){{1,10000}}+")
_NAMED_RUN = re.compile(rf'(?:(?="){_PLAIN}[ \t\n\r]*+:[ \t\n\r]*+{_PLAIN}[ \t\n\r]*+,[ \t\n\r]*+){{1,10000}}+')
"""Elements and members with nothing in them and a comma after each: passed over by thousands."""


def outline(body: bytes) -> Any:
    """Return a document with every list and object in it emptied. Raises ValueError for what is no JSON."""
    text = body.decode()
    walk = _Walk(text)
    value, end = walk.value(_space(text, 0), 0)
    if _space(text, end) != len(text):
        raise ValueError(f"more follows the document, at character {end}")
    return value


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at_once = json.JSONDecoder(parse_constant=_refused, parse_float=str).raw_decode

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """Return what begins at a place, emptied below the outermost level, and where it ends."""
        sign = self._text[at : at + 1]
        if depth >= STEPPED or sign not in ("{", "["):
            return self._at_once(self._text, at)
        return self._object(at, depth) if sign == "{" else ([], self._list(at, depth))

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = _space(self._text, at + 1)
        if self._text[at : at + 1] == "}":
            return found, at + 1
        while True:
            if depth and (run := _NAMED_RUN.match(self._text, at)):
                at = run.end()
            if self._text[at : at + 1] != '"':
                raise ValueError(f"a name was expected at character {at}")
            name, at = self._at_once(self._text, at)
            at = self._sign(":", _space(self._text, at))
            value, at = self.value(_space(self._text, at), depth + 1)
            if depth == 0:
                found[name] = type(value)() if isinstance(value, list | dict) else value
            at = _space(self._text, at)
            if self._text[at : at + 1] == "}":
                return found, at + 1
            at = _space(self._text, self._sign(",", at))

    def _list(self, at: int, depth: int) -> int:
        at = _space(self._text, at + 1)
        if self._text[at : at + 1] == "]":
            return at + 1
        while True:
            if run := _RUN.match(self._text, at):
                at = run.end()
            at = _space(self._text, self.value(at, depth + 1)[1])
            if self._text[at : at + 1] == "]":
                return at + 1
            at = _space(self._text, self._sign(",", at))

    def _sign(self, sign: str, at: int) -> int:
        if self._text[at : at + 1] != sign:
            raise ValueError(f"{sign!r} was expected at character {at}")
        return at + 1


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _refused(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
