"""What is read out of kept plans, and which run of their state followed which plan.

Every function is called inside `tenancy.as_tenant`. What came of a prediction is judged by `domain.iac.outcomes`;
`pipeline.plans` brings both together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from asset_ledger.domain.iac.exact_json import canonical
from asset_ledger.domain.iac.outcomes import Happened, Judged
from asset_ledger.domain.iac.patches import value_hash
from asset_ledger.domain.iac.plans import Plan
from asset_ledger.domain.iac.snapshot import Place
from asset_ledger.store.database import Connection

_NOTHING = value_hash({})


@dataclass(frozen=True, slots=True)
class WaitingPlan:
    """A plan that was not read yet."""

    tenant_id: UUID
    state_id: UUID
    plan_id: UUID
    base_version: int


@dataclass(frozen=True, slots=True)
class Following:
    """A plan that a run followed: the run's name, the last of its versions, and whether that one could be read.

    `followed_by` is None of one that no run followed after all, for another plan was.
    """

    plan_id: UUID
    state_id: UUID
    base_version: int
    followed_by: int | None
    followed_run: str
    is_read: bool


def waiting_plans(connection: Connection, tenant_id: UUID) -> list[WaitingPlan]:
    """Return the plans that were not read yet and can be: the versions that they were made over were."""
    with connection.cursor(row_factory=class_row(WaitingPlan)) as cursor:
        return cursor.execute(
            """
            SELECT tenant_id, state_id, id AS plan_id, base_version FROM iac.plans AS p
            WHERE tenant_id = %s AND parsed_at IS NULL
              AND NOT EXISTS (SELECT FROM iac.states AS s WHERE (s.tenant_id, s.state_id) = (p.tenant_id, p.state_id)
                              AND s.version <= p.base_version AND s.parsed_at IS NULL)
            ORDER BY created_at, id
            """,
            [tenant_id],
        ).fetchall()


def hold(connection: Connection, state_id: UUID) -> None:
    """Keep other readers of a state waiting until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('asset_ledger.iac'), hashtext(%s))", [str(state_id)])


def still_waits(connection: Connection, one: WaitingPlan) -> bool:
    """Say whether a plan waits still, its state kept from other readers from now on."""
    hold(connection, one.state_id)
    row = connection.execute(
        "SELECT parsed_at IS NULL FROM iac.plans WHERE tenant_id = %s AND id = %s", [one.tenant_id, one.plan_id]
    ).fetchone()
    return row == (True,)


def save_plan(connection: Connection, one: WaitingPlan, plan: Plan, said: str | None) -> None:
    """Write what a plan predicts, with who stands in the places it names, and mark it as read."""
    standing = stood(connection, one.tenant_id, one.state_id, one.base_version, {e.origin[0] for e in plan.events})
    connection.execute("DROP TABLE IF EXISTS pg_temp.incoming_plan")
    connection.execute(
        "CREATE TEMPORARY TABLE incoming_plan (sequence integer, stable_uid uuid, provider text, resource_type text,"
        " addr text, deposed text, previous_addr text, action text, reason text, patch_json jsonb) ON COMMIT DROP"
    )
    with connection.cursor().copy("COPY incoming_plan FROM STDIN") as copy:
        for number, e in enumerate(plan.events, 1):
            copy.write_row(
                (
                    number, None if e.action in ("create", "import") else standing.get(e.origin), e.provider, e.type,
                    e.address, e.deposed, e.previous_address, e.action, e.reason, canonical(e.patch).decode(),
                )
            )  # fmt: skip
    connection.execute(
        "INSERT INTO iac.plan_events (tenant_id, plan_id, sequence, stable_uid, provider, resource_type, addr, deposed,"
        " previous_addr, action, reason, patch_json) SELECT %s, %s, i.* FROM incoming_plan AS i",
        [one.tenant_id, one.plan_id],
    )
    connection.execute(
        "UPDATE iac.plans SET parsed_at = now(), parse_error = %s, tool_version = %s, errored = %s"
        " WHERE tenant_id = %s AND id = %s",
        [said, plan.tool_version, plan.errored, one.tenant_id, one.plan_id],
    )


