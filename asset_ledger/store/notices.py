"""What notices are made of and where they wait: runs that were looked at, troubles that stand, messages to send.

Every SQL statement of notices to people. `pipeline.notices` decides and sends; nothing here is a secret: texts are
redacted before they come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from asset_ledger.domain.notices.digest import Digest, entry_of
from asset_ledger.domain.notices.run import Found, TargetSaid
from asset_ledger.domain.notices.troubles import Cause, Entry, Key, Kind, Severity, Standing, count
from asset_ledger.store.access.people import tenants
from asset_ledger.store.database import Connection, rows
from asset_ledger.store.tenancy import as_tenant
from asset_ledger.store.waiting import wait_after

FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
GIVEN_UP_AFTER = timedelta(days=1)
"""After it was tried first: what is a day old is no news, and `notices list` has it."""
KEPT_FOR = timedelta(days=90)
_LONGEST_WORDS = 500
_MOST_WAITING = 500
_MOST_FINDINGS = 20_000
_UNDER = "under"
"""Begins what stands among the marks of `audit.troubles.told` and is none: a cause, its kind and severity."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One digest that waits for its receiver. `batch` is the message it was tried with."""

    id: UUID
    key: str
    severity: Severity
    digest: dict[str, Any]
    created_at: datetime
    next_at: datetime
    batch: UUID | None
    attempts: int
    first_tried_at: datetime | None


@contextmanager
def deciding(connection: Connection) -> Iterator[None]:
    """Open the transaction in which one run is looked at: one at a time, since each tells what the others did not."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('asset_ledger.notices'), 0)")
        yield


@contextmanager
def sending_to(connection: Connection, receiver: str) -> Iterator[bool]:
    """Say whether this is the only one that sends to a receiver, and keep others from it meanwhile."""
    name = f"asset_ledger.notices {receiver}"
    row = connection.execute("SELECT pg_try_advisory_lock(hashtext(%s), 1)", [name]).fetchone()
    alone = row is not None and bool(row[0])
    try:
        yield alone
    finally:
        if alone and not connection.closed and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(hashtext(%s), 1)", [name])


def looked_already(connection: Connection, run_ids: Collection[str]) -> set[str]:
    """Return which of these runs were looked at."""
    found = connection.execute("SELECT run_id FROM audit.notice_runs WHERE run_id = ANY(%s)", [list(run_ids)])
    return {row[0] for row in found}


def save_run(
    connection: Connection,
    facts: Mapping[str, Any],
    digest: Digest,
    known: Digest,
    *,
    ended_at: datetime,
    now: datetime,
) -> None:
    """Note that a run was looked at, and what came of it."""
    connection.execute(
        "INSERT INTO audit.notice_runs (run_id, ended_at, looked_at, facts, digest, known)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (run_id) DO NOTHING",
        [digest.run_id, ended_at, now, Jsonb(dict(facts)), Jsonb(digest.as_json()), Jsonb(known.as_json())],
    )


def last_looked_until(connection: Connection, *, but: str) -> datetime | None:
    """Return up to when runs were looked at, but those of a mode; None where none was."""
    row = connection.execute(
        "SELECT ended_at FROM audit.notice_runs WHERE facts ->> 'mode' <> %s ORDER BY ended_at DESC LIMIT 1", [but]
    ).fetchone()
    return None if row is None else row[0]


def saved_run(connection: Connection, beginning: str) -> dict[str, Any] | None:
    """Return the newest run whose id begins so that was looked at: run_id, looked_at, digest, known."""
    found = rows(
        connection,
        "SELECT run_id, looked_at, digest, known FROM audit.notice_runs WHERE starts_with(run_id, %s)"
        " ORDER BY ended_at DESC LIMIT 1",
        [beginning],
    )
    return found[0] if found else None


def targets_of(connection: Connection, run_id: str) -> list[tuple[TargetSaid, str]]:
    """Return what the ledger has of a run's targets in the order it was written, each with its mode."""
    found = connection.execute(
        """
        SELECT s.name, r.scope, r.target, r.status, r.error_code, r.message, r.advice, r.mode
        FROM ledger.sync_target_records r JOIN ledger.sources s ON s.id = r.source_id
        WHERE r.run_id = %s ORDER BY r.id
        """,
        [run_id],
    )
    return [(TargetSaid(*row[:7]), row[7]) for row in found]


