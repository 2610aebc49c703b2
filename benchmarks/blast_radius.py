"""What a blast radius costs, tenants kept apart and the ledger joined in, against a bare recursive query.

100,000 nodes and 1,000,000 edges: 97,400 resources, and of every 50th the machine, every fifth of those with a database
instance; made by generate_series, beside another tenant's. The yardstick is a recursive query over one table of two
columns that has all these edges, without row-level security. Both find the same nodes. Both tables were filled in one
order with their indexes there. They are asked in turn, once a transaction, as the service asks, and the median of the
ratios counts; times are of CPU of the server's processes, where /proc tells them.
Run: `python -m benchmarks blast_radius`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple
from uuid import UUID

from asset_ledger.store.database import Connection, connect
from asset_ledger.store.tenancy import SERVICE_ROLE, as_tenant
from benchmarks.measuring import bench_server, fresh_ledger
from benchmarks.table import Row

LIMIT = 1.5
RESOURCES = 97_400
HOSTS = 250
EVERY = 50
"""One resource in so many declares a machine."""


class Part(NamedTuple):
    """Resources that hang together: `first` up to `end`. Over how many pairs of connections they are asked for, and how
    often over each."""

    first: int
    end: int
    reach: int
    pairs: int
    rounds: int


# everything hangs on the first resource of the last part, the other parts each on their own first alone
SMALL = Part(0, 473, 485, 15, 60)
MIDDLE = Part(500, 500 + 32_227, 33_000, 3, 5)
LARGE = Part(32_750, RESOURCES, 99_700, 3, 3)

_ME, _OTHER = UUID(int=1), UUID(int=2)
_EDGES = """
WITH part (first, length) AS (SELECT * FROM unnest(%(firsts)s::int[], %(lengths)s::int[])), every AS (
    SELECT first, length, n FROM part, generate_series(first, first + length - 1) AS n)
SELECT DISTINCT public.uid(%(name)s, s) AS src, public.uid(%(name)s, d) AS dst FROM (
    SELECT first + (n - first + 1) %% length AS s, n AS d FROM every
    UNION ALL
    SELECT first + floor(random() * length)::int, n FROM every, generate_series(1, 9 + (n %% 5 < 2)::int)
    UNION ALL
    SELECT first, %(root)s FROM part) AS e
WHERE s <> d
"""
_TENANT = """
INSERT INTO iac.state_heads (tenant_id, state_id, tool, project, stack)
VALUES (%(tenant)s, %(tenant)s, 'terraform', 'p', %(name)s);
INSERT INTO iac.resources_current (tenant_id, state_id, stable_uid, addr, provider, alias, resource_type, scope,
    name_digest, tainted, attrs, attrs_hash, digest, first_version, last_version, last_run_id, updated_at)
SELECT %(tenant)s, %(tenant)s, public.uid(%(name)s, n), 'some_type.of[' || n || ']', 'some/provider', '', 'some_type',
       's', public.uid('name', n), false, '{}', '', '', 1, 1, 'run', now()
FROM generate_series(0, %(resources)s - 1) AS n;
INSERT INTO iac.dependency_edges (tenant_id, state_id, src_uid, dst_uid, kind)
SELECT %(tenant)s, %(tenant)s, src, dst, 'config' FROM
"""
_LEDGER = """
INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)
VALUES ('lab', 'pve', 'pve', 'platform', 'default', 10, 10);
INSERT INTO ledger.assets (id, zone, asset_type, platform_type, hostname, created_at, updated_at)
SELECT public.uid('vm', n), 'default', 'vm', 'pve', 'vm-' || n, now(), now()
FROM generate_series(0, %(resources)s - 1, %(every)s) AS n
UNION ALL
SELECT public.uid('host', n), 'default', 'physical', 'pve', 'host-' || n, now(), now()
FROM generate_series(0, %(hosts)s - 1) AS n;
INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,
    record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at)