def mark_unread(connection: Connection, one: WaitingPlan, why: str) -> None:
    """Mark a plan with why nothing of it can be read. It waits no more."""
    connection.execute(
        "UPDATE iac.plans SET parsed_at = now(), parse_error = %s WHERE tenant_id = %s AND id = %s",
        [why, one.tenant_id, one.plan_id],
    )


def forget_read(connection: Connection, tenant_id: UUID) -> None:
    """Drop everything that was read out of a tenant's plans, and let every plan wait."""
    connection.execute("DELETE FROM iac.plan_events WHERE tenant_id = %s", [tenant_id])
    connection.execute(
        "UPDATE iac.plans SET parsed_at = NULL, parse_error = NULL, tool_version = NULL, errored = NULL,"
        " followed_by = NULL, followed_run = NULL WHERE tenant_id = %s",
        [tenant_id],
    )


def to_follow(connection: Connection, tenant_id: UUID, state_id: UUID | None = None) -> list[Following]:
    """Return the plans of whom it is not yet written, or no longer true, which run followed them; of one state or all.

    A run is what follows the version that a plan was made over, under one lock. Of several plans that were made over
    the same version the newest that was sent before the run is followed; where none was, the newest that came late. What
    only moves names (`state mv`) or takes marks follows no plan: Terraform applies none after that either.
    """
    with connection.cursor(row_factory=class_row(Following)) as cursor:
        return cursor.execute(
            """
            WITH based AS (
                SELECT p.tenant_id, p.id AS plan_id, p.state_id, p.base_version, p.followed_by AS was_followed_by,
                       n.run_id, n.version AS first,
                       row_number() OVER (PARTITION BY p.state_id, p.base_version ORDER BY p.created_at < n.created_at
                                          DESC, p.created_at DESC, p.id) = 1
                       AND coalesce(n.operation, 'OperationTypeApply') = 'OperationTypeApply'
                       AND NOT EXISTS (SELECT FROM iac.states AS b WHERE (b.tenant_id, b.state_id, b.version, b.run_id)
                                       = (n.tenant_id, n.state_id, p.base_version, n.run_id)) AS is_followed
                FROM iac.plans AS p
                JOIN iac.states AS n
                     ON (n.tenant_id, n.state_id, n.version) = (p.tenant_id, p.state_id, p.base_version + 1)
                WHERE p.tenant_id = %(tenant)s AND (%(state)s::uuid IS NULL OR p.state_id = %(state)s)
                  AND NOT p.errored AND n.parsed_at IS NOT NULL
            )
            SELECT b.plan_id, b.state_id, b.base_version, CASE WHEN b.is_followed THEN l.version END AS followed_by,
                   coalesce(b.run_id, 'version ' || b.first) AS followed_run,
                   l.kind = 'terraform' AND l.unread IS DISTINCT FROM 'all' AS is_read
            FROM based AS b
            CROSS JOIN LATERAL (
                SELECT coalesce(min(o.version) - 1, h.head_version) AS version
                FROM iac.state_heads AS h
                LEFT JOIN LATERAL (
                    SELECT v.version FROM iac.states AS v
                    WHERE (v.tenant_id, v.state_id) = (b.tenant_id, b.state_id) AND v.version > b.first
                      AND (b.run_id IS NULL OR v.run_id IS DISTINCT FROM b.run_id OR v.parsed_at IS NULL)
                    ORDER BY v.version LIMIT 1
                ) AS o ON true
                WHERE (h.tenant_id, h.state_id) = (b.tenant_id, b.state_id)
                GROUP BY h.head_version
            ) AS e
            JOIN iac.states AS l ON (l.tenant_id, l.state_id, l.version) = (b.tenant_id, b.state_id, e.version)
            WHERE b.was_followed_by IS DISTINCT FROM CASE WHEN b.is_followed THEN l.version END
            -- what is no longer followed makes room first
            ORDER BY b.is_followed, b.state_id, b.base_version
            """,
            {"tenant": tenant_id, "state": state_id},
        ).fetchall()


