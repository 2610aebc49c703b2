"""The clients of `winrm_probe`, each a process of its own that prints what it cost.

They read the file that `winrm_probe` wrote: which hosts, over which listener, and who asks.
Run: `python -m benchmarks.winrm_clients NAME FILE`.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
import uuid
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from asset_ledger.domain.inventory import AssetRecord
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.sources.platform import Collector, ReadOrder
from asset_ledger.sources.winrm import PLATFORM
from asset_ledger.sources.winrm.config import WinrmConfig
from asset_ledger.sources.winrm.queries import QUERIES
from benchmarks.measuring import _own_cpu_s, _peak_mb

REFERENCE = "env:WINRM"
_ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
_WMI = "http://schemas.microsoft.com/wbem/wsman/1/wmi"
_DIALECT = "http://schemas.microsoft.com/wbem/wsman/1/WQL"
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_ELEMENTS = "32000"


class Said:
    """What `winrm_probe` says to a client."""

    def __init__(self, file: str) -> None:
        said = json.loads(Path(file).read_text())
        self.https: bool = said["https"]
        self.authentication: str = said["authentication"]
        self.ca_file: str | None = said["ca_file"]
        self.login: Mapping[str, str] = {"username": said["username"], "password": said["password"]}
        self.parallel: int = said["parallel"]
        self.connect_timeout_s: float = said["connect_timeout_s"]
        self.places: list[tuple[str, int]] = [(address, port) for address, port in said["places"]]

    def resolve(self, reference: str) -> Mapping[str, str]:  # noqa: ARG002
        """Return the account of every host."""
        return self.login

    @property
    def collector(self) -> Collector:
        config = WinrmConfig(
            name="bench",
            platform="winrm",
            https=self.https,
            authentication=self.authentication,
            ca_file=self.ca_file if self.https else None,
            parallel=self.parallel,
            connect_timeout_s=self.connect_timeout_s,
        )
        assert PLATFORM.open is not None
        return PLATFORM.open(config, self)

    def order(self, most: int | None = None) -> ReadOrder:
        places = self.places[:most]
        return ReadOrder(targets=tuple(ProbeTarget(a, a, None, "winrm", port, REFERENCE) for a, port in places))


def counting_requests() -> Callable[[], int]:
    """Return what says how many HTTP requests this process sent so far: every client here ends at `http.client`."""
    sent: list[None] = []
    usual = http.client.HTTPConnection.putrequest

    def putrequest(connection: Any, *arguments: Any, **more: Any) -> None:
        sent.append(None)
        usual(connection, *arguments, **more)

    http.client.HTTPConnection.putrequest = putrequest  # type: ignore[method-assign]
    return lambda: len(sent)


# --- ours --------------------------------------------------------------------------------------------------------


def ours(said: Said) -> None:
    """Collect, as a run does up to the raw it keeps; afterwards see that every record is a machine."""
    asked = counting_requests()
    list(said.collector.collect(said.order(1)))  # imports, and the first of everything
    before, sent, began = _own_cpu_s(), asked(), time.monotonic()
    raws = list(said.collector.collect(said.order()))
    cost = {"wall_s": time.monotonic() - began, "cpu_s": _own_cpu_s() - before, "requests": asked() - sent}
    read = sum(any(isinstance(item, AssetRecord) for item in PLATFORM.parse(raw, {})) for raw in raws)
    print(json.dumps({**cost, "read": read, "failed": _failed(raws), "peak_mb": _peak_mb()}))


def many(said: Said) -> None:
    """Collect and let go of each record at once; a run has them one by one too."""
    list(said.collector.collect(said.order(1)))
    before, began = _own_cpu_s(), time.monotonic()
    size = read = 0
    failed: Counter[str] = Counter()
    for raw in said.collector.collect(said.order()):
        failed.update(_failed([raw]))
        size, read = size + len(raw.body), read + (raw.document["error"] is None)
    cost = {"wall_s": time.monotonic() - began, "cpu_s": _own_cpu_s() - before, "peak_mb": _peak_mb()}
    print(json.dumps({**cost, "read": read, "failed": failed, "bytes": size}))


def _failed(raws: list[RawRecord]) -> Mapping[str, int]:
    return Counter(raw.document["error"]["code"] for raw in raws if raw.document["error"] is not None)


# --- bare pywinrm ------------------------------------------------------------------------------------------------


def bare(said: Said) -> None:
    """What one writes first: a pywinrm Protocol a host, the same queries on it, the rows taken out, nothing kept."""
    from winrm import Protocol

    asked = counting_requests()
    # no proxy; told so by `proxy=None`, requests changes the environment at every call, and in several threads it fails
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    login: Mapping[str, str | bytes] = said.login
    if said.authentication == "basic":  # as text it would be written in Latin-1, whatever is in it
        login = {name: value.encode() for name, value in said.login.items()}

    def probe(place: tuple[str, int]) -> int:
        address, port = place
        protocol = Protocol(
            f"{'https' if said.https else 'http'}://{address}:{port}/wsman",
            transport=said.authentication,
            **login,
            # as it should be used: without it the system's CAs are loaded for each connection
            ca_trust_path=said.ca_file,
        )
        try:
            return sum(len(list(_rows_of(protocol, query.wql, query.namespace))) for query in QUERIES)
        finally:
            protocol.transport.close_session()

    probe(said.places[0])
    before, sent, began = _own_cpu_s(), asked(), time.monotonic()
    with ThreadPoolExecutor(said.parallel) as pool:
        rows = list(pool.map(probe, said.places))
    cost = {"wall_s": time.monotonic() - began, "cpu_s": _own_cpu_s() - before, "requests": asked() - sent}
    read = sum(count >= len(QUERIES) for count in rows)
    print(json.dumps({**cost, "read": read, "failed": {}, "peak_mb": _peak_mb()}))


def _rows_of(protocol: Any, wql: str, namespace: str) -> Iterator[Mapping[str, list[str | None]]]:
    """Yield the rows of a query: Enumerate, then Pull until the end."""
    said: dict[str, Any] = {
        "n:Enumerate": {
            "w:OptimizeEnumeration": None,
            "w:MaxElements": _ELEMENTS,
            "w:Filter": {"@Dialect": _DIALECT, "#text": wql},
        }
    }
    operation = "Enumerate"
    while True:
        answer = _answer(protocol, f"{_WMI}/{namespace}/*", operation, said)
        context = None
        ended = False
        for element in answer.iter():
            match _local(element.tag):
                case "Items":
                    yield from map(_row, element)
                case "EndOfSequence":
                    ended = True
                case "EnumerationContext":
                    context = element.text
        if ended or not context:
            return
        operation = "Pull"
        said = {"n:Pull": {"n:EnumerationContext": context, "n:MaxElements": _ELEMENTS}}


def _answer(protocol: Any, resource: str, operation: str, body: Mapping[str, Any]) -> ET.Element:
    import xmltodict

    envelope = protocol.build_wsman_header(f"{_ENUMERATION}/{operation}", resource, message_id=uuid.uuid4())
    envelope["env:Body"] = body
    return ET.fromstring(protocol.send_message(xmltodict.unparse({"env:Envelope": envelope})))


def _row(item: ET.Element) -> Mapping[str, list[str | None]]:
    row: dict[str, list[str | None]] = {}
    for field in item:
        row.setdefault(_local(field.tag), []).append(None if field.get(_NIL) == "true" else "".join(field.itertext()))
    return row


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def main() -> int:
    clients = {"ours": ours, "many": many, "bare": bare}
    clients[sys.argv[1]](Said(sys.argv[2]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
