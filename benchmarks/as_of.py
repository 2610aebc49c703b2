"""What a page of the ledger as of a past day costs over three years of daily rows, against the page of today.

10,000 machines of one source with a row a day each, made by generate_series: 11 million rows in 37 monthly partitions.
Both pages are asked for in turn and the median of their ratios counts. The plan of the as-of page is executed and read
too: which partitions it touched. Run: `python -m benchmarks as_of`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any

from asset_ledger.domain.as_of import AsOf
from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.history import CARRY_DAYS
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.partitions import ensure_months
from asset_ledger.store.query.as_of import list_as_of, page_statement
from asset_ledger.store.query.assets import AssetQuery, list_assets
from benchmarks.measuring import bench_server, fresh_ledger
from benchmarks.table import Row

ASSETS = 10_000
DAYS = 1_096
ROUNDS = 15
LIMIT = 5.0
PAGE = 100
CPU = 8

_RECORDS = """
INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)
VALUES ('lab', 'pve', 'pve', 'platform', 'default', 10, 10);

INSERT INTO ledger.inventories (source_id, scope, covers, collected_date, collected_at, mode, complete, absences,
                                status, parser_version, recorded_at, derived_at)
SELECT 1, 'all', '{}', d, at, 'collect', true, 'applied', 'derived', 1, at, at
FROM (SELECT d::date AS d, d + interval '2 hours' AS at
      FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') d) days;

INSERT INTO ledger.normalized_assets (source_id, external_kind, external_id, digest, record_digest, parser_version,
                                      inventory_id, observation_id, locator, document)
SELECT 1, 'vm', 'vm-' || n, decode(md5('word' || n), 'hex'), decode(md5('raw' || n), 'hex'), 1, 1, 1, 'vm ' || n,
       jsonb_build_object(
           'schema', 'normalized-v1', 'kind', 'vm', 'asset_type', 'vm',
           'identity', jsonb_build_object('hostname', 'host-' || lpad((n * 7919 %% 100000)::text, 5, '0') || '.example',
                                          'mgmt_ip', host('10.0.0.0'::inet + n)),
           'hardware', jsonb_build_object('cpu_count', 1 << (n %% 5), 'memory_bytes', (1 + n %% 64) * (1::bigint << 30),
                                          'disk_total_bytes', (20 + n %% 400) * (1::bigint << 30)),
           'os', jsonb_build_object('family', 'debian', 'version', '12'),
           'network', jsonb_build_object('ip_addresses', jsonb_build_array(host('10.0.0.0'::inet + n))),
           'runtime', jsonb_build_object('power_state', 'running'), 'unknown', '{}'::jsonb)
FROM generate_series(1, %(assets)s) n;

INSERT INTO ledger.identity_resolutions (inventory_id, source_id, external_kind, external_id, rule, outcome, asset_id,
                                         inputs, resolved_at)
SELECT 1, 1, 'vm', external_id, 'source_link', 'created', md5(external_id)::uuid, '{}', %(first)s::timestamptz
FROM ledger.normalized_assets ORDER BY id;

INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,
    record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at)
SELECT r.id, 1, 'vm', r.external_id, r.asset_id, n.id, n.record_digest, %(days)s, first.collected_at,
       first.collected_date, first.collected_at, last.collected_date, last.collected_at
FROM ledger.identity_resolutions r
JOIN ledger.normalized_assets n ON n.external_id = r.external_id
JOIN ledger.inventories first ON first.id = 1 JOIN ledger.inventories last ON last.id = %(days)s;

INSERT INTO ledger.assets (id, zone, asset_type, platform_type, hostname, mgmt_ip, cpu_cores, memory_bytes,
    disk_total_bytes, os_family, os_version, power_state, created_at, updated_at)
SELECT l.asset_id, 'default', n.asset_type, 'pve', n.hostname, n.mgmt_ip, n.cpu_cores, n.memory_bytes,
       n.disk_total_bytes, n.os_family, n.os_version, n.power_state, l.first_seen_at, l.first_seen_at
FROM ledger.asset_source_links l JOIN ledger.normalized_assets n ON n.id = l.normalized_id;
"""
_DAYS = """
INSERT INTO ledger.asset_daily_specs (collected_date, asset_id, source_id, link_id, normalized_id, inventory_id,
    first_at, collected_at, recorded_at, hostname, mgmt_ip, asset_type, cpu_cores, memory_bytes, disk_total_bytes,
    os_family, os_version, power_state, platform_type)
SELECT i.collected_date, l.asset_id, 1, l.id, n.id, i.id, i.collected_at, i.collected_at, i.collected_at, n.hostname,
       n.mgmt_ip, n.asset_type, n.cpu_cores, n.memory_bytes, n.disk_total_bytes, n.os_family, n.os_version,
       n.power_state, 'pve'
FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') d
JOIN ledger.inventories i ON i.collected_date = d::date
CROSS JOIN ledger.asset_source_links l
JOIN ledger.normalized_assets n ON n.id = l.normalized_id
ORDER BY i.collected_date, l.asset_id  -- as days are written, one after another
"""


def fill(connection: Connection, first: date, length: int = DAYS) -> date:
    """Write so many days and return the last of them."""
    last = first + timedelta(days=length - 1)
    days = [first + timedelta(days=n) for n in range(length)]
    ensure_months(connection, days)
    connection.execute("SET synchronous_commit = off")
    for statement in _RECORDS.split(";\n"):
        if statement.strip():
            connection.execute(statement, {"first": first, "last": last, "assets": ASSETS, "days": length})
    for day in days:
        if day == first or day.day == 1:
            following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            connection.execute(_DAYS, {"first": day, "last": min(last, following - timedelta(days=1))})
    return last


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Return a row a comparison. Raises RuntimeError where a page is not what is to be measured."""
    last = collected_date(datetime.now(UTC)) - timedelta(days=1)
    first = last - timedelta(days=DAYS - 1)
    middle = (first + timedelta(days=DAYS // 2)).replace(day=15)
    with bench_server() as (server, _), connect(fresh_ledger(server, "bench_as_of")) as connection:
        began = time.monotonic()
        fill(connection, first)
        _analyse(connection, [middle, last, last - timedelta(days=CARRY_DAYS)])
        filled_s = time.monotonic() - began
        return [
            _facts(connection, filled_s),
            *(_page(connection, middle, page, rounds) for page in ("first", "last")),
            _partitions(connection, middle),
            _quiet_day(connection, last + timedelta(days=1), rounds),
        ]


def _analyse(connection: Connection, days: list[date]) -> None:
    """Let the planner know the tables, and bring those that are read into the state in which they come to rest."""
    connection.execute("ANALYZE")
    months = {f"asset_daily_specs_y{day.year}m{day.month:02}" for day in days}
    for table in ("assets", "asset_source_links", "normalized_assets", "inventories", *sorted(months)):
        connection.execute(f"VACUUM ledger.{table}")


def _facts(connection: Connection, filled_s: float) -> Row:
    facts = connection.execute("SELECT count(*) FROM ledger.asset_daily_specs").fetchone()
    if facts != (ASSETS * DAYS,):
        raise RuntimeError(f"{facts} day rows were made")
    what = f"{ASSETS:,} machines on {DAYS:,} days: {facts[0]:,} day rows made and analysed"
    return Row(what, f"{filled_s:.0f} s", "", "stated", True)


def _page(connection: Connection, day: date, page: str, rounds: int) -> Row:
    """Compare a page of a day with the same page of today: by hostname, of those with so many CPUs."""
    of_cpu = sum(1 << (number % 5) == CPU for number in range(1, ASSETS + 1))
    query = AssetQuery(cpu_cores=CPU, limit=PAGE, offset=0 if page == "first" else (of_cpu - 1) // PAGE * PAGE)
    past: list[float] = []
    now: list[float] = []
    for _ in range(rounds):
        past.append(_timed(lambda: list_as_of(connection, query, AsOf(day)), of_cpu))
        now.append(_timed(lambda: list_assets(connection, query), of_cpu))
    ratio = median(one / other for one, other in zip(past, now, strict=True))
    return Row(
        f"the {page} page of {PAGE} as of {day}, by hostname, with {CPU} CPU cores ({of_cpu:,} such)",
        f"{_ms(past)} ({ratio:.1f}x)",
        f"the same page of today: {_ms(now)}",
        f"at most {LIMIT:g}x",
        ratio <= LIMIT,
    )


def _quiet_day(connection: Connection, day: date, rounds: int) -> Row:
    """State what a day costs on which no machine was read yet: every value is looked up before it."""
    query = AssetQuery(cpu_cores=CPU, limit=PAGE)
    of_cpu = sum(1 << (number % 5) == CPU for number in range(1, ASSETS + 1))
    took = [_timed(lambda: list_as_of(connection, query, AsOf(day)), of_cpu) for _ in range(rounds)]
    return Row("the first page as of a day without a row: everything is carried", _ms(took), "", "stated", True)


def _timed(ask: Callable[[], tuple[list[dict[str, Any]], int]], expected: int) -> float:
    began = time.perf_counter()
    found, total = ask()
    took = time.perf_counter() - began
    if len(found) != PAGE or total != expected or found[0]["cpu_cores"] != CPU:
        raise RuntimeError(f"{len(found)} of {total} rows, {expected} expected: {found[:1]}")
    return took


def _ms(took: list[float]) -> str:
    return f"{median(took) * 1000:.0f} ms"


def _partitions(connection: Connection, day: date) -> Row:
    """Say which partitions of the day rows the page's plan touched: executed, not only planned."""
    statement, parameters = page_statement(AssetQuery(cpu_cores=CPU, limit=PAGE), AsOf(day))
    explained = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).fetchone()
    assert explained
    plan = explained[0] if isinstance(explained[0], list) else json.loads(explained[0])
    touched = sorted(_touched(plan[0]["Plan"]))
    there = connection.execute(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ledger.asset_daily_specs'::regclass"
    ).fetchone()
    assert there
    return Row(
        "partitions of the day rows that its plan touched",
        f"{len(touched)}: {', '.join(touched)}",
        f"{there[0]} there are",
        "the day's month alone",
        touched == [f"asset_daily_specs_y{day.year}m{day.month:02}"],
    )


def _touched(node: dict[str, Any]) -> set[str]:
    found = {node["Relation Name"]} if node.get("Relation Name", "").startswith("asset_daily_specs_y") else set()
    if not node.get("Actual Loops"):
        found = set()
    return found.union(*(_touched(child) for child in node.get("Plans", ())))