def stood(
    connection: Connection, tenant_id: UUID, state_id: UUID, version: int, addresses: Collection[str]
) -> dict[Place, UUID]:
    """Return who stood where at a version, of all that ever stood at some addresses; by what their events say."""
    # in one go over the events: joined with themselves, before the database has statistics, they took minutes
    rows = connection.execute(
        """
        WITH near AS MATERIALIZED (SELECT unnest(%(addresses)s::text[]) AS addr)
        SELECT addr, deposed, stable_uid, action, after_hash
        FROM (
            SELECT DISTINCT ON (stable_uid) stable_uid, addr, deposed, action, after_hash,
                   bool_or(addr IN (SELECT addr FROM near) OR previous_addr IN (SELECT addr FROM near))
                   OVER (PARTITION BY stable_uid) AS is_near
            FROM iac.resource_events
            WHERE tenant_id = %(tenant)s AND state_id = %(state)s AND version <= %(version)s
            ORDER BY stable_uid, version DESC, sequence DESC
        ) AS newest
        WHERE is_near
        """,
        {"tenant": tenant_id, "state": state_id, "version": version, "addresses": list(addresses)},
    )
    return {
        (addr, deposed): uid
        for addr, deposed, uid, action, after in rows
        if action not in ("delete", "forget") and not (action == "replace" and after == _NOTHING)
    }


def happened(connection: Connection, tenant_id: UUID, state_id: UUID, above: int, upto: int) -> list[Happened]:
    """Return what the versions of a run did, in order."""
    rows = connection.execute(
        "SELECT version, sequence, stable_uid, action, addr, deposed FROM iac.resource_events"
        " WHERE tenant_id = %s AND state_id = %s AND version > %s AND version <= %s ORDER BY version, sequence",
        [tenant_id, state_id, above, upto],
    )
    return [Happened(number, place, uid, action, (addr, deposed)) for number, place, uid, action, addr, deposed in rows]


def save_outcomes(connection: Connection, tenant_id: UUID, one: Following, found: Iterable[Judged]) -> None:
    """Write which run followed a plan and what came of each of its predictions; where none did, that none did."""
    connection.execute(
        "UPDATE iac.plans SET followed_by = %s, followed_run = %s WHERE tenant_id = %s AND id = %s",
        [one.followed_by, None if one.followed_by is None else one.followed_run, tenant_id, one.plan_id],
    )
    # as it was when the plan was read: what is created had no id then
    connection.execute(
        "UPDATE iac.plan_events SET outcome = NULL, event_version = NULL, event_sequence = NULL,"
        " stable_uid = CASE WHEN action IN ('create', 'import') THEN NULL ELSE stable_uid END"
        " WHERE tenant_id = %s AND plan_id = %s",
        [tenant_id, one.plan_id],
    )
    connection.execute("DROP TABLE IF EXISTS pg_temp.incoming_outcomes")
    connection.execute(
        "CREATE TEMPORARY TABLE incoming_outcomes (sequence integer, outcome text, stable_uid uuid, version bigint,"
        " event integer) ON COMMIT DROP"
    )
    with connection.cursor().copy("COPY incoming_outcomes FROM STDIN") as copy:
        for number, each in enumerate(found, 1):
            event = each.event
            copy.write_row((number, each.outcome, each.stable_uid, event and event.version, event and event.sequence))
    connection.execute(
        "UPDATE iac.plan_events AS e SET outcome = i.outcome, event_version = i.version, event_sequence = i.event,"
        " stable_uid = CASE WHEN action IN ('create', 'import') THEN i.stable_uid ELSE e.stable_uid END"
        " FROM incoming_outcomes AS i"
        " WHERE e.tenant_id = %s AND e.plan_id = %s AND e.sequence = i.sequence",
        [tenant_id, one.plan_id],
    )
