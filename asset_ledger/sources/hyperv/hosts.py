"""One Hyper-V host, and the cluster it is a member of, to normalized-v1 documents. Pure; called by `parse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asset_ledger.domain.addresses import normal_mac, normal_serial, normal_uuid
from asset_ledger.domain.inventory import AssetRecord
from asset_ledger.domain.normalized import NOT_REPORTED, SCHEMA_NAME, Document
from asset_ledger.sources.hyperv.answers import Answer, ClusterSaid
from asset_ledger.sources.hyperv.errors import PARSE_ERROR
from asset_ledger.sources.hyperv.facts import MOST_PROCESSORS, Facts, described, digest_of, uuids
from asset_ledger.sources.hyperv.guests import HOST
from asset_ledger.sources.hyperv.interfaces import Interface, preferred
from asset_ledger.sources.hyperv.values import clean, reason, rows

CLUSTER = "cluster"
_NEVER_TOLD = {
    "hardware.disk_total_bytes": f"{NOT_REPORTED}: what is the host's own of the storage it reaches is not read",
    "os.kernel": f"{NOT_REPORTED}: Windows has its version for it",
    "runtime.virtualization": f"{NOT_REPORTED}: Hyper-V does not tell what a host runs on",
}


def describe_cluster(name: str) -> AssetRecord:
    """Return the cluster of this name."""
    no_machine = f"{NOT_REPORTED}: a cluster is no machine"
    facts = ("hardware.cpu_count", "hardware.memory_bytes", "hardware.disk_total_bytes", "os.family", "os.version")
    unknown = dict.fromkeys((*facts, "runtime.power_state", "network.ip_addresses", "identity.mgmt_ip"), no_machine)
    document: Document = {
        "schema": SCHEMA_NAME,
        "kind": CLUSTER,
        "asset_type": CLUSTER,
        "identity": {"hostname": name, "caption": name},
        "relations": [],
        "unknown": unknown,
    }
    return AssetRecord(CLUSTER, name, f"cluster {name}", document, digest_of(CLUSTER, {}, name))


def describe_host(answer: Answer, address: str) -> tuple[AssetRecord, list[str]]:
    """Return a host's record, and what of it cannot be read. `address` is what was dialled, a name or an address."""
    facts = Facts.of({**answer.host, "errors": [_told(one) for one in answer.errors]}, _NEVER_TOLD)
    identity: dict[str, Any] = {"hostname": facts.text("fqdn")[:255] or answer.name}
    identifiers = _identify(facts, identity)
    network = _network(facts, identity, identifiers, address)
    relations = _member_of(facts, answer.cluster)
    parts: dict[str, Any] = {
        "identity": identity,
        "identifiers": identifiers,
        "hardware": _hardware(facts),
        "os": _system(facts),
        "network": network,
        "runtime": {"power_state": "running"},
        "custom_fields": _labels(facts),
        "relations": relations,
    }
    document = described(HOST, "physical", parts, facts)
    # the script's own moment and rights are no part of the host
    kept = {name: value for name, value in answer.host.items() if name not in ("groups", "is_admin")}
    cluster = answer.cluster.name if answer.cluster is not None else "-"
    wrong = [f"{one.where} {one.code.code}" for one in answer.errors]
    if answer.cluster is not None and answer.cluster.error is not None:
        wrong.append(answer.cluster.error.code.code)
    digest = digest_of(HOST, kept, answer.name, cluster, address, *wrong)
    return AssetRecord(HOST, answer.name, f"host {answer.name}", document, digest), facts.faults


def _told(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("where", "message", "id", "category", "type", "numbers")}


