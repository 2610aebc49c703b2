"""SOAP answers as XML trees: parsed without entities or anything from outside. Used by what reads answers, purely."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVELOPE = "{http://www.w3.org/2003/05/soap-envelope}Envelope"
BODY = "{http://www.w3.org/2003/05/soap-envelope}Body"


def envelope(answer: bytes) -> Any:
    """Return the root of a SOAP envelope, an lxml element. Raises ValueError saying what is wrong."""
    from lxml import etree

    try:
        root = etree.fromstring(answer, _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ValueError(f"no XML: {' '.join(str(error).split())[:200]}") from None
    if root is None or root.getroottree().docinfo.doctype:
        raise ValueError("it declares a document type, which SOAP forbids")
    if root.tag != ENVELOPE:
        raise ValueError(f"no SOAP envelope but <{str(root.tag)[:80]}>")
    return root


def body(root: Any) -> Any:
    """Return the body of an envelope. Raises ValueError where there is none."""
    found = root.find(BODY)
    if found is None:
        raise ValueError("the SOAP envelope has no body")
    return found


def local(element: Any) -> str:
    """Return an element's name without its namespace: Windows and others differ in these."""
    name: str = element.tag
    return name.rpartition("}")[2]


def named(root: Any, *names: str) -> Iterator[Any]:
    """Yield the elements of these names below an element, whatever their namespace."""
    return root.iter(*(f"{{*}}{name}" for name in names))  # type: ignore[no-any-return]


def text_of(root: Any, name: str) -> str | None:
    """Return the text of the first element of this name, "" where it is empty, None where there is none."""
    found = next(named(root, name), None)
    return None if found is None else (found.text or "").strip()


@cache
def _parser() -> Any:
    from lxml import etree

    return etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        strip_cdata=True,
    )
