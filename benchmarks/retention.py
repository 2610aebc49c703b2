"""What retention over 3.6 million rows of agent history costs, against a plain CREATE TABLE AS of the rows kept.

Three years of daily rows of 3,288 machines, one in fifty a change, are thinned for the first time: the most that a run
ever has to do. The yardstick is told which rows stay and copies them, whole, in one statement; retention also finds
out which those are, builds indexes, exchanges every month while others write, and writes its audit. Both run on one
embedded server with the settings of production, warm. Meanwhile somebody goes on inserting as the service does, into
this month and into old ones; the longest of these inserts is held against the lock timeout. Run: `python -m benchmarks
retention`.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from statistics import median
from uuid import UUID

from psycopg import sql

from asset_ledger.pipeline.retention import apply, plan, totals
from asset_ledger.store.agents.months import LOCK_TIMEOUT_S
from asset_ledger.store.agents.retention import HISTORY, ladder, looking, months
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.tenancy import SERVICE_ROLE, as_tenant
from benchmarks.measuring import bench_server, fresh_ledger
from benchmarks.table import Row

MACHINES = 3_288
DAYS = 1_095
ROUNDS = 3
LIMIT = 2.0
NOW = datetime(2026, 11, 22, 3, 40, tzinfo=UTC)
EVERY_S = 0.005
"""How often the writer inserts a row."""

_ROWS = """
INSERT INTO agent.inventory_history (tenant_id, client_id, hostname, os, platform, platform_version, kernel_version,
    arch, cpu_count, cpu_count_is, cpu_model, memory_total, memory_used, disk_total, disk_used, ip_addresses,
    mac_addresses, change_type, change_summary, collected_at, collected_date, digest, payload_sha256, raw_data)
SELECT t.id, md5('client ' || c)::uuid, 'host-' || c, 'linux', 'ubuntu', '22.04', '5.15.0-91-generic', 'x86_64', 8,
    'logical', 'Intel(R) Xeon(R) Gold 6348 CPU @ 2.60GHz', 16777216000, 8388608000, 53687091200, 20000000000,
    ARRAY['10.0.0.1'], ARRAY['52:54:00:00:00:01'],
    ARRAY[CASE WHEN (c * 7 + d) % 50 = 0 THEN 'network_change' ELSE 'periodic_snapshot' END], 'no change', a.at,
    a.at::date, sha256(('d' || c)::bytea), sha256(('p' || c || ' ' || d)::bytea), {raw}
FROM agent.tenants AS t, generate_series(0, {days} - 1) AS d, generate_series(1, {machines}) AS c,
     LATERAL (SELECT {now}::timestamptz - d * interval '1 day' - c * interval '7 s' AS at) AS a
