"""`asset-ledger links`: which machine each database instance runs on, by which rule, and what waits for a person."""

from __future__ import annotations

from typing import Annotated

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import coloured, note, print_json, print_table, say

app = typer.Typer(help="Which machine each database instance runs on.", no_args_is_help=True)


@app.callback()
def links() -> None:
    """Which machine each database instance runs on."""


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the links between instances and machines, those first that wait for a person."""
    from asset_ledger.store.links import list_links

    with connected() as connection:
        found = list_links(connection, limit=limit)
    if as_json:
        print_json(found)
        return
    if not found:
        note("No links. They are made when instances are imported: `asset-ledger instances list` shows those.")
        return
    rows = [
        [
            each["instance"],
            each["db_type"],
            f"{each['host']}:{each['port']}" if each["port"] else each["host"],
            each["hostname"],
            each["mgmt_ip"],
            coloured(each["match_status"]),
            f"{each['matched_by_rule']}, {each['confidence']} %",
            each["link_type"],
        ]
        for each in found
    ]
    columns = ["instance!", "type", "address!", "machine!", "mgmt_ip!", "status", "by", "made"]
    print_table(columns, rows)
    if len(found) == limit:
        say(f"the first {limit}; --limit N shows more")