SELECT row_number() OVER (ORDER BY hostname), 1, split_part(hostname, '-', 1), hostname, id, 1, '', 1, now(),
       current_date, now(), current_date, now()
FROM ledger.assets;
INSERT INTO ledger.asset_relations (from_link_id, kind, to_kind, to_external_id, began_date, began_at)
SELECT id, 'runs_on', 'host', 'host-' || id %% %(hosts)s, current_date, now() FROM ledger.asset_source_links
WHERE external_kind = 'vm';
INSERT INTO ledger.database_instances (id, source_id, instance_key, zone, name, host, first_seen_at, last_seen_date,
    last_seen_at, inventory_id)
SELECT public.uid('db', n), 1, n, 'default', 'db-' || n, 'vm-' || n, now(), current_date, now(), 1
FROM generate_series(0, %(resources)s - 1, %(every)s * 5) AS n;
INSERT INTO ledger.instance_asset_links
SELECT public.uid('db', n), public.uid('vm', n), 'auto', 'confirmed', 90, 'address', '{}', now(), now()
FROM generate_series(0, %(resources)s - 1, %(every)s * 5) AS n;
INSERT INTO iac.tenant_sources VALUES (%(tenant)s, 1);
INSERT INTO iac.resource_joins (tenant_id, state_id, stable_uid, source_id, asset_id, link_id, rule, score, joined_at)
SELECT %(tenant)s, %(tenant)s, public.uid(%(name)s, split_part(l.external_id, '-', 2)::int), 1, l.asset_id, l.id,
       'id', 100, now()
FROM ledger.asset_source_links AS l WHERE l.external_kind = 'vm';
INSERT INTO public.bare
SELECT src_uid, dst_uid FROM iac.dependency_edges WHERE tenant_id = %(tenant)s
UNION ALL SELECT asset_id, stable_uid FROM iac.graph_joins
UNION ALL SELECT stable_uid, asset_id FROM iac.graph_joins
UNION ALL SELECT asset_id, needed_id FROM iac.graph_relations
UNION ALL SELECT instance_id, asset_id FROM iac.graph_instances
"""
_PLAIN = """
WITH RECURSIVE reach (node) AS (
    SELECT public.uid('me', %s::int) UNION SELECT b.src FROM reach AS r JOIN public.bare AS b ON b.dst = r.node)
SELECT node FROM reach
"""
_OURS = "SELECT node FROM iac.blast_radius(ARRAY[public.uid('me', %s::int)])"
_REASONS = "SELECT node, kind, depth, via, how FROM iac.impact(ARRAY[public.uid('me', %s::int)], 1000)"


def fill(connection: Connection) -> None:
    """Write the graph of the tenant that is measured, another tenant's, and the bare table."""
    connection.execute(
        "CREATE FUNCTION public.uid(what text, n int) RETURNS uuid IMMUTABLE LANGUAGE sql"
        " AS $$ SELECT md5(what || n)::uuid $$"
    )
    connection.execute("CREATE TABLE public.bare (src uuid NOT NULL, dst uuid NOT NULL)")
    connection.execute("CREATE INDEX ON public.bare (dst, src)")
    connection.execute(f"GRANT SELECT ON public.bare TO {SERVICE_ROLE}")
    connection.execute("SET synchronous_commit = off")
    parts = [SMALL, MIDDLE, LARGE]
    for tenant, name, resources in ((_ME, "me", RESOURCES), (_OTHER, "other", SMALL.end)):
        connection.execute(
            "INSERT INTO agent.tenants (id, name, hash_key, key_id) VALUES (%s, %s, '', 'k')", [tenant, name]
        )
        own = [part for part in parts if part.end <= resources]
        facts = {
            "tenant": tenant,
            "name": name,
            "resources": resources,
            "every": EVERY,
            "hosts": HOSTS,
            "firsts": [part.first for part in own],
            "lengths": [part.end - part.first for part in own],
            "root": own[-1].first,
        }
        script = f"{_TENANT} ({_EDGES}) AS e" + (f";{_LEDGER}" if tenant == _ME else "")
        with as_tenant(connection, tenant):
            for statement in script.split(";\n"):
                connection.execute(statement, facts if "%(" in statement else None)
    _come_to_rest(connection)


