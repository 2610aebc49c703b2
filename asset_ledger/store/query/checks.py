"""What the asset checks look at: proofs of completeness, absences that wait, relations. Reads only. Called by Dagster."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from asset_ledger.store.database import Connection, rows
from asset_ledger.store.derive.absences import list_held
from asset_ledger.store.scopes import overlaps


def completeness_proofs(connection: Connection, inventory_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return of each reading, in their order, whether it is complete and why: `counts`, and `missing` against it."""
    return rows(
        connection,
        """
        SELECT id, scope, complete, absences, unseen, coalesce(proof -> 'counts', '[]') AS counts,
               coalesce(proof -> 'missing', '[]') AS missing
        FROM ledger.inventories WHERE id = ANY(%s) ORDER BY collected_at, id
        """,
        [list(inventory_ids)],
    )


def waiting_absences(connection: Connection, source_id: int, covers: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the readings of a source whose absences are held and that no person decided on yet, newest first.

    With `covers` those that speak of one of these external kinds.
    """
    return [held for held in list_held(connection, source_id=source_id) if overlaps(held["covers"], covers)]


def hosts_elsewhere(connection: Connection, inventory_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return where the ledger knows the hosts from on which the machines of these readings run, if not from themselves.

    A row for each reading that last told of such hosts: its `scope`, `run_id` and `collected_at`, how many `hosts`, and
    how many machines (`vms`) run on them. A row without a reading is of hosts that nobody told of yet. Machines count
    that said nothing newer since.
    """
    return rows(
        connection,
        """
        SELECT i.scope, i.run_id, i.collected_at, count(*) AS hosts, sum(e.vms)::bigint AS vms
        FROM (
            -- hosts are few: each is looked up once
            SELECT l.source_id, r.to_kind, r.to_external_id, count(*) AS vms
            FROM ledger.asset_source_links l
            JOIN ledger.asset_relations r ON r.from_link_id = l.id AND r.kind = 'runs_on' AND r.ended_at IS NULL
            WHERE l.source_id = (SELECT source_id FROM ledger.inventories WHERE id = ANY(%(ids)s) LIMIT 1)
              AND l.inventory_id = ANY(%(ids)s) AND l.closed_at IS NULL
            GROUP BY 1, 2, 3
        ) e
        LEFT JOIN ledger.asset_source_links t ON t.source_id = e.source_id AND t.external_kind = e.to_kind
            AND t.external_id = e.to_external_id AND t.closed_at IS NULL
        LEFT JOIN ledger.inventories i ON i.id = t.inventory_id
        WHERE t.inventory_id IS NULL OR t.inventory_id <> ALL(%(ids)s)
        GROUP BY i.id ORDER BY i.collected_at DESC NULLS LAST, i.id
        """,
        {"ids": list(inventory_ids)},
    )


def relation_counts(connection: Connection, source_id: int) -> dict[str, int]:
    """Return how many virtual machines a source has now (`vms`), and how many run on nothing known
    (`vms_without_host`)."""
    return rows(
        connection,
        """
        WITH vm AS (
            SELECT l.id, bool_or(t.id IS NOT NULL) AS runs
            FROM ledger.asset_source_links l
            JOIN ledger.normalized_assets n ON n.id = l.normalized_id AND n.kind = 'vm'
            LEFT JOIN ledger.asset_relations r ON r.from_link_id = l.id AND r.kind = 'runs_on' AND r.ended_at IS NULL
            LEFT JOIN ledger.asset_source_links t ON t.source_id = l.source_id AND t.external_kind = r.to_kind
                AND t.external_id = r.to_external_id AND t.closed_at IS NULL
            WHERE l.source_id = %s AND l.closed_at IS NULL AND l.missing_since IS NULL
            GROUP BY l.id
        )
        SELECT count(*) AS vms, count(*) FILTER (WHERE NOT runs) AS vms_without_host FROM vm
        """,
        [source_id],
    )[0]
