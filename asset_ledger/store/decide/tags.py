"""Tags as people decide them: added, removed, and kept so whatever a source says afterwards.

`ledger.asset_tags` is derived: what sources say and people decided (`store.derive.settle`). A removed tag keeps its row there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from asset_ledger.store.database import Connection, ledger_lock, rows
from asset_ledger.store.decide.decisions import TAG, demand_canonical, tag
from asset_ledger.store.derive.settle import settle_assets

__all__ = ["TAG", "add_tags", "remove_tags", "tags_in_use", "tags_of"]


def add_tags(
    connection: Connection, asset_id: UUID, tags: Sequence[str], *, actor: str, at: datetime, note: str | None = None
) -> list[str]:
    """Put tags on an asset and return those it did not have, sorted. One that was removed is there again."""
    return _decide(connection, asset_id, tags, present=True, actor=actor, at=at, note=note)


def remove_tags(
    connection: Connection, asset_id: UUID, tags: Sequence[str], *, actor: str, at: datetime, note: str | None = None
) -> list[str]:
    """Take tags off an asset, for every later reading too, and return those it had, sorted."""
    return _decide(connection, asset_id, tags, present=False, actor=actor, at=at, note=note)


def _decide(
    connection: Connection,
    asset_id: UUID,
    tags: Sequence[str],
    *,
    present: bool,
    actor: str,
    at: datetime,
    note: str | None,
) -> list[str]:
    with connection.transaction():
        ledger_lock(connection)
        demand_canonical(connection, asset_id)
        has = {row["tag"] for row in tags_of(connection, asset_id) if row["removed_at"] is None}
        changed = sorted(set(tags) - has) if present else sorted(set(tags) & has)
        for name in changed:
            tag(connection, asset_id, name, present, actor=actor, at=at, note=note)
        if changed:
            settle_assets(connection, [asset_id])
    return changed


def tags_in_use(connection: Connection) -> list[dict[str, Any]]:
    """Return every tag that canonical assets have, with how many have it, the most used first."""
    return rows(
        connection,
        """
        SELECT t.tag, count(*) AS assets
        FROM ledger.asset_tags t JOIN ledger.assets a ON a.id = t.asset_id
        WHERE t.removed_at IS NULL AND a.merged_into_asset_id IS NULL AND a.deleted_at IS NULL
        GROUP BY t.tag ORDER BY assets DESC, t.tag
        """,
    )


def tags_of(connection: Connection, asset_id: UUID) -> list[dict[str, Any]]:
    """Return the tags of an asset with who added each and when, and those that a person removed."""
    return rows(
        connection,
        """
        SELECT tag, added_by, added_at, removed_by, removed_at FROM ledger.asset_tags
        WHERE asset_id = %s ORDER BY removed_at IS NOT NULL, tag
        """,
        [asset_id],
    )
