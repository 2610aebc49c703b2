"""Runs as they are listed: what they did, their reports and targets, and which run a person means. Reads only.

What is listed is written by `store.raw` and `store.records`. Called by the command line and by runs for their metadata.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are always parameters
from __future__ import annotations

from datetime import date
from typing import Any

from asset_ledger.store.database import Connection, rows
from asset_ledger.store.records import UNDERIVED

# One row is what one run did of one source for one day. A run has its own readings, what it could not read at all, and,
# if it is a replay, readings of other runs: those and their counts stay as that run left them.
_DONE = """
SELECT i.run_id, i.source_id, i.collected_date, i.mode, NULL AS refused_scope, max(i.recorded_at) AS recorded_at,
       (array_agg(i.status ORDER BY array_position(ARRAY['interrupted', 'failed', 'reading', 'raw', 'derived'], i.status)))[1]
           AS status,
       min(i.error_code) AS error_code, max(i.id) AS place
FROM ledger.inventories i
WHERE (%(source)s::integer IS NULL OR i.source_id = %(source)s) AND (%(mode)s::text IS NULL OR i.mode = %(mode)s)
  AND (NOT %(failed)s OR i.status IN ('failed', 'interrupted') OR EXISTS (
    SELECT FROM ledger.sync_target_records r
    WHERE r.run_id = i.run_id AND r.status = 'failed' AND r.source_id = i.source_id
      AND r.collected_date = i.collected_date AND r.scope = i.scope))
GROUP BY i.run_id, i.source_id, i.collected_date, i.mode
UNION ALL
SELECT r.run_id, r.source_id, r.collected_date, 'replay', NULL, max(r.recorded_at), NULL, NULL, NULL
FROM ledger.sync_target_records r
WHERE r.mode = 'replay' AND (%(source)s::integer IS NULL OR r.source_id = %(source)s)
  AND (%(mode)s::text IS NULL OR %(mode)s = 'replay')
GROUP BY r.run_id, r.source_id, r.collected_date
HAVING NOT %(failed)s OR bool_or(r.status = 'failed')
UNION ALL
SELECT r.run_id, r.source_id, r.collected_date, r.mode, r.scope, max(r.recorded_at), 'refused', min(r.error_code), NULL
FROM ledger.sync_target_records r
WHERE r.inventory_id IS NULL AND r.mode <> 'replay' AND (%(source)s::integer IS NULL OR r.source_id = %(source)s)
  AND (%(mode)s::text IS NULL OR r.mode = %(mode)s)
  AND NOT EXISTS (
    SELECT FROM ledger.inventories i
    WHERE i.run_id = r.run_id AND i.source_id = r.source_id AND i.collected_date = r.collected_date AND i.scope = r.scope)