def run_in_ledger(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """Return what the ledger alone knows of a run: source, scope, mode, day, started_at, ended_at; None if nothing."""
    found = rows(
        connection,
        """
        SELECT s.name AS source, r.scope, r.mode, max(r.collected_date)::text AS day, min(r.started_at) AS started_at,
               max(r.recorded_at) AS ended_at
        FROM ledger.sync_target_records r JOIN ledger.sources s ON s.id = r.source_id
        WHERE r.run_id = %s GROUP BY 1, 2, 3 ORDER BY ended_at DESC LIMIT 1
        """,
        [run_id],
    )
    return found[0] if found else None


def opened_findings(connection: Connection, since: datetime, until: datetime) -> list[Found]:
    """Return the findings of every tenant that opened in a span of time and are open. For the owner."""
    found: list[Found] = []
    for tenant in tenants(connection):
        with as_tenant(connection, tenant.id), connection.cursor(row_factory=class_row(Found)) as cursor:
            found += cursor.execute(
                """
                SELECT f.id::text, f.kind, f.source,
                       concat_ws(' ', coalesce(f.name, f.external_id), f.addr, NULLIF(f.attribute, '')) AS name
                FROM iac.findings AS f
                WHERE f.tenant_id = %(tenant)s AND f.opened_at BETWEEN %(since)s AND %(until)s AND f.closed_at IS NULL
                ORDER BY f.opened_at, f.id LIMIT %(most)s
                """,
                {"tenant": tenant.id, "since": since, "until": until, "most": _MOST_FINDINGS},
            ).fetchall()
    return found


def open_findings(connection: Connection) -> Counter[tuple[str, str]]:
    """Return how many findings of any tenant are open, by (source, kind). For the owner."""
    found: Counter[tuple[str, str]] = Counter()
    for tenant in tenants(connection):
        with as_tenant(connection, tenant.id):
            for source, kind, count in connection.execute(
                "SELECT source, kind, count(*) FROM iac.findings WHERE tenant_id = %s AND closed_at IS NULL"
                " GROUP BY source, kind",
                [tenant.id],
            ):
                found[source, kind] += count
    return found


def standing(connection: Connection) -> dict[Key, Standing]:
    """Return the troubles that are told and not over."""
    found = connection.execute(
        "SELECT kind, source, place, code, severity, opened_at, told_at, times, failing, told FROM audit.troubles"
        " WHERE closed_at IS NULL"
    )
    every = [
        Standing(
            kind,
            source,
            place,
            code,
            severity,
            opened_at,
            told_at,
            times,
            frozenset(failing),
            frozenset(one for one in told if not one.startswith(_UNDER)),
            under=_under(told),
        )
        for kind, source, place, code, severity, opened_at, told_at, times, failing, told in found
    ]
    return {one.key: one for one in every}


def _under(told: Collection[str]) -> tuple[Cause, ...]:
    found = sorted(one.split() for one in told if one.startswith(_UNDER))
    return tuple((cast("Kind", kind), cast("Severity", severity)) for _, kind, severity in found)


def last_told(connection: Connection) -> dict[Key, Entry]:
    """Return in which words each trouble that is told and not over was told last, of those whose words are kept."""
    found = connection.execute(
        """
        SELECT DISTINCT ON (t.id) told.entry
        FROM audit.troubles t
        JOIN (
            SELECT e.entry, r.looked_at AS at
            FROM audit.notice_runs r
            CROSS JOIN LATERAL jsonb_array_elements((r.digest -> 'entries') || (r.known -> 'entries')) AS e (entry)
            UNION ALL
            SELECT e.entry, n.created_at
            FROM audit.notices n CROSS JOIN LATERAL jsonb_array_elements(n.digest -> 'entries') AS e (entry)
        ) told ON told.entry ->> 'kind' = t.kind AND told.entry ->> 'place' = t.place AND told.entry ->> 'code' = t.code
        WHERE t.closed_at IS NULL AND told.entry ->> 'news' <> 'well'
        ORDER BY t.id, told.at DESC
        """
    )
    every = [entry_of(row[0]) for row in found]
    return {one.key: one for one in every}


def save_standing(connection: Connection, after: Sequence[Standing], *, now: datetime) -> None:
    """Write how troubles stand now."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO audit.troubles AS t
                (kind, source, place, code, severity, opened_at, last_at, told_at, times, failing, told, closed_at)
            VALUES (%(kind)s, %(source)s, %(place)s, %(code)s, %(severity)s, %(opened)s, %(now)s, %(told_at)s, %(times)s,
                    %(failing)s, %(told)s, NULL)
            ON CONFLICT (kind, place, code) WHERE closed_at IS NULL DO UPDATE SET
                severity = excluded.severity, last_at = excluded.last_at, told_at = excluded.told_at,
                times = excluded.times, failing = excluded.failing, told = excluded.told
            """,
            [
                {
                    "kind": one.kind,
                    "source": one.source,
                    "place": one.place,
                    "code": one.code,
                    "severity": one.severity,
                    "opened": one.opened_at,
                    "now": now,
                    "told_at": one.told_at,
                    "times": one.times,
                    "failing": sorted(one.failing),
                    "told": [*sorted(one.told), *(f"{_UNDER} {kind} {severity}" for kind, severity in one.under)],
                }
                for one in after
                if not one.closed
            ],
        )
        # no row that is closed conflicts with the open one
        cursor.executemany(
            "UPDATE audit.troubles SET failing = '{}', last_at = %(now)s, closed_at = %(now)s"
            " WHERE kind = %(kind)s AND place = %(place)s AND code = %(code)s AND closed_at IS NULL",
            [{"kind": one.kind, "place": one.place, "code": one.code, "now": now} for one in after if one.closed],
        )


