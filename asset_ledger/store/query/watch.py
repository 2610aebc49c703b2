"""How it stands with the readings of every source, with addresses and relations, for checks and metrics. Reads only.

Each is one statement for all sources that it is of. What is too old or too few is not decided here: `domain.freshness` and
`domain.cliffs` say. Called by `pipeline.watch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from asset_ledger.domain.calendar import LEDGER_TIMEZONE
from asset_ledger.store.database import Connection, rows

DAYS = 30
"""Of so many days with a reading the records are counted: among them are eight of a weekend."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A scope of a source. `proves`: only complete readings count; `live`: only those made on the day they are of.

    `by_target`: a day's size is that of all its readings, each target once: runs share the targets of a probing.
    """

    source: str
    scope: str
    proves: bool
    live: bool
    by_target: bool


@dataclass(frozen=True, slots=True)
class Awaited:
    """A machine that a source probes. `shard` is the part of a day's probing that it is in, None where that is not said."""

    source: str
    asset_id: str
    address: str
    shard: int | None


def standing(connection: Connection, watched: Sequence[Watched], *, today: date) -> list[dict[str, Any]]:
    """Return how it stands with the readings of each of these scopes that the ledger knows the source of.

    Keys: source, scope; newest: of the newest reading or failed attempt that ended, and None where there was none, date,
    at, status, complete, error_code, run_id, missing (what stands against its proof); days: of each of the newest DAYS
    days up to today that a reading counts of, newest first, day, at of its last, records (targets that were read) and
    failed (targets that were not); source_id.
    """
    return rows(
        connection,
        """
        WITH watched AS (
            SELECT w.*, s.id AS source_id
            FROM unnest(%(sources)s::text[], %(scopes)s::text[], %(proves)s::boolean[], %(live)s::boolean[],
                        %(by_target)s::boolean[]) AS w (source, scope, proves, live, by_target)
            JOIN ledger.sources s ON s.name = w.source
        ), reading AS MATERIALIZED (
            SELECT w.source_id, w.scope, w.by_target, i.id, i.collected_date, i.collected_at,
                   i.status = 'derived' AND (i.complete OR NOT w.proves)
                   -- raw that came later is of a past day, and whoever brought it did not read the source
                   AND (NOT w.live OR (i.recorded_at AT TIME ZONE %(zone)s)::date = i.collected_date) AS counts
            FROM watched w
            JOIN ledger.inventories i ON i.source_id = w.source_id AND i.scope IN (w.scope, 'all')
            WHERE i.mode <> 'replay' AND i.status <> 'reading' AND i.collected_date <= %(today)s
        ), newest AS (
            SELECT DISTINCT ON (source_id, scope) source_id, scope, id FROM reading
            ORDER BY source_id, scope, collected_at DESC, id DESC
        ), unread AS (
            -- what failed before anything came in has no reading; that another run had the source is no failure of it
            SELECT DISTINCT ON (w.source_id, w.scope) w.source_id, w.scope, r.collected_date, r.started_at, r.error_code, r.run_id
            FROM watched w
            JOIN ledger.sync_target_records r ON r.source_id = w.source_id AND r.scope IN (w.scope, 'all')
            WHERE r.inventory_id IS NULL AND r.status = 'failed' AND r.mode <> 'replay'
              AND r.error_code IS DISTINCT FROM 'SOURCE_BUSY'
              AND r.collected_date BETWEEN %(today)s - %(days)s AND %(today)s
            ORDER BY w.source_id, w.scope, r.started_at DESC, r.id DESC
        ), last AS (
            SELECT DISTINCT ON (source_id, scope, collected_date) source_id, scope, by_target, collected_date, collected_at,
                   id
            FROM reading WHERE counts ORDER BY source_id, scope, collected_date DESC, collected_at DESC, id DESC
        ), numbered AS (
            SELECT *, row_number() OVER (PARTITION BY source_id, scope ORDER BY collected_date DESC) AS place FROM last
        ), day AS (
            SELECT n.source_id, n.scope, jsonb_agg(jsonb_build_object(
                       'day', n.collected_date, 'at', extract(epoch FROM n.collected_at)::float8,
                       'records', coalesce(t.read, (i.report #>> '{counts,records}')::bigint, 0),
                       'failed', coalesce(t.targets - t.read, (i.report #>> '{counts,failed_targets}')::bigint, 0))
                       ORDER BY n.place) AS days
            FROM numbered n JOIN ledger.inventories i ON i.id = n.id
            LEFT JOIN LATERAL (
                SELECT count(DISTINCT r.target) AS targets,
                       count(DISTINCT r.target) FILTER (WHERE r.status IN ('ok', 'partial')) AS read
                FROM ledger.sync_target_records r
                -- a reading whose raw waited is derived by a replay: what it says of its targets is of that reading
                WHERE r.source_id = n.source_id AND r.collected_date = n.collected_date AND r.inventory_id IS NOT NULL
            ) t ON n.by_target
            WHERE n.place <= %(days)s GROUP BY n.source_id, n.scope
        )
        SELECT w.source, w.scope, w.source_id, coalesce(d.days, '[]') AS days,
               CASE WHEN u.started_at > coalesce(i.collected_at, '-infinity') THEN jsonb_build_object(
                        'date', u.collected_date, 'at', extract(epoch FROM u.started_at)::float8, 'status', 'failed',
                        'complete', false, 'error_code', u.error_code, 'run_id', u.run_id, 'missing', '[]'::jsonb)
                    WHEN i.id IS NOT NULL THEN jsonb_build_object(
                        'date', i.collected_date, 'at', extract(epoch FROM i.collected_at)::float8, 'status', i.status,
                        'complete', i.complete, 'error_code', i.error_code, 'run_id', i.run_id,
                        'missing', coalesce(i.proof -> 'missing', '[]')) END AS newest
        FROM watched w
        LEFT JOIN newest n ON n.source_id = w.source_id AND n.scope = w.scope
        LEFT JOIN ledger.inventories i ON i.id = n.id
        LEFT JOIN unread u ON u.source_id = w.source_id AND u.scope = w.scope
        LEFT JOIN day d ON d.source_id = w.source_id AND d.scope = w.scope
        ORDER BY w.source, w.scope
        """,
        {
            "sources": [each.source for each in watched],
            "scopes": [each.scope for each in watched],
            "proves": [each.proves for each in watched],
            "live": [each.live for each in watched],
            "by_target": [each.by_target for each in watched],
            "today": today,
            "days": DAYS,
            "zone": LEDGER_TIMEZONE,
        },
    )


