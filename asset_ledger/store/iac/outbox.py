"""What hooks are told of findings: written with the finding, in its transaction, and kept until the receiver has it.

`store.iac.findings` puts in, `pipeline.deliveries` takes out. Nothing is sent here. A row has what a receiver is sent,
as it was when the finding opened or closed; no secret, since findings are made of redacted attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from asset_ledger.domain.iac.rules import Hook
from asset_ledger.store.access.people import tenants
from asset_ledger.store.database import Connection
from asset_ledger.store.tenancy import as_tenant
from asset_ledger.store.waiting import wait_after

FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=6)
GIVEN_UP_AFTER = timedelta(days=7)
KEPT_FOR = timedelta(days=90)
"""After it arrived or was given up."""
_LONGEST_WORDS = 500
_64_BITS = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one receiver. `payload` is the very text that is signed and sent, each time the same."""

    id: UUID
    endpoint: str
    event: str
    payload: str
    created_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be sent now, over all tenants. `which` is another for every other set of it, and each time it was
    tried; the oldest has been due for `late_s` seconds."""

    messages: int
    which: str
    late_s: float


@dataclass(frozen=True, slots=True)
class Box:
    """How it stands with what a hook is told of a tenant's findings. `next_at` is None where nothing waits."""

    tenant: str
    hook: str
    waiting: int
    next_at: datetime | None
    delivered: int
    delivered_at: datetime | None
    given_up: int
    last_status: int | None
    last_error: str | None


def enqueue(connection: Connection, tenant: str, hooks: Sequence[Hook], *, at: datetime) -> int:
    """Put in what the hooks of a tenant are told of the findings that opened or closed at `at`; return how many.

    Who was told that a finding opened is told that it closed too, whatever its hook asks for by then, and where it was
    not named for a while, then later. Inside `as_tenant`, in the transaction that wrote the findings. Once more changes nothing.
    """
    mine = [hook for hook in hooks if hook.tenant in (None, tenant)]
    if not mine:
        return 0
    return connection.execute(
        """
        WITH hook AS (
            SELECT * FROM unnest(%(hooks)s::text[], %(kinds)s::text[]) AS hook (name, kinds)
        ), told AS (
            SELECT f.id, hook.name AS endpoint, event.name AS event, event.at
            FROM iac.findings AS f
            CROSS JOIN LATERAL (VALUES ('finding.opened', f.opened_at), ('finding.closed', f.closed_at))
                  AS event (name, at)
            JOIN hook ON f.kind = ANY (string_to_array(hook.kinds, ','))
            WHERE f.tenant_id = (SELECT current_setting('app.tenant'))::uuid AND event.at = %(at)s
            UNION
            SELECT f.id, o.endpoint, 'finding.closed', f.closed_at
            FROM iac.webhook_deliveries AS o
            JOIN hook ON hook.name = o.endpoint
            JOIN iac.findings AS f ON f.tenant_id = o.tenant_id AND f.id = o.finding_id
            WHERE o.tenant_id = (SELECT current_setting('app.tenant'))::uuid AND o.event = 'finding.opened'
              AND f.closed_at IS NOT NULL
              AND NOT EXISTS (SELECT FROM iac.webhook_deliveries AS c
                              WHERE (c.tenant_id, c.endpoint, c.finding_id) = (o.tenant_id, o.endpoint, o.finding_id)
                                AND c.event = 'finding.closed')
        )
        INSERT INTO iac.webhook_deliveries
            (tenant_id, endpoint, event, finding_id, payload, created_at, next_at)
        SELECT f.tenant_id, told.endpoint, told.event, f.id, json_build_object(
                   'type', told.event, 'timestamp', told.at, 'data', json_build_object(
                       'id', f.id, 'kind', f.kind, 'tenant', %(tenant)s::text,
                       'state', f.project || '/' || f.stack, 'tool', f.tool, 'address', f.addr,
                       'attribute', NULLIF(f.attribute, ''), 'declared', f.declared, 'observed', f.observed,
                       'rule', f.rule, 'score', f.score, 'name', f.name, 'source', f.source,
                       'external_kind', f.external_kind, 'external_id', f.external_id,
                       'asset', CASE WHEN f.asset_id IS NOT NULL
                                     THEN json_build_object('id', f.asset_id, 'name', a.hostname) END,
                       'observed_at', f.observed_at, 'opened_at', f.opened_at,
                       'age_s', floor(extract(epoch FROM told.at - f.opened_at))::bigint,
                       'closed_at', f.closed_at, 'closed_because', f.closed_because))::text,
               %(at)s, %(at)s
        FROM told
        JOIN iac.findings AS f ON f.tenant_id = (SELECT current_setting('app.tenant'))::uuid AND f.id = told.id
        LEFT JOIN ledger.assets AS a ON a.id = f.asset_id
        ON CONFLICT (tenant_id, endpoint, finding_id, event) DO NOTHING
        """,
        {
            "at": at,
            "tenant": tenant,
            "hooks": [hook.name for hook in mine],
            # an array of arrays of several lengths is none
            "kinds": [",".join(hook.kinds) for hook in mine],
        },
    ).rowcount


