"""What stands when findings are looked for: the states, what of them makes machines, and the readings of the sources.

Fills `fi_state` and `fi_source`, temporary tables of one transaction inside `as_tenant`, which say of each whether it is
known for sure and why not. `store.iac.joins` goes on with them.
"""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from asset_ledger.domain.iac.rules import KINDS
from asset_ledger.domain.iac.snapshot import Tool
from asset_ledger.store.database import Connection, run_script
from asset_ledger.store.derive.missing import COUNTS

HOLDS = timedelta(days=3)
"""How long a reading says what is: sources are read every day, so that one which is older is not read any more."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a provider's configuration makes in a state. `state` is PROJECT/STACK."""

    state_id: UUID
    tool: Tool
    state: str
    provider: str
    alias: str
    machines: int


@dataclass(frozen=True, slots=True)
class StateFacts:
    """A state as it stands. `why` says why what it declares is not known for sure now; None where it is."""

    state_id: UUID
    tool: Tool
    state: str
    why: str | None


_STATES = """
CREATE TEMPORARY TABLE fi_state ON COMMIT DROP AS
SELECT h.state_id, h.tool, h.project || '/' || h.stack AS state, coalesce(v.created_at, h.created_at) AS written_at,
       CASE WHEN EXISTS (SELECT FROM iac.states AS w WHERE w.tenant_id = h.tenant_id AND w.state_id = h.state_id
                         AND w.parsed_at IS NULL)
            THEN format('a version of %%s/%%s waits to be read', h.project, h.stack)
            WHEN EXISTS (SELECT FROM iac.states AS w WHERE w.tenant_id = h.tenant_id AND w.state_id = h.state_id
                         AND w.unread = 'machines')
            THEN format('%%s/%%s was last read by an older release: run `asset-ledger state parse`', h.project, h.stack)
            WHEN v.unread = 'all' THEN format('the newest version of %%s/%%s cannot be read', h.project, h.stack)
            WHEN v.unread = 'part'
            THEN format('the newest version of %%s/%%s could not be read whole', h.project, h.stack)
            -- a plan changes nothing; and a lock that nobody gives back must not silence everything
            WHEN k.state_id IS NOT NULL THEN format('%%s/%%s is locked: it is being changed', h.project, h.stack)
       END AS why
FROM iac.state_heads AS h
LEFT JOIN iac.states AS v ON (v.tenant_id, v.state_id, v.version) = (h.tenant_id, h.state_id, h.head_version)
LEFT JOIN iac.state_locks AS k ON (k.tenant_id, k.state_id) = (h.tenant_id, h.state_id)
     AND k.created_at > %(now)s::timestamptz - interval '1 day'
     AND k.operation IS DISTINCT FROM 'OperationTypePlan'
WHERE h.tenant_id = %(tenant)s;
"""

# The last reading that speaks of machines, and the last one whose absences count: where the two are one, it is sure.
_SOURCES = f"""
CREATE TEMPORARY TABLE fi_source ON COMMIT DROP AS
WITH reading AS (
    SELECT i.id, i.source_id, i.collected_date, i.collected_at, i.complete, i.status, i.absences, i.error_code,
           {COUNTS.format(absences="i.absences")} AS counts
    FROM ledger.inventories AS i
    LEFT JOIN ledger.decisions_in_force AS d ON d.kind = 'absences' AND d.inventory_id = i.id
    WHERE i.status IN ('derived', 'interrupted', 'failed') AND (i.covers = '{{}}' OR i.covers && '{{vm,machine}}')
)
SELECT s.id AS source_id, s.name, s.source_type, m.orphans, t.id AS reading_id, t.collected_date AS reading_date,
       t.collected_at AS reading_at,
       coalesce(l.id = t.id AND t.collected_at >= %(oldest)s::timestamptz, false) AS sure,
       CASE WHEN l.id IS NULL THEN format('%%s was not read yet', s.name)
            WHEN l.id = t.id AND t.collected_at >= %(oldest)s::timestamptz THEN NULL
            WHEN l.id = t.id
            THEN format('%%s was last read at %%s', s.name,
                        to_char(t.collected_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))
            WHEN l.status = 'derived' AND l.complete
            THEN format('reading %%s of %%s lost too many machines at once: `asset-ledger absences show %%s`',
                        l.id, s.name, l.id)
            ELSE format('the last reading of %%s is not complete%%s', s.name, ': ' || l.error_code) END AS why,
       NULL::text AS unsettled
FROM unnest(%(names)s::text[], %(orphans)s::boolean[]) AS m(name, orphans)
JOIN ledger.sources AS s ON s.name = m.name
LEFT JOIN LATERAL (
    SELECT * FROM reading AS r WHERE r.source_id = s.id ORDER BY r.collected_date DESC, r.collected_at DESC, r.id DESC
    LIMIT 1
) AS l ON true
LEFT JOIN LATERAL (
    SELECT * FROM reading AS r WHERE r.source_id = s.id AND r.counts
    ORDER BY r.collected_date DESC, r.collected_at DESC, r.id DESC LIMIT 1
) AS t ON true;
"""

