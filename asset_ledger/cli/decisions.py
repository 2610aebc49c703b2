"""`asset-ledger decisions`: what people decided, what of it is in force, and who it was."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import note, print_json, print_table, say, short, show

app = typer.Typer(help="What people decided: it wins over every source, and can be taken back.", no_args_is_help=True)


@app.callback()
def decisions() -> None:
    """What people decided: it wins over every source, and can be taken back."""


@app.command("list")
def list_(
    asset: Annotated[
        str | None, typer.Option(metavar="ASSET", help="Only about this machine, or what is merged into it.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every decision ever made, not only those that are in force.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the decisions in force, the newest first."""
    from asset_ledger.store.decide.decisions import in_force, log
    from asset_ledger.store.query.assets import find_asset

    with connected() as connection:
        about = None if asset is None else find_asset(connection, asset)
        found = (log if every else in_force)(connection, asset_id=about, limit=limit, offset=offset)
    if as_json:
        print_json(found)
        return
    if not found:
        note("No decisions. `asset-ledger assets set-hostname ASSET NAME` makes one; `--all` shows withdrawn ones.")
        return
    columns = ["when!", "who", "about!", "id!", "decided…", *(["in force"] if every else []), "note…"]
    print_table(
        columns,
        [
            [
                each["decided_at"],
                each["actor"],
                _about(each),
                short(each["asset_id"]) if each["asset_id"] else None,
                in_words(each),
                *([each["in_force"]] if every else []),
                each["note"],
            ]
            for each in found
        ],
    )
    if len(found) == limit:
        say(f"the first {limit}; next: --offset {offset + limit}")


def _about(decision: dict[str, Any]) -> str | None:
    if decision["inventory_id"] is not None:
        return f"reading {decision['inventory_id']} of {show(decision['source'])}, {show(decision['collected_date'])}"
    name: str | None = decision["asset"]
    return name


def in_words(decision: dict[str, Any]) -> str:
    """Return what was decided, as a person would say it."""
    value, other = decision["value"], decision["other"] or show(decision["other_id"])
    withdrawn = value is None
    match decision["kind"]:
        case "override":
            said = f"{decision['field']} is what sources say" if withdrawn else f"{decision['field']} is {show(value)}"
        case "tag":
            said = f"tag {decision['field']} " + ("as sources say" if withdrawn else "added" if value else "removed")
        case "merge":
            # one of the two may well be called by the other's name: it takes what sources say of both
            into = " ".join(filter(None, (decision["into_asset"], short(decision["into_id"] or value))))
            said = "merged no more" if withdrawn else f"merged into {into}"
        case "not_duplicate":
            said = f"may be {other} after all" if withdrawn else f"is not {other}"
        case "retired":
            said = "restored" if withdrawn else "retired"
        case "link":
            said = f"link to instance {other} " + ("left to the rules" if withdrawn else str(value))
        case _:
            said = f"absences {'undecided' if withdrawn else value}"
    return said