def due(connection: Connection, hooks: Sequence[Hook], *, now: datetime) -> Due:
    """Return what is to be sent now, to hooks that there are. For the owner of the installation."""
    count = digest = 0
    late_s = 0.0
    for tenant in tenants(connection):
        names = [hook.name for hook in hooks if hook.tenant in (None, tenant.name)]
        with as_tenant(connection, tenant.id):
            row = connection.execute(
                """
                SELECT count(*), coalesce(bit_xor(hashtextextended(id::text, attempts)), 0),
                       coalesce(extract(epoch FROM %(now)s::timestamptz - min(next_at)), 0)::float
                FROM iac.webhook_deliveries
                WHERE tenant_id = %(tenant)s AND endpoint = ANY (%(names)s) AND next_at <= %(now)s
                  AND delivered_at IS NULL AND given_up_at IS NULL
                """,
                {"tenant": tenant.id, "names": names, "now": now},
            ).fetchone()
        assert row is not None
        count, digest, late_s = count + row[0], digest ^ row[1], max(late_s, row[2])
    return Due(count, f"{count} {digest & _64_BITS:x}", late_s)


def take(connection: Connection, tenant_id: UUID, endpoint: str, *, now: datetime) -> Delivery | None:
    """Return the oldest message of a hook that is due, locked until the transaction ends; None where there is none.

    What another deliverer has under its lock is passed over: two never send one message at once.
    """
    with connection.cursor(row_factory=class_row(Delivery)) as cursor:
        return cursor.execute(
            """
            SELECT id, endpoint, event, payload, created_at, attempts FROM iac.webhook_deliveries
            WHERE tenant_id = %(tenant)s AND endpoint = %(endpoint)s AND next_at <= %(now)s
              AND delivered_at IS NULL AND given_up_at IS NULL
            ORDER BY created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
            """,
            {"tenant": tenant_id, "endpoint": endpoint, "now": now},
        ).fetchone()


def delivered(connection: Connection, tenant_id: UUID, one: Delivery, status: int, *, now: datetime) -> None:
    """Note that the receiver has a message."""
    connection.execute(
        """
        UPDATE iac.webhook_deliveries SET attempts = attempts + 1, delivered_at = %(now)s, last_status = %(status)s,
               last_error = NULL
        WHERE tenant_id = %(tenant)s AND id = %(id)s
        """,
        {"tenant": tenant_id, "id": one.id, "status": status, "now": now},
    )


def failed(
    connection: Connection,
    tenant_id: UUID,
    one: Delivery,
    *,
    now: datetime,
    status: int | None,
    why: str,
    gone: bool = False,
    at_least: timedelta = timedelta(0),
) -> datetime | None:
    """Note that a message did not arrive; return when it is tried again, None where it is given up.

    It is given up where the receiver is `gone`, or where it has been tried for GIVEN_UP_AFTER. It waits `at_least` so
    long.
    """
    given_up = gone or now - one.created_at >= GIVEN_UP_AFTER
    next_at = now + max(wait_after(one.attempts, first=FIRST_WAIT, longest=LONGEST_WAIT), min(at_least, LONGEST_WAIT))
    connection.execute(
        """
        UPDATE iac.webhook_deliveries SET attempts = attempts + 1, next_at = %(next)s, given_up_at = %(given_up)s,
               last_status = %(status)s, last_error = %(why)s
        WHERE tenant_id = %(tenant)s AND id = %(id)s
        """,
        {
            "tenant": tenant_id,
            "id": one.id,
            "next": next_at,
            "given_up": now if given_up else None,
            "status": status,
            "why": why[:_LONGEST_WORDS],
        },
    )
    return None if given_up else next_at


