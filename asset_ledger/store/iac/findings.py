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
from psycopg.rows import class_row

from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.iac.rules import KINDS, Candidate, FindingKind
from asset_ledger.store.database import Connection, rows, run_script
from asset_ledger.store.iac.comparing import VALUES
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


_CANDIDATES = """
SELECT c.n, NULL::uuid AS id, c.kind, s.name AS source, coalesce(t.state, '') AS state, coalesce(c.addr, '') AS address,
       coalesce(c.resource_type, '') AS type, coalesce(c.name, '') AS name, coalesce(c.external_id, '') AS external_id,
       c.attribute
FROM fi_candidate AS c JOIN fi_source AS s ON s.source_id = c.source_id LEFT JOIN fi_state AS t ON t.state_id = c.state_id
UNION ALL
SELECT NULL, f.id, f.kind, f.source, coalesce(f.project || '/' || f.stack, ''), coalesce(f.addr, ''),
       coalesce(p.resource_type, ''), coalesce(f.name, ''),
       coalesce(f.external_id, CASE WHEN f.kind IN ('drift', 'double') THEN p.external_id END, ''), f.attribute
FROM iac.findings AS f LEFT JOIN fi_side AS p ON p.state_id = f.state_id AND p.stable_uid = f.stable_uid
WHERE f.tenant_id = %(tenant)s AND f.closed_at IS NULL AND f.kind = ANY(%(kinds)s)
"""


def candidates(connection: Connection, tenant_id: UUID) -> list[tuple[int | None, UUID | None, Candidate]]:
    """Return what would be a finding, by its number, and what is one already, by its id."""
    return [
        (row.pop("n"), row.pop("id"), Candidate(**row))
        for row in rows(connection, _CANDIDATES, {"tenant": tenant_id, "kinds": list(KINDS)})
    ]


def ignore(connection: Connection, numbers: Iterable[int]) -> None:
    """Note which candidates are no findings by what people said."""
    connection.execute("UPDATE fi_candidate SET ignored = true WHERE n = ANY(%s)", [list(numbers)])


# What becomes of each open finding: `closes` says why it is none any more, `unsure` why nobody can say; neither: it
# holds, and `n` is its candidate. The order of the cases is the order in which one knows.
_VERDICTS = f"""
CREATE TEMPORARY TABLE fi_verdict ON COMMIT DROP AS
SELECT id, n, closes, CASE WHEN closes IS NULL AND n IS NULL THEN coalesce(unsure, 'nobody told of it') END AS unsure
FROM (
    SELECT f.id, CASE WHEN c.ignored THEN NULL ELSE c.n END AS n,
           CASE WHEN raw.stable_uid IS NULL THEN 'left'
                WHEN p.source_id IS DISTINCT FROM f.source_id THEN 'no_longer_mapped'
                WHEN c.n IS NOT NULL THEN CASE WHEN c.ignored THEN 'ignored' END
                WHEN f.id = ANY(%(ignored)s) THEN 'ignored'
                WHEN f.kind = 'missing' AND p.link_id IS NOT NULL AND NOT p.missing THEN 'seen_again'
                WHEN f.kind = 'double' AND NOT coalesce(k.unsettled, false) AND t.why IS NULL THEN 'no_longer_double'
                WHEN p.unsure IS NOT NULL OR f.kind = 'missing' THEN NULL
                WHEN p.missing OR p.link_id IS NULL AND p.says_id THEN 'missing'
                WHEN p.score < {COMPARED_FROM} OR p.score IS NULL THEN 'not_joined'
                WHEN NOT v.differs THEN 'agrees' END AS closes,
           CASE WHEN f.kind = 'double' THEN coalesce(t.why, 'another state that has it is not settled')
                WHEN p.unsure IS NOT NULL THEN p.unsure
                WHEN f.kind = 'missing' THEN 'several machines may be it'
                ELSE f.attribute || ' is not known on both sides' END AS unsure
    FROM iac.drift_findings AS f
    JOIN fi_state AS t ON t.state_id = f.state_id
    LEFT JOIN iac.declared_machines AS raw
           ON (raw.tenant_id, raw.state_id, raw.stable_uid) = (f.tenant_id, f.state_id, f.stable_uid)
    LEFT JOIN fi_side AS p ON p.state_id = f.state_id AND p.stable_uid = f.stable_uid
    LEFT JOIN fi_claim AS k ON k.state_id = f.state_id AND k.stable_uid = f.stable_uid
    LEFT JOIN fi_candidate AS c ON c.kind = f.kind AND c.state_id = f.state_id AND c.stable_uid = f.stable_uid
          AND c.attribute = f.attribute AND c.source_id = f.source_id
    LEFT JOIN LATERAL {VALUES} ON v.attribute = f.attribute
    WHERE f.tenant_id = %(tenant)s AND f.closed_at IS NULL
    UNION ALL
    SELECT f.id, CASE WHEN c.ignored THEN NULL ELSE c.n END,
           CASE WHEN s.source_id IS NULL OR NOT s.orphans THEN 'no_longer_mapped'
                WHEN x.deleted_at IS NOT NULL OR r.deleted_at IS NOT NULL THEN 'retired'
                WHEN o.id IS NULL OR o.missing_since IS NOT NULL THEN 'gone'
                WHEN t.asset_id IS NOT NULL THEN 'joined'
                WHEN c.n IS NOT NULL THEN CASE WHEN c.ignored THEN 'ignored' END
                WHEN f.id = ANY(%(ignored)s) THEN 'ignored'
                ELSE a.outside END,
           coalesce(s.why, s.unsettled, CASE WHEN NOT a.known THEN s.name || ' did not tell whether it is a template' END)
    FROM iac.cloud_orphans AS f
    LEFT JOIN fi_source AS s ON s.source_id = f.source_id
    LEFT JOIN ledger.asset_source_links AS o ON o.id = f.link_id AND o.closed_at IS NULL
    LEFT JOIN ledger.assets AS x ON x.id = o.asset_id
    LEFT JOIN ledger.assets AS r ON r.id = x.merged_into_asset_id
    LEFT JOIN fi_taken AS t ON t.asset_id = coalesce(r.id, x.id)
    LEFT JOIN fi_alone AS a ON a.link_id = f.link_id
    LEFT JOIN fi_candidate AS c ON c.kind = 'orphan' AND c.link_id = f.link_id
    WHERE f.tenant_id = %(tenant)s AND f.closed_at IS NULL
) AS told;
"""

