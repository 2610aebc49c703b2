"""Which ledger assets a probe is to read."""

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
