"""Tags as people decide them: added, removed, and kept so whatever a source says afterwards.

`ledger.asset_tags` keeps the row of a removed tag; `store.apply` adds a tag only where there is no row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from asset_ledger.store.database import Connection, rows

TAG = re.compile(r"[^\s,;]{1,64}")
"""What a tag may be, as in normalized-v1."""


def add_tags(connection: Connection, asset_id: UUID, tags: Sequence[str], *, actor: str, at: datetime) -> list[str]:
    """Put tags on an asset and return those it did not have, sorted. One that was removed is there again."""
    found = connection.execute(
        """
        INSERT INTO ledger.asset_tags AS t (asset_id, tag, added_by, added_at)
        SELECT %(asset)s, tag, %(actor)s, %(at)s FROM unnest(%(tags)s::text[]) AS tag
        ON CONFLICT (asset_id, tag) DO UPDATE
        SET added_by = excluded.added_by, added_at = excluded.added_at, removed_by = NULL, removed_at = NULL
        WHERE t.removed_at IS NOT NULL
        RETURNING tag
        """,
        {"asset": asset_id, "tags": sorted(set(tags)), "actor": actor, "at": at},
    )
    return sorted(row[0] for row in found)


def remove_tags(connection: Connection, asset_id: UUID, tags: Sequence[str], *, actor: str, at: datetime) -> list[str]:
    """Take tags off an asset, for every later reading too, and return those it had, sorted."""
    found = connection.execute(
        """
        UPDATE ledger.asset_tags SET removed_by = %(actor)s, removed_at = %(at)s
        WHERE asset_id = %(asset)s AND tag = ANY(%(tags)s) AND removed_at IS NULL
        RETURNING tag
        """,
        {"asset": asset_id, "tags": list(tags), "actor": actor, "at": at},
    )
    return sorted(row[0] for row in found)


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
