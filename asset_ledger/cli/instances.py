"""`asset-ledger instances`: the database instances that sources list."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import note, print_json, print_table, say

app = typer.Typer(help="Database instances.", no_args_is_help=True)


@app.callback()
def instances() -> None:
    """Database instances."""


@app.command("list")
def list_(
    search: Annotated[str | None, typer.Option("--search", "-s", help="Part of a name, host or address.")] = None,
    unlinked: Annotated[bool, typer.Option("--unlinked", help="Only those without a confirmed machine.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 200,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List database instances, each with the machine it is confirmed to run on."""
    from asset_ledger.store.query.instances import list_instances

    with connected() as connection:
        found = list_instances(connection, search=search, unlinked=unlinked, limit=limit, offset=offset)
    if as_json:
        print_json(found)
        return
    if not found and (search or unlinked or offset):
        note("No instance is like that. Leave an option out, or see all with `asset-ledger instances list`.")
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
            _machine(each),
            f"{each['matched_by_rule']}, {each['confidence']} %" if each["asset_id"] else None,
            each["source"],
        ]
        for each in found
    ]
    print_table(["name!", "type", "host!", "port>", "runs on!", "by", "source"], rows)
    if len(found) == limit:
        say(f"next: --offset {offset + limit}")
    if any(each["candidates"] and not each["asset_id"] for each in found):
        note("Candidates wait for you: `asset-ledger links show NAME`, then `links confirm` or `links reject`.")


def _machine(instance: dict[str, Any]) -> str | None:
    if instance["asset_id"]:
        name = str(instance["asset"] or instance["asset_id"])
        return f"{name} (missing)" if instance["missing_since"] else name
    candidates = instance["candidates"]
    return f"? {candidates} candidate{'s' if candidates > 1 else ''}" if candidates else None
