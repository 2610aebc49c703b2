"""SOAP as vCenter speaks it: requests taken apart, envelopes, faults, and answers cut into their objects.

Two spellings: "vcsim" as the simulator writes it, and "vpxd" as vCenter itself does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from tests.doubles.https.wire import Answer

Spelling = Literal["vcsim", "vpxd"]
ENVELOPE = "{http://schemas.xmlsoap.org/soap/envelope/}"
VIM = "{urn:vim25}"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
_NAMESPACES = (
    "http://schemas.xmlsoap.org/soap/encoding/",
    "http://schemas.xmlsoap.org/soap/envelope/",
    "http://www.w3.org/2001/XMLSchema",
    XSI,
)
_HEADS = {
    "vcsim": (
        '<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenc="{}" xmlns:soapenv="{}" xmlns:xsd="{}" '
        'xmlns:xsi="{}"><soapenv:Body>'
    ),
    "vpxd": (
        '<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenc="{}"\n xmlns:soapenv="{}"\n xmlns:xsd="{}"\n'
        ' xmlns:xsi="{}">\n<soapenv:Body>\n'
    ),
}
_TAILS = {
    "vcsim": "</soapenv:Body></soapenv:Envelope>",
    "vpxd": "\n</soapenv:Body>\n</soapenv:Envelope>",
}
_LONG_TYPE = f' xmlns:XMLSchema-instance="{XSI}" XMLSchema-instance:type='.encode()
_OBJECT = re.compile(rb"<objects>.*?</objects>", re.DOTALL)
_PROPERTY = re.compile(rb"<propSet><name>([^<]*)</name>.*?</propSet>", re.DOTALL)
_MOID = re.compile(rb"<objects><obj type=\"(\w+)\">([^<]*)</obj>")


@dataclass
class Call:
    """One request. `name` is the SOAP method, or "GET /path"."""

    name: str
    body: bytes
    headers: Mapping[str, str]
    path: str = "/sdk"
    this: tuple[str, str] = ("", "")
    element: Any = None

    @property
    def cookie(self) -> str:
        """The session's cookie without quotes and attributes, or nothing."""
        for part in self.headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == "vmware_soap_session":
                return value.strip('"')
        return ""

    def texts(self, *path: str) -> list[str]:
        """Return the texts of the elements on a path under the method's element."""
        where = "/".join(VIM + step for step in path)
        return [element.text or "" for element in self.element.iterfind(where)]

    def text(self, *path: str) -> str | None:
        return next(iter(self.texts(*path)), None)


