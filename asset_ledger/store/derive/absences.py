"""Absence: what a complete reading did not see. Missing machines are marked and revived, never deleted.

A link is missing since the first complete reading of its kind that came after the source last spoke of it. A reading
that would make too many missing at once is held: it counts once a person approves of it. Called by `store.derive.apply` and by
the doors through which people decide.
"""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from asset_ledger.domain.errors import DECISION_INVALID, PermanentError
from asset_ledger.store.database import Connection, ledger_lock, rows
from asset_ledger.store.decide.decisions import decide
from asset_ledger.store.derive.missing import COUNTS
from asset_ledger.store.derive.settle import settle
from asset_ledger.store.derive.staging import clear_reading, working_tables
from asset_ledger.store.scopes import OVERLAPPING

Verdict = Literal["approved", "rejected"]

_WAITING = f"""
    SELECT min(i.collected_at) AS since
    FROM ledger.inventories i
    LEFT JOIN ledger.decisions_in_force d ON d.kind = 'absences' AND d.inventory_id = i.id
    WHERE i.source_id = %(source)s AND i.absences = 'held' AND i.status = 'derived' AND d.value IS NULL AND {OVERLAPPING}
      AND (i.collected_date, i.collected_at, i.id) < (%(date)s, %(at)s, %(inventory)s) AND EXISTS (
        SELECT FROM ledger.asset_source_links w
        WHERE w.source_id = i.source_id AND w.closed_at IS NULL AND w.missing_since IS NULL
          AND (i.covers = '{{}}' OR w.external_kind = ANY(i.covers))
          AND (w.last_seen_date, w.last_seen_at, w.inventory_id) < (i.collected_date, i.collected_at, i.id))
"""
"""Since when a reading waits for a person to decide on what it did not see, or NULL."""
_UNSEEN = """
SELECT l.external_kind, count(*) FILTER (WHERE l.missing_since IS NULL OR l.missing_since >= %(at)s),
       count(*) FILTER (WHERE s.link_id IS NULL AND (l.missing_since IS NULL OR l.missing_since >= %(at)s)),
       count(s.link_id)
FROM ledger.asset_source_links l
LEFT JOIN (SELECT DISTINCT link_id FROM seen) s ON s.link_id = l.id
-- what this reading is the first to tell of says nothing about what it lost
WHERE l.source_id = %(source)s AND (l.closed_at IS NULL OR l.closed_at > %(at)s)
  AND l.first_seen_at < %(known_before)s
  AND (%(covers)s::text[] = '{}' OR l.external_kind = ANY(%(covers)s::text[]))
GROUP BY l.external_kind
"""

# The function of the readings that `missing_since` is. Only links that some counting reading came after are looked at.
_SETTLE = f"""
WITH counting AS (
    SELECT i.covers, i.collected_date, i.collected_at, i.id
    FROM ledger.inventories i
    LEFT JOIN ledger.decisions_in_force d ON d.kind = 'absences' AND d.inventory_id = i.id
    WHERE i.source_id = %(source)s AND {COUNTS.format(absences="i.absences")}
), newest AS (
    SELECT collected_date, collected_at, id FROM counting ORDER BY 1 DESC, 2 DESC, 3 DESC LIMIT 1
), told AS (
    SELECT l.id, m.since
    FROM ledger.asset_source_links l
    LEFT JOIN newest n ON true
    LEFT JOIN LATERAL (
        SELECT c.collected_at AS since FROM counting c
        WHERE (c.covers = '{{}}' OR l.external_kind = ANY(c.covers))
          AND (c.collected_date, c.collected_at, c.id) > (l.last_seen_date, l.last_seen_at, l.inventory_id)
        ORDER BY c.collected_date, c.collected_at, c.id LIMIT 1
    ) m ON true
    WHERE l.source_id = %(source)s AND l.closed_at IS NULL
      AND (l.missing_since IS NOT NULL
           OR (l.last_seen_date, l.last_seen_at, l.inventory_id) < (n.collected_date, n.collected_at, n.id))
)
UPDATE ledger.asset_source_links l SET missing_since = t.since
FROM told t WHERE l.id = t.id AND l.missing_since IS DISTINCT FROM t.since
RETURNING l.asset_id, t.since IS NOT NULL
"""


def judge(
    connection: Connection, p: dict[str, Any], *, share: float, at_least: int, verdict: str | None, doubtful: bool
) -> str:
    """Say whether the absences of a complete reading apply or are held, and keep that with it.

    `verdict` is what was said of it before, where that stays. Held is a reading in which of some kind more than `share`
    of the known assets are unseen, and at least `at_least`, or which sees none of a kind at all; and one that is
    `doubtful`: rows of it were not taken, so that what they list would go missing.
    """
    found = connection.execute(_UNSEEN, p | {"known_before": p["at"]}).fetchall()
    unseen = {kind: {"known": known, "unseen": gone} for kind, known, gone, _ in found if known}
    if verdict is None:
        (waiting,) = connection.execute(_WAITING, p).fetchone() or (None,)
        if waiting is not None and waiting < p["at"]:
            # what came since a reading that is held must not dilute what that one lost, nor go unguarded itself
            found += connection.execute(_UNSEEN, p | {"known_before": waiting}).fetchall()
        too_many = (
            any(gone for _, _, gone, _ in found)
            if doubtful
            else any(
                gone and (seen == 0 or (gone >= at_least and gone > share * known)) for _, known, gone, seen in found
            )
        )
        verdict = "held" if too_many else "applied"
        connection.execute(
            """
            UPDATE ledger.inventories
            SET absences = %(verdict)s, unseen = %(unseen)s,
                held_at = CASE WHEN absences = 'applied' AND %(verdict)s = 'held' THEN %(now)s ELSE held_at END
            WHERE id = %(inventory)s
            """,
            p | {"verdict": verdict, "unseen": json.dumps(unseen)},
        )
    return verdict