def without_outcome(connection: Connection, awaited: Sequence[Awaited], *, today: date) -> list[dict[str, Any]]:
    """Return the days, of the newest DAYS up to today, on which machines that a source probes have no outcome.

    Keys: source, day, machines (how many), shards (theirs, by number). An outcome is a success or a failure, written
    when the reading that has it is derived: what is being read, or broke off, gives none.

    A machine is missed on a day where it had an outcome on one of the three days that were read before it; where no
    machine of its shard has one, on any day before it. On the first day that the source was ever read nothing was before:
    there a machine of a shard without one is missed of which nothing has changed since the reading began. So what is
    declared, or can be probed, since a day only is not missed on it, though the ledger had the machine long before.
    """
    return rows(
        connection,
        """
        WITH target AS (
            SELECT s.id AS source_id, t.source, t.asset_id, t.address, t.shard, a.updated_at
            FROM unnest(%(sources)s::text[], %(assets)s::uuid[], %(addresses)s::text[], %(shards)s::integer[])
                 AS t (source, asset_id, address, shard)
            JOIN ledger.sources s ON s.name = t.source JOIN ledger.assets a ON a.id = t.asset_id
        ), day AS MATERIALIZED (
            SELECT source_id, collected_date, min(collected_at) AS began,
                   row_number() OVER (PARTITION BY source_id ORDER BY collected_date DESC) AS place
            FROM ledger.inventories
            WHERE source_id IN (SELECT source_id FROM target) AND mode <> 'replay' AND status = 'derived'
              AND collected_date BETWEEN %(today)s - %(days)s AND %(today)s
            GROUP BY source_id, collected_date
        ), said AS MATERIALIZED (
            SELECT DISTINCT d.source_id, d.place, r.asset_id, r.target
            FROM day d JOIN ledger.sync_target_records r
              ON r.source_id = d.source_id AND r.collected_date = d.collected_date AND r.inventory_id IS NOT NULL
            WHERE r.collected_date BETWEEN %(today)s - %(days)s AND %(today)s
        ), told AS MATERIALIZED (
            -- by its address, and where that is another one by now, by what it is
            SELECT s.source_id, s.place, t.asset_id, t.shard
            FROM said s JOIN target t ON t.source_id = s.source_id AND t.address = s.target
            UNION
            SELECT s.source_id, s.place, t.asset_id, t.shard
            FROM said s JOIN target t ON t.source_id = s.source_id AND t.asset_id = s.asset_id
        ), heard AS (
            SELECT source_id, asset_id, array_agg(place) AS places FROM told GROUP BY source_id, asset_id
        ), first AS (
            SELECT source_id, max(place) AS place FROM day d
            WHERE NOT EXISTS (SELECT FROM ledger.inventories i WHERE i.source_id = d.source_id AND i.mode <> 'replay'
                                AND i.status = 'derived' AND i.collected_date < %(today)s - %(days)s)
            GROUP BY source_id
        ), absent AS (
            SELECT t.source, d.source_id, d.collected_date, d.place, t.shard,
                   -- places count back from the newest day
                   (SELECT min(p) FROM unnest(h.places) AS p WHERE p > d.place) AS place_before,
                   d.place = f.place AND t.updated_at < d.began AS first_and_same
            FROM day d JOIN target t ON t.source_id = d.source_id
            LEFT JOIN heard h ON h.source_id = t.source_id AND h.asset_id = t.asset_id
            LEFT JOIN first f ON f.source_id = d.source_id
            WHERE NOT coalesce(d.place = ANY(h.places), false)
        )
        SELECT a.source, a.collected_date AS day, count(*) AS machines,
               coalesce(array_agg(DISTINCT a.shard) FILTER (WHERE a.shard IS NOT NULL), '{}') AS shards
        FROM absent a
        LEFT JOIN (SELECT DISTINCT source_id, place, shard FROM told) r
               ON r.source_id = a.source_id AND r.place = a.place AND r.shard = a.shard
        WHERE a.place_before <= a.place + 3
           OR (a.shard IS NOT NULL AND r.shard IS NULL AND (a.place_before IS NOT NULL OR a.first_and_same))
        GROUP BY a.source, a.collected_date ORDER BY a.source, a.collected_date DESC
        """,
        {
            "sources": [each.source for each in awaited],
            "assets": [each.asset_id for each in awaited],
            "addresses": [each.address for each in awaited],
            "shards": [each.shard for each in awaited],
            "today": today,
            "days": DAYS,
        },
    )