GROUP BY r.run_id, r.source_id, r.collected_date, r.mode, r.scope
"""


def list_runs(
    connection: Connection,
    *,
    source: str | None = None,
    mode: str | None = None,
    failed: bool = False,
    limit: int = 50,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """Return what the latest runs did, a row for each source and day of a run, newest first, with its own targets.

    A run that got no reading (a file that could not be read, a source that did not answer) is listed as `refused`.
    """
    known = connection.execute("SELECT id FROM ledger.sources WHERE name = %s", [source]).fetchone()
    if source is not None and known is None:
        return []
    return rows(
        connection,
        f"""
        WITH done AS MATERIALIZED (
            -- the targets are counted for the page alone
            SELECT * FROM ({_DONE}) every
            ORDER BY recorded_at DESC, place DESC, run_id, source_id, collected_date DESC
            LIMIT %(limit)s OFFSET %(offset)s
        )
        SELECT d.run_id, s.name AS source, d.mode, d.collected_date, d.recorded_at,
               coalesce(d.status, CASE WHEN c.underived THEN 'failed' ELSE 'derived' END) AS status,
               coalesce(t.counts, i.counts) AS counts, coalesce(d.error_code, c.error_code) AS error_code,
               coalesce(c.ok, 0) AS ok, coalesce(c.partial, 0) AS partial, coalesce(c.failed, 0) AS failed
        FROM done d JOIN ledger.sources s ON s.id = d.source_id
        LEFT JOIN LATERAL (
            SELECT count(*) FILTER (WHERE r.status = 'ok') AS ok,
                   count(*) FILTER (WHERE r.status = 'partial') AS partial,
                   count(*) FILTER (WHERE r.status = 'failed') AS failed,
                   bool_or(starts_with(r.effect, %(underived)s)) AS underived,
                   min(r.error_code) FILTER (WHERE starts_with(r.effect, %(underived)s)) AS error_code
            FROM ledger.sync_target_records r
            WHERE r.run_id = d.run_id AND r.source_id = d.source_id AND r.collected_date = d.collected_date
              AND CASE WHEN d.refused_scope IS NOT NULL THEN r.scope = d.refused_scope
                       ELSE r.inventory_id IS NOT NULL OR d.mode = 'replay' OR EXISTS (
                           SELECT FROM ledger.inventories i
                           WHERE i.run_id = d.run_id AND i.source_id = d.source_id
                             AND i.collected_date = d.collected_date AND i.scope = r.scope) END
        ) c ON true
        LEFT JOIN LATERAL (
            SELECT jsonb_object_agg(key, total) AS counts FROM (
                SELECT each.key, sum(each.value::bigint) AS total
                FROM ledger.sync_target_records r, jsonb_each_text(r.details -> 'counts') each
                WHERE r.run_id = d.run_id AND r.source_id = d.source_id AND r.collected_date = d.collected_date
                GROUP BY each.key) sums
        ) t ON true
        LEFT JOIN LATERAL (
            -- a probe's targets have no counts each: its report has, until a replay writes it anew
            SELECT i.report -> 'counts' AS counts FROM ledger.inventories i WHERE i.id = d.place AND t.counts IS NULL
        ) i ON true
        ORDER BY d.recorded_at DESC, d.place DESC, d.run_id, d.source_id, d.collected_date DESC
        """,
        {
            "source": None if known is None else known[0],
            "mode": mode,
            "failed": failed,
            "limit": limit,
            "offset": offset,
            "underived": UNDERIVED,
        },
    )


def run_reports(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """Return the readings that one run made or derived again with their whole reports, in the order they were made.

    A reading of another run has the mode `replay`; where this run could not derive it, no report and no proof, since
    those would be of the run that could. `proof` is what was counted and what stands against it; a refused reading has
    one too.
    """
    return rows(
        connection,
        """
        SELECT i.id, s.name AS source, i.collected_date, (
            SELECT min(o.target) FROM ledger.asset_observations o
            WHERE o.inventory_id = i.id AND o.collected_date = i.collected_date HAVING count(*) = 1) AS target,
               CASE WHEN i.run_id = %(run_id)s THEN i.mode ELSE 'replay' END AS mode,
               CASE WHEN again.underived THEN 'failed' ELSE i.status END AS status,
               CASE WHEN again.underived THEN again.error_code ELSE i.error_code END AS error_code,
               CASE WHEN again.underived THEN '{}'::jsonb ELSE i.report END AS report,
               CASE WHEN again.underived AND i.status = 'derived' THEN '{}'::jsonb ELSE i.proof END AS proof
        FROM ledger.inventories i JOIN ledger.sources s ON s.id = i.source_id
        LEFT JOIN (
            SELECT r.inventory_id, bool_or(starts_with(r.effect, %(underived)s)) AS underived,
                   min(r.error_code) FILTER (WHERE starts_with(r.effect, %(underived)s)) AS error_code
            FROM ledger.sync_target_records r WHERE r.run_id = %(run_id)s GROUP BY r.inventory_id
        ) again ON again.inventory_id = i.id AND i.run_id IS DISTINCT FROM %(run_id)s
        WHERE i.run_id = %(run_id)s OR again.inventory_id IS NOT NULL
        ORDER BY i.id
        """,
        {"run_id": run_id, "underived": UNDERIVED},
    )


def reading_proof(connection: Connection, inventory_id: int) -> dict[str, Any]:
    """Return what was counted of a reading and what stands against its completeness; {} where nothing was proven."""
    row = connection.execute("SELECT proof FROM ledger.inventories WHERE id = %s", [inventory_id]).fetchone()
    return row[0] if row else {}


# Worst first: of 10,000 targets the few that failed are looked for.
_WANTED = """
r.run_id = %(run_id)s
AND (%(status)s::text[] IS NULL OR r.status = ANY(%(status)s))
AND (%(code)s::text IS NULL OR r.error_code = %(code)s)
AND (%(text)s::text IS NULL OR strpos(lower(concat_ws(' ', r.target, r.message, r.effect)), lower(%(text)s)) > 0)
"""


def run_records(
    connection: Connection,
    run_id: str,
    *,
    failed: bool = False,
    status: str | None = None,
    code: str | None = None,
    text: str | None = None,
    limit: int = 100,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """Return a page of the targets of one run, failed ones first.

    `failed` asks for those that failed or are partial, `status` for one status, `code` for an error code, `text` for a
    part of target, message or effect.
    """
    return rows(
        connection,
        f"""
        WITH page AS MATERIALIZED (
            SELECT r.id, r.collected_date,
                   array_position(ARRAY['failed', 'partial', 'skipped', 'ok'], r.status) AS place
            FROM ledger.sync_target_records r WHERE {_WANTED}
            ORDER BY place, r.id LIMIT %(limit)s OFFSET %(offset)s
        )
        SELECT s.name AS source, r.collected_date, r.target, r.asset_id, r.status, r.error_code, r.retryable, r.message,
               r.advice, r.effect, r.started_at, r.duration_ms, r.details
        FROM page p
        JOIN ledger.sync_target_records r USING (collected_date, id)
        JOIN ledger.sources s ON s.id = r.source_id
        ORDER BY p.place, p.id
        """,
        _asked(run_id, failed, status, code, text) | {"limit": limit, "offset": offset},
    )


def count_records(
    connection: Connection,
    run_id: str,
    *,
    failed: bool = False,
    status: str | None = None,
    code: str | None = None,
    text: str | None = None,
) -> int:
    """Return how many targets of one run `run_records` has for these wishes, over all pages."""
    row = connection.execute(
        f"SELECT count(*) FROM ledger.sync_target_records r WHERE {_WANTED}",
        _asked(run_id, failed, status, code, text),
    ).fetchone()
    assert row is not None
    return int(row[0])


def _asked(run_id: str, failed: bool, status: str | None, code: str | None, text: str | None) -> dict[str, Any]:
    statuses = [status] if status is not None else ["failed", "partial"] if failed else None
    return {"run_id": run_id, "status": statuses, "code": code, "text": text}


def failed_targets(connection: Connection, inventory_ids: list[int], limit: int) -> list[dict[str, Any]]:
    """Return the failed targets of some readings, for a table in a run's metadata; `total` is how many there are.

    Rows of files that were not taken are no targets: what is wrong with their cells stands in a table of its own. Of a
    target that several runs told of (a replay does so again) the last word counts.
    """
    return rows(
        connection,
        """
        SELECT target, error_code, message, effect, count(*) OVER () AS total FROM (
            SELECT DISTINCT ON (inventory_id, target) id, target, status, error_code, message, effect, details
            FROM ledger.sync_target_records WHERE inventory_id = ANY(%s) ORDER BY inventory_id, target, id DESC) last
        WHERE status = 'failed' AND NOT details ? 'cells' ORDER BY id LIMIT %s
        """,
        [inventory_ids, limit],
    )


def runs_beginning_with(connection: Connection, prefix: str, *, limit: int = 10) -> list[str]:
    """Return the ids of runs that begin with `prefix`, by name. A replay, and a run that read nothing, counts too."""
    found = connection.execute(
        """
        WITH RECURSIVE walk AS (
            -- from one run to the next: a run has thousands of targets
            (SELECT run_id FROM ledger.sync_target_records
             WHERE run_id ~>=~ %(prefix)s ORDER BY run_id USING ~<~ LIMIT 1)
            UNION ALL
            SELECT (SELECT r.run_id FROM ledger.sync_target_records r
                    WHERE r.run_id ~>~ walk.run_id ORDER BY r.run_id USING ~<~ LIMIT 1)
            FROM walk WHERE starts_with(walk.run_id, %(prefix)s)
        )
        SELECT run_id FROM (
            (SELECT run_id FROM walk WHERE starts_with(run_id, %(prefix)s) LIMIT %(limit)s)
            UNION
            (SELECT DISTINCT run_id FROM ledger.inventories WHERE starts_with(run_id, %(prefix)s) LIMIT %(limit)s)
        ) found
        ORDER BY run_id COLLATE "C" LIMIT %(limit)s
        """,
        {"prefix": prefix, "limit": limit},
    )
    return [row[0] for row in found]


def days_touched(connection: Connection, run_id: str) -> dict[date, bool]:
    """Return the days of which a run has target records, each with whether all of them are failed."""
    found = connection.execute(
        """
        SELECT collected_date, bool_and(status = 'failed') FROM ledger.sync_target_records
        WHERE run_id = %s GROUP BY collected_date ORDER BY collected_date
        """,
        [run_id],
    )
    return dict(found.fetchall())


def run_days(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """Return a run's targets counted by source and day."""
    return rows(
        connection,
        """
        SELECT s.name AS source, r.collected_date, r.mode,
               count(*) FILTER (WHERE r.status = 'ok') AS ok,
               count(*) FILTER (WHERE r.status = 'partial') AS partial,
               count(*) FILTER (WHERE r.status = 'failed') AS failed,
               count(*) FILTER (WHERE r.status = 'skipped') AS skipped
        FROM ledger.sync_target_records r JOIN ledger.sources s ON s.id = r.source_id
        WHERE r.run_id = %s
        GROUP BY s.name, r.collected_date, r.mode ORDER BY s.name, r.collected_date
        """,
        [run_id],
    )