"""
_BARE = """
CREATE TABLE bare AS SELECT h.* FROM agent.inventory_history AS h
JOIN staying AS s ON s.at = h.collected_at AND s.id = h.id
"""


def measure(machines: int = MACHINES, days: int = DAYS, rounds: int = ROUNDS) -> list[Row]:
    """Return the comparison. Raises RuntimeError where retention does not keep what the yardstick copied."""
    with bench_server() as (server, _), connect(url := fresh_ledger(server, "bench")) as connection:
        _fill(connection, machines, days)
        return _compare(connection, url, machines * days, rounds)


def _fill(connection: Connection, machines: int, days: int) -> None:
    """Write the rows, and the indexes after them: otherwise it takes longer than all that is measured."""
    connection.execute("INSERT INTO agent.tenants (name, hash_key, key_id) VALUES ('acme', '', 'k1')")
    month = (NOW - timedelta(days=days)).date().replace(day=1)
    while month <= NOW.date():
        following = (month + timedelta(days=31)).replace(day=1)
        connection.execute(
            f"CREATE TABLE {HISTORY}_y{month.year}m{month.month:02} PARTITION OF {HISTORY}"
            f" FOR VALUES FROM ('{month} 00:00+00') TO ('{following} 00:00+00')"
        )
        month = following
    indexes = connection.execute(
        "SELECT i.relname, i.constraint_is, pg_get_indexdef(i.index) FROM audit.indexes_of(%s) AS i", [HISTORY]
    ).fetchall()
    for name, constraint, _ in indexes:
        connection.execute(
            f"ALTER TABLE {HISTORY} DROP CONSTRAINT {name}" if constraint else f"DROP INDEX agent.{name}"
        )
    statement = sql.SQL(_ROWS).format(raw=sql.Literal(json.dumps(_RAW)) + sql.SQL("::jsonb"), days=sql.Literal(days),
                                      machines=sql.Literal(machines), now=sql.Literal(NOW))  # fmt: skip
    connection.execute(statement)
    for _, constraint, definition in indexes:
        made = f"ALTER TABLE {HISTORY} ADD {constraint}" if constraint else definition.replace(" ON ONLY ", " ON ")
        connection.execute(made)
    connection.execute("VACUUM ANALYZE agent.inventory_history")
    connection.execute("CHECKPOINT")


def _compare(connection: Connection, url: str, rows: int, rounds: int) -> list[Row]:
    staying = _staying(connection)
    plans = [_seconds(lambda: plan(connection, HISTORY, now=NOW)) for _ in range(rounds)]
    bare = [_bare(connection, staying) for _ in range(rounds)]
    connection.execute("CHECKPOINT")
    with _writing(url) as waits:
        began = time.monotonic()
        counts = totals(apply(connection, HISTORY, now=NOW))
        took = time.monotonic() - began
    if counts["rows_kept"] + counts["rows_thinned"] - staying not in range(len(waits) + 1) or counts["months_left"]:
        raise RuntimeError(f"{staying} rows were to stay, and every month to be done: {counts}")
    apply(connection, HISTORY, now=NOW)  # what came late
    again = _seconds(lambda: apply(connection, HISTORY, now=NOW))
    times, longest = took / median(bare), max(waits)
    what = f"{rows:,} rows of agent history, {staying:,} of which stay"
    return [
        Row(
            f"retention of {what}: {counts['months_cut']} months cut, somebody writing meanwhile",
            f"{took:.1f} s ({times:.2f}x)",
            f"CREATE TABLE AS of the rows kept: {median(bare):.1f} s",
            f"at most {LIMIT:g}x",
            times <= LIMIT,
        ),
        Row(
            f"the longest of {len(waits):,} inserts by the service meanwhile, {counts['rows_late']} of them into a"
            " month that was being cut",
            f"{longest * 1000:.0f} ms; half of them took up to {median(waits) * 1000:.1f} ms",
            f"one lock timeout: {LOCK_TIMEOUT_S * 1000:.0f} ms",
            "at most that",
            longest <= LOCK_TIMEOUT_S,
        ),
        Row("a plan of it, and a run with nothing to do", f"{median(plans):.1f} s, {again:.2f} s", "", "stated", True),
    ]


def _staying(connection: Connection) -> int:
    """Note which rows stay, for the yardstick, and return how many."""
    connection.execute("CREATE TEMPORARY TABLE staying (at timestamptz, id bigint)")
    for month in months(connection, HISTORY):
        with looking(connection):
            found = ladder(month, NOW)
            connection.execute(
                sql.SQL("INSERT INTO staying {} SELECT m.collected_at, m.id FROM ONLY {} AS m WHERE {}").format(
                    found.edges, month.identifier, found.stays
                )
            )
    connection.execute("ANALYZE staying")
    row = connection.execute("SELECT count(*) FROM staying").fetchone()
    assert row is not None
    return int(row[0])


def _bare(connection: Connection, staying: int) -> float:
    connection.execute("CHECKPOINT")
    took = _seconds(lambda: connection.execute(_BARE))
    if connection.execute("SELECT count(*) FROM bare").fetchone() != (staying,):
        raise RuntimeError("the yardstick does not copy what stays")
    connection.execute("DROP TABLE bare")
    return took


@contextmanager
def _writing(url: str) -> Iterator[list[float]]:
    """Insert rows as the service does until the block ends; yield how long each took in seconds."""
    waits: list[float] = []
    over = threading.Event()

    def write() -> None:
        chance = random.Random(8)
        with connect(url) as own:
            (tenant,) = own.execute("SELECT id FROM agent.tenants").fetchone() or (None,)
            own.execute(f"SET ROLE {SERVICE_ROLE}")
            while not over.wait(EVERY_S):
                age = timedelta(days=chance.randrange(100, 700) if len(waits) % 4 == 0 else 0, microseconds=len(waits))
                began = time.monotonic()
                _insert(own, tenant, NOW - age)
                waits.append(time.monotonic() - began)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield waits
    finally:
        over.set()
        writer.join()


def _insert(connection: Connection, tenant: UUID, at: datetime) -> None:
    with as_tenant(connection, tenant):
        connection.execute(
            "INSERT INTO agent.inventory_history (tenant_id, client_id, change_type, change_summary, collected_at,"
            " collected_date, digest, raw_data) VALUES (%s, %s, '{os_change}', 'late', %s, %s, '', %s)",
            [tenant, UUID(int=1), at, date(at.year, at.month, at.day), json.dumps(_RAW)],
        )


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


# of the size that the reference agent's are
_RAW = {
    "host": {
        "hostname": "web-01", "uptime": 1_234_567, "bootTime": 1_760_000_000, "procs": 211, "os": "linux",
        "platform": "ubuntu", "platformFamily": "debian", "platformVersion": "22.04", "kernelArch": "x86_64",
        "kernelVersion": "5.15.0-91-generic", "hostId": "4c4c4544-0044-4b10-8052-b4c04f4d3132",
        "virtualizationSystem": "kvm", "virtualizationRole": "guest",
    },
    "cpu": [{"cpu": 0, "vendorId": "GenuineIntel", "modelName": "Intel(R) Xeon(R) Gold 6348", "cores": 8, "mhz": 2600}],
    "memory": {"total": 16_777_216_000, "available": 8_388_608_000, "used": 8_388_608_000, "usedPercent": 50.0},
    "disks": [
        {"device": f"/dev/sd{letter}1", "mountpoint": f"/data/{letter}", "fstype": "ext4", "total": 53_687_091_200,
         "used": 20_000_000_000, "free": 33_687_091_200, "usedPercent": 37.25}
        for letter in "abc"
    ],
    "network": [
        {"index": 2, "mtu": 1500, "name": "eth0", "hardwareAddr": "52:54:00:00:00:01", "flags": ["up", "broadcast"],
         "addrs": [{"addr": "10.0.0.1/24"}, {"addr": "fe80::5054:ff:fe00:1/64"}]}
    ],
}  # fmt: skip
