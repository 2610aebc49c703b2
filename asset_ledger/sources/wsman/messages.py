"""The WS-Management messages that are sent, as bytes. Pure: an id and how long the host may take are given.

What stands in them is what pywinrm 0.5.0 sends, which Windows is known to take; made from text, for its dictionaries
cost more than everything else a request does.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

_ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
_TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
_SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
_CMD = f"{_SHELL}/cmd"
_WQL = "http://schemas.microsoft.com/wbem/wsman/1/WQL"
_WMI = "http://schemas.microsoft.com/wbem/wsman/1/wmi"
_MOST_ELEMENTS = 32000
MOST_SCRIPT_BYTES = 75_000
"""Of what goes to standard input, written in base64 twice, in one message of MaxEnvelopeSize 153,600."""

BOOTSTRAP = (
    "$text = (-join @($input)) -replace '[^A-Za-z0-9+/=]', ''\n"
    "& ([ScriptBlock]::Create([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($text))))"
)
"""What PowerShell is started with: it runs what comes over standard input. A command line ends at 8,191 characters, for
from Windows Server 2012 R2 on it goes through cmd.exe whatever is asked. In base64 no code page matters."""

_ENVELOPE = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
    f' xmlns:n="{_ENUMERATION}"'
    ' xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"'
    ' xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"'
    f' xmlns:rsp="{_SHELL}"><s:Header><a:To>{{to}}</a:To><a:ReplyTo><a:Address s:mustUnderstand="true">'
    "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>"
    '<w:MaxEnvelopeSize s:mustUnderstand="true">153600</w:MaxEnvelopeSize>'
    "<a:MessageID>uuid:{message_id}</a:MessageID>"
    '<w:Locale s:mustUnderstand="false" xml:lang="en-US"/><p:DataLocale s:mustUnderstand="false" xml:lang="en-US"/>'
    "<w:OperationTimeout>PT{within_s:.3f}S</w:OperationTimeout>"
    '<w:ResourceURI s:mustUnderstand="true">{resource}</w:ResourceURI>'
    '<a:Action s:mustUnderstand="true">{action}</a:Action>{more}</s:Header><s:Body>{body}</s:Body></s:Envelope>'
)

IDENTIFY = (
    b'<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
    b' xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
    b"<s:Header/><s:Body><wsmid:Identify/></s:Body></s:Envelope>"
)
"""What the host is. It has no header, and its answer refers to none."""


class Messages:
    """Messages to one host. `to` is its URL; a message is made by what it asks, an id, and a time in seconds."""

    def __init__(self, to: str) -> None:
        self._to = escape(to)

    def enumerate(self, query: str, namespace: str, message_id: str, within_s: float) -> bytes:
        """Return the request for the rows of a WQL query, with as many of them as one answer holds."""
        body = (
            f"<n:Enumerate><w:OptimizeEnumeration/><w:MaxElements>{_MOST_ELEMENTS}</w:MaxElements>"
            f"<w:Filter Dialect={quoteattr(_WQL)}>{escape(query)}</w:Filter></n:Enumerate>"
        )
        return self._made(f"{_ENUMERATION}/Enumerate", _wmi(namespace), body, message_id, within_s)

    def pull(self, context: str, namespace: str, message_id: str, within_s: float) -> bytes:
        """Return the request for more rows."""
        body = (
            f"<n:Pull><n:EnumerationContext>{escape(context)}</n:EnumerationContext>"
            f"<n:MaxElements>{_MOST_ELEMENTS}</n:MaxElements></n:Pull>"
        )
        return self._made(f"{_ENUMERATION}/Pull", _wmi(namespace), body, message_id, within_s)

    def release(self, context: str, namespace: str, message_id: str, within_s: float) -> bytes:
        """Return the request to forget an enumeration that is not read to its end."""
        body = f"<n:Release><n:EnumerationContext>{escape(context)}</n:EnumerationContext></n:Release>"
        return self._made(f"{_ENUMERATION}/Release", _wmi(namespace), body, message_id, within_s)

    def create(self, message_id: str, within_s: float) -> bytes:
        """Return the request for a shell: no profile, UTF-8."""
        options = {"WINRS_NOPROFILE": "TRUE", "WINRS_CODEPAGE": "65001"}
        body = (
            "<rsp:Shell><rsp:InputStreams>stdin</rsp:InputStreams>"
            "<rsp:OutputStreams>stdout stderr</rsp:OutputStreams></rsp:Shell>"
        )
        return self._made(f"{_TRANSFER}/Create", _CMD, body, message_id, within_s, options=options)

    def powershell(self, shell: str, message_id: str, within_s: float) -> bytes:
        """Return the request to start powershell.exe, which waits for its script on standard input."""
        options = {"WINRS_CONSOLEMODE_STDIN": "FALSE", "WINRS_SKIP_CMD_SHELL": "FALSE"}
        encoded = base64.b64encode(BOOTSTRAP.encode("utf-16-le")).decode()
        body = (
            "<rsp:CommandLine><rsp:Command>powershell.exe</rsp:Command>"
            f"<rsp:Arguments>-NoProfile -NonInteractive -EncodedCommand {encoded}</rsp:Arguments></rsp:CommandLine>"
        )
        return self._made(f"{_SHELL}/Command", _CMD, body, message_id, within_s, shell=shell, options=options)

    def script(self, shell: str, command: str, script: str, message_id: str, within_s: float) -> bytes:
        """Return the message that gives the bootstrap its script, and ends its standard input."""
        line = base64.b64encode(script.encode()) + b"\r\n"
        stream = (
            f'<rsp:Stream Name="stdin" CommandId={quoteattr(command)} End="true">{base64.b64encode(line).decode()}'
            "</rsp:Stream>"
        )
        return self._made(f"{_SHELL}/Send", _CMD, f"<rsp:Send>{stream}</rsp:Send>", message_id, within_s, shell=shell)

    def receive(self, shell: str, command: str, message_id: str, within_s: float) -> bytes:
        """Return the request for output."""
        stream = f"<rsp:DesiredStream CommandId={quoteattr(command)}>stdout stderr</rsp:DesiredStream>"
        body = f"<rsp:Receive>{stream}</rsp:Receive>"
        return self._made(f"{_SHELL}/Receive", _CMD, body, message_id, within_s, shell=shell)

    def terminate(self, shell: str, command: str, message_id: str, within_s: float) -> bytes:
        """Return the request to end a command, which also one that has ended needs."""
        code = f"<rsp:Code>{_SHELL}/signal/terminate</rsp:Code>"
        body = f"<rsp:Signal CommandId={quoteattr(command)}>{code}</rsp:Signal>"
        return self._made(f"{_SHELL}/Signal", _CMD, body, message_id, within_s, shell=shell)

    def delete(self, shell: str, message_id: str, within_s: float) -> bytes:
        """Return the request to close a shell."""
        return self._made(f"{_TRANSFER}/Delete", _CMD, "", message_id, within_s, shell=shell)

    def _made(
        self,
        action: str,
        resource: str,
        body: str,
        message_id: str,
        within_s: float,
        *,
        shell: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> bytes:
        more = ""
        if shell is not None:
            more = f'<w:SelectorSet><w:Selector Name="ShellId">{escape(shell)}</w:Selector></w:SelectorSet>'
        if options:
            each = "".join(f'<w:Option Name="{name}">{value}</w:Option>' for name, value in options.items())
            more += f"<w:OptionSet>{each}</w:OptionSet>"
        return _ENVELOPE.format(
            to=self._to,
            message_id=message_id,
            within_s=within_s,
            resource=resource,
            action=action,
            more=more,
            body=body,
        ).encode()


def _wmi(namespace: str) -> str:
    return f"{_WMI}/{escape(namespace.replace(chr(92), '/').strip('/'))}/*"
