"""Objects of the shape that they usually have, read by their bytes. Pure; called by `objects`.

Most of what a vCenter sends for one machine it sent for the one before: the same controllers, states, folders. What was
seen before in the same piece is not looked at again; a plain text that is new is read by one expression; the devices
and interfaces that are new go through the XML parser, all of a piece at once. It knows no meaning of its own: values
come from `properties`, and whatever is not exactly of the shape, not well-formed or odd is left to `objects.read`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.vcenter.properties import Many, OddError, Reader, Scalar
from asset_ledger.sources.vcenter.slices import document, head_of

_END = b"</propSet>"
_BEGIN = rb"<propSet><name>([A-Za-z.]{1,128})</name>(<val(?:\s[^<>]*)?>)"
_LIST = re.compile(_BEGIN)
# nothing that a parser would change or refuse: no entity, no control character, no line break
_SCALAR = re.compile(_BEGIN + rb"([^<>&\x00-\x1f]*)</val>")
_NO_CHARACTERS = re.compile("[\ufffe\uffff]")
# a parser has its own limits; an object this large may be past them
_LARGEST = 1 << 20
# what is longer is hardly the same twice
_REMEMBERED = 512
# a server writes a handful
_MOST_TAGS = 100
_ODD = object()


@dataclass(slots=True)
class _Items:
    """The different items of a list's `<val>`s under one and the same opening tag, and what they say by their place."""

    reader: Many
    tag: bytes
    places: dict[bytes, int] = field(default_factory=dict)
    told: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class _Pending:
    """A list whose items are not read yet."""

    items: _Items
    places: list[int]

    def value(self) -> Any:
        """Return the list's value, `_ODD` where an item is."""
        told = self.items.told
        found = [one for place in self.places if (one := told[place]) is not None]
        return _ODD if _ODD in found else self.items.reader.of(found)


class Usual:
    """Reads the slices of one piece."""

    def __init__(self, readers: Mapping[str, Reader], namespaces: Mapping[str, str], target: str) -> None:
        """Take what reads each path, the namespaces in force, and the piece's name."""
        self._readers, self._namespaces, self._target = readers, namespaces, target
        self._seen: dict[bytes, tuple[str, Any]] = {}
        self._tags: dict[bytes, tuple[str | None] | None] = {}
        self._items: dict[tuple[str, bytes], _Items] = {}

    def values(self, parts: Sequence[bytes]) -> list[dict[str, Any] | None]:
        """Return each slice's values by path, None for one that is to be read in another way."""
        drafts = [self._draft(one) for one in parts]
        for items in self._items.values():
            items.told = self._told(items)
        return [None if draft is None else _settled(draft) for draft in drafts]

    def _draft(self, one: bytes) -> dict[str, Any] | None:
        """Return the values of a slice, lists still pending."""
        head = head_of(one)
        if head is None or len(one) > _LARGEST or self._type(head[0], "obj") is None:
            return None
        found: dict[str, Any] = {}
        seen = self._seen
        properties = one[head[1] :].split(_END)
        if properties.pop():
            return None
        for each in properties:
            told = seen.get(each) if len(each) <= _REMEMBERED else None
            if told is None:
                told = self._property(each)
                if told is None:
                    return None
            path, value = told
            if path in found:
                return None
            if path:
                found[path] = value
        return found

    def _property(self, each: bytes) -> tuple[str, Any] | None:
        """Return path and value of a propSet without its end; the path is "" for one that nobody asked for."""
        plain = _SCALAR.fullmatch(each)
        if plain is None:
            return self._list(each)
        kind = self._type(plain[2], "val")
        if kind is None:
            return None
        path, reader = plain[1].decode(), self._readers.get(plain[1].decode())
        told: tuple[str, Any]
        try:
            text = plain[3].decode()
            if _NO_CHARACTERS.search(text):
                return None
            if reader is None:
                told = "", None
            elif isinstance(reader, Scalar):
                told = path, reader.of(kind[0], text)
            elif isinstance(reader, Many):
                told = path, reader.of(())
            else:
                return None
        except (UnicodeDecodeError, OddError):
            return None
        if len(each) <= _REMEMBERED:
            self._seen[each] = told
        return told

    def _list(self, each: bytes) -> tuple[str, Any] | None:
        begun = _LIST.match(each)
        if begun is None or self._type(begun[2], "val") is None:
            return None
        path = begun[1].decode()
        reader = self._readers.get(path)
        if not isinstance(reader, Many):
            return None
        found = each[begun.end() :].split(f"</{reader.tag}>".encode())
        if found.pop() != b"</val>":
            return None
        items = self._items.setdefault((path, begun[2]), _Items(reader, begun[2]))
        places = items.places
        return path, _Pending(items, [places.setdefault(item, len(places)) for item in found])

    def _told(self, items: _Items) -> list[Any]:
        """Return what the different items say, `_ODD` for one that says nothing that can be.

        Cut at the ends of their tag, they are one element each if each begins one, none begins another in it, and all
        together are well-formed: an end then closes the element that began last. Else all are odd.
        """
        tag = f"<{items.reader.tag}".encode()
        end = f"</{items.reader.tag}>".encode()
        # as deep as they stood: a parser counts that
        inside = end.join((*items.places, b""))
        whole = b"".join((b"<objects><propSet>", items.tag, inside, b"</val></propSet></objects>"))
        odd = [_ODD] * len(items.places)
        if whole.count(tag) != len(odd) or not all(item.startswith(tag) for item in items.places):
            return odd
        try:
            value = document(whole, self._namespaces, self._target)[0][0][0]
        except PermanentError:
            return odd
        return [_read(items.reader, element) for element in value]

    def _type(self, tag: bytes, name: str) -> tuple[str | None] | None:
        """Return the attribute `type` of an opening tag, None where it is none, or of another name or namespace."""
        try:
            return self._tags[tag]
        except KeyError:
            pass
        found = None
        if len(self._tags) >= _MOST_TAGS:
            return None
        try:
            [element] = document(tag + f"</{name}>".encode(), self._namespaces, self._target)
            if element.tag == name:
                found = (element.get("type"),)
        except PermanentError:
            pass
        self._tags[tag] = found
        return found


def _read(reader: Many, element: Any) -> Any:
    try:
        return reader.item(element)
    except OddError:
        return _ODD


def _settled(draft: dict[str, Any]) -> dict[str, Any] | None:
    for path, value in draft.items():
        if type(value) is _Pending:
            draft[path] = value.value()
            if draft[path] is _ODD:
                return None
    return draft