# Looking again at the same reading confirms nothing, and what says the same is not written again.
_SEEN_AT = """CASE WHEN c.observed_at <= f.observed_at AND f.unsure_since IS NULL THEN f.seen_at ELSE %(now)s END"""

_WRITE = f"""
UPDATE iac.drift_findings AS f SET closed_at = %(now)s, closed_because = v.closes, unsure_since = NULL,
       unsure_because = NULL
FROM fi_verdict AS v WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.closes IS NOT NULL;

UPDATE iac.cloud_orphans AS f SET closed_at = %(now)s, closed_because = v.closes, unsure_since = NULL,
       unsure_because = NULL
FROM fi_verdict AS v WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.closes IS NOT NULL;

UPDATE iac.drift_findings AS f SET unsure_since = coalesce(f.unsure_since, %(now)s), unsure_because = v.unsure
FROM fi_verdict AS v WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.unsure IS NOT NULL;

UPDATE iac.cloud_orphans AS f SET unsure_since = coalesce(f.unsure_since, %(now)s), unsure_because = v.unsure
FROM fi_verdict AS v WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.unsure IS NOT NULL;

UPDATE iac.drift_findings AS f SET seen_at = {_SEEN_AT}, unsure_since = NULL, unsure_because = NULL, addr = c.addr,
       asset_id = c.asset_id, name = c.name, declared = c.declared, observed = c.observed, rule = c.rule,
       score = c.score, observed_at = c.observed_at
FROM fi_verdict AS v JOIN fi_candidate AS c USING (n)
WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.closes IS NULL
  AND (f.seen_at, f.unsure_since, f.addr, f.asset_id, f.name, f.declared, f.observed, f.rule, f.score, f.observed_at)
      IS DISTINCT FROM ({_SEEN_AT}, NULL::timestamptz, c.addr, c.asset_id, c.name, c.declared, c.observed, c.rule,
                        c.score, c.observed_at);

UPDATE iac.cloud_orphans AS f SET seen_at = {_SEEN_AT}, unsure_since = NULL, unsure_because = NULL,
       asset_id = c.asset_id, name = c.name, observed_at = c.observed_at
FROM fi_verdict AS v JOIN fi_candidate AS c USING (n)
WHERE f.tenant_id = %(tenant)s AND v.id = f.id AND v.closes IS NULL
  AND (f.seen_at, f.unsure_since, f.asset_id, f.name, f.observed_at)
      IS DISTINCT FROM ({_SEEN_AT}, NULL::timestamptz, c.asset_id, c.name, c.observed_at);

INSERT INTO iac.drift_findings (tenant_id, kind, state_id, stable_uid, addr, attribute, source_id, source, asset_id,
    name, declared, observed, rule, score, observed_at, opened_at, seen_at)
SELECT %(tenant)s, c.kind, c.state_id, c.stable_uid, c.addr, c.attribute, c.source_id, s.name, c.asset_id, c.name,
       c.declared, c.observed, c.rule, c.score, c.observed_at, %(now)s, %(now)s
FROM fi_candidate AS c JOIN fi_source AS s ON s.source_id = c.source_id
WHERE c.kind <> 'orphan' AND NOT c.ignored AND c.n NOT IN (SELECT n FROM fi_verdict WHERE n IS NOT NULL)
ORDER BY c.n;

INSERT INTO iac.cloud_orphans (tenant_id, source_id, source, external_kind, external_id, link_id, asset_id, name,
    observed_at, opened_at, seen_at)
SELECT %(tenant)s, c.source_id, s.name, c.external_kind, c.external_id, c.link_id, c.asset_id, c.name, c.observed_at,
       %(now)s, %(now)s
FROM fi_candidate AS c JOIN fi_source AS s ON s.source_id = c.source_id
WHERE c.kind = 'orphan' AND NOT c.ignored AND c.n NOT IN (SELECT n FROM fi_verdict WHERE n IS NOT NULL)
ORDER BY c.n;
"""

