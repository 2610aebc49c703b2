"""The machines that states declare: written with their resources, dated by what changed, gone with them, made again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from asset_ledger.domain.iac.locking import lock_of
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.states import parse_waiting, rebuild
from asset_ledger.store.access.people import add_tenant
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.iac import states
from asset_ledger.store.iac.states import Name, NewBody, Who, Written
from asset_ledger.store.tenancy import as_tenant

RING = KeyRing({"k1": b"k" * 32})
STACK = Name("terraform", "shop", "prod")
PVE = 'provider["registry.terraform.io/bpg/proxmox"]'
GIB = 1 << 30


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as found:
        yield found


@pytest.fixture
def tenant(connection: Connection) -> UUID:
    return add_tenant(connection, "acme", RING)


def vm(number: int | None, called: str = "vm", /, *, marks: tuple[str, ...] = (), **attributes: Any) -> dict[str, Any]:
    held = {
        "id": None if number is None else str(number),
        "vm_id": number,
        "name": f"web-{number}",
        "node_name": "pve1",
        "started": True,
        "cpu": [{"cores": 2, "sockets": 1}],
        "memory": [{"dedicated": 4096}],
        "disk": [{"interface": "scsi0", "size": 32}],
        "ipv4_addresses": [["127.0.0.1"], ["10.0.0.7"]],
        **attributes,
    }
    paths = [[{"type": "get_attr", "value": each}] for each in marks]
    return {
        "mode": "managed",
        "type": "proxmox_virtual_environment_vm",
        "name": called,
        "provider": PVE,
        "instances": [{"attributes": held, "sensitive_attributes": paths}],
    }


def written(connection: Connection, tenant: UUID, *blocks: Any, operation: str = "OperationTypeApply") -> datetime:
    """Write a version as a run does, read it, and return when it was written."""
    with as_tenant(connection, tenant):
        lock = lock_of(json.dumps({"ID": "run", "Operation": operation}).encode())
        states.take_lock(connection, tenant, STACK, lock, Who("ci", None))
        (serial,) = connection.execute("SELECT count(*) FROM iac.states").fetchone() or (0,)
        body = json.dumps({"version": 4, "serial": serial, "lineage": "one", "resources": blocks}).encode()
        new = NewBody(body, "terraform", True, serial, "one", "1.15.5")
        done = states.add_version(connection, tenant, STACK, new, lock_id="run", who=Who("ci", None), ring=RING)
        assert isinstance(done, Written)
        states.give_lock(connection, tenant, STACK, "run", Who("ci", None))
    (parsed,) = parse_waiting(connection, RING)
    assert not parsed.unread
    at = connection.execute("SELECT created_at FROM iac.states ORDER BY version DESC LIMIT 1").fetchone()
    assert at is not None
    assert isinstance(at[0], datetime)
    return at[0]


def machines(connection: Connection) -> list[dict[str, Any]]:
    cursor = connection.execute("SELECT * FROM iac.declared_machines ORDER BY addr")
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def dated(connection: Connection) -> dict[str, datetime]:
    return {row["addr"]: row["declared_at"] for row in machines(connection)}


ADDRESS = "proxmox_virtual_environment_vm.vm"


def test_a_machine_is_declared_with_the_resource_that_it_is(connection: Connection, tenant: UUID) -> None:
    at = written(connection, tenant, vm(101))
    (row,) = machines(connection)
    resource = connection.execute("SELECT stable_uid, state_id FROM iac.resources_current").fetchone()
    assert (row.pop("stable_uid"), row.pop("state_id")) == resource
    assert str(row.pop("ip_addresses")) == "[IPv4Address('10.0.0.7')]"
    assert row == {
        "tenant_id": tenant,
        "addr": ADDRESS,
        "provider": "bpg/proxmox",
        "alias": "",
        "resource_type": "proxmox_virtual_environment_vm",
        "machine_kind": "vm",
        "machine_id": "qemu/101",
        "machine_uuid": None,
        "name": "web-101",
        "cpu_cores": 2,
        "memory_bytes": 4 * GIB,
        "disk_total_bytes": 32 * GIB,
        "power_state": "on",
        "host": "pve1",
        "region": None,
        "declared_at": at,
    }


def test_a_machine_is_declared_since_one_of_its_values_changed(connection: Connection, tenant: UUID) -> None:
    first = written(connection, tenant, vm(101), vm(102, "b"))
    # a description is nothing that is compared
    written(connection, tenant, vm(101, description="new"), vm(102, "b"))
    assert set(dated(connection).values()) == {first}
    third = written(connection, tenant, vm(101, memory=[{"dedicated": 8192}]), vm(102, "b"))
    assert dated(connection) == {ADDRESS: third, "proxmox_virtual_environment_vm.b": first}
    fourth = written(connection, tenant, vm(101, memory=[{"dedicated": 8192}], started=None), vm(102, "b"))
    assert dated(connection) == {ADDRESS: fourth, "proxmox_virtual_environment_vm.b": first}
    assert machines(connection)[1]["power_state"] is None


def test_a_machine_that_only_moves_is_declared_as_it_was(connection: Connection, tenant: UUID) -> None:
    first = written(connection, tenant, vm(101))
    written(connection, tenant, vm(101, "moved"), operation="state-mv")
    assert dated(connection) == {"proxmox_virtual_environment_vm.moved": first}
    tainted = vm(101, "moved")
    tainted["instances"][0]["status"] = "tainted"
    written(connection, tenant, tainted, operation="taint")
    assert dated(connection) == {"proxmox_virtual_environment_vm.moved": first}
    assert machines(connection)[0]["cpu_cores"] == 2


def test_a_machine_that_left_its_state_is_declared_no_more(connection: Connection, tenant: UUID) -> None:
    written(connection, tenant, vm(101), vm(102, "b"))
    written(connection, tenant, vm(102, "b"))
    assert [row["machine_id"] for row in machines(connection)] == ["qemu/102"]
    written(connection, tenant, vm(103, "b"))
    assert [row["machine_id"] for row in machines(connection)] == ["qemu/103"]
    written(connection, tenant)
    assert machines(connection) == []


def test_what_could_not_be_read_of_a_version_keeps_its_machines(connection: Connection, tenant: UUID) -> None:
    written(connection, tenant, vm(101))
    written(connection, tenant, vm(101) | {"instances": "none of these"})
    assert [row["machine_id"] for row in machines(connection)] == ["qemu/101"]


def test_a_machine_that_an_apply_failed_to_make_is_none(connection: Connection, tenant: UUID) -> None:
    nothing = vm(None, node_name="pve1", ipv4_addresses=[])
    written(connection, tenant, nothing)
    assert machines(connection) == []
    at = written(connection, tenant, vm(101))
    assert dated(connection) == {ADDRESS: at}
    written(connection, tenant, nothing)
    assert machines(connection) == []


def test_a_machine_of_which_nothing_is_left_to_find_it_by_goes_although_its_resource_stays(
    connection: Connection, tenant: UUID
) -> None:
    def google(*addresses: str) -> dict[str, Any]:
        card = [{"network_ip": address} for address in addresses]
        instance = {"attributes": {"self_link": "projects/p/zones/z/instances/n", "network_interface": card}}
        return {"mode": "managed", "type": "google_compute_instance", "name": "g", "provider": 'provider["registry.terraform.io/hashicorp/google"]', "instances": [instance]}  # fmt: skip

    written(connection, tenant, google("10.7.0.1"))
    assert len(machines(connection)) == 1
    written(connection, tenant, google())
    assert machines(connection) == []
    assert connection.execute("SELECT count(*) FROM iac.resources_current").fetchone() == (1,)


def test_what_is_secret_of_a_machine_is_not_in_the_clear(connection: Connection, tenant: UUID) -> None:
    written(connection, tenant, vm(101, name="planted-name", node_name="planted-node", marks=("name", "node_name")))
    (row,) = machines(connection)
    assert (row["name"], row["host"], row["cpu_cores"]) == (None, None, 2)
    assert "planted" not in repr(row)


def test_machines_are_made_again_as_they_were(connection: Connection, tenant: UUID) -> None:
    written(connection, tenant, vm(101), vm(102, "b"))
    written(connection, tenant, vm(101, memory=[{"dedicated": 8192}]), vm(102, "c"), operation="state-mv")
    written(connection, tenant, vm(101, memory=[{"dedicated": 8192}], description="x"), vm(102, "c"), vm(7, "d"))
    before = machines(connection)
    assert len(before) == 3
    connection.execute("UPDATE iac.declared_machines SET declared_at = 'epoch'")
    rebuild(connection, tenant, RING)
    assert machines(connection) == before


def test_machines_of_a_ledger_that_did_not_know_them_yet_come_by_a_rebuild(
    connection: Connection, tenant: UUID
) -> None:
    written(connection, tenant, vm(101))
    before = machines(connection)
    connection.execute("DELETE FROM iac.declared_machines")
    rebuild(connection, tenant, RING)
    assert machines(connection) == before


def test_a_tenant_does_not_see_another_s_machines(connection: Connection, tenant: UUID) -> None:
    written(connection, tenant, vm(101))
    other = add_tenant(connection, "bank", RING)
    with as_tenant(connection, other):
        connection.execute("SET LOCAL ROLE asset_ledger_service")
        assert machines(connection) == []
    with as_tenant(connection, tenant):
        connection.execute("SET LOCAL ROLE asset_ledger_service")
        assert len(machines(connection)) == 1
