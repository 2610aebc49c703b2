"""The clients of `vcenter_collect`, each a process of its own that prints what it cost.

All of them read the folder of one simulator that `vcenter_collect` made: `source.json` says where it is and who asks,
`bulk.json` has the request for all machines as a recorded collect sent it, and `*.pickle` are recorded readings.
Run: `python -m benchmarks.vcenter_clients NAME FOLDER ...`.
"""

from __future__ import annotations

import http.client
import json
import pickle
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asset_ledger.domain.calendar import moment_on
from asset_ledger.domain.inventory import AssetRecord, Proof
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import Collector, ReadOrder, SourceConfig
from asset_ledger.sources.registry import platform
from asset_ledger.sources.vcenter.objects import objects
from asset_ledger.sources.vcenter.paths import KINDS, PARTS, VMS
from asset_ledger.sources.vcenter.raw import read_objects
from benchmarks.measuring import Cost, _own_cpu_s, _peak_mb

SOURCE, BULK = "source.json", "bulk.json"
HOSTS_READING, FIRST_READING, SECOND_READING = "hosts.pickle", "vms-1.pickle", "vms-2.pickle"
CHUNK = 1 << 18
PATHS = KINDS[VMS].every
WALKED = tuple(path for path in PATHS if path != "parentVApp")
"""The simulator ends a connection that asks one machine for a vApp that it is not in."""
FETCHED = tuple(dict.fromkeys(path.partition(".")[0] for path in WALKED))
"""The properties of a machine that one fetches who fetches each of them once, whole."""


