"""What happened to one asset, from every table that tells of it, on one line of time, newest first. Reads only.

Fields, names and absences are `store.query.changes`; here are beside them what people decided, how probes went, the
agent on it, the states that declare it, and findings. Called for `store.query.asset_page`, within its transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from asset_ledger.domain.calendar import LEDGER_TIMEZONE
from asset_ledger.store.access.people import tenants
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.decide.decisions import log
from asset_ledger.store.tenancy import say_tenant

KINDS = ("ledger", "change", "decision", "probe", "agent", "state", "finding")


def timeline(
    connection: Connection,
    asset_id: UUID,
    asset_ids: Sequence[UUID],
    changes: Sequence[dict[str, Any]],
    *,
    last: int,
) -> tuple[list[dict[str, Any]], bool]:
    """Return the `last` things that happened to an asset and those merged into it, and whether there are more.

    `changes` are its newest events (`asset_events`), at least `last` + 1 where there are as many. Each thing has kind
    (one of KINDS), day (in the ledger's time zone), at (an instant, or None where the day is all that is known),
    source (None: nobody's), and `what`: of a change the event, of a decision the decision, else event and details.
    """
    wanted = {"ids": list(asset_ids), "most": last + 1, "zone": LEDGER_TIMEZONE}
    found = [
        {"kind": "change", "day": each["day"], "at": None, "source": each["source"], "what": each} for each in changes
    ]
    found += rows(connection, _LEDGER, wanted)
    found += rows(connection, _PROBES, wanted)
    found += _decisions(connection, asset_id, last + 1)
    for tenant in tenants(connection):
        say_tenant(connection, tenant.id)
        told = wanted | {"tenant": tenant.name, "tenant_id": tenant.id}
        for query in (_AGENTS, _STATES, _FINDINGS):
            found += rows(connection, query, told)
    found.sort(key=_place)
    return found[:last], len(found) > last


def _place(thing: dict[str, Any]) -> tuple[int, float]:
    """Newest day first; of a day the newest instant first, and what has none before them: a day is known at its end."""
    at = thing["at"]
    return -thing["day"].toordinal(), float("-inf") if at is None else -at.timestamp()


def _decisions(connection: Connection, asset_id: UUID, most: int) -> list[dict[str, Any]]:
    from asset_ledger.domain.calendar import collected_date

    return [
        {
            "kind": "decision",
            "day": collected_date(each["decided_at"]),
            "at": each["decided_at"],
            "source": None,
            "what": each,
        }
        for each in log(connection, asset_id=asset_id, limit=most)
    ]


_LEDGER = """
SELECT 'ledger' AS kind, (a.created_at AT TIME ZONE %(zone)s)::date AS day, a.created_at AS at, NULL AS source,
       jsonb_build_object('event', 'created', 'id', a.id) AS what
FROM ledger.assets a WHERE a.id = ANY(%(ids)s)
UNION ALL
SELECT 'ledger', (l.closed_at AT TIME ZONE %(zone)s)::date, l.closed_at, s.name,
       jsonb_build_object('event', 'id given away', 'external_kind', l.external_kind, 'external_id', l.external_id)
FROM ledger.asset_source_links l JOIN ledger.sources s ON s.id = l.source_id
WHERE l.asset_id = ANY(%(ids)s) AND l.closed_at IS NOT NULL
ORDER BY day DESC LIMIT %(most)s
"""

# A run of days on which probing came to the same is one thing: it answered, or it failed with one code.
_PROBES = """
WITH day AS (
    SELECT d.source_id, d.collected_date, bool_or(d.normalized_id IS NOT NULL) AS ok, min(d.unknown ->> '*') AS code,
           max(d.collected_at) AS at
    FROM ledger.asset_daily_specs d JOIN ledger.sources s ON s.id = d.source_id AND s.source_type = 'probe'
    WHERE d.asset_id = ANY(%(ids)s) GROUP BY 1, 2
), told AS (
    SELECT *, CASE WHEN NOT ok THEN coalesce(code, 'failed') END AS outcome FROM day
), begun AS (
    SELECT *, outcome IS DISTINCT FROM lag(outcome) OVER w OR lag(collected_date) OVER w IS NULL AS begins
    FROM told WINDOW w AS (PARTITION BY source_id ORDER BY collected_date)
), run AS (
    SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY source_id ORDER BY collected_date) AS number FROM begun
)
SELECT 'probe' AS kind, min(r.collected_date) AS day, NULL::timestamptz AS at, s.name AS source,
       jsonb_build_object('event', CASE WHEN min(r.outcome) IS NULL THEN 'answered' ELSE 'failed' END,
                          'error_code', min(r.outcome), 'days', count(*), 'until', max(r.collected_date)) AS what
FROM run r JOIN ledger.sources s ON s.id = r.source_id
GROUP BY s.name, r.source_id, r.number ORDER BY day DESC LIMIT %(most)s
"""

_AGENTS = """
SELECT 'agent' AS kind, (e.at AT TIME ZONE %(zone)s)::date AS day, e.at, NULL AS source,
       jsonb_build_object('event', e.event, 'client', c.id, 'by', e.actor, 'agent_version', c.agent_version,
                          'tenant', %(tenant)s::text) AS what
FROM agent.clients c
CROSS JOIN LATERAL (VALUES ('enrolled', c.registered_at, c.enrolled_by), ('first connected', c.first_connected_at, NULL),
                           (c.status, c.status_at, NULL), ('retired', c.retired_at, NULL)) AS e (event, at, actor)
WHERE c.tenant_id = %(tenant_id)s AND e.at IS NOT NULL AND c.id::text IN (
    SELECT l.external_id FROM ledger.asset_source_links l JOIN ledger.sources s ON s.id = l.source_id
    WHERE l.asset_id = ANY(%(ids)s) AND s.platform = 'agent')
ORDER BY e.at DESC LIMIT %(most)s
"""

_STATES = """
WITH joined AS MATERIALIZED (
    SELECT j.*, h.tool || ':' || h.project || '/' || h.stack AS state
    FROM iac.resource_joins j JOIN iac.state_heads h USING (tenant_id, state_id)
    WHERE j.tenant_id = %(tenant_id)s AND j.asset_id = ANY(%(ids)s)
)
SELECT 'state' AS kind, (e.at AT TIME ZONE %(zone)s)::date AS day, e.at, NULL AS source,
       jsonb_build_object('event', e.event, 'state', j.state, 'address', e.address, 'rule', j.rule, 'version', e.version,
                          'tenant', %(tenant)s::text) AS what
FROM joined j
CROSS JOIN LATERAL (
    SELECT 'declared' AS event, j.joined_at AS at, NULL::bigint AS version, (
        SELECT c.addr FROM iac.resources_current c
        WHERE (c.tenant_id, c.state_id, c.stable_uid) = (j.tenant_id, j.state_id, j.stable_uid)) AS address
    UNION ALL
    SELECT 'no longer declared', j.left_at, NULL, NULL WHERE j.left_at IS NOT NULL
    UNION ALL
    (SELECT r.action, r.at, r.version, r.addr FROM iac.resource_events r
     -- states of one tenant may share an uid: each is told of its own
     WHERE (r.tenant_id, r.state_id, r.stable_uid) = (j.tenant_id, j.state_id, j.stable_uid)
     ORDER BY r.version DESC, r.sequence LIMIT %(most)s)
) AS e
ORDER BY e.at DESC LIMIT %(most)s
"""

_FINDINGS = """
SELECT 'finding' AS kind, (e.at AT TIME ZONE %(zone)s)::date AS day, e.at, f.source,
       jsonb_build_object('event', e.event, 'finding', f.kind, 'attribute', f.attribute, 'declared', f.declared,
                          'observed', f.observed, 'address', f.addr, 'because', e.because,
                          'tenant', %(tenant)s::text) AS what
FROM iac.findings f
CROSS JOIN LATERAL (VALUES ('opened', f.opened_at, NULL), ('closed', f.closed_at, f.closed_because))
    AS e (event, at, because)
WHERE f.tenant_id = %(tenant_id)s AND f.asset_id = ANY(%(ids)s) AND e.at IS NOT NULL
ORDER BY e.at DESC LIMIT %(most)s
"""