def rest(connection: Connection, tenant_id: UUID, endpoint: str, *, until: datetime, now: datetime, why: str) -> int:
    """Let everything else for a receiver that is away wait as well; return how much of it was given up.

    What is older than GIVEN_UP_AFTER would not be tried again: it is given up with it.
    """
    row = connection.execute(
        """
        WITH mine AS (
            SELECT id FROM iac.webhook_deliveries
            WHERE tenant_id = %(tenant)s AND endpoint = %(endpoint)s AND delivered_at IS NULL AND given_up_at IS NULL
              AND (next_at < %(until)s OR created_at <= %(oldest)s)
            FOR UPDATE SKIP LOCKED
        ), changed AS (
            UPDATE iac.webhook_deliveries AS d SET next_at = greatest(d.next_at, %(until)s), last_error = %(why)s,
                   given_up_at = CASE WHEN d.created_at <= %(oldest)s THEN %(now)s::timestamptz END
            FROM mine WHERE d.tenant_id = %(tenant)s AND d.id = mine.id
            RETURNING d.given_up_at
        )
        SELECT count(given_up_at) FROM changed
        """,
        {
            "tenant": tenant_id,
            "endpoint": endpoint,
            "until": until,
            "now": now,
            "oldest": now - GIVEN_UP_AFTER,
            "why": why[:_LONGEST_WORDS],
        },
    ).fetchone()
    assert row is not None
    return int(row[0])


def forget_unnamed(connection: Connection, tenant_id: UUID, names: Sequence[str], *, now: datetime) -> int:
    """Give up what has waited for GIVEN_UP_AFTER for hooks that iac.yaml names no more; return how much."""
    return connection.execute(
        """
        UPDATE iac.webhook_deliveries SET given_up_at = %(now)s, last_error = 'iac.yaml has no such hook for this tenant'
        WHERE tenant_id = %(tenant)s AND endpoint <> ALL (%(names)s) AND delivered_at IS NULL AND given_up_at IS NULL
          AND created_at <= %(oldest)s
        """,
        {"tenant": tenant_id, "names": list(names), "now": now, "oldest": now - GIVEN_UP_AFTER},
    ).rowcount


def forget_ended(connection: Connection, tenant_id: UUID, *, now: datetime) -> int:
    """Drop what ended KEPT_FOR ago, of findings that are closed; return how much.

    All that a hook was told of a finding goes at once: who was told that it opened is to be told that it closed.
    """
    return connection.execute(
        """
        DELETE FROM iac.webhook_deliveries AS d
        WHERE d.tenant_id = %(tenant)s AND coalesce(d.delivered_at, d.given_up_at) <= %(oldest)s
          AND NOT EXISTS (SELECT FROM iac.findings AS f
                          WHERE f.tenant_id = %(tenant)s AND f.id = d.finding_id AND f.closed_at IS NULL)
          AND NOT EXISTS (SELECT FROM iac.webhook_deliveries AS o
                          WHERE (o.tenant_id, o.endpoint, o.finding_id) = (d.tenant_id, d.endpoint, d.finding_id)
                            AND (coalesce(o.delivered_at, o.given_up_at) <= %(oldest)s) IS NOT TRUE)
        """,
        {"tenant": tenant_id, "oldest": now - KEPT_FOR},
    ).rowcount


def put_back(connection: Connection, tenant_id: UUID, names: Sequence[str], *, now: datetime) -> int:
    """Let what was given up for these hooks be due again, once; return how much."""
    return connection.execute(
        """
        UPDATE iac.webhook_deliveries SET given_up_at = NULL, next_at = %(now)s
        WHERE tenant_id = %(tenant)s AND endpoint = ANY (%(names)s) AND given_up_at IS NOT NULL
        """,
        {"tenant": tenant_id, "names": list(names), "now": now},
    ).rowcount


def boxes(connection: Connection) -> list[Box]:
    """Return how it stands with every hook that was ever told something, by tenant and name. For the owner."""
    found: list[Box] = []
    for tenant in tenants(connection):
        with as_tenant(connection, tenant.id), connection.cursor(row_factory=class_row(Box)) as cursor:
            found += cursor.execute(
                """
                SELECT %(name)s::text AS tenant, endpoint AS hook,
                       count(*) FILTER (WHERE delivered_at IS NULL AND given_up_at IS NULL) AS waiting,
                       min(next_at) FILTER (WHERE delivered_at IS NULL AND given_up_at IS NULL) AS next_at,
                       count(delivered_at) AS delivered, max(delivered_at) AS delivered_at,
                       count(given_up_at) AS given_up,
                       (array_agg(last_status ORDER BY next_at DESC) FILTER (WHERE last_error IS NOT NULL))[1]
                           AS last_status,
                       (array_agg(last_error ORDER BY next_at DESC) FILTER (WHERE last_error IS NOT NULL))[1]
                           AS last_error
                FROM iac.webhook_deliveries WHERE tenant_id = %(tenant)s GROUP BY endpoint ORDER BY endpoint
                """,
                {"tenant": tenant.id, "name": tenant.name},
            ).fetchall()
    return found
