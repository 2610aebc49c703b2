"""`asset-ledger instances`: the database instances that sources list."""

from __future__ import annotations

from typing import Annotated

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import note, print_json, print_table, say

app = typer.Typer(help="Database instances.", no_args_is_help=True)


@app.callback()
def instances() -> None:
    """Database instances."""


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List database instances, each with the machine it is confirmed to run on."""
    from asset_ledger.store.links import list_instances

    with connected() as connection:
        found = list_instances(connection, limit=limit)
    if as_json:
        print_json(found)
        return
    if not found:
        note("No database instances yet. Import a file whose name begins with `instances`; a template: ")
        note("`asset-ledger import --template csv --output instances.csv`")
        return
    rows = [
        [
            each["name"],
            each["db_type"],
            each["host"],
            each["port"],
            each["asset"],
            f"{each['matched_by_rule']}, {each['confidence']} %" if each["asset_id"] else None,
            each["source"],
        ]
        for each in found
    ]
    print_table(["name!", "type", "host!", "port>", "runs on!", "by", "source"], rows)
    if len(found) == limit:
        say(f"the first {limit}; --limit N shows more")
