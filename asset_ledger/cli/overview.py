"""The ledger at a glance, printed by `asset-ledger up` when its job is done: what it made, and where to look next."""

from __future__ import annotations

from rich.console import Console

from asset_ledger.cli.screen import print_table, size
from asset_ledger.store.database import Connection
from asset_ledger.store.query.overview import counts, latest_assets

SHOWN = 20
_COLUMNS = ("hostname", "address!", "type", "cpu>", "memory>", "os", "tags", "said by", "last seen!")


def print_overview(connection: Connection, console: Console) -> None:
    """Print counts, the first machines, and the next commands."""
    numbers = counts(connection)
    if not numbers["assets"]:
        console.print(
            "The ledger is empty. Drop a CSV or Excel file into the inbox, or see `asset-ledger import --help`."
        )
        return
    console.print(f"The ledger: {numbers['assets']} machines", style="bold")
    lines: list[list[str]] = []
    for asset in latest_assets(connection, limit=SHOWN):
        memory = asset["memory_bytes"]
        lines.append(
            [
                asset["hostname"] or "unknown",
                asset["mgmt_ip"] or "unknown",
                asset["asset_type"] or "unknown",
                str(asset["cpu_cores"] or "unknown"),
                size(memory) if memory else "unknown",
                " ".join(filter(None, (asset["os_family"], asset["os_version"]))) or "unknown",
                " ".join(asset["tags"]),
                ", ".join(asset["sources"]),
                str(asset["last_seen_date"]),
            ]
        )
    print_table(_COLUMNS, lines)
    if numbers["assets"] > SHOWN:
        console.print(f"… and {numbers['assets'] - SHOWN} more: `asset-ledger assets list`")
    failed = numbers["failed"]
    look = "1 target or row that needs a look" if failed == 1 else f"{failed} targets or rows that need a look"
    console.print(
        f"{numbers['days']} days of history, {numbers['instances']} database instances "
        f"({numbers['links']} joined to the machine they run on), {look}."
    )
    console.print(
        "Next: [bold]asset-ledger assets show HOSTNAME[/bold] for one machine with its history, "
        "[bold]asset-ledger runs list[/bold] for what was read and what failed, "
        "[bold]asset-ledger import FILE --dry-run[/bold] to see what a file would change."
    )