def parse(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Call:
    """Return what a request asks; ValueError where a POST is no SOAP."""
    if method != "POST":
        return Call(f"{method} {path}", body, headers, path)
    try:
        root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
    except etree.XMLSyntaxError as error:
        raise ValueError(str(error)) from error
    inside = root.find(ENVELOPE + "Body")
    if inside is None or len(inside) != 1:
        raise ValueError("no SOAP body")
    element = inside[0]
    this = element.find(VIM + "_this")
    target = ("", "") if this is None else (this.get("type", ""), this.text or "")
    return Call(etree.QName(element).localname, body, headers, path, target, element)


def envelope(inside: bytes | str, spelling: Spelling) -> bytes:
    """Wrap the content of a body."""
    content = inside if isinstance(inside, bytes) else inside.encode()
    return _HEADS[spelling].format(*_NAMESPACES).encode() + content + _TAILS[spelling].encode()


def response(name: str, inside: bytes | str, spelling: Spelling, **headers: str) -> Answer:
    """Return a method's answer with what stands in its response element."""
    content = inside if isinstance(inside, bytes) else inside.encode()
    body = f'<{name}Response xmlns="urn:vim25">'.encode() + content + f"</{name}Response>".encode()
    return Answer(200, envelope(body, spelling), headers)


def objects_response(name: str, objects: Iterable[bytes], token: str | None, spelling: Spelling) -> Answer:
    """Return one page. The token stands before the objects, as the schema has it."""
    said = [b"<returnval>"]
    if name == "RetrieveProperties":  # the old method: an array, and no pages
        return response(name, b"".join(_as_returnval(one) for one in objects), spelling)
    if token is not None:
        said.append(f"<token>{escape(token)}</token>".encode())
    said += objects
    if len(said) == 1:
        return response(name, b"", spelling)  # nothing found: no returnval at all
    return response(name, b"".join([*said, b"</returnval>"]), spelling)


def _as_returnval(one: bytes) -> bytes:
    return b"<returnval>" + one.removeprefix(b"<objects>").removesuffix(b"</objects>") + b"</returnval>"


def fault(kind: str, spelling: Spelling, fields: str = "", message: str = "") -> Answer:
    """Return a SOAP fault: HTTP 500 with the fault's type and fields."""
    text = message or _MESSAGES.get(kind, "")
    inside = (
        f"<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{escape(text)}</faultstring><detail>"
        f'<{kind}Fault xmlns="urn:vim25" xsi:type="{kind}">{fields}</{kind}Fault></detail></soapenv:Fault>'
    )
    return Answer(500, envelope(inside, spelling), reason="Internal Server Error")


def ref(tag: str, kind: str, moid: str) -> str:
    """Return an element that refers to an object."""
    return f"<{tag} type={quoteattr(kind)}>{escape(moid)}</{tag}>"


_MESSAGES = {
    "InvalidLogin": "Cannot complete login due to an incorrect user name or password.",
    "NotAuthenticated": "The session is not authenticated.",
    "NoPermission": "Permission to perform this operation was denied.",
    "ManagedObjectNotFound": "The object has already been deleted or has not been completely created",
    "InvalidArgument": "A specified parameter was not correct: ",
    "InvalidProperty": "",
    "NotSupported": "The operation is not supported on the object.",
    "MethodNotFound": "The method is not found.",
    "RequestCanceled": "The task was canceled by a user.",
    "SystemError": "A general system error occurred: vpxd is shutting down",
}


# -- answers as bytes --------------------------------------------------------------------------------------------


def respelled(body: bytes) -> bytes:
    """Return the simulator's spelling of types as vCenter writes them."""
    return body.replace(_LONG_TYPE, b" xsi:type=").replace(b"XMLSchema-instance:type=", b"xsi:type=")


def objects_of(body: bytes) -> list[bytes]:
    """Cut an answer of the property collector into its `<objects>` elements."""
    return _OBJECT.findall(body)


def moid_of(one: bytes) -> tuple[str, str]:
    """Return the type and id of the object that an `<objects>` element is about."""
    found = _MOID.match(one)
    if not found:
        raise ValueError(f"no object: {one[:80]!r}")
    return found[1].decode(), found[2].decode()


def without(one: bytes, leave: Iterable[str]) -> bytes:
    """Take properties out of an object: by path, or all under one as "config.*"."""
    wanted = tuple(leave)

    def kept(found: re.Match[bytes]) -> bytes:
        path = found[1].decode()
        gone = any(path == said or (said.endswith(".*") and (path + ".").startswith(said[:-1])) for said in wanted)
        return b"" if gone else found[0]

    return _PROPERTY.sub(kept, one)


def with_property(one: bytes, path: str, value: str) -> bytes:
    """Put a property into an object, in the place of the one it has. `value` is the whole `<val …>…</val>`."""
    text = f"<propSet><name>{path}</name>{value}</propSet>".encode()
    one = without(one, [path])
    at = one.find(b"<propSet>")
    at = at if at >= 0 else one.index(b"</obj>") + len(b"</obj>")
    return one[:at] + text + one[at:]


def refused(kind: str, moid: str, paths: Iterable[str], fault: str, fields: str) -> bytes:
    """Return an object of which nothing is told but a fault for each path."""
    one = f"<objects>{ref('obj', kind, moid)}</objects>".encode()
    for path in paths:
        one = with_missing(one, path, fault, fields)
    return one


def with_missing(one: bytes, path: str, kind: str, fields: str) -> bytes:
    """Move a property into the object's missingSet, with a fault."""
    text = f'<missingSet><path>{path}</path><fault><fault xsi:type="{kind}">{fields}</fault></fault></missingSet>'
    return without(one, [path]).removesuffix(b"</objects>") + text.encode() + b"</objects>"
