"""One raw record of a probe to one normalized-v1 document, or to the reason why there is none. Pure.

Called for today's probes and for the replay of kept ones. What a section did not tell is absent,
with its reason under `unknown`; output that is not whole gives a failure, never a shorter record.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from asset_ledger.domain.addresses import identifies_machine, normal_serial, normal_uuid, parse_address
from asset_ledger.domain.inventory import MACHINE, AssetRecord, Item
from asset_ledger.domain.normalized import NOT_REPORTED, SCHEMA_NAME, Document
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.probed import FailedError, Target, clean, items, put, raise_own_error, string
from asset_ledger.sources.ssh import disks, errors, network, system
from asset_ledger.sources.ssh.sections import NONCE, Section, TruncatedError, UnmarkedError, split

PARSER_VERSION = 2
_LOCALHOST = frozenset({"localhost", "localhost4", "localhost6", "(none)", "none"})


def parse(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:  # noqa: ARG001  a host is one record
    """Yield one AssetRecord or one TargetFailure, then the Cautions the probe came with."""
    yield from items(raw, errors.by_name, _record)


def _record(raw: RawRecord, target: Target, mgmt_ip: str | None) -> AssetRecord:
    sections = _sections(raw)
    here = raw.document.get("transport") == "local" and not target.get("asset_id")
    host_key = clean(string(raw.document.get("host_key_fingerprint")))
    document, identity = _document(sections, mgmt_ip, here=here, host_key=host_key)
    external_id = mgmt_ip or raw.target
    if here:
        external_id = f"local:{identity}" if identity else raw.target
    # without the nonce, so that two days of an unchanged machine have one digest
    stable = raw.body.replace(string(raw.document.get("nonce")).encode(), b"")
    digest = hashlib.blake2b(f"{PARSER_VERSION} {external_id} {host_key}\n".encode() + stable, digest_size=16).digest()
    return AssetRecord(MACHINE, external_id, raw.target, document, digest)


def _sections(raw: RawRecord) -> dict[str, Section]:
    raise_own_error(raw, errors.by_name, errors.PARSE_FAILED)
    nonce = string(raw.document.get("nonce"))
    if not NONCE.match(nonce):
        raise FailedError(errors.PARSE_FAILED, "the record holds no nonce")
    try:
        return split(raw.body, nonce)
    except TruncatedError as cut:
        raise FailedError(errors.TRUNCATED, f"the output is not whole: {cut}") from cut
    except UnmarkedError:
        status = raw.document.get("exit_status")
        head = clean(string(raw.document.get("output_head")))[:200]
        said = f"exit status {status}, output {head!r}"
        if status not in (0, None) or re.search(r"not available|nologin|permission denied", head, re.IGNORECASE):
            raise FailedError(errors.SHELL_DENIED, said) from None
        raise FailedError(errors.UNEXPECTED_OUTPUT, said) from None


def _document(
    sections: Mapping[str, Section], mgmt_ip: str | None, *, here: bool, host_key: str
) -> tuple[Document, str]:
    """Return the document and what identifies this machine among local ones: its machine-id or its name."""
    unknown: dict[str, str] = {}
    document: Document = {"schema": SCHEMA_NAME, "kind": "machine", "identity": {}, "unknown": unknown}
    identifiers: list[dict[str, str]] = []
    nature = system.nature(sections)
    identity: dict[str, str] = document["identity"]

    name, why = _hostname(sections.get("hostname"))
    put(identity, unknown, "identity.hostname", name, why)
    interfaces, why_no_network = network.read(sections)
    if interfaces is None:
        unknown["network.ip_addresses"] = why_no_network
    else:
        document["network"] = _network(interfaces)
        identifiers += _network_identifiers(interfaces)
        if here:
            mgmt_ip = _own_address(interfaces, sections)
    put(identity, unknown, "identity.mgmt_ip", mgmt_ip, f"{NOT_REPORTED}: no default route, or no address on it")

    dmi = {} if nature.container else dict(system.pairs(sections.get("dmi")))
    hidden = f"{errors.CONTAINER.code}: {nature.virtualization}" if nature.container else ""
    put(
        identity,
        unknown,
        "identity.machine_uuid",
        normal_uuid(dmi.get("product_uuid", "")),
        hidden or _why_dmi(dmi, "product_uuid"),
    )
    put(
        identity,
        unknown,
        "identity.serial_number",
        clean(normal_serial(dmi.get("product_serial", "")) or ""),
        hidden or _why_dmi(dmi, "product_serial"),
    )
    machine_id = _machine_id(sections.get("machineid"))
    for kind, value in (
        ("smbios_uuid", identity.get("machine_uuid")),
        ("serial", identity.get("serial_number")),
        ("machine_id", machine_id),
        ("host_key", host_key),
    ):
        if value:
            identifiers.append({"kind": kind, "value": value})
    document["identifiers"] = [dict(pair) for pair in dict.fromkeys(tuple(sorted(i.items())) for i in identifiers)]

    document["hardware"] = _hardware(sections, dmi, nature, hidden, unknown)
    document["os"] = {}
    release = system.operating_system(sections)
    for key in ("family", "name", "version", "kernel"):
        rc = sections["os" if key != "kernel" else "uname"].rc if "os" in sections and "uname" in sections else 127
        why = f"{errors.SECTION_FAILED.code}: os-release rc {rc}" if rc else f"{NOT_REPORTED}: the host does not say"
        put(document["os"], unknown, f"os.{key}", clean(release.get(key, "")), why)
    if virtualization := clean(nature.virtualization or ""):
        document["runtime"] = {"power_state": "running", "virtualization": virtualization}
        document["asset_type"] = nature.asset_type
    else:
        document["runtime"] = {"power_state": "running"}
        why = f"{NOT_REPORTED}: neither systemd-detect-virt, nor DMI, nor the CPU's flags tell"
        unknown["runtime.virtualization"] = unknown["asset_type"] = why
    return document, machine_id or name


def _hardware(
    sections: Mapping[str, Section],
    dmi: Mapping[str, str],
    nature: system.Nature,
    hidden: str,
    unknown: dict[str, str],
) -> dict[str, Any]:
    hardware: dict[str, Any] = {}
    cpu, why = _number(sections.get("cpu"), r"^\s*(\d{1,6})\s*$", "cpu")
    put(hardware, unknown, "hardware.cpu_count", cpu if cpu and cpu <= 100_000 else None, why)
    kib, why = _number(sections.get("mem"), r"^MemTotal:\s+(\d{1,15})\s*kB", "meminfo")
    put(hardware, unknown, "hardware.memory_bytes", kib * 1024 if kib else None, why)
    if nature.container:
        unknown["hardware.disk_total_bytes"] = f"{hidden} shows its host's disks"
    else:
        size, why = disks.total(sections)
        put(hardware, unknown, "hardware.disk_total_bytes", size if size and size < 1 << 63 else None, why)
    for key, field in (("vendor", "sys_vendor"), ("model", "product_name")):
        value = clean(normal_serial(dmi.get(field, "")) or "")
        put(hardware, unknown, f"hardware.{key}", value, hidden or f"{NOT_REPORTED}: no {field} in DMI")
    return hardware


def _network(interfaces: list[network.Interface]) -> dict[str, Any]:
    shown = [
        (i, list(dict.fromkeys(str(a.ip) for a in i.addresses if not a.ip.is_loopback)))
        for i in interfaces
        if i.name != "lo" or any(not a.ip.is_loopback for a in i.addresses)
    ]
    listed = []
    for interface, addresses in shown:
        entry: dict[str, Any] = {"name": clean(interface.name) or "unnamed", "ip_addresses": addresses}
        if interface.mac:
            entry["mac_address"] = interface.mac
        listed.append(entry)
    return {
        "ip_addresses": list(dict.fromkeys(ip for _, addresses in shown for ip in addresses)),
        "mac_addresses": list(dict.fromkeys(i.mac for i, _ in shown if i.mac)),
        "interfaces": listed,
    }


def _network_identifiers(interfaces: list[network.Interface]) -> list[dict[str, str]]:
    found = [{"kind": "ip", "value": str(ip)} for i in interfaces for ip in i.identifying()]
    # a MAC counts where an identifying address would: not on bridges of containers, not on ifb or dummy devices
    probe = parse_address("192.0.2.1")
    for interface in interfaces:
        bare = interface.name.split(":", 1)[0]
        if interface.mac and not interface.no_arp and probe and identifies_machine(probe, bare):
            found.append({"kind": "mac", "value": interface.mac})
    return found


def _own_address(interfaces: list[network.Interface], sections: Mapping[str, Section]) -> str | None:
    name = network.default_interface(sections.get("route"))
    own = [ip for i in interfaces if i.name == name for ip in i.identifying()]
    return str(min(own, key=lambda ip: ip.version)) if own else None


def _hostname(section: Section | None) -> tuple[str, str]:
    if section is None or section.rc:
        return "", f"{errors.SECTION_FAILED.code}: hostname rc {section.rc if section else 127}"
    name = clean(section.text.strip().split("\n")[0])[:255]
    if not name or name.lower().split(".", 1)[0] in _LOCALHOST:
        return "", f"{NOT_REPORTED}: the machine calls itself {name or 'nothing'}"
    return name, ""


def _machine_id(section: Section | None) -> str:
    text = section.text.strip().lower() if section and section.rc == 0 else ""
    return text if re.fullmatch(r"[0-9a-f]{32}", text) and len(set(text)) > 1 else ""


def _number(section: Section | None, pattern: str, name: str) -> tuple[int | None, str]:
    if section is None or section.rc:
        return None, f"{errors.SECTION_FAILED.code}: {name} rc {section.rc if section else 127}"
    found = re.search(pattern, section.text, re.MULTILINE | re.ASCII)
    return (int(found.group(1)) if found else None), f"{errors.SECTION_FAILED.code}: {name} printed no number"


def _why_dmi(dmi: Mapping[str, str], key: str) -> str:
    return f"{NOT_REPORTED}: a placeholder" if key in dmi else f"{NOT_REPORTED}: readable by root only, or no DMI"
