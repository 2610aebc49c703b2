"""What a collector is told of the ledger: which ledger assets a probe is to read, which machines a platform had."""

from __future__ import annotations

from collections.abc import Sequence

from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.store.database import Connection
from asset_ledger.store.sources import SourceRow


def probe_targets(
    connection: Connection, source: SourceRow, protocols: Sequence[str], *, default_credential_ref: str | None
) -> list[ProbeTarget]:
    """Return the assets of the source's zone with a management address, one of `protocols`, and a credential.

    The protocol `local` needs no credential. Merged and retired assets are not probed.
    """
    found = connection.execute(
        """
        SELECT id::text, host(mgmt_ip), hostname, protocol, port, coalesce(credential_ref, %s)
        FROM ledger.assets
        WHERE zone = %s AND protocol = ANY(%s) AND mgmt_ip IS NOT NULL
          AND merged_into_asset_id IS NULL AND deleted_at IS NULL
          AND (protocol = 'local' OR credential_ref IS NOT NULL OR %s::text IS NOT NULL)
        ORDER BY mgmt_ip
        """,
        [default_credential_ref, source.zone, list(protocols), default_credential_ref],
    )
    return [ProbeTarget(*row) for row in found]


def known_machines(
    connection: Connection, source: SourceRow
) -> tuple[frozenset[tuple[str, str]], frozenset[tuple[str, str]]]:
    """Return external kind and id of every machine that the source told of, unless the id is another machine's now, and
    of those that are missing."""
    found = connection.execute(
        "SELECT external_kind, external_id, missing_since IS NOT NULL FROM ledger.asset_source_links "
        "WHERE source_id = %s AND closed_at IS NULL",
        [source.id],
    ).fetchall()
    return (
        frozenset((kind, external_id) for kind, external_id, _ in found),
        frozenset((kind, external_id) for kind, external_id, missing in found if missing),
    )