def _identify(facts: Facts, identity: dict[str, Any]) -> list[dict[str, str]]:
    told = facts.text("uuid")
    uuid = normal_uuid(told.strip("{}")) if told else None
    serial = normal_serial(facts.text("serial"))
    for path, name, value, spelled in (
        ("identity.machine_uuid", "uuid", uuid, told),
        ("identity.serial_number", "serial", serial, facts.text("serial")),
    ):
        if spelled and not value:
            facts.unknown[path] = f"{NOT_REPORTED}: its firmware has a placeholder for it"
        else:
            facts.put(identity, path, value, name, "host")
    generation = {key: value for key, value in (("uuid", uuid), ("serial", serial)) if value}
    if generation:
        identity["generation"] = generation
    return uuids(uuid) + ([{"kind": "serial", "value": serial}] if serial else [])


def _hardware(facts: Facts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    processors = facts.number("logical_processors", MOST_PROCESSORS)
    facts.put(found, "hardware.cpu_count", processors, "logical_processors", "host")
    facts.put(found, "hardware.memory_bytes", facts.number("memory_bytes"), "memory_bytes", "host")
    facts.put(found, "hardware.vendor", facts.text("manufacturer"), "manufacturer", "host")
    facts.put(found, "hardware.model", facts.text("model"), "model", "host")
    return found


def _system(facts: Facts) -> dict[str, str]:
    found = {"family": "windows"}
    facts.put(found, "os.name", facts.text("os_caption"), "os_caption", "host")
    facts.put(found, "os.version", facts.text("os_version"), "os_version", "host")
    return found


def _network(facts: Facts, identity: dict[str, Any], identifiers: list[dict[str, str]], address: str) -> dict[str, Any]:
    network: dict[str, Any] = {}
    every = Interface("the host")
    wrong = every.add(rows(facts.told.get("ips")))
    if facts.told.get("macs") is None:
        facts.unknown["network.mac_addresses"] = facts.absent("macs", "host")
    else:
        told = [clean(mac) for mac in rows(facts.told["macs"])]
        network["mac_addresses"] = macs = list(dict.fromkeys(mac for one in told if (mac := normal_mac(one))))
        identifiers += [{"kind": "mac", "value": mac} for mac in macs]
    if wrong or not every.addresses:
        if wrong:
            facts.fault(f"ips: {wrong}")
        why = reason(PARSE_ERROR, wrong) if wrong else facts.absent("ips", "host")
        facts.unknown["network.ip_addresses"] = facts.unknown["identity.mgmt_ip"] = why
        return network
    network["ip_addresses"] = every.addresses
    identifiers += [{"kind": "ip", "value": one} for one in every.own]
    # the cluster's own addresses stand among a node's, and move: the one that was dialled is the node's
    management = _bare(address) if _bare(address) in every.own else preferred(every.own)
    if management:
        identity["mgmt_ip"] = management
    else:
        facts.unknown["identity.mgmt_ip"] = f"{NOT_REPORTED}: none of its addresses is its own"
    return network


def _bare(address: str) -> str:
    """Return an address without brackets and port."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _labels(facts: Facts) -> dict[str, Any]:
    custom: dict[str, Any] = {}
    for label, name in (("cpu_sockets", "sockets"), ("cpu_cores", "cores")):
        facts.put(custom, f"custom_fields.{label}", facts.number(name, MOST_PROCESSORS), name, "host")
    facts.put(custom, "custom_fields.cpu_model", facts.text("cpu_model"), "cpu_model", "host")
    return custom


def _member_of(facts: Facts, cluster: ClusterSaid | None) -> list[Mapping[str, str]] | None:
    """Return what the host is a member of: nothing where it is in no cluster, None where that is not told."""
    if cluster is None:
        if "cluster" in facts.troubles:
            facts.unknown["relations"] = facts.absent("cluster", "cluster")
            return None
        return []
    if not cluster.name:
        told = cluster.error.said if cluster.error is not None else "its cluster's name is not told"
        code = cluster.error.code if cluster.error is not None else PARSE_ERROR
        facts.unknown["relations"] = reason(code, told)
        return None
    return [{"kind": "member_of", "external_kind": CLUSTER, "external_id": cluster.name}]