def _come_to_rest(connection: Connection) -> None:
    """Vacuum until every page is known to be visible to all: an autovacuum that is at work puts it off."""
    connection.execute("VACUUM ANALYZE")
    for _ in range(60):
        connection.execute("VACUUM public.bare, iac.dependency_edges, iac.resource_joins, iac.resources_current")
        hidden = connection.execute(
            "SELECT FROM pg_class WHERE oid IN ('public.bare'::regclass, 'iac.dependency_edges'::regclass)"
            " AND relallvisible < relpages"
        ).fetchone()
        if hidden is None:
            return
        time.sleep(1)
    raise RuntimeError("somebody holds an old snapshot: pages are not visible to all after a minute")


def measure() -> list[Row]:
    """Return a row a comparison. Raises RuntimeError where the two do not find the same number of nodes."""
    with bench_server() as (server, _):
        url = fresh_ledger(server, "bench_graph")
        with connect(url) as connection:
            fill(connection)
            counts = connection.execute("SELECT count(*) FROM public.bare").fetchone()
            assert counts
        rows = [Row("edges of the tenant that is measured, all kinds", f"{counts[0]:,}", "", "stated", True)]
        rows += [_compared(url, part) for part in (SMALL, MIDDLE, LARGE)]
        with _asking(url) as connection:
            rows.append(_reasons(connection))
    return rows


@contextmanager
def _asking(url: str) -> Iterator[Connection]:
    """Yield a connection as the service has them: of its role, kept open."""
    with connect(url) as connection:
        connection.execute(f"SET ROLE {SERVICE_ROLE}")
        yield connection


def _compared(url: str, part: Part) -> Row:
    """Ask both in turn, each over a connection of its own, so that neither's plans go.

    Where a server process lies in memory makes one a fifth slower than another for as long as it lives, so that
    several pairs are asked.
    """
    took: list[tuple[float, float]] = []
    found = 0
    for _ in range(part.pairs):
        with _asking(url) as ours, _asking(url) as plain:
            for number in range(part.rounds + 1):
                bare_s, expected = _asked(plain, _PLAIN, part)
                ours_s, found = _asked(ours, _OURS, part)
                if found != expected or abs(found - part.reach) > part.reach / 100:
                    raise RuntimeError(f"{found} nodes, {expected} expected, about {part.reach}")
                if number:  # the first is for the caches
                    took.append((ours_s, bare_s))
    ratio = median(one / other for one, other in took)
    return Row(
        f"all that goes with one resource: {found:,} nodes",
        f"{median(one for one, _ in took) * 1000:.1f} ms ({ratio:.2f}x)",
        f"recursive query over a bare table: {median(other for _, other in took) * 1000:.1f} ms",
        f"at most {LIMIT:g}x",
        ratio <= LIMIT,
    )


def _reasons(connection: Connection) -> Row:
    took = [_asked(connection, _REASONS, LARGE)[0] for _ in range(5)]
    return Row("the nearest 1,000 of them, each with its reason", f"{median(took) * 1000:.1f} ms", "", "stated", True)


def _asked(connection: Connection, query: str, part: Part) -> tuple[float, int]:
    """Return the seconds that an answer took to arrive, and how many nodes it has."""
    with as_tenant(connection, _ME):
        began = _spent_s(connection)
        answer = connection.execute(query, [part.first])
        took = _spent_s(connection) - began
    return took, answer.rowcount


def _spent_s(connection: Connection) -> float:
    """Return the CPU time of the connection's server process, which another's load leaves as it is; else the time."""
    try:
        told = Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text()
    except OSError:
        return time.perf_counter()
    return int(told.split()[0]) / 1e9
