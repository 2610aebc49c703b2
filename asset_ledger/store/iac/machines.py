"""The machines that states declare, in the ledger's units: what findings are made of. Called inside `as_tenant`.

They are written with the current resources that they are, by `pipeline.states`, and forgotten with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asset_ledger.domain.iac.machines import Machine
from asset_ledger.store.database import Connection
from asset_ledger.store.iac.resources import Waiting, copied


@dataclass(frozen=True, slots=True)
class MachineRow:
    """A resource that is a machine, as a version leaves it."""

    stable_uid: UUID
    addr: str
    provider: str
    alias: str
    resource_type: str
    machine: Machine


def save(
    connection: Connection, one: Waiting, at: datetime, *, machines: Sequence[MachineRow], gone: Iterable[UUID]
) -> None:
    """Write the machines that a version, written `at`, declares otherwise than the one before, and drop those gone.

    A machine that only moved in its state, or whose provider is called otherwise, is declared as it was since then.
    """
    key = [one.tenant_id, one.state_id]
    connection.execute(
        "DELETE FROM iac.declared_machines WHERE tenant_id = %s AND state_id = %s AND stable_uid = ANY(%s)",
        [*key, list(gone)],
    )
    if not machines:
        return
    copied(
        connection,
        "incoming_machines",
        "stable_uid uuid, addr text, provider text, alias text, resource_type text, machine_kind text, machine_id text,"
        " machine_uuid uuid, name text, cpu_cores integer, memory_bytes bigint, disk_total_bytes bigint,"
        " power_state text, host text, region text, ip_addresses inet[]",
        (
            (
                row.stable_uid, row.addr, row.provider, row.alias, row.resource_type, m.kind, m.external_id, m.uuid,
                m.name, m.cpu_cores, m.memory_bytes, m.disk_total_bytes, m.power_state, m.host, m.region,
                list(m.ip_addresses),
            )
            for row in machines
            for m in (row.machine,)
        ),
    )  # fmt: skip
    connection.execute(
        """
        INSERT INTO iac.declared_machines AS d (
            tenant_id, state_id, declared_at, stable_uid, addr, provider, alias, resource_type, machine_kind,
            machine_id, machine_uuid, name, cpu_cores, memory_bytes, disk_total_bytes, power_state, host, region,
            ip_addresses)
        SELECT %s, %s, %s, i.* FROM incoming_machines AS i
        ON CONFLICT (tenant_id, state_id, stable_uid) DO UPDATE SET
            declared_at = CASE
                WHEN (d.machine_kind, d.machine_id, d.machine_uuid, d.name, d.cpu_cores, d.memory_bytes,
                      d.disk_total_bytes, d.power_state, d.host, d.region, d.ip_addresses)
                     IS DISTINCT FROM
                     (excluded.machine_kind, excluded.machine_id, excluded.machine_uuid, excluded.name,
                      excluded.cpu_cores, excluded.memory_bytes, excluded.disk_total_bytes, excluded.power_state,
                      excluded.host, excluded.region, excluded.ip_addresses)
                THEN excluded.declared_at ELSE d.declared_at END,
            addr = excluded.addr, provider = excluded.provider, alias = excluded.alias,
            resource_type = excluded.resource_type, machine_kind = excluded.machine_kind,
            machine_id = excluded.machine_id, machine_uuid = excluded.machine_uuid, name = excluded.name,
            cpu_cores = excluded.cpu_cores, memory_bytes = excluded.memory_bytes,
            disk_total_bytes = excluded.disk_total_bytes, power_state = excluded.power_state, host = excluded.host,
            region = excluded.region, ip_addresses = excluded.ip_addresses
        """,
        [*key, at],
    )
