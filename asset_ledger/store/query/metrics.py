"""How readings of the sources went, in numbers for monitoring. Reads only. Called by `pipeline.metrics`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from asset_ledger.store.database import Connection, rows

WINDOW_DAYS = 7
"""Over how many days a success rate is taken: most sources are read once a day."""


def reading_figures(connection: Connection, *, now: datetime) -> list[dict[str, Any]]:
    """Return of every source that is read how its readings went, a row for each scope, by name.

    Keys: source, platform, scope; attempts and succeeded (of the last WINDOW_DAYS days; a reading that is still being made is
    neither, and one that failed before anything came in is an attempt), last_success_at (None: never), failed (all readings that failed, by error code), counted (what the proofs
    of all readings count, summed by name) and newest (the same of the newest proven reading).
    """
    return rows(
        connection,
        """
        WITH reading AS (
            SELECT source_id, scope, id, status, error_code, collected_at, run_id,
                   coalesce(proof -> 'counts', '[]') AS counts, coalesce((proof ->> 'complete')::boolean, false) AS whole
            FROM ledger.inventories WHERE mode <> 'replay' AND status IN ('derived', 'failed', 'interrupted')
        ), unread AS (
            -- what failed before anything came in (a credential, a certificate file) has a record and no reading; that
            -- another run had the source is no failure of it
            SELECT t.source_id, t.scope, t.error_code
            FROM ledger.sync_target_records t
            WHERE t.inventory_id IS NULL AND t.status = 'failed' AND t.mode <> 'replay' AND t.error_code IS DISTINCT FROM 'SOURCE_BUSY'
              AND t.collected_date >= (%(now)s AT TIME ZONE 'UTC')::date - %(days)s
              AND t.started_at > %(now)s - make_interval(days => %(days)s)
              AND NOT EXISTS (SELECT FROM reading r WHERE r.source_id = t.source_id AND r.scope = t.scope
                              AND r.run_id = t.run_id AND r.status <> 'derived')
        ), counted AS (
            SELECT r.source_id, r.scope, r.id, c.key, sum(c.value::numeric) AS value
            FROM reading r, jsonb_array_elements(r.counts) AS part, jsonb_each(part) AS c
            WHERE jsonb_typeof(c.value) = 'number'
            GROUP BY r.source_id, r.scope, r.id, c.key
        ), newest AS (
            SELECT DISTINCT ON (source_id, scope) source_id, scope, id FROM reading WHERE whole
            ORDER BY source_id, scope, collected_at DESC, id DESC
        )
        SELECT s.name AS source, s.platform, coalesce(k.scope, 'all') AS scope,
               (SELECT count(*) FROM reading r WHERE r.source_id = s.id AND r.scope = k.scope
                 AND r.collected_at > %(now)s - make_interval(days => %(days)s))
               + (SELECT count(*) FROM unread u WHERE u.source_id = s.id AND u.scope = k.scope) AS attempts,
               (SELECT count(*) FROM reading r WHERE r.source_id = s.id AND r.scope = k.scope AND r.status = 'derived'
                 AND r.collected_at > %(now)s - make_interval(days => %(days)s)) AS succeeded,
               (SELECT max(collected_at) FROM reading r
                WHERE r.source_id = s.id AND r.scope = k.scope AND r.status = 'derived') AS last_success_at,
               coalesce((SELECT jsonb_object_agg(error_code, n) FROM (
                   SELECT error_code, count(*) AS n FROM reading r
                   WHERE r.source_id = s.id AND r.scope = k.scope AND r.status <> 'derived' AND error_code IS NOT NULL
                   GROUP BY error_code) codes), '{}') AS failed,
               coalesce((SELECT jsonb_object_agg(key, value) FROM (
                   SELECT key, sum(value) AS value FROM counted c
                   WHERE c.source_id = s.id AND c.scope = k.scope GROUP BY key) sums), '{}') AS counted,
               coalesce((SELECT jsonb_object_agg(c.key, c.value) FROM newest n JOIN counted c ON c.id = n.id
                         WHERE n.source_id = s.id AND n.scope = k.scope), '{}') AS newest
        FROM ledger.sources s
        -- one that was never read has no scope yet, and its figures are zeros
        LEFT JOIN LATERAL (SELECT scope FROM reading r WHERE r.source_id = s.id
                           UNION SELECT scope FROM unread u WHERE u.source_id = s.id) k ON true
        WHERE s.source_type IN ('platform', 'probe') ORDER BY s.name, k.scope
        """,
        {"now": now, "days": WINDOW_DAYS},
    )
