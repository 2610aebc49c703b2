"""How tests of the double speak to it: through pywinrm, through pypsrp, and byte by byte."""

from __future__ import annotations

import base64
import http.client
import ssl
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import xmltodict
from pypsrp.wsman import WSMan
from winrm.protocol import Protocol

from tests.doubles.wsman import HostSpec, WsmanDouble, windows

ADDRESS = "127.0.3.1"
DOMAIN_USER, LOCAL_USER = "LAB\\ledger", "ledger"
ACCOUNTS = {DOMAIN_USER: "domain-pw", LOCAL_USER: "local-pw"}
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
WMI = "http://schemas.microsoft.com/wbem/wsman/1/wmi"
DIALECT = "http://schemas.microsoft.com/wbem/wsman/1/WQL"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
ALL = "SELECT * FROM Win32_LogicalDisk"


def host(**said: Any) -> HostSpec:
    """Return a host with two accounts and the rows of a release."""
    given: dict[str, Any] = {"address": ADDRESS, "accounts": ACCOUNTS, "name": "APP01"} | said
    given.setdefault("wmi", windows(release=given.get("release", "2019"), name=given["name"]))
    return HostSpec(**given)


@contextmanager
def one(*, tls: bool = False, double: dict[str, Any] | None = None, **said: Any) -> Iterator[WsmanDouble]:
    """A double with one host."""
    with WsmanDouble(tls=tls, **(double or {})) as made:
        made.add(host(**said))
        yield made


class Talk:
    """One connection of pywinrm, with queries."""

    def __init__(
        self,
        double: WsmanDouble,
        how: Literal["ntlm", "basic"] = "ntlm",
        *,
        address: str = ADDRESS,
        user: str | None = None,
        password: str | None = None,
        **said: Any,
    ) -> None:
        name = user or (DOMAIN_USER if how == "ntlm" else LOCAL_USER)
        given = {"ca_trust_path": str(double.ca_file), "proxy": None, "read_timeout_sec": 6, "operation_timeout_sec": 5}
        secret = ACCOUNTS.get(name, "") if password is None else password
        self.protocol = Protocol(
            double.url(address), transport=how, username=name, password=secret, **{**given, **said}
        )

    def send(self, operation: str, body: dict[str, Any], namespace: str = "root/cimv2", cls: str = "*") -> ET.Element:
        header = self.protocol.build_wsman_header(f"{ENUMERATION}/{operation}", f"{WMI}/{namespace}/{cls}")
        header["env:Body"] = {f"n:{operation}": body}
        return ET.fromstring(self.protocol.send_message(xmltodict.unparse({"env:Envelope": header})))

    def enumerate(self, query: str, namespace: str = "root/cimv2", elements: int = 32_000) -> ET.Element:
        wanted = {"@Dialect": DIALECT, "#text": query}
        body = {"w:OptimizeEnumeration": None, "w:MaxElements": str(elements), "w:Filter": wanted}
        return self.send("Enumerate", body, namespace)

    def pull(self, context: str, namespace: str = "root/cimv2", elements: int = 32_000) -> ET.Element:
        return self.send("Pull", {"n:EnumerationContext": context, "n:MaxElements": str(elements)}, namespace)

    def ask(self, query: str, namespace: str = "root/cimv2") -> list[dict[str, list[str | None]]]:
        """Return every row of a query; each property is a list."""
        answer = self.enumerate(query, namespace)
        found = rows(answer)
        while context := context_of(answer):
            answer = self.pull(context, namespace)
            found += rows(answer)
        return found

    def run(self, script: str, *, skip: bool = True) -> tuple[bytes, bytes, int]:
        """Run a script in a shell of its own, which is gone afterwards."""
        shell = self.protocol.open_shell(noprofile=True, codepage=65001)
        encoded = base64.b64encode(script.encode("utf-16-le")).decode()
        try:
            command = self.protocol.run_command(
                shell, "powershell.exe", ["-EncodedCommand", encoded], skip_cmd_shell=skip
            )
            try:
                return self.protocol.get_command_output(shell, command)
            finally:
                self.protocol.cleanup_command(shell, command)
        finally:
            self.protocol.close_shell(shell, close_session=False)


def psrp(double: WsmanDouble, how: str = "ntlm", user: str | None = None, password: str | None = None) -> WSMan:
    """Return one connection of pypsrp."""
    name = user or (DOMAIN_USER if how != "basic" else LOCAL_USER)
    return WSMan(
        ADDRESS,
        port=double.port,
        username=name,
        password=password or ACCOUNTS[name],
        ssl=double.tls is not None,
        auth=how,
        cert_validation=str(double.ca_file),
        no_proxy=True,
        reconnection_retries=0,
    )


def local(tag: str) -> str:
    return tag.rpartition("}")[2]


def rows(answer: ET.Element) -> list[dict[str, list[str | None]]]:
    """Return the rows of one answer."""
    found = []
    for items in (element for element in answer.iter() if local(element.tag) == "Items"):
        for item in items:
            row: dict[str, list[str | None]] = {}
            for one in item:
                value = None if one.get(NIL) == "true" else "".join(one.itertext())
                row.setdefault(local(one.tag), []).append(value)
            found.append(row)
    return found


def context_of(answer: ET.Element) -> str:
    return next((element.text or "" for element in answer.iter() if local(element.tag) == "EnumerationContext"), "")


def has(answer: ET.Element, name: str) -> list[str]:
    """Return the full tags of the elements of this name."""
    return [element.tag for element in answer.iter() if local(element.tag) == name]


def raw(double: WsmanDouble, body: bytes = b"", headers: dict[str, str] | None = None, **said: Any) -> Any:
    """Send one request as it is; return the answer, read."""
    address, method, path = said.get("address", ADDRESS), said.get("method", "POST"), said.get("path", "/wsman")
    client: http.client.HTTPConnection
    if double.tls is None:
        client = http.client.HTTPConnection(address, double.port, timeout=5)
    else:
        tls = ssl.create_default_context(cafile=str(double.ca_file))
        client = http.client.HTTPSConnection(address, double.port, timeout=5, context=tls)
    try:
        client.request(method, path, body, headers or {})
        answer = client.getresponse()
        text = answer.read()
    finally:
        client.close()
    return answer.status, answer.headers, text


def message_id() -> str:
    return f"uuid:{uuid.uuid4()}"
