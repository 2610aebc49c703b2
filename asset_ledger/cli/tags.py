"""`asset-ledger tags`: what people say of machines in one word. Kept by `store.decide.tags`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from asset_ledger.cli.opening import actor, connected
from asset_ledger.cli.screen import note, print_json, print_table, say

app = typer.Typer(help="Tags on machines; what a person decides outlives every reading.", no_args_is_help=True)

Asset = Annotated[str, typer.Argument(metavar="ASSET", help="Id or its first 6 characters, hostname, alias, address.")]
Tags = Annotated[
    list[str], typer.Argument(metavar="TAG...", help="At most 64 characters without blank, comma, semicolon.")
]
Note = Annotated[str | None, typer.Option("--note", help="Why: kept with the decision.")]


@app.command()
def add(asset: Asset, tag: Tags, note: Note = None) -> None:
    """Put tags on a machine. A tag that was removed is there again."""
    from asset_ledger.store.decide.tags import add_tags
    from asset_ledger.store.query.assets import find_asset

    wanted = _checked(tag)
    with connected() as connection:
        asset_id = find_asset(connection, asset)
        added = add_tags(connection, asset_id, wanted, actor=actor(), at=datetime.now(UTC), note=note)
    had = sorted(set(wanted) - set(added))
    say(f"{asset}: " + "; ".join(filter(None, (_told("added", added), _told("was there", had)))))


@app.command()
def remove(asset: Asset, tag: Tags, note: Note = None) -> None:
    """Take tags off a machine. No later reading brings them back."""
    from asset_ledger.store.decide.tags import remove_tags
    from asset_ledger.store.query.assets import find_asset

    wanted = _checked(tag)
    with connected() as connection:
        asset_id = find_asset(connection, asset)
        removed = remove_tags(connection, asset_id, wanted, actor=actor(), at=datetime.now(UTC), note=note)
    missing = sorted(set(wanted) - set(removed))
    say(f"{asset}: " + "; ".join(filter(None, (_told("removed", removed), _told("was not there", missing)))))


@app.command("list")
def list_(
    asset: Annotated[str | None, typer.Argument(metavar="[ASSET]", help="Without it: every tag there is.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the tags in use, or those of one machine with who added and who removed them."""
    from asset_ledger.store.decide.tags import tags_in_use, tags_of
    from asset_ledger.store.query.assets import find_asset

    with connected() as connection:
        found = tags_in_use(connection) if asset is None else tags_of(connection, find_asset(connection, asset))
    if as_json:
        print_json(found)
    elif not found:
        note(f"No tags yet. Add one: `asset-ledger tags add {asset or 'HOSTNAME'} TAG`.")
    elif asset is None:
        print_table(["tag!", "machines>"], [[each["tag"], each["assets"]] for each in found])
    else:
        columns = ["tag!", "added by", "added", "removed by", "removed"]
        names = ("tag", "added_by", "added_at", "removed_by", "removed_at")
        print_table(columns, [[each[name] for name in names] for each in found])


def _checked(tags: list[str]) -> list[str]:
    from asset_ledger.store.decide.tags import TAG

    for tag in tags:
        if not TAG.fullmatch(tag):
            raise typer.BadParameter(f"{tag!r} is no tag: 1 to 64 characters without blank, comma or semicolon")
    return tags


def _told(what: str, tags: list[str]) -> str:
    return f"{what}: {', '.join(tags)}" if tags else ""
