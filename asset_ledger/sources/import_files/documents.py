"""From a validated row to its item: a normalized-v1 document for a machine, or a database instance."""

from __future__ import annotations

from typing import Any

from asset_ledger.domain.addresses import identifies_machine, normal_serial, parse_address
from asset_ledger.domain.inventory import InstanceRecord
from asset_ledger.domain.normalized import NOT_REPORTED, SCHEMA_NAME, Document
from asset_ledger.sources.import_files.rows import HostRow, InstanceRow


def host_document(row: HostRow, custom: dict[str, Any]) -> Document:
    """Return the document of one machine. `custom` are the custom.NAME columns; the row's own JSON is added."""
    unknown: dict[str, str] = {}
    document: Document = {"schema": SCHEMA_NAME, "kind": "machine", "unknown": unknown}
    _describe_identity(row, document)
    hardware = _known(
        unknown,
        "hardware",
        (
            ("cpu_count", row.cpu_cores),
            ("memory_bytes", row.memory_bytes or row.memory_mb or row.memory_gb),
            ("disk_total_bytes", row.disk_total_bytes or row.disk_total_gb),
        ),
    )
    hardware |= _given(("vendor", row.vendor), ("model", row.model))
    system = _known(unknown, "os", (("family", row.os_family), ("version", row.os_version)))
    system |= _given(("name", row.os_name))
    access = _given(("protocol", row.protocol), ("port", row.port), ("credential_ref", row.credential_ref))
    if row.custom_fields:
        custom = {**row.custom_fields, **custom}
    document |= {
        name: part
        for name, part in (
            ("asset_type", row.asset_type),
            ("hardware", hardware),
            ("os", system),
            ("access", access),
            ("custom_fields", custom),
            ("tags", row.tags),
        )
        if part
    }
    return document


def _describe_identity(row: HostRow, document: Document) -> None:
    """Add identity, identifiers and network. What may not identify a machine is kept, but is no identifier."""
    identity = {"hostname": row.hostname, "mgmt_ip": row.mgmt_ip}
    identifiers = [{"kind": "ip", "value": row.mgmt_ip}]
    ips = [row.mgmt_ip]
    network: dict[str, Any] = {"ip_addresses": ips}
    for address in row.ip_addresses or ():
        if address == row.mgmt_ip:
            continue
        ips.append(address)
        parsed = parse_address(address)
        if parsed is not None and identifies_machine(parsed):
            identifiers.append({"kind": "ip", "value": address})
    if row.mac_addresses:
        network["mac_addresses"] = row.mac_addresses
        identifiers += [{"kind": "mac", "value": mac} for mac in row.mac_addresses]
    if row.serial_number:
        identity["serial_number"] = row.serial_number
        serial = normal_serial(row.serial_number)
        if serial:
            identifiers.append({"kind": "serial", "value": serial})
    document["identity"] = identity
    document["identifiers"] = identifiers
    document["network"] = network


def _given(*fields: tuple[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields if value is not None}


def _known(unknown: dict[str, str], part: str, fields: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Return the fields that have a value, and note the others as not reported."""
    known = {}
    for name, value in fields:
        if value is None:
            unknown[f"{part}.{name}"] = NOT_REPORTED
        else:
            known[name] = value
    return known


def instance_record(row: InstanceRow, custom: dict[str, Any], locator: str) -> InstanceRecord:
    """Return a database instance. Its key is `host:port:name`, the port blank where none is given."""
    host = f"[{row.host}]" if ":" in row.host else row.host
    return InstanceRecord(
        instance_key=f"{host}:{row.port or ''}:{row.name}",
        locator=locator,
        name=row.name,
        host=row.host,
        port=row.port,
        db_type=row.db_type,
        custom_fields={**(row.custom_fields or {}), **custom},
    )