def shared_addresses(connection: Connection, *, limit: int = 8) -> dict[str, Any]:
    """Return how many management addresses several machines of one zone have (`addresses`), how many machines those are
    (`machines`), and the first of them as `shared`: zone, mgmt_ip, machines.

    Machines are canonical assets that are there. An address counts unless a person said of each two of its machines that
    they are not one.
    """
    return rows(
        connection,
        """
        WITH shared AS (
            SELECT a.zone, a.mgmt_ip, array_agg(a.id ORDER BY a.id) AS ids,
                   array_agg(coalesce(a.hostname, a.id::text) ORDER BY a.id) AS machines
            FROM ledger.assets a
            WHERE a.mgmt_ip IS NOT NULL AND a.merged_into_asset_id IS NULL AND a.missing_since IS NULL
              AND a.deleted_at IS NULL
            GROUP BY a.zone, a.mgmt_ip HAVING count(*) > 1
        ), dismissed AS (
            -- said of two that were merged since, it is said of what they were merged into
            SELECT DISTINCT least(x.id, y.id) AS one, greatest(x.id, y.id) AS other
            FROM ledger.decisions_in_force d
            JOIN ledger.assets a ON a.id = d.asset_id JOIN ledger.assets x ON x.id = coalesce(a.merged_into_asset_id, a.id)
            JOIN ledger.assets b ON b.id = d.other_id JOIN ledger.assets y ON y.id = coalesce(b.merged_into_asset_id, b.id)
            WHERE d.kind = 'not_duplicate' AND x.id <> y.id
        ), open AS (
            SELECT s.* FROM shared s
            WHERE (SELECT count(*) FROM dismissed d WHERE d.one = ANY(s.ids) AND d.other = ANY(s.ids))
                  < cardinality(s.ids) * (cardinality(s.ids) - 1) / 2
        )
        SELECT count(*) AS addresses, coalesce(sum(cardinality(ids)), 0)::bigint AS machines,
               coalesce((SELECT jsonb_agg(o) FROM (
                   SELECT zone, host(mgmt_ip) AS mgmt_ip, machines FROM open ORDER BY cardinality(ids) DESC, zone, mgmt_ip
                   LIMIT %(limit)s) o), '[]') AS shared
        FROM open
        """,
        {"limit": limit},
    )[0]


