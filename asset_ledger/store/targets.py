"""What a collector is told of the ledger: which ledger assets a probe is to read, which machines a platform had."""

from __future__ import annotations

from collections.abc import Sequence

from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.store.database import Connection
from asset_ledger.store.sources import SourceRow


def probe_targets(
    connection: Connection,
    source: SourceRow,
    protocols: Sequence[str],
    *,
    default_credential_ref: str | None,
    needs_credential: bool = True,
) -> list[ProbeTarget]:
    """Return the assets of the source's zone with a management address, one of `protocols`, and a credential.

    The protocol `local` needs no credential, nor any without `needs_credential`. Merged and retired assets are not probed.
    """
    found = connection.execute(
        """
        SELECT id::text, host(mgmt_ip), hostname, protocol, port, coalesce(credential_ref, %s)
        FROM ledger.assets
        WHERE zone = %s AND protocol = ANY(%s) AND mgmt_ip IS NOT NULL
          AND merged_into_asset_id IS NULL AND deleted_at IS NULL
          AND (protocol = 'local' OR credential_ref IS NOT NULL OR %s::text IS NOT NULL OR NOT %s)
        ORDER BY mgmt_ip
        """,
        [default_credential_ref, source.zone, list(protocols), default_credential_ref, needs_credential],
    )
    return [ProbeTarget(*row) for row in found]


def assets_by_protocol(connection: Connection) -> list[tuple[str, str, int]]:
    """Return zone, protocol and number of the assets that a probe could be sent to, be there one that reads them or not."""
    return connection.execute(
        """
        SELECT zone, protocol, count(*) FROM ledger.assets
        WHERE protocol IS NOT NULL AND mgmt_ip IS NOT NULL AND merged_into_asset_id IS NULL AND deleted_at IS NULL
        GROUP BY zone, protocol ORDER BY zone, protocol
        """
    ).fetchall()


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