_UNSETTLED = """
UPDATE fi_source AS s SET unsettled = w.why
FROM (
    SELECT c.name, min(t.why) AS why
    FROM unnest(%(concerned)s::uuid[], %(concerns)s::text[]) AS c(state_id, name) JOIN fi_state AS t USING (state_id)
    WHERE t.why IS NOT NULL GROUP BY c.name
) AS w
WHERE w.name = s.name;
"""


def states(connection: Connection, parameters: dict[str, object]) -> list[StateFacts]:
    """Look at every state of the tenant, and return them. Parameters: tenant, now."""
    # the statements are written in the order in which they are quick: looking for a better one takes longer
    connection.execute("SET LOCAL join_collapse_limit = 1")
    run_script(connection, _STATES, parameters)
    with connection.cursor(row_factory=class_row(StateFacts)) as cursor:
        return cursor.execute("SELECT state_id, tool, state, why FROM fi_state").fetchall()


def places(connection: Connection, tenant_id: UUID) -> list[Place]:
    """Return what of the tenant's states makes machines; after `states`."""
    with connection.cursor(row_factory=class_row(Place)) as cursor:
        return cursor.execute(
            """
            SELECT t.state_id, t.tool, t.state, d.provider, d.alias, d.machines
            FROM (
                SELECT state_id, provider, alias, count(*) AS machines FROM iac.declared_machines
                WHERE tenant_id = %s GROUP BY state_id, provider, alias
            ) AS d
            JOIN fi_state AS t USING (state_id)
            """,
            [tenant_id],
        ).fetchall()


def sources(
    connection: Connection,
    mapped: Sequence[tuple[str, bool]],
    concerns: Collection[tuple[UUID, str]],
    *,
    now: datetime,
) -> set[str]:
    """Look at the readings of the mapped sources (name, and whether what nobody declares is an orphan).

    `concerns` are states with the sources whose machines they may declare. Returns the names of those that the ledger
    knows; one that was never read is none of them.
    """
    known = readings(connection, mapped, now=now)
    run_script(
        connection,
        _UNSETTLED,
        {"concerned": [state_id for state_id, _ in concerns], "concerns": [name for _, name in concerns]},
    )
    return known


def readings(connection: Connection, mapped: Sequence[tuple[str, bool]], *, now: datetime) -> set[str]:
    """Look at the readings of these sources, as `sources` does, and say nothing of states."""
    run_script(
        connection,
        _SOURCES,
        {
            "names": [name for name, _ in mapped],
            "orphans": [orphans for _, orphans in mapped],
            "oldest": now - HOLDS,
        },
    )
    return {name for (name,) in connection.execute("SELECT name FROM fi_source").fetchall()}


def is_compared(connection: Connection, tenant_id: UUID) -> bool:
    """Return whether sources were mapped to a tenant, or findings of its states are open, inside `as_tenant`."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM iac.tenant_sources WHERE tenant_id = %(tenant)s)"
        " OR EXISTS (SELECT FROM iac.findings WHERE tenant_id = %(tenant)s AND closed_at IS NULL"
        "            AND kind = ANY(%(kinds)s))",
        {"tenant": tenant_id, "kinds": list(KINDS)},
    ).fetchone()
    return row == (True,)


def give_up_sources(connection: Connection, tenant_id: UUID, names: Sequence[str]) -> None:
    """Take from a tenant the sources that are not its own any more, inside `as_tenant`: another may be given them."""
    connection.execute(
        "DELETE FROM iac.tenant_sources WHERE tenant_id = %s"
        " AND source_id NOT IN (SELECT id FROM ledger.sources WHERE name = ANY(%s))",
        [tenant_id, list(names)],
    )