class OneAccount:
    """The credential of the source."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def resolve(self, reference: str) -> Mapping[str, str]:  # noqa: ARG002
        return self._fields


def _said(folder: Path) -> Any:
    return json.loads((folder / SOURCE).read_text())


def _source(folder: Path) -> SourceConfig:
    return platform("vcenter").config.model_validate(_said(folder)["config"])


def _collector(folder: Path) -> Collector:
    found = platform("vcenter")
    assert found.open is not None
    return found.open(_source(folder), OneAccount(_said(folder)["credential"]))


def _load_libraries() -> None:
    """Import what a client works with before the clock starts, for ours and for theirs."""
    import lxml.etree  # noqa: F401
    import pyVim.connect  # noqa: F401
    import pyVmomi  # noqa: F401
    import urllib3  # noqa: F401

    from asset_ledger.sources.vcenter import collector  # noqa: F401


def _timed(work: Callable[[], Mapping[str, float]]) -> None:
    """Do the work and print what it cost; the process is new, so that nothing else is in it."""
    _load_libraries()
    cpu, began = _own_cpu_s(), time.monotonic()
    told = work()
    costs = {"wall_s": time.monotonic() - began, "cpu_s": _own_cpu_s() - cpu, "peak_mb": _peak_mb()}
    print(json.dumps({**told, **costs}))


# --- readings to be kept -----------------------------------------------------------------------------------------


def record(folder: Path, scope: str, file: str) -> None:
    """Collect once, keep the raw, and keep the largest request as it went out: the one for all machines."""
    import urllib3

    asked: list[dict[str, Any]] = []
    usual = urllib3.HTTPSConnectionPool.urlopen

    def noted(pool: Any, method: str, url: str, body: Any = None, headers: Any = None, **more: Any) -> Any:
        asked.append({"url": url, "body": (body or b"").decode(), "headers": dict(headers or {})})
        return usual(pool, method, url, body=body, headers=headers, **more)

    urllib3.HTTPSConnectionPool.urlopen = noted  # type: ignore[method-assign, assignment]
    kept = 0
    with (folder / file).open("wb") as out:
        for raw in _collector(folder).collect(ReadOrder(scope)):
            pickle.dump(raw, out)
            kept += 1
    if scope == "vms":
        bulk = max(asked, key=lambda one: len(one["body"]))
        if not all(f"<pathSet>{path}</pathSet>" in bulk["body"] for path in PATHS):
            raise RuntimeError(f"the request for all machines is not among {len(asked)} requests")
        (folder / BULK).write_text(json.dumps(bulk))
    print(json.dumps({"records": kept, "requests": len(asked)}))


def recorded(file: Path) -> Iterator[RawRecord]:
    """Yield the records of a kept reading one at a time, as a collector does."""
    with file.open("rb") as kept:
        while kept.peek(1):
            yield pickle.load(kept)


# --- ours --------------------------------------------------------------------------------------------------------


def collected(folder: Path) -> None:
    """Collect, and drop each record: what a run does up to the raw it keeps."""
    collector = _collector(folder)

    def work() -> Mapping[str, float]:
        size = records = 0
        for raw in collector.collect(ReadOrder("vms")):
            records, size = records + 1, size + len(raw.body)
        return {"records": records, "bytes": size}

    _timed(work)


def extracted(folder: Path) -> None:
    """Collect, and extract every property of every machine of each record."""
    collector = _collector(folder)

    def work() -> Mapping[str, float]:
        found = properties = 0
        for raw in collector.collect(ReadOrder("vms")):
            if raw.document["part"] in PARTS:
                for one in objects(read_objects(raw), {}):
                    assert one.found is not None
                    found, properties = found + 1, properties + len(one.found.values)
        return {"machines": found, "properties": properties}

    _timed(work)


def documents(folder: Path) -> None:
    """Collect, and parse each record to documents, and the last one to the proof."""
    collector, parse = _collector(folder), platform("vcenter").parse

    def work() -> Mapping[str, float]:
        found, complete = 0, False
        for raw in collector.collect(ReadOrder("vms")):
            for item in parse(raw, {}):
                found += isinstance(item, AssetRecord)
                complete = complete or (isinstance(item, Proof) and item.complete)
        return {"machines": found, "complete": complete}

    _timed(work)


# --- against a bare transfer -------------------------------------------------------------------------------------


def bare(folder: Path) -> None:
    """Send the recorded request for all machines and throw the answer away; logging in is not measured.

    Only the view's id and the session's cookie are put in its place: both belong to a session.
    """
    from pyVmomi import vim

    said, asked = _said(folder)["config"], json.loads((folder / BULK).read_text())
    with _service(folder) as service:
        content = service.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        body = re.sub(r'(<obj type="ContainerView">)[^<]+', lambda found: found[1] + view._moId, asked["body"])
        headers = asked["headers"] | {"Cookie": service._stub.cookie.partition(";")[0]}
        place = urlsplit(said["endpoint"])
        trusting = ssl.create_default_context(cafile=said["ca_file"])
        connection = http.client.HTTPSConnection(place.hostname or "", place.port, context=trusting, timeout=120)
        connection.connect()

        def work() -> Mapping[str, float]:
            connection.request("POST", asked["url"], body=body.encode(), headers=headers)
            answer = connection.getresponse()
            size = 0
            while chunk := answer.read(CHUNK):
                size += len(chunk)
            return {"bytes": size, "status": answer.status}

        _timed(work)
        connection.close()


# --- against pyvmomi ---------------------------------------------------------------------------------------------


@contextmanager
def _service(folder: Path) -> Iterator[Any]:
    """Log in as pyvmomi does by itself, certificate checked, and out again."""
    from pyVim.connect import Disconnect, SmartConnect

    said = _said(folder)
    place, account = urlsplit(said["config"]["endpoint"]), said["credential"]
    trusting = ssl.create_default_context(cafile=said["config"]["ca_file"])
    service = SmartConnect(  # type: ignore[no-untyped-call]
        host=place.hostname, port=place.port, user=account["username"], pwd=account["password"], sslContext=trusting
    )
    try:
        yield service
    finally:
        Disconnect(service)  # type: ignore[no-untyped-call]


def _view(content: Any) -> Any:
    from pyVmomi import vim

    return content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)


def batched(folder: Path) -> None:
    """Read the same paths of all machines with pyvmomi's own RetrievePropertiesEx, and touch every value."""
    from pyVmomi import vim, vmodl

    page_size = getattr(_source(folder), "page_size")  # noqa: B009 - the platform's own field

    def work() -> Mapping[str, float]:
        ask = vmodl.query.PropertyCollector
        machines = properties = 0
        with _service(folder) as service:
            content = service.RetrieveContent()
            hop = ask.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
            where = ask.ObjectSpec(obj=_view(content), skip=True, selectSet=[hop])
            what = ask.PropertySpec(type=vim.VirtualMachine, pathSet=list(PATHS), all=False)
            asked = [ask.FilterSpec(objectSet=[where], propSet=[what])]
            page = content.propertyCollector.RetrievePropertiesEx(asked, ask.RetrieveOptions(maxObjects=page_size))
            while page is not None:
                for one in page.objects:
                    machines += 1
                    properties += sum(_touched(each.name, each.val) for each in one.propSet)
                token = page.token
                page = content.propertyCollector.ContinueRetrievePropertiesEx(token) if token else None
        return {"machines": machines, "properties": properties}

    _timed(work)


