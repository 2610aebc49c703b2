"""SOAP envelopes: what a request says, and how answers and faults are written. Pure."""

from __future__ import annotations

import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
MICROSOFT = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
IDENTITY = "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"
FAULT = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
WMI_ERROR = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/MSFT_WmiError"
CIM = "http://schemas.dmtf.org/wbem/wscim/1/common"
BINDING = "http://schemas.dmtf.org/wbem/wsman/1/cimbinding.xsd"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
ANONYMOUS = f"{ADDRESSING}/role/anonymous"
NS = {"s": SOAP, "a": ADDRESSING, "x": TRANSFER, "n": ENUMERATION, "w": WSMAN, "rsp": SHELL, "id": IDENTITY}

_OPEN = (
    f'<s:Envelope xml:lang="en-US" xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}" xmlns:x="{TRANSFER}" xmlns:n="{ENUMERATION}" '
    f'xmlns:w="{WSMAN}" xmlns:p="{MICROSOFT}" xmlns:rsp="{SHELL}"><s:Header><a:Action>'
)
_SECONDS = re.compile(r"P(?:0DT)?T?(?:(\d+)M)?(?:([\d.]+)S)?$")


@dataclass(frozen=True)
class Envelope:
    """What a request says."""

    action: str
    message_id: str
    resource: str
    selectors: Mapping[str, str]
    options: Mapping[str, str]
    timeout: float  # seconds that the answer may take
    max_size: int  # bytes that the answer may have
    body: ET.Element

    @property
    def operation(self) -> str:
        """The last part of the action: "Enumerate", "Create", "Receive"."""
        if self.body.find("id:Identify", NS) is not None:
            return "Identify"
        return self.action.rpartition("/")[2]


def read(text: bytes) -> Envelope:
    """Read a request. Raises ValueError where it is no SOAP envelope with a body."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise ValueError("not XML") from error
    body = root.find("s:Body", NS)
    if root.tag != f"{{{SOAP}}}Envelope" or body is None:
        raise ValueError("not a SOAP envelope")
    header = root.find("s:Header", NS)
    header = ET.Element("none") if header is None else header

    def said(path: str) -> str:
        return (header.findtext(path, "", NS) or "").strip()

    lasting = _SECONDS.match(said("w:OperationTimeout"))
    seconds = float(lasting[1] or 0) * 60 + float(lasting[2] or 0) if lasting else 60.0
    return Envelope(
        said("a:Action"),
        said("a:MessageID"),
        said("w:ResourceURI"),
        {one.get("Name", ""): one.text or "" for one in header.iterfind("w:SelectorSet/w:Selector", NS)},
        {one.get("Name", ""): one.text or "" for one in header.iterfind("w:OptionSet/w:Option", NS)},
        seconds or 60.0,
        int(said("w:MaxEnvelopeSize") or 153_600),
        body,
    )


def written(action: str, relates_to: str, inner: str) -> bytes:
    """Write an answer around the content of its body."""
    return (
        f"{_OPEN}{action}</a:Action><a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID>"
        f"<a:To>{ANONYMOUS}</a:To><a:RelatesTo>{escape(relates_to)}</a:RelatesTo></s:Header>"
        f"<s:Body>{inner}</s:Body></s:Envelope>"
    ).encode()


def identity(version: str) -> bytes:
    """Write what is answered to Identify."""
    return (
        f'<s:Envelope xml:lang="en-US" xmlns:s="{SOAP}"><s:Header/><s:Body><wsmid:IdentifyResponse xmlns:wsmid="{IDENTITY}">'
        f"<wsmid:ProtocolVersion>{WSMAN}</wsmid:ProtocolVersion><wsmid:ProductVendor>Microsoft Corporation"
        f"</wsmid:ProductVendor><wsmid:ProductVersion>{version}</wsmid:ProductVersion></wsmid:IdentifyResponse>"
        "</s:Body></s:Envelope>"
    ).encode()
