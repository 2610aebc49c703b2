"""The journal of findings: what holds is opened and ages, what does not is closed, and what nobody can say is unsure.

Written from the temporary tables of `store.iac.comparing`, in the same transaction; `store.iac.found` reads it. An
evaluation that finds the same writes only when it looked.
"""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import psycopg

from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.iac.rules import KINDS, Candidate, FindingKind
from asset_ledger.store.database import Connection, rows, run_script
from asset_ledger.store.iac.joins import COMPARED_FROM


@dataclass(frozen=True, slots=True)
class Told:
    """What the journal did in one evaluation, in findings."""

    opened: int
    closed: int
    seen: int
    unsure: int


@contextmanager
def evaluating(connection: Connection) -> Iterator[None]:
    """Put evaluations in order, one after the other, and let each transaction within see one moment of the ledger.

    Not in a transaction: a lock that is waited for inside one would show the moment before the wait.
    """
    connection.execute("SELECT pg_advisory_lock(hashtext('asset_ledger.findings'), 0)")
    before = connection.isolation_level
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    try:
        yield
    finally:
        if not connection.closed:
            connection.isolation_level = before
            connection.execute("SELECT pg_advisory_unlock(hashtext('asset_ledger.findings'), 0)")


@contextmanager
def apart(connection: Connection, tenant: str, failed: list[Exception]) -> Iterator[None]:
    """Keep what stands against looking at one tenant until the others were looked at, where the server goes on."""
    try:
        yield
    except (LedgerError, psycopg.Error) as error:
        if connection.closed:
            raise
        error.add_note(f"while the tenant {tenant} was looked at; the others were looked at as well")
        failed.append(error)


_SUBJECTS = """
SELECT n, kind, source, coalesce(state, '') AS state, coalesce(addr, '') AS address, coalesce(resource_type, '') AS type,
       coalesce(name, '') AS name, coalesce(external_id, '') AS external_id, attribute
FROM fi_verdict
"""

# What people say comes after what is `settled`, and before all else.
_IGNORE = """
UPDATE fi_verdict SET ignored = true, anew = true, unsure = CASE WHEN settled THEN unsure END,
       closes = CASE WHEN id IS NULL OR settled THEN closes ELSE 'ignored' END
WHERE n = ANY(%s)
"""


def candidates(connection: Connection) -> list[tuple[int, Candidate]]:
    """Return what would be a finding or is one already, by its number; after `comparing.compare`."""
    return [(row.pop("n"), Candidate(**row)) for row in rows(connection, _SUBJECTS, {})]


def ignore(connection: Connection, numbers: Iterable[int]) -> None:
    """Note which of the candidates are no findings by what people said."""
    connection.execute(_IGNORE, [list(numbers)])


_COUNTS = """
SELECT count(*) FILTER (WHERE id IS NULL AND NOT ignored) AS opened, count(closes) AS closed,
       count(id) FILTER (WHERE closes IS NULL AND unsure IS NULL) AS seen, count(unsure) AS unsure,
       count(*) FILTER (WHERE anew AND unsure IS NOT NULL) AS doubted,
       count(id) FILTER (WHERE anew AND closes IS NULL AND unsure IS NULL) AS confirmed
FROM fi_verdict
"""

_JOURNALS = ("iac.drift_findings", "iac.cloud_orphans")

_CLOSE = "".join(
    f"""
UPDATE {journal} AS f SET closed_at = %(now)s, closed_because = v.closes, unsure_since = NULL, unsure_because = NULL
FROM fi_verdict AS v WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.closes IS NOT NULL;
"""
    for journal in _JOURNALS
)

_DOUBT = "".join(
    f"""
UPDATE {journal} AS f SET unsure_since = coalesce(f.unsure_since, %(now)s), unsure_because = v.unsure
FROM fi_verdict AS v WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.anew AND v.unsure IS NOT NULL;
"""
    for journal in _JOURNALS
)

_CONFIRM = """
UPDATE iac.drift_findings AS f SET seen_at = v.seen_at, unsure_since = NULL, unsure_because = NULL, addr = v.addr,
       asset_id = v.asset_id, name = v.name, declared = v.declared, observed = v.observed, rule = v.rule,
       score = v.score, observed_at = v.observed_at
FROM fi_verdict AS v
WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.anew AND v.closes IS NULL AND v.unsure IS NULL;

UPDATE iac.cloud_orphans AS f SET seen_at = v.seen_at, unsure_since = NULL, unsure_because = NULL,
       asset_id = v.asset_id, name = v.name, observed_at = v.observed_at
FROM fi_verdict AS v
WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.anew AND v.closes IS NULL AND v.unsure IS NULL;
"""

_OPEN = """
INSERT INTO iac.drift_findings (tenant_id, kind, state_id, stable_uid, addr, attribute, source_id, source, asset_id,
    name, declared, observed, rule, score, observed_at, opened_at, seen_at)
SELECT %(tenant)s, kind, state_id, stable_uid, addr, attribute, source_id, source, asset_id, name, declared, observed,
       rule, score, observed_at, %(now)s, %(now)s
FROM fi_verdict WHERE id IS NULL AND kind <> 'orphan' AND NOT ignored;

INSERT INTO iac.cloud_orphans (tenant_id, source_id, source, external_kind, external_id, link_id, asset_id, name,
    observed_at, opened_at, seen_at)
SELECT %(tenant)s, source_id, source, external_kind, external_id, link_id, asset_id, name, observed_at, %(now)s, %(now)s
FROM fi_verdict WHERE id IS NULL AND kind = 'orphan' AND NOT ignored;
"""