def walked(folder: Path, most: str, how: str) -> None:
    """Read some machines object by object: `paths` walks to every path anew, `whole` fetches each property once."""

    def every_path(machine: Any) -> int:
        return sum(_touched(path, _at(machine, path)) for path in WALKED)

    def every_property(machine: Any) -> int:
        told = {name: getattr(machine, name) for name in FETCHED}
        return sum(_touched(path, _at(told[path.partition(".")[0]], path.partition(".")[2])) for path in WALKED)

    read = {"paths": every_path, "whole": every_property}[how]

    def work() -> Mapping[str, float]:
        with _service(folder) as service:
            machines = _view(service.RetrieveContent()).view[: int(most)]
            return {"machines": len(machines), "properties": sum(read(one) for one in machines)}

    _timed(work)


def _at(value: Any, path: str) -> Any:
    for name in filter(None, path.split(".")):
        value = getattr(value, name, None)
    return value


def _touched(path: str, value: Any) -> int:
    """Look at what our own extractor gives of a value; return 1 where there is one."""
    from pyVmomi import vim

    if path == "config.hardware.device":
        for device in value or ():
            if isinstance(device, vim.vm.device.VirtualDisk):
                _ = device.capacityInBytes or device.capacityInKB
            elif isinstance(device, vim.vm.device.VirtualEthernetCard):
                _ = (device.key, device.macAddress, device.deviceInfo and device.deviceInfo.label)
    elif path == "guest.net":
        for nic in value or ():
            _ = (nic.deviceConfigId, nic.macAddress, nic.network, list(nic.ipAddress))
    return int(value is not None)


# --- what the simulator has --------------------------------------------------------------------------------------


def furnish(folder: Path) -> None:
    """Give every machine a guest with a name and an address, and a memory that it could have."""

    def told(number: int) -> Any:
        from pyVmomi import vim

        guest = {
            "SET.guest.ipAddress": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            "SET.guest.hostName": f"guest-{number:05}.example.com",
            "SET.guest.toolsRunningStatus": "guestToolsRunning",
        }
        options = [vim.option.OptionValue(key=key, value=value) for key, value in guest.items()]
        return vim.vm.ConfigSpec(numCPUs=2, memoryMB=4096, extraConfig=options)

    _reconfigure(folder, None, told)


def change(folder: Path, most: str) -> None:
    """Give some machines more processors."""

    def told(_: int) -> Any:
        from pyVmomi import vim

        return vim.vm.ConfigSpec(numCPUs=4)

    _reconfigure(folder, int(most), told)


def _reconfigure(folder: Path, most: int | None, told: Callable[[int], Any]) -> None:
    with _service(folder) as service:
        machines = _view(service.RetrieveContent()).view[:most]
        for number, machine in enumerate(machines, 1):
            machine.ReconfigVM_Task(told(number))
    print(json.dumps({"machines": len(machines)}))


# --- into the ledger ---------------------------------------------------------------------------------------------


def keep(folder: Path, file: str, scope: str, url: str, day: str) -> None:
    """Keep a recorded reading as raw, as a run does while the server answers."""
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.store.database import connect
    from asset_ledger.store.raw import save_inventory
    from asset_ledger.store.sources import exclusive

    source, on = _source(folder), date.fromisoformat(day)
    covers = platform("vcenter").scopes[scope]
    with connect(url) as connection:
        row = source_row(connection, source)
        with exclusive(connection, row, covers=covers), Cost(connection) as cost:
            save_inventory(
                connection,
                row,
                recorded(folder / file),
                scope=scope,
                collected_date=on,
                collected_at=moment_on(on, datetime.now(UTC)),
                run_id="bench",
                mode="collect",
                complete=False,
                covers=covers,
            )
    cost.print({})


def derive(folder: Path, scope: str, url: str, day: str) -> None:
    """Derive the day from the raw that is kept, as a run does."""
    from asset_ledger.pipeline.derive import derive_day
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.store.database import connect
    from asset_ledger.store.sources import exclusive

    source, covers = _source(folder), platform("vcenter").scopes[scope]
    _load_libraries()
    with connect(url) as connection:
        row = source_row(connection, source)
        with exclusive(connection, row, covers=covers), Cost(connection) as cost:
            day_of = date.fromisoformat(day)
            derived = derive_day(connection, source, row, day_of, covers=covers, run_id="bench", mode="collect")
    cost.print({name: one for name, one in derived.readings[0].outcome.counts.items() if isinstance(one, int)})


def main() -> int:
    client, folder, *more = sys.argv[1:]
    clients: dict[str, Callable[..., None]] = {
        one.__name__: one
        for one in (record, collected, extracted, documents, bare, batched, walked, furnish, change, keep, derive)
    }
    clients[client](Path(folder), *more)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