def settle_absences(connection: Connection, source_id: int) -> tuple[int, int]:
    """Mark and revive the links of a source as its readings say; return how many went missing and came back.

    The ledger assets concerned are added to the temporary table `touched`.
    """
    found = connection.execute(_SETTLE, {"source": source_id}).fetchall()
    if found:
        connection.execute(
            "INSERT INTO touched (asset_id) SELECT unnest(%s::uuid[])", [list({asset for asset, _ in found})]
        )
    missing = sum(1 for _, gone in found if gone)
    return missing, len(found) - missing


def list_held(connection: Connection, *, decided: bool = False, source_id: int | None = None) -> list[dict[str, Any]]:
    """Return the readings whose absences are held and would still make something missing, newest first.

    With `decided` those on which a person decided too; of one source, or of all.
    """
    return rows(
        connection,
        """
        SELECT i.id, s.name AS source, i.scope, i.covers, i.collected_date, i.collected_at, i.run_id, i.unseen,
               d.value #>> '{}' AS decision, d.actor, d.decided_at, d.note, w.waiting
        FROM ledger.inventories i
        JOIN ledger.sources s ON s.id = i.source_id
        LEFT JOIN ledger.decisions_in_force d ON d.kind = 'absences' AND d.inventory_id = i.id
        CROSS JOIN LATERAL (
            SELECT count(*) AS waiting FROM ledger.asset_source_links l
            WHERE l.source_id = i.source_id AND l.closed_at IS NULL AND l.missing_since IS NULL
              AND (i.covers = '{}' OR l.external_kind = ANY(i.covers))
              AND (l.last_seen_date, l.last_seen_at, l.inventory_id) < (i.collected_date, i.collected_at, i.id)
        ) w
        WHERE i.absences = 'held' AND i.status = 'derived'
          AND (%(source)s::integer IS NULL OR i.source_id = %(source)s)
          AND CASE WHEN d.value IS NULL THEN w.waiting > 0 ELSE %(decided)s END
        ORDER BY i.collected_date DESC, i.collected_at DESC, i.id DESC
        """,
        {"decided": decided, "source": source_id},
    )


def unseen_assets(connection: Connection, inventory_id: int, *, limit: int = 200) -> list[dict[str, Any]]:
    """Return the machines that a held reading did not see and that would become missing, those seen last first."""
    return rows(
        connection,
        """
        SELECT a.id, a.hostname, host(a.mgmt_ip) AS mgmt_ip, l.external_kind, l.external_id, l.last_seen_date,
               l.last_seen_at
        FROM ledger.inventories i
        JOIN ledger.asset_source_links l ON l.source_id = i.source_id
        JOIN ledger.assets a ON a.id = l.asset_id
        WHERE i.id = %(inventory)s AND l.closed_at IS NULL AND l.missing_since IS NULL
          AND (i.covers = '{}' OR l.external_kind = ANY(i.covers))
          AND (l.last_seen_date, l.last_seen_at, l.inventory_id) < (i.collected_date, i.collected_at, i.id)
        ORDER BY l.last_seen_at DESC, a.hostname, a.id LIMIT %(limit)s
        """,
        {"inventory": inventory_id, "limit": limit},
    )


@dataclass(frozen=True, slots=True)
class Decided:
    """What deciding on held absences did. `new` is False where that was decided already; counts are of machines."""

    new: bool
    missing: int
    revived: int


def decide_absences(
    connection: Connection, inventory_id: int, verdict: Verdict, *, actor: str, at: datetime, note: str | None = None
) -> Decided:
    """Decide whether what a held reading did not see is missing, in one transaction; the other verdict undoes it.

    What was seen since stays seen. Raises PermanentError(DECISION_INVALID) where no reading of this id is held.
    """
    with connection.transaction():
        ledger_lock(connection)
        source_id = held_source(connection, inventory_id)
        if source_id is None:
            raise PermanentError(
                DECISION_INVALID,
                "no reading of this number has absences that are held; `asset-ledger absences list --all` has them all",
                target=f"reading {inventory_id}",
            )
        made = decide(
            connection, kind="absences", inventory_id=inventory_id, value=verdict, actor=actor, at=at, note=note
        )
        if made is None or not made.new:
            return Decided(False, 0, 0)
        working_tables(connection)
        clear_reading(connection)
        missing, revived = settle_absences(connection, source_id)
        settle(connection)
    return Decided(True, missing, revived)


def unseen_count(connection: Connection, inventory_id: int) -> int:
    """Return how many known machines a complete reading did not see, as it was judged."""
    row = connection.execute(
        """
        SELECT coalesce(sum((kind.value ->> 'unseen')::integer), 0)
        FROM ledger.inventories i, jsonb_each(i.unseen) kind WHERE i.id = %s
        """,
        [inventory_id],
    ).fetchone()
    return 0 if row is None else int(row[0])


def held_source(connection: Connection, inventory_id: int) -> int | None:
    """Return the source of a reading whose absences are held, or None where there is no such reading."""
    row = connection.execute(
        "SELECT source_id FROM ledger.inventories WHERE id = %s AND absences = 'held'", [inventory_id]
    ).fetchone()
    return None if row is None else row[0]