_COVERAGE = f"""
WITH told AS (
    SELECT source_id, unknown, count(*) AS declared, count(link_id) FILTER (WHERE NOT missing) AS managed
    FROM (
        SELECT p.source_id, p.link_id, p.missing, coalesce(p.unknown, CASE
                   WHEN p.unsure IS NOT NULL THEN 'not_seen'
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
    -- a machine counts once, whoever else declares it
    SELECT coalesce(sum(x.declared), 0) AS declared, coalesce(sum(x.managed), 0) - (
               SELECT count(*) FROM fi_claim AS k WHERE k.source_id = s.source_id AND k.turn > 1) AS managed,
           coalesce(jsonb_object_agg(x.unknown, x.declared) FILTER (WHERE x.unknown IS NOT NULL), '{{}}') AS unknown
    FROM told AS x WHERE x.source_id = s.source_id
) AS d
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE x.claimed) AS claimed, count(*) FILTER (WHERE NOT x.claimed) AS alone
    FROM fi_alone AS x WHERE x.source_id = s.source_id AND x.outside IS NULL
) AS a
CROSS JOIN LATERAL (
    SELECT count(DISTINCT coalesce(x.stable_uid::text, x.link_id::text)) AS ignored FROM fi_candidate AS x
    WHERE x.source_id = s.source_id AND x.ignored
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


def write(connection: Connection, tenant_id: UUID, *, ignored: Iterable[UUID], now: datetime, day: date) -> Told:
    """Bring the journal up to date and the day's coverage with it, after `comparing.compare` and `ignore`.

    `ignored` are the open findings that are none by what people said.
    """
    parameters = {"tenant": tenant_id, "ignored": list(ignored), "now": now, "day": day, "kinds": list(KINDS)}
    with connection.pipeline():
        run_script(connection, _VERDICTS, parameters)
        run_script(connection, _WRITE, parameters)
        run_script(connection, _COVERAGE, parameters)
    with connection.cursor(row_factory=class_row(Told)) as cursor:
        found = cursor.execute(
            """
            SELECT (SELECT count(*) FROM iac.findings WHERE tenant_id = %(tenant)s AND opened_at = %(now)s
                      AND kind = ANY(%(kinds)s)) AS opened,
                   count(closes) AS closed, count(n) FILTER (WHERE closes IS NULL) AS seen, count(unsure) AS unsure
            FROM fi_verdict
            """,
            parameters,
        ).fetchone()
    assert found is not None
    return found


def open_by_kind(connection: Connection, tenant_id: UUID) -> dict[FindingKind, int]:
    """Return how many findings of a tenant's states are open, by kind."""
    found = connection.execute(
        "SELECT kind, count(*) FROM iac.findings WHERE tenant_id = %s AND closed_at IS NULL AND kind = ANY(%s)"
        " GROUP BY kind",
        [tenant_id, list(KINDS)],
    )
    return dict(found.fetchall())
