"""`asset-ledger cmdb`: a CMDB's table beside the ledger, and what only one of the two knows. Kept by `store.cmdb`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import note, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asset_ledger.store.cmdb_query import Rule

app = typer.Typer(help="A CMDB beside the ledger: what only one of the two knows.", no_args_is_help=True)

Match = Annotated[
    list[str],
    typer.Option(
        "--match",
        metavar="RULE=COLUMN",
        help="By what a machine is found there, the surest first: serial, uuid, hostname, ip. May be said again.",
    ),
]


@app.command()
def link(
    table: Annotated[str, typer.Option("--table", metavar="SCHEMA.TABLE", help="In the ledger's own database.")],
    key: Annotated[str, typer.Option("--key", metavar="COLUMN", help="The column that names a CI.")],
    match: Match,
    show: Annotated[
        str, typer.Option("--show", metavar="COLUMN,…", help="More columns to show, separated by commas.")
    ] = "",
) -> None:
    """Make the view ledger.cmdb_assets over a table (docs/cmdb.md: how it gets there), in place of the one before."""
    from asset_ledger.store.cmdb import Link, counts
    from asset_ledger.store.cmdb import link as make

    shown = tuple(filter(None, (column.strip() for column in show.split(","))))
    wanted = Link(table, key, _rules(match), shown)
    with connected() as connection:
        make(connection, wanted)
        found = counts(connection)
    say(f"ledger.cmdb_assets is made over {table}: {_told(found)}")


@app.command()
def show(
    side: Annotated[
        str | None,
        typer.Option("--side", help="both, only_ledger, only_cmdb, or unsure: met several, joined with none."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many rows.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the machines and the CIs side by side, and how many only one of the two knows."""
    from asset_ledger.store.cmdb import SIDES, counts, listed

    if side not in (None, "unsure", *SIDES):
        raise typer.BadParameter(f"must be one of {', '.join(SIDES)}, unsure", param_hint="--side")
    with connected() as connection:
        found = counts(connection)
        page = listed(connection, side=side, limit=limit)
    if as_json:
        print_json({"counts": found, "assets": page})
        return
    columns = ["side!", "by!", "hostname", "address!", "asset!", "CI!", "CI says…", "met"]
    print_table(
        columns,
        [
            [
                row["side"],
                row["rule"],
                row["hostname"],
                row["mgmt_ip"],
                row["asset_id"],
                row["ci_key"],
                None if row["ci"] is None else ", ".join(f"{name}={value}" for name, value in row["ci"].items()),
                row["others"],
            ]
            for row in page
        ],
    )
    note(_told(found))


@app.command()
def unlink() -> None:
    """Drop the view. The CMDB's table and the ledger stay as they are."""
    from asset_ledger.store.cmdb import unlink as drop

    with connected() as connection:
        there = drop(connection)
    say("ledger.cmdb_assets is dropped" if there else "no CMDB was linked")


def _rules(match: Sequence[str]) -> tuple[tuple[Rule, str], ...]:
    from asset_ledger.store.cmdb_query import RULES

    found: list[tuple[Rule, str]] = []
    for said in match:
        name, equals, column = said.partition("=")
        rule = next((one for one in RULES if one == name.strip()), None)
        if rule is None or not equals or not column.strip():
            raise typer.BadParameter(f"{said}: write RULE=COLUMN, with {', '.join(RULES)}", param_hint="--match")
        found.append((rule, column.strip()))
    return tuple(found)


def _told(found: dict[str, int]) -> str:
    return (
        f"{found['both']} on both sides, {found['only_ledger']} in the ledger alone, {found['only_cmdb']} in the CMDB "
        f"alone; {found['unsure']} of those met several"
    )
