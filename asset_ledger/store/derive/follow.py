"""What follows the ledger assets across sources: links of instances, and machines that may be one.

Both are functions of what the assets are now. Readings leave them to the Dagster assets downstream; a person who decided
something wants to see it at once, and a rebuild compares them with the rest.
"""

from __future__ import annotations

from asset_ledger.store.database import Connection
from asset_ledger.store.derive.duplicates import find_duplicates
from asset_ledger.store.derive.links import relink


def follow(connection: Connection) -> dict[str, int]:
    """Bring links and duplicate candidates up to date, inside the caller's transaction.

    Returns by table how many of its rows were not what they should be.
    """
    links = relink(connection)
    found = find_duplicates(connection)
    return {
        "instance_asset_links": links["links_written"] + links["links_removed"],
        "duplicate_candidates": found["new"] + found["changed"] + found["gone"],
    }