def enqueue(connection: Connection, receiver: str, key: str, digest: Digest, *, now: datetime) -> bool:
    """Put in what a receiver is to be told; say whether it was not there yet."""
    return (
        connection.execute(
            "INSERT INTO audit.notices (receiver, key, severity, digest, created_at, next_at)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (receiver, key) DO NOTHING",
            [receiver, key, digest.severity, Jsonb(digest.as_json()), now, now],
        ).rowcount
        > 0
    )


def waiting_for(connection: Connection, receiver: str) -> list[Waiting]:
    """Return what waits for a receiver, the oldest first."""
    with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(
            """
            SELECT id, key, severity, digest, created_at, next_at, batch, attempts, first_tried_at FROM audit.notices
            WHERE receiver = %s AND delivered_at IS NULL AND given_up_at IS NULL ORDER BY created_at, key LIMIT %s
            """,
            [receiver, _MOST_WAITING],
        ).fetchall()


def of_batch(connection: Connection, receiver: str, batch: UUID) -> list[Waiting]:
    """Return what went to a receiver in one message, or is to."""
    return _notices(connection, {"id": None, "receiver": receiver, "batch": batch})


def notice(connection: Connection, notice_id: UUID) -> list[Waiting]:
    """Return one digest of the outbox, as a list of one."""
    return _notices(connection, {"id": notice_id, "receiver": None, "batch": None})


def _notices(connection: Connection, which: Mapping[str, Any]) -> list[Waiting]:
    with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        return cursor.execute(
            """
            SELECT id, key, severity, digest, created_at, next_at, batch, attempts, first_tried_at FROM audit.notices
            WHERE id = %(id)s OR (receiver = %(receiver)s AND batch = %(batch)s) ORDER BY created_at, key
            """,
            which,
        ).fetchall()


def last_sent_at(connection: Connection, receiver: str) -> datetime | None:
    """Return when a receiver last took a message."""
    row = connection.execute("SELECT max(delivered_at) FROM audit.notices WHERE receiver = %s", [receiver]).fetchone()
    return None if row is None else row[0]


def begin(connection: Connection, ids: Sequence[UUID], batch: UUID, *, now: datetime) -> None:
    """Note, before it is sent, with which message these go: whoever tries again sends the same."""
    connection.execute(
        "UPDATE audit.notices SET batch = %s, first_tried_at = coalesce(first_tried_at, %s) WHERE id = ANY(%s)",
        [batch, now, list(ids)],
    )


def delivered(connection: Connection, ids: Sequence[UUID], status: int | None, *, now: datetime) -> None:
    """Note that the receiver has these."""
    connection.execute(
        "UPDATE audit.notices SET attempts = attempts + 1, delivered_at = %s, last_status = %s, last_error = NULL"
        " WHERE id = ANY(%s)",
        [now, status, list(ids)],
    )


def failed(
    connection: Connection,
    receiver: str,
    tried: Sequence[Waiting],
    *,
    now: datetime,
    status: int | None,
    why: str,
    at_least: timedelta = timedelta(0),
    alone: bool = False,
) -> tuple[datetime, int]:
    """Note that these did not arrive; return when it is tried again, and how many were given up.

    What else waits for the receiver waits as long, but with `alone`. What was first tried GIVEN_UP_AFTER ago is given up.
    """
    attempts = max((one.attempts for one in tried), default=0)
    wait = max(wait_after(attempts, first=FIRST_WAIT, longest=LONGEST_WAIT), min(at_least, LONGEST_WAIT))
    again_at = now + wait
    given_up = connection.execute(
        """
        WITH changed AS (
            UPDATE audit.notices SET attempts = attempts + (id = ANY(%(ids)s))::integer, last_status = %(status)s,
                   next_at = greatest(next_at, %(again)s), last_error = %(why)s,
                   given_up_at = CASE WHEN first_tried_at <= %(oldest)s THEN %(now)s::timestamptz END
            WHERE receiver = %(receiver)s AND delivered_at IS NULL AND given_up_at IS NULL
              AND (NOT %(alone)s OR id = ANY(%(ids)s))
            RETURNING given_up_at
        )
        SELECT count(given_up_at) FROM changed
        """,
        {
            "ids": [one.id for one in tried],
            "status": status,
            "again": again_at,
            "why": why[:_LONGEST_WORDS],
            "oldest": now - GIVEN_UP_AFTER,
            "now": now,
            "receiver": receiver,
            "alone": alone,
        },
    ).fetchone()
    assert given_up is not None
    return again_at, int(given_up[0])


