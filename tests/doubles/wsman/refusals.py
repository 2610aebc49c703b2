"""The faults that a host answers with: numbers, subcodes, both shapes of the detail, and words in three languages.

The words are this double's own. Windows says them in the language of the host, so that nobody can go by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from tests.doubles.wsman.envelope import ADDRESSING, BINDING, CIM, FAULT, WMI_ERROR, WSMAN, XSI, written

DENIED = 5
TOO_LONG = 206
NO_RESOURCE = 2150858752
BAD_QUERY = 2150858778  # what WMI could not run: an unknown property, class or namespace
BAD_CONTEXT = 2150858779
TIMED_OUT = 2150858793
BAD_ACTION = 2150858753
BAD_XML = 2150858817
NO_SHELL = 2150858843
NO_FILTER = 2150859003
WMI_DENIED = 2150859012
QUOTA_SHELLS = 2150859173
QUOTA_OPERATIONS = 2150859174

Shape = Literal["wsman", "wmi"]
# code: (who is to blame, subcode)
_KINDS = {
    DENIED: ("Sender", "w:AccessDenied"),
    NO_RESOURCE: ("Sender", "a:DestinationUnreachable"),
    BAD_QUERY: ("Sender", "wsen:CannotProcessFilter"),
    BAD_CONTEXT: ("Receiver", "wsen:InvalidEnumerationContext"),
    TIMED_OUT: ("Receiver", "w:TimedOut"),
    BAD_ACTION: ("Sender", "a:ActionNotSupported"),
    BAD_XML: ("Sender", "w:SchemaValidationError"),
    NO_SHELL: ("Sender", "w:InvalidSelectors"),
    NO_FILTER: ("Sender", "a:DestinationUnreachable"),
    WMI_DENIED: ("Sender", "w:AccessDenied"),
    QUOTA_SHELLS: ("Receiver", "w:QuotaLimit"),
    QUOTA_OPERATIONS: ("Receiver", "w:QuotaLimit"),
}
_WORDS = {
    "en": "The double refuses this request.",
    "zh": "替身服务拒绝了此请求。访问或查询未能完成。",
    "de": "Das Double hat die Anforderung abgelehnt. Überprüfen Sie die Rechte für „WinRM“.",
}


@dataclass
class RefusalError(Exception):
    """A fault in place of an answer."""

    code: int
    provider: bool = False  # told by WMI behind WinRM
    text: str | None = None
    shape: Shape | None = None  # None: the host decides
    locale: str | None = None


def fault(refusal: RefusalError, relates_to: str, *, machine: str, locale: str, shape: Shape, query: str = "") -> bytes:
    """Write a fault as a host of this name, language and habit does."""
    blame, subcode = _KINDS.get(refusal.code, ("Receiver", "w:InternalError"))
    language = refusal.locale or locale
    text = escape(_WORDS[language] if refusal.text is None else refusal.text)
    lang = {"en": "en-US", "zh": "zh-CN", "de": "de-DE"}[language]
    if (refusal.shape or shape) == "wmi":
        detail = _wmi_error(refusal.code, text)
    else:
        detail = _wsman_fault(refusal, text, machine, query)
    inner = (
        f'<s:Fault xmlns:wsen="http://schemas.xmlsoap.org/ws/2004/09/enumeration"><s:Code><s:Value>s:{blame}</s:Value>'
        f"<s:Subcode><s:Value>{subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="{lang}">{text} </s:Text></s:Reason><s:Detail>{detail}</s:Detail></s:Fault>'
    )
    action = f"{ADDRESSING if subcode.startswith('a:') else WSMAN.removesuffix('.xsd')}/fault"
    return written(action, relates_to, inner)


def _wsman_fault(refusal: RefusalError, text: str, machine: str, query: str) -> str:
    said = text
    if refusal.provider:
        said = (
            '<f:ProviderFault provider="WMI Provider" path="%systemroot%\\system32\\WsmWmiPl.dll">'
            f'<f:WSManFault xmlns:f="{FAULT}" Code="{refusal.code}" Machine={quoteattr(machine)}>'
            f"<f:Message>{text} </f:Message></f:WSManFault><f:ExtendedError>"
            f'<p:__ExtendedStatus xmlns:xsi="{XSI}" xmlns:cim="{CIM}" xsi:type="p:__ExtendedStatus_Type" '
            'xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/__ExtendedStatus">'
            '<p:Description xsi:nil="true"/><p:Operation>ExecQuery</p:Operation>'
            f"<p:ParameterInfo>{escape(query)}</p:ParameterInfo><p:ProviderName>WinMgmt</p:ProviderName>"
            '<p:StatusCode xsi:nil="true"/></p:__ExtendedStatus></f:ExtendedError></f:ProviderFault>'
        )
    return (
        f'<f:WSManFault xmlns:f="{FAULT}" Code="{refusal.code}" Machine={quoteattr(machine)}>'
        f"<f:Message>{said}</f:Message></f:WSManFault>"
    )


def _wmi_error(code: int, text: str) -> str:
    nils = ("OtherErrorSourceFormat", "OtherErrorType", "OwningEntity")
    nothing = "".join(f'<p:{name} xsi:type="cim:cimString" xsi:nil="true"/>' for name in nils)
    return (
        f'<p:MSFT_WmiError b:IsCIM_Error="true" xmlns:xsi="{XSI}" xmlns:b="{BINDING}" xmlns:p="{WMI_ERROR}" '
        f'xmlns:cim="{CIM}" xsi:type="p:MSFT_WmiError_Type"><p:CIMStatusCode xsi:type="cim:cimUnsignedInt">1'
        f'</p:CIMStatusCode><p:Message xsi:type="cim:cimString">{text} </p:Message>'
        f'<p:MessageID xsi:type="cim:cimString">HRESULT 0x{code:08x}</p:MessageID>{nothing}'
        f'<p:error_Category xsi:type="cim:cimUnsignedInt">0</p:error_Category>'
        f'<p:error_Code xsi:type="cim:cimUnsignedInt">{code}</p:error_Code>'
        '<p:error_Type xsi:type="cim:cimString">HRESULT</p:error_Type>'
        f'<p:error_WindowsErrorMessage xsi:type="cim:cimString">{text} </p:error_WindowsErrorMessage></p:MSFT_WmiError>'
    )
