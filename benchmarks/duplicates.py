"""What looking for duplicates among 100,000 machines costs, against the bare self-join of their identifiers.

The yardstick only counts the pairs that share an identifier letter for letter. The search also compares UUIDs in both
byte orders and management addresses, leaves out worn values and what was decided, scores, and keeps the candidates.
Both run in turn on one embedded server with the settings of production. Run: `python -m benchmarks duplicates`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from asset_ledger.store.database import Connection, connect
from asset_ledger.store.derive.duplicates import find_duplicates
from benchmarks.measuring import bench_server, fresh_ledger
from benchmarks.table import Row

ASSETS = 100_000
EVERY = 100
"""One machine in so many is told of twice: half of those by UUID in the other byte order and MAC, half by MAC alone."""
ROUNDS = 9
LIMIT = 3.0

SELF_JOIN = """
SELECT count(*) FROM ledger.asset_identifiers a JOIN ledger.asset_identifiers b USING (kind, value)
WHERE a.asset_id < b.asset_id AND a.last_seen_at IS NULL AND b.last_seen_at IS NULL
"""
_FILL = """
INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)
VALUES ('bench', 'bench', 'vmware', 'platform', 'default', 1, 1);

INSERT INTO ledger.inventories (source_id, scope, collected_date, collected_at, mode, complete, status)
SELECT 1, 'all', '2026-11-01', '2026-11-01 02:00Z', 'collect', true, 'derived' FROM generate_series(1, 2);

CREATE TEMPORARY TABLE machine AS
SELECT n, md5('asset ' || n)::uuid AS id, n % {every} = 0 AND n % {twice} = 0 AS swapped, n % {every} = 0 AS again,
       md5('uuid ' || CASE WHEN n % {every} = 0 AND n % {twice} = 0 THEN n - 1 ELSE n END) AS uuid,
       md5('mac ' || CASE WHEN n % {every} = 0 THEN n - 1 ELSE n END) AS mac, '10.0.0.0'::inet + n AS ip
FROM generate_series(1, {assets}) n;

INSERT INTO ledger.assets (id, zone, asset_type, platform_type, hostname, mgmt_ip, created_at, updated_at)
SELECT id, 'default', 'vm', 'vmware', 'host-' || n, ip, now(), now() FROM machine;

INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,
    record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at)
SELECT n, 1, 'vm', 'vm-' || n, id, 1, '', CASE WHEN again THEN 2 ELSE 1 END, now(), '2026-11-01', now(), '2026-11-01',
       now()
FROM machine;

INSERT INTO ledger.asset_identifiers (asset_id, source_id, kind, value, first_seen_at)
SELECT m.id, 1, i.kind, i.value, now()
FROM machine m, LATERAL (VALUES
    ('smbios_uuid', CASE WHEN swapped
        THEN (substr(uuid, 7, 2) || substr(uuid, 5, 2) || substr(uuid, 3, 2) || substr(uuid, 1, 2)
              || substr(uuid, 11, 2) || substr(uuid, 9, 2) || substr(uuid, 15, 2) || substr(uuid, 13, 2)
              || substr(uuid, 17))::uuid
        ELSE uuid::uuid END::text),
    ('mac', '02' || regexp_replace(left(mac, 10), '(..)', ':\\1', 'g')),
    ('ip', host(ip))
) i(kind, value)
ORDER BY m.id;
"""


def measure(assets: int = ASSETS, rounds: int = ROUNDS) -> list[Row]:
    """Return the comparison. Raises RuntimeError where the search does not find what was put in."""
    with bench_server() as (server, _), connect(fresh_ledger(server, "bench")) as connection:
        connection.execute(_FILL.format(assets=assets, every=EVERY, twice=2 * EVERY))
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        return _compare(connection, assets, rounds)


def _compare(connection: Connection, assets: int, rounds: int) -> list[Row]:
    pairs = assets // EVERY
    first = _seconds(lambda: _search(connection, pairs, new=pairs))
    joins, searches = [], []
    for _ in range(rounds):
        joins.append(_seconds(lambda: connection.execute(SELF_JOIN)))
        searches.append(_seconds(lambda: _search(connection, pairs, new=0)))
    times = median(searches) / median(joins)
    return [
        Row(
            f"search for duplicates among {assets:,} machines with 3 identifiers each, {pairs:,} candidates",
            f"{median(searches):.2f} s ({times:.1f}x); the first one, which writes them, {first:.2f} s",
            f"bare self-join that counts the pairs: {median(joins):.2f} s",
            f"at most {LIMIT:g}x",
            times <= LIMIT,
        )
    ]


def _search(connection: Connection, pairs: int, *, new: int) -> None:
    counts = find_duplicates(connection)
    if (counts["candidates"], counts["new"]) != (pairs, new):
        raise RuntimeError(f"the search is to find {pairs} pairs: {counts}")


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
