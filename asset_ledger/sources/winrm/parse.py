"""One raw record of a WinRM probe to one normalized-v1 document, or to the reason why there is none. Pure.

Called for today's probes and for the replay of kept ones. What Windows did not tell is absent, with its reason under
`unknown`; a body that is damaged anywhere gives a failure, never a shorter record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asset_ledger.domain.addresses import identifies_machine, normal_serial, normal_uuid, parse_address
from asset_ledger.domain.inventory import MACHINE, AssetRecord, Item
from asset_ledger.domain.normalized import NOT_REPORTED, SCHEMA_NAME, Document, canonical_json
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.probed import FailedError, Target, clean, items, put, raise_own_error
from asset_ledger.sources.winrm import disks, errors, network, queries, system
from asset_ledger.sources.winrm.queries import QUERIES, Query
from asset_ledger.sources.winrm.raw import Answered, QueryError, read
from asset_ledger.sources.winrm.values import flag, text, whole
from asset_ledger.sources.wsman.enumeration import Row, rows

PARSER_VERSION = 1
_SINGLE = (queries.COMPUTER_SYSTEM, queries.OPERATING_SYSTEM)


def parse(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:  # noqa: ARG001  a host is one record
    """Yield one AssetRecord or one TargetFailure, then the Cautions the probe came with."""
    yield from items(raw, errors.by_name, _record)


def _record(raw: RawRecord, target: Target, mgmt_ip: str | None) -> AssetRecord:  # noqa: ARG001  a host has no other id
    raise_own_error(raw, errors.by_name, errors.PARSE_FAILED)
    document = _Machine(_answers(raw.body), mgmt_ip).document()
    external_id = mgmt_ip or raw.target
    # of what was read, not of the envelopes: those hold ids of their own and times, which differ at every reading
    told = f"{PARSER_VERSION} {external_id}\n{canonical_json(document)}"
    return AssetRecord(
        MACHINE, external_id, raw.target, document, hashlib.blake2b(told.encode(), digest_size=16).digest()
    )


def _answers(body: bytes) -> dict[str, list[Row] | QueryError]:
    """Return the rows of every class, or why it has none. Raises FailedError where that fails the machine."""
    try:
        answered = read(body)
    except (ValueError, RecursionError) as wrong:
        raise FailedError(
            errors.PARSE_FAILED, f"the body is not what a probe writes: {clean(str(wrong))[:200]}"
        ) from None
    if list(answered) != [query.name for query in QUERIES]:
        raise FailedError(
            errors.PARSE_FAILED, f"the body answers {len(answered)} queries, and not the {len(QUERIES)} asked"
        )
    return {query.name: _class(query, answered[query.name]) for query in QUERIES}


def _class(query: Query, answered: Answered) -> list[Row] | QueryError:
    if answered.error is not None:
        code = errors.by_name(answered.error.code)
        if code is None:
            raise FailedError(errors.PARSE_FAILED, f"the error of {query.wmi_class} has no code of ours")
        if query.required:
            raise FailedError(code, f"{query.wmi_class}: {clean(answered.error.message)}")
        return answered.error
    try:
        found = rows(answered.answers)
    except ValueError as wrong:
        raise FailedError(errors.PARSE_FAILED, f"{query.wmi_class}: {clean(str(wrong))[:300]}") from None
    if query.required and not found:
        raise FailedError(errors.EMPTY_ANSWER, f"{query.wmi_class} has no row")
    if query in _SINGLE and len(found) > 1:
        raise FailedError(errors.PARSE_FAILED, f"{query.wmi_class} has {len(found)} rows, and every Windows has one")
    return list(found)


class _Machine:
    """The document of one machine as it grows: every fact is put where it belongs, or its reason under `unknown`."""

    def __init__(self, answers: Mapping[str, list[Row] | QueryError], mgmt_ip: str | None) -> None:
        self._answers = answers
        self._mgmt_ip = mgmt_ip
        self._system = self._rows(queries.COMPUTER_SYSTEM)[0]
        self._windows = self._rows(queries.OPERATING_SYSTEM)[0]
        self._unknown: dict[str, str] = {}
        self._custom: dict[str, Any] = {}
        self._identifiers: list[dict[str, str]] = []

    def document(self) -> Document:
        """Return the document."""
        document: Document = {"schema": SCHEMA_NAME, "kind": "machine", "unknown": self._unknown}
        if adapters := self._adapters():
            document["network"] = _network(adapters)
            self._identifiers += self._of_adapters(adapters)
        document["identity"] = self._identity()
        document["identifiers"] = [dict(pair) for pair in dict.fromkeys(tuple(i.items()) for i in self._identifiers)]
        document["hardware"] = self._hardware()
        document["os"], absent = system.release(self._windows)
        self._unknown |= {f"os.{key}": why for key, why in absent.items()}
        document["runtime"] = {"power_state": "running"}
        if virtualization := system.virtualization(self._system):
            document["runtime"]["virtualization"] = virtualization
            document["asset_type"] = "physical" if virtualization == "none" else "vm"
        else:
            why = f"{NOT_REPORTED}: neither Manufacturer and Model nor HypervisorPresent tell"
            self._unknown["runtime.virtualization"] = self._unknown["asset_type"] = why
        self._label()
        document["custom_fields"] = self._custom
        return document

    def _rows(self, query: Query) -> list[Row]:
        found = self._answers[query.name]
        return found if isinstance(found, list) else []

    def _failed(self, query: Query) -> str:
        """Return why an optional class has no rows, or "" where it has been read."""
        error = self._answers[query.name]
        if isinstance(error, list):
            return ""
        fault = "" if error.fault is None else f" {error.fault}"
        return f"{errors.QUERY_FAILED.code}: {query.wmi_class}: {error.code}{fault}"

    def _identity(self) -> dict[str, str]:
        identity: dict[str, str] = {}
        name = system.hostname(self._system)
        put(identity, self._unknown, "identity.hostname", name, f"{errors.FIELD_MISSING.code}: DNSHostName and Name")
        put(identity, self._unknown, "identity.mgmt_ip", self._mgmt_ip, f"{NOT_REPORTED}: the target has none")
        uuid, why = self._only(queries.PRODUCT, "UUID", normal_uuid)
        put(identity, self._unknown, "identity.machine_uuid", uuid, why)
        serial, why = self._only(queries.BIOS, "SerialNumber", normal_serial)
        put(identity, self._unknown, "identity.serial_number", serial, why)
        for kind, value in (("smbios_uuid", uuid), ("serial", serial)):
            if value:
                self._identifiers.append({"kind": kind, "value": value})
        return identity

    def _only(self, query: Query, name: str, normal: Any) -> tuple[str, str]:
        """Return the one value that the rows of a class have, or "" and the reason."""
        if why := self._failed(query):
            return "", why
        told = {text(row, name) for row in self._rows(query)} - {""}
        found = sorted({value for one in told if (value := normal(one))})
        if len(found) == 1:
            return found[0], ""
        if found:
            return "", f"{errors.FIELD_INVALID.code}: {query.wmi_class} tells {len(found)} values of {name}"
        if told:
            return "", f"{NOT_REPORTED}: a placeholder"
        return "", f"{NOT_REPORTED}: {query.wmi_class} tells no {name}"

    def _hardware(self) -> dict[str, Any]:
        hardware: dict[str, Any] = {}
        processors = self._rows(queries.PROCESSOR)
        cpus, why = system.logical_processors(self._system, processors)
        put(hardware, self._unknown, "hardware.cpu_count", cpus, why)
        memory, why = whole(self._system, "TotalPhysicalMemory")
        put(hardware, self._unknown, "hardware.memory_bytes", memory, why)
        disk, why = disks.volumes(self._rows(queries.LOGICAL_DISK))
        why = self._failed(queries.LOGICAL_DISK) or why
        put(hardware, self._unknown, "hardware.disk_total_bytes", disk, why)
        drives, why = disks.drives(self._rows(queries.DISK_DRIVE))
        why = self._failed(queries.DISK_DRIVE) or why
        put(self._custom, self._unknown, "custom_fields.disk_drives_bytes", drives, why)
        if cpus and system.counted_by_rows(self._system, processors):
            self._custom["cpu_counted_by"] = "rows of Win32_Processor"
        for key, name in (("vendor", "Manufacturer"), ("model", "Model")):
            value = normal_serial(text(self._system, name))
            put(hardware, self._unknown, f"hardware.{key}", value, f"{NOT_REPORTED}: {name} is empty or a placeholder")
        return hardware

    def _adapters(self) -> Sequence[network.Adapter] | None:
        adapters, why = network.read(self._rows(queries.NETWORK))
        if why:
            self._unknown["network.ip_addresses"] = why
        return adapters

    def _of_adapters(self, adapters: Sequence[network.Adapter]) -> list[dict[str, str]]:
        own = [ip for adapter in adapters for ip in adapter.identifying()]
        # a person said that the machine is managed by it, so it counts also where others beside it do not
        managed = parse_address(self._mgmt_ip or "")
        if managed and identifies_machine(managed) and any(managed in adapter.addresses for adapter in adapters):
            own.insert(0, managed)
        macs = [adapter.mac for adapter in adapters if adapter.own and adapter.mac]
        return [{"kind": "ip", "value": str(ip)} for ip in own] + [{"kind": "mac", "value": mac} for mac in macs]

    def _label(self) -> None:
        """Put what people ask of a Windows machine and normalized-v1 has no field for."""
        level = text(self._windows, "ServicePackMajorVersion")
        domain = text(self._system, "Domain")
        labels = {
            "os_release": system.product(self._windows),
            "os_role": system.ROLES.get(text(self._windows, "ProductType"), ""),
            "service_pack": level if level.isdecimal() and level != "0" else "",
            "domain": domain if flag(self._system, "PartOfDomain") else "",
        }
        self._custom |= {key: value for key, value in labels.items() if value}


def _network(adapters: Sequence[network.Adapter]) -> dict[str, Any]:
    shown = [(a, [str(ip) for ip in a.shown]) for a in adapters]
    known = list(dict.fromkeys(ip for _, addresses in shown for ip in addresses))
    return ({"ip_addresses": known} if known else {}) | {
        "mac_addresses": list(dict.fromkeys(a.mac for a, _ in shown if a.mac)),
        "interfaces": [
            {"name": a.name, "ip_addresses": addresses} | ({"mac_address": a.mac} if a.mac else {})
            for a, addresses in shown
        ],
    }
