"""One `<objects>` element as bytes: cut out of a body, and what can be told of it without parsing. Pure.

`bulk` looks at every slice while it streams in, `objects` and `usual` at those of a kept record. Sound because a body
holds no comment, CDATA or processing instruction (`unsafe` is refused): then `<` stands only where markup begins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.vcenter.errors import PARSE_ERROR
from asset_ledger.sources.vcenter.paths import KINDS, VMS

VIM = "urn:vim25"
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
END = b"</objects>"
GONE = "ManagedObjectNotFound"
"""The fault in the place of every property of an object that is there no more."""
_OBJECT = re.compile(rb"<objects>(<obj(?:\s[^<>]*)?>)([!-%'-;=?-~]{1,255})</obj>")
_NAME = re.compile(rb"<name>name</name><val(?:\s[^<>]*)?>([^<]{1,4096})</val>")
_BETWEEN = "something stands in or between its objects"
_PREFIX = re.compile(r"[A-Za-z_][\w.-]{0,63}\Z")
_ENTITY = re.compile(r"&(?:(lt|gt|amp|quot|apos)|#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6}));")
_ENTITIES = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
# what no XML 1.0 may hold, by itself or by its number
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile("&#(?:([0-9]+)|x([0-9A-Fa-f]+));")
_INSTEAD = "\ufffd"


def unsafe(body: bytes) -> bool:
    """Say whether a body holds markup that no answer has and that would make a cut at `</objects>` unsound."""
    # the second byte first: it is rare, and one byte is looked for ten times as fast as two
    return (b"!" in body and b"<!" in body) or (b"?" in body and b"<?" in body)


def cut(body: bytes, target: str) -> list[bytes]:
    """Return the slices of a body, each without its end. Raises PermanentError(VCENTER_PARSE_ERROR).

    That they are elements, one each, shows when they are parsed.
    """
    parts = body.split(END)
    if parts.pop():
        raise PermanentError(PARSE_ERROR, "its objects do not go on to the end", target=target)
    return parts


def moid_of(piece: bytes) -> str | None:
    """Return the id of an object, or None where it does not begin with one."""
    found = _OBJECT.match(piece)
    return None if found is None else found.group(2).decode("ascii")


def head_of(piece: bytes) -> tuple[bytes, int] | None:
    """Return the tag that opens an object's id and where what follows the id begins, None where there is no id."""
    found = _OBJECT.match(piece)
    return None if found is None else (found.group(1), found.end())


def name_of(piece: bytes) -> str:
    """Return the object's name as its inventory spells it, "" where the slice has none in the usual shape."""
    found = _NAME.search(piece)
    if found is None:
        return ""
    text = found.group(1).decode("utf-8", "replace")
    return _ENTITY.sub(_character, text) if "&" in text else text


def lacking(piece: bytes, part: str, namespaces: Mapping[str, str]) -> dict[str, str]:
    """Return the mandatory properties that an object has not, each with the fault in its place, "" for none.

    A virtual machine without a host lacks nothing where vCenter says that it is on none: it does not run, or is not
    connected; one without a name lacks nothing where it is not connected.

    Raises PermanentError(VCENTER_PARSE_ERROR) for what is no XML.
    """
    absent = [path for path in KINDS[part].mandatory if b"<name>" + path.encode() + b"</name>" not in piece]
    if not absent:
        return {}
    found = elements([piece.removesuffix(END)], namespaces, part)[0]
    faults = {path: fault for one in found.iterfind("missingSet") for path, fault in (missing(one),)}
    if part == VMS:
        connected, stopped = _state(found)
        if not connected or stopped:
            absent = [path for path in absent if path != "runtime.host" or path in faults]
        if not connected:
            absent = [path for path in absent if path != "name" or path in faults]
    return {path: faults.get(path, "") for path in absent}


def missing(entry: Any) -> tuple[str, str]:
    """Return path and fault of a `missingSet`, the fault by its type's name."""
    fault = entry.find("fault/fault")
    kind = "" if fault is None else fault.get(XSI_TYPE) or ""
    return entry.findtext("path") or "", kind.rpartition(":")[2]


def elements(parts: Sequence[bytes], namespaces: Mapping[str, str], target: str) -> Any:
    """Return an element with those of the slices in it, one each; their own tags have no namespace.

    A character that XML forbids is shown as U+FFFD: guests put such into their texts, and servers write them down.
    Raises PermanentError(VCENTER_PARSE_ERROR) for what is no XML, not one object a slice, or not vSphere's.
    """
    try:
        found = document(END.join((*parts, b"")), namespaces, target)
    except PermanentError:
        mended = [_mended(one) for one in parts]
        if mended == list(parts):
            raise
        found = document(END.join((*mended, b"")), namespaces, target)
    if found.text or [one.tag for one in found if not one.tail] != ["objects"] * len(parts):
        raise PermanentError(PARSE_ERROR, _BETWEEN, target=target)
    return found


def document(inside: bytes, namespaces: Mapping[str, str], target: str) -> Any:
    """Return an element that declares the namespaces, with this in it; what has no prefix there has no namespace.

    Raises PermanentError(VCENTER_PARSE_ERROR) for what is no XML, or not vSphere's.
    """
    from lxml import etree

    if namespaces.get("") != VIM:
        raise PermanentError(PARSE_ERROR, "its objects are not of the vSphere API", target=target)
    declared = []
    for prefix, uri in namespaces.items():
        if prefix and (not _PREFIX.match(prefix) or prefix in ("xml", "xmlns") or not uri.isprintable()):
            raise PermanentError(PARSE_ERROR, "a namespace of its objects cannot be read", target=target)
        # without the default one no tag has to be put together with it: a third of the time of reading them
        if prefix:
            declared.append(f" xmlns:{prefix}={quoteattr(uri)}")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, collect_ids=False)
    try:
        body = b"".join((f"<o{''.join(declared)}>".encode(), inside, b"</o>"))
        found = None if unsafe(body) else etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, UnicodeEncodeError) as odd:
        told = escape(str(odd))[:200]
        raise PermanentError(PARSE_ERROR, f"its objects are no XML: {told}", target=target) from None
    if found is None:
        raise PermanentError(PARSE_ERROR, _BETWEEN, target=target)
    return found


def _mended(piece: bytes) -> bytes:
    """Return a slice with U+FFFD for each character that XML forbids."""
    text = piece.decode("utf-8", "replace")
    return _REFERENCE.sub(_referred, _FORBIDDEN.sub(_INSTEAD, text)).encode()


def _referred(found: re.Match[str]) -> str:
    decimal, hexadecimal = found.groups()
    digits = (decimal or hexadecimal).lstrip("0")
    code = int(digits or "0", 10 if decimal else 16) if len(digits) < len("1114112") + 1 else 1 << 21
    return found[0] if code <= 0x10FFFF and not _FORBIDDEN.match(chr(code)) else _INSTEAD


def _state(found: Any) -> tuple[bool, bool]:
    """Return whether a virtual machine is connected, and whether it does not run."""
    told = {one.findtext("name"): one.findtext("val") for one in found.iterfind("propSet")}
    connected = told.get("runtime.connectionState", "connected") == "connected"
    return connected, told.get("runtime.powerState") in ("poweredOff", "suspended")


def _character(found: re.Match[str]) -> str:
    name, decimal, hexadecimal = found.groups()
    if name:
        return _ENTITIES[name]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else "\ufffd"