_COVERAGE = f"""
WITH told AS (
    SELECT source_id, unknown, count(*) AS declared, count(link_id) FILTER (WHERE NOT missing) AS managed
    FROM (
        SELECT p.source_id, p.link_id, p.missing, coalesce(p.doubt::text, CASE
                   WHEN p.score >= {COMPARED_FROM} THEN NULL
                   WHEN p.score IS NOT NULL THEN 'known_by_address_alone'
                   WHEN EXISTS (SELECT FROM fi_doubtful AS z
                                WHERE z.state_id = p.state_id AND z.stable_uid = p.stable_uid) THEN 'several_fit'
                   WHEN NOT p.says_id THEN 'says_no_id' END) AS unknown
        FROM fi_pair AS p
    ) AS one
    GROUP BY source_id, unknown
)
INSERT INTO iac.coverage AS v (tenant_id, source_id, source, day, evaluated_at, reading_at, complete, why, observed,
    managed, declared, ignored, drifting, missing, doubles, orphans, unknown)
SELECT %(tenant)s, s.source_id, s.name, %(day)s, %(now)s, s.reading_at, s.sure, coalesce(s.why, s.unsettled),
       d.managed + a.claimed + a.alone, d.managed + a.claimed, d.declared, i.ignored, f.drifting, f.missing, f.doubles,
       o.orphans, d.unknown
FROM fi_source AS s
CROSS JOIN LATERAL (
    -- a machine of a source counts once, whoever else declares it
    SELECT coalesce(sum(x.declared), 0) AS declared, coalesce(sum(x.managed), 0) - (
               SELECT count(*) - count(DISTINCT k.asset_id) FROM fi_claim AS k WHERE k.source_id = s.source_id
           ) AS managed,
           coalesce(jsonb_object_agg(x.unknown, x.declared) FILTER (WHERE x.unknown IS NOT NULL), '{{}}') AS unknown
    FROM told AS x WHERE x.source_id = s.source_id
) AS d
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE x.claimed) AS claimed, count(*) FILTER (WHERE NOT x.claimed) AS alone
    FROM fi_alone AS x WHERE x.source_id = s.source_id AND x.outside IS NULL
) AS a
CROSS JOIN LATERAL (
    SELECT count(DISTINCT coalesce(x.stable_uid::text, x.link_id::text)) AS ignored FROM fi_verdict AS x
    WHERE x.source_id = s.source_id AND x.holds AND x.ignored
) AS i
CROSS JOIN LATERAL (
    SELECT count(DISTINCT (x.state_id, x.stable_uid)) FILTER (WHERE x.kind = 'drift') AS drifting,
           count(*) FILTER (WHERE x.kind = 'missing') AS missing, count(*) FILTER (WHERE x.kind = 'double') AS doubles
    FROM iac.drift_findings AS x
    WHERE x.tenant_id = %(tenant)s AND x.source_id = s.source_id AND x.closed_at IS NULL
) AS f
CROSS JOIN LATERAL (
    SELECT count(*) AS orphans FROM iac.cloud_orphans AS x
    WHERE x.tenant_id = %(tenant)s AND x.source_id = s.source_id AND x.closed_at IS NULL
) AS o
ON CONFLICT (tenant_id, source_id, day) DO UPDATE SET source = excluded.source, evaluated_at = excluded.evaluated_at,
    reading_at = excluded.reading_at, complete = excluded.complete, why = excluded.why, observed = excluded.observed,
    managed = excluded.managed, declared = excluded.declared, ignored = excluded.ignored, drifting = excluded.drifting,
    missing = excluded.missing, doubles = excluded.doubles, orphans = excluded.orphans, unknown = excluded.unknown;
"""


def write(connection: Connection, tenant_id: UUID, *, now: datetime, day: date) -> Told:
    """Bring the journal up to date and the day's coverage with it, after `comparing.compare` and `ignore`."""
    parameters = {"tenant": tenant_id, "now": now, "day": day}
    counted = connection.execute(_COUNTS).fetchone()
    assert counted is not None
    opened, closed, seen, unsure, doubted, confirmed = counted
    with connection.pipeline():
        if closed or doubted or confirmed:
            connection.execute("ANALYZE fi_verdict")  # they may be many: each is to be looked up once
        for script, many in ((_CLOSE, closed), (_DOUBT, doubted), (_CONFIRM, confirmed), (_OPEN, opened)):
            if many:
                run_script(connection, script, parameters)
        run_script(connection, _COVERAGE, parameters)
    return Told(opened, closed, seen, unsure)


def open_by_kind(connection: Connection, tenant_id: UUID) -> dict[FindingKind, int]:
    """Return how many findings of a tenant's states are open, by kind."""
    found = connection.execute(
        "SELECT kind, count(*) FROM iac.findings WHERE tenant_id = %s AND closed_at IS NULL AND kind = ANY(%s)"
        " GROUP BY kind",
        [tenant_id, list(KINDS)],
    )
    return dict(found.fetchall())