def forget(connection: Connection, names: Sequence[str], *, now: datetime) -> int:
    """Give up what has waited for GIVEN_UP_AFTER for receivers that there are no more; return how much.

    What ended KEPT_FOR ago is dropped, and troubles of which nothing was heard for so long.
    """
    old = now - KEPT_FOR
    connection.execute("DELETE FROM audit.notices WHERE coalesce(delivered_at, given_up_at) <= %s", [old])
    connection.execute("DELETE FROM audit.notice_runs WHERE ended_at <= %s", [old])
    connection.execute("DELETE FROM audit.troubles WHERE coalesce(closed_at, last_at) <= %s", [old])
    return connection.execute(
        "UPDATE audit.notices SET given_up_at = %s, last_error = 'notices.yaml has no such receiver'"
        " WHERE receiver <> ALL (%s) AND delivered_at IS NULL AND given_up_at IS NULL AND created_at <= %s",
        [now, list(names), now - GIVEN_UP_AFTER],
    ).rowcount


def put_back(connection: Connection, names: Sequence[str], *, now: datetime) -> int:
    """Let what was given up for these receivers be due again, for another day; return how much."""
    return connection.execute(
        "UPDATE audit.notices SET given_up_at = NULL, first_tried_at = NULL, next_at = %s"
        " WHERE receiver = ANY (%s) AND given_up_at IS NOT NULL",
        [now, list(names)],
    ).rowcount


def list_notices(
    connection: Connection, *, receiver: str | None = None, key: str | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """Return what was sent, waits, or was given up, newest first. `key` asks for one run's."""
    return rows(
        connection,
        """
        SELECT id, receiver, key, severity, created_at, batch, attempts, delivered_at, given_up_at, last_status,
               last_error, digest,
               CASE WHEN delivered_at IS NOT NULL THEN 'sent' WHEN given_up_at IS NOT NULL THEN 'given up'
                    ELSE 'waits' END AS state,
               CASE WHEN delivered_at IS NULL AND given_up_at IS NULL THEN next_at END AS next_at
        FROM audit.notices
        WHERE (%(receiver)s::text IS NULL OR receiver = %(receiver)s)
          AND (%(key)s::text IS NULL OR key = %(key)s OR starts_with(key, %(key)s || ' '))
        ORDER BY created_at DESC, receiver, key LIMIT %(limit)s
        """,
        {"receiver": receiver, "key": key, "limit": limit},
    )


def undelivered(connection: Connection) -> list[dict[str, Any]]:
    """Return what receivers do not have, by receiver: waiting, given_up, refused (how many of those that wait were tried
    and did not arrive), last_error (of the newest that was tried or given up)."""
    return rows(
        connection,
        """
        SELECT receiver, count(*) FILTER (WHERE given_up_at IS NULL) AS waiting, count(given_up_at) AS given_up,
               count(*) FILTER (WHERE given_up_at IS NULL AND last_error IS NOT NULL) AS refused,
               (array_agg(last_error ORDER BY coalesce(given_up_at, first_tried_at, created_at) DESC)
                    FILTER (WHERE last_error IS NOT NULL))[1] AS last_error
        FROM audit.notices WHERE delivered_at IS NULL GROUP BY receiver ORDER BY receiver
        """,
    )


def list_troubles(connection: Connection) -> list[dict[str, Any]]:
    """Return the troubles that are told and not over, those told last first; `failing` is how many each is about."""
    found = rows(
        connection,
        """
        SELECT kind, source, place, code, severity, opened_at, last_at, told_at, times, failing
        FROM audit.troubles WHERE closed_at IS NULL ORDER BY told_at DESC, kind, place, code
        """,
    )
    return [{**one, "failing": count(frozenset(one["failing"]), one["place"])} for one in found]