def orphan_relations(connection: Connection, *, limit: int = 3) -> list[dict[str, Any]]:
    """Return of each source with relations how many hold now, and how many of those end nowhere, by source.

    Keys: source, relations; unknown (no source link has the id that they end at), missing, retired (what they end at is),
    on_itself (both ends are one machine, by a merge); examples: the first, as `kind`, `machine`, `ends_at`, `why`.
    Relations of machines that are missing themselves do not count.
    """
    return rows(
        connection,
        """
        WITH held AS (
            SELECT f.source_id, r.kind, coalesce(fr.hostname, f.external_id) AS machine,
                   r.to_kind || ' ' || r.to_external_id AS ends_at,
                   CASE WHEN t.id IS NULL THEN 'unknown'
                        WHEN tr.deleted_at IS NOT NULL THEN 'retired'
                        WHEN t.missing_since IS NOT NULL THEN 'missing'
                        WHEN tr.id = fr.id THEN 'on_itself' END AS why
            FROM ledger.asset_relations r
            JOIN ledger.asset_source_links f ON f.id = r.from_link_id AND f.closed_at IS NULL AND f.missing_since IS NULL
            JOIN ledger.assets fa ON fa.id = f.asset_id
            JOIN ledger.assets fr ON fr.id = coalesce(fa.merged_into_asset_id, fa.id) AND fr.deleted_at IS NULL
            LEFT JOIN ledger.asset_source_links t ON t.source_id = f.source_id AND t.external_kind = r.to_kind
                AND t.external_id = r.to_external_id AND t.closed_at IS NULL
            LEFT JOIN ledger.assets ta ON ta.id = t.asset_id
            LEFT JOIN ledger.assets tr ON tr.id = coalesce(ta.merged_into_asset_id, ta.id)
            WHERE r.ended_at IS NULL
        ), shown AS (
            SELECT *, row_number() OVER (PARTITION BY source_id ORDER BY why, kind, machine, ends_at) AS place
            FROM held WHERE why IS NOT NULL
        )
        SELECT s.name AS source, count(*) AS relations, count(*) FILTER (WHERE h.why = 'unknown') AS unknown,
               count(*) FILTER (WHERE h.why = 'missing') AS missing, count(*) FILTER (WHERE h.why = 'retired') AS retired,
               count(*) FILTER (WHERE h.why = 'on_itself') AS on_itself,
               coalesce((SELECT jsonb_agg(jsonb_build_object('kind', x.kind, 'machine', x.machine, 'ends_at', x.ends_at,
                                                             'why', x.why) ORDER BY x.place)
                         FROM shown x WHERE x.source_id = s.id AND x.place <= %(limit)s), '[]') AS examples
        FROM held h JOIN ledger.sources s ON s.id = h.source_id
        GROUP BY s.id, s.name ORDER BY s.name
        """,
        {"limit": limit},
    )
