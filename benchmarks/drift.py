"""What looking for findings among 10,000 declared and 10,000 observed machines costs, against one plain query.

The yardstick joins the same rows by the source's own id, with the state, the asset and the host that a finding names,
compares the same six attributes, and counts what differs and what only one side has. Looking for findings also maps
states to sources, proves what may be said, keeps joins, opens, ages and closes findings, and counts coverage. Both run
in turn on one embedded server with the settings of production. Run: `python -m benchmarks drift`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

from asset_ledger.domain.iac.rules import Mapped, Rules
from asset_ledger.pipeline.findings import evaluate
from asset_ledger.store.database import Connection, connect
from benchmarks.measuring import bench_server, fresh_ledger
from benchmarks.table import Row

MACHINES = 10_000
STATES = 20
EVERY = 50
"""One machine in so many has other memory than declared."""
ROUNDS = 31
LIMIT = 3.0

BARE_JOIN = """
SELECT count(*) FILTER (WHERE d.stable_uid IS NOT NULL AND l.id IS NOT NULL), count(*) FILTER (WHERE l.id IS NULL),
       count(*) FILTER (WHERE d.stable_uid IS NULL), count(t.stack || coalesce(a.hostname, d.name))
FROM iac.declared_machines AS d
FULL JOIN (
    SELECT * FROM ledger.asset_source_links WHERE source_id = 1 AND external_kind = 'vm' AND closed_at IS NULL
) AS l ON l.external_kind = d.machine_kind AND l.external_id = d.machine_id
LEFT JOIN iac.state_heads AS t ON t.state_id = d.state_id
LEFT JOIN ledger.assets AS a ON a.id = l.asset_id
LEFT JOIN ledger.normalized_assets AS n ON n.id = l.normalized_id
LEFT JOIN ledger.asset_relations AS r ON r.from_link_id = l.id AND r.kind = 'runs_on' AND r.ended_at IS NULL
LEFT JOIN ledger.asset_source_links AS h ON h.source_id = 1 AND h.external_kind = r.to_kind
     AND h.external_id = r.to_external_id AND h.closed_at IS NULL
LEFT JOIN ledger.assets AS host ON host.id = h.asset_id
WHERE d.stable_uid IS NULL OR l.id IS NULL OR (
    d.cpu_cores <> n.cpu_cores OR d.memory_bytes <> n.memory_bytes OR d.disk_total_bytes <> n.disk_total_bytes
    OR d.power_state <> CASE n.power_state WHEN 'running' THEN 'on' WHEN 'stopped' THEN 'off' END
    OR (d.host <> r.to_external_id AND d.host IS DISTINCT FROM host.hostname) OR NOT d.ip_addresses <@ n.ip_addresses)
"""
_FILL = """
INSERT INTO agent.tenants (name, hash_key, key_id) VALUES ('acme', '', 'k1');

INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)
VALUES ('bench', 'pve', 'pve', 'platform', 'default', 1, 1);

INSERT INTO ledger.inventories (source_id, scope, collected_date, collected_at, mode, complete, absences, status)
VALUES (1, 'all', '2026-11-01', '2026-11-01 02:00Z', 'collect', true, 'applied', 'derived');

CREATE TEMPORARY TABLE machine AS
SELECT n, md5('asset ' || n)::uuid AS id, '10.0.0.0'::inet + n AS ip, 'node' || n %% 50 AS host
FROM generate_series(1, {machines}) AS n;

INSERT INTO ledger.normalized_assets (source_id, external_kind, external_id, digest, record_digest, parser_version,
    inventory_id, observation_id, locator, document)
SELECT 1, 'vm', 'qemu/' || n, decode(md5('doc ' || n), 'hex'), '', 1, 1, 1, 'row ' || n, jsonb_build_object(
    'schema', 'normalized-v1', 'kind', 'vm', 'asset_type', 'vm', 'identity',
    jsonb_build_object('hostname', 'host-' || n),
    'hardware', jsonb_build_object('cpu_count', 4, 'memory_bytes', 8 * 1024 ^ 3, 'disk_total_bytes', 32 * 1024 ^ 3),
    'runtime', jsonb_build_object('power_state', 'running'), 'network', jsonb_build_object(
        'ip_addresses', jsonb_build_array(host(ip), '172.17.0.1'), 'mac_addresses', jsonb_build_array(n::text)),
    'custom_fields', jsonb_build_object('pool', 'prod', 'node', host), 'unknown', '{{}}'::jsonb)
FROM machine ORDER BY n;

INSERT INTO ledger.assets (id, zone, asset_type, platform_type, hostname, mgmt_ip, created_at, updated_at)
SELECT id, 'default', 'vm', 'pve', 'host-' || n, ip, now(), now() FROM machine ORDER BY id;

INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,
    record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at)
SELECT m.n, 1, 'vm', 'qemu/' || m.n, m.id, d.id, '', 1, '2026-11-01 02:00Z', '2026-11-01', '2026-11-01 02:00Z',
       '2026-11-01', '2026-11-01 02:00Z'
FROM machine AS m JOIN ledger.normalized_assets AS d ON d.external_id = 'qemu/' || m.n;

INSERT INTO ledger.assets (id, zone, asset_type, platform_type, hostname, created_at, updated_at)
SELECT md5('node' || n)::uuid, 'default', 'host', 'pve', 'node' || n, now(), now() FROM generate_series(0, 49) AS n;

INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,
    record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at)
SELECT {machines} + 1 + n, 1, 'host', 'node' || n, md5('node' || n)::uuid, 0, '', 1, '2026-11-01 02:00Z', '2026-11-01',
       '2026-11-01 02:00Z', '2026-11-01', '2026-11-01 02:00Z'
FROM generate_series(0, 49) AS n;

INSERT INTO ledger.asset_relations (from_link_id, kind, to_kind, to_external_id, began_date, began_at)
SELECT n, 'runs_on', 'host', host, '2026-11-01', '2026-11-01 02:00Z' FROM machine;

INSERT INTO iac.state_heads (tenant_id, tool, project, stack)
SELECT t.id, 'terraform', 'bench', 'stack' || n FROM agent.tenants AS t, generate_series(0, {states} - 1) AS n;

INSERT INTO iac.declared_machines (tenant_id, state_id, stable_uid, addr, provider, alias, resource_type, machine_kind,
    machine_id, name, cpu_cores, memory_bytes, disk_total_bytes, power_state, host, ip_addresses, declared_at)
SELECT h.tenant_id, h.state_id, md5('resource ' || m.n)::uuid, 'proxmox_virtual_environment_vm.vm[' || m.n || ']',
       'bpg/proxmox', '', 'proxmox_virtual_environment_vm', 'vm', 'qemu/' || m.n, 'host-' || m.n, 4,
       CASE WHEN m.n %% {every} = 0 THEN 4 ELSE 8 END * 1024::bigint ^ 3, 32 * 1024::bigint ^ 3, 'on', m.host,
       ARRAY[m.ip], '2026-10-01'
FROM machine AS m JOIN iac.state_heads AS h ON h.stack = 'stack' || m.n %% {states};
"""


def measure(machines: int = MACHINES, rounds: int = ROUNDS) -> list[Row]:
    """Return the comparison. Raises RuntimeError where the findings are not those that were put in."""
    with bench_server() as (server, _), connect(fresh_ledger(server, "bench")) as connection:
        connection.execute(_FILL.format(machines=machines, states=STATES, every=EVERY).replace("%%", "%"))
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        return _compare(connection, machines, rounds)


def _compare(connection: Connection, machines: int, rounds: int) -> list[Row]:
    drifting = machines // EVERY
    first = _seconds(lambda: _look(connection, drifting, 0, opened=drifting))
    connection.execute("VACUUM ANALYZE iac.resource_joins")
    joins, looks = [], []
    for number in range(1, rounds + 1):
        joins.append(_seconds(lambda: _join(connection, drifting)))
        looks.append(_seconds(lambda: _look(connection, drifting, number, opened=0)))  # noqa: B023 - called at once
    times = median(looks) / median(joins)
    return [
        Row(
            f"findings of {machines:,} declared against {machines:,} observed machines, {drifting:,} drifting",
            f"{median(looks) * 1000:.0f} ms ({times:.1f}x); the first time, which writes them, {first * 1000:.0f} ms",
            f"one plain query that compares the same attributes: {median(joins) * 1000:.0f} ms",
            f"at most {LIMIT:g}x",
            times <= LIMIT,
        )
    ]


def _join(connection: Connection, drifting: int) -> None:
    if connection.execute(BARE_JOIN).fetchone() != (drifting, 0, 0, drifting):
        raise RuntimeError("the plain query does not find what was put in")


def _look(connection: Connection, drifting: int, minute: int, *, opened: int) -> None:
    """Look on the day of the reading: of an older one nothing would be said."""
    rules = Rules((Mapped("acme", "bench", ("*/*",), None, None, None, True),))
    (found,) = evaluate(connection, rules, now=datetime(2026, 11, 1, 3, minute, tzinfo=UTC))
    if (found.open["drift"], sum(found.open.values()), found.opened) != (drifting, drifting, opened):
        raise RuntimeError(f"{drifting} machines are to drift: {found}")


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
