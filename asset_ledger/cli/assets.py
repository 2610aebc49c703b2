"""`asset-ledger assets`: list, search, and show one machine with everything that is known of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import UNKNOWN, age, gib, machine_today, note, print_json, print_table, say, short

app = typer.Typer(help="The machines: list and search them, show one with its history.", no_args_is_help=True)


class Unknown(StrEnum):
    """Which fact is not known."""

    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    OS = "os"
    IP = "ip"


class Sort(StrEnum):
    """What a list is ordered by."""

    HOSTNAME = "hostname"
    MGMT_IP = "mgmt_ip"
    CPU = "cpu"
    MEMORY = "memory"
    LAST_SEEN = "last_seen"


@app.command("list")
def list_(
    search: Annotated[
        str | None,
        typer.Option("--search", "-s", help="Part of a hostname, alias or address; or a whole MAC or serial number."),
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="With this tag. Repeatable: all of them.")] = None,
    asset_type: Annotated[str | None, typer.Option("--type", help="vm, physical or cluster.")] = None,
    platform: Annotated[str | None, typer.Option(help="The kind of platform it is on, as `assets show` says.")] = None,
    source: Annotated[str | None, typer.Option(help="That this source speaks of.")] = None,
    protocol: Annotated[str | None, typer.Option(help="How a probe reaches it: ssh, winrm or local.")] = None,
    unknown: Annotated[Unknown | None, typer.Option(help="Of which this is not known.")] = None,
    sort: Annotated[Sort, typer.Option(help="Order; cpu, memory and last_seen: the most first.")] = Sort.HOSTNAME,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List machines as they are now. A value may be older than the day it is asked: see `last seen`."""
    from asset_ledger.store.assets import AssetQuery, list_assets

    query = AssetQuery(
        search=search,
        tags=tuple(tag or ()),
        asset_type=asset_type,
        platform_type=platform,
        source=source,
        protocol=protocol,
        unknown=unknown.value if unknown else None,
        sort=sort.value,
        limit=limit,
        offset=offset,
    )
    with connected() as connection:
        found, total = list_assets(connection, query)
    if as_json:
        print_json({"total": total, "limit": limit, "offset": offset, "assets": found})
        return
    if not found:
        _say_nothing_found(query, total)
        return
    today = machine_today()
    columns = [
        "hostname!",
        "mgmt_ip!",
        "type",
        "cpu>",
        "GiB>",
        "disk GiB>",
        "os",
        "tags",
        "sources",
        "last seen!",
        "id!",
    ]
    print_table(columns, [_row(asset, today) for asset in found])
    last = offset + len(found)
    if last < total or offset:
        say(f"{offset + 1} to {last} of {total}" + (f"; next: --offset {last}" if last < total else ""))
    else:
        say(f"{total} machine{'s' if total != 1 else ''}")


def _row(asset: dict[str, Any], today: Any) -> list[Any]:
    return [
        asset["hostname"],
        asset["mgmt_ip"],
        asset["asset_type"],
        asset["cpu_cores"],
        gib(asset["memory_bytes"]),
        gib(asset["disk_total_bytes"]),
        " ".join(filter(None, (asset["os_family"], asset["os_version"]))) or UNKNOWN,
        asset["tags"],
        asset["sources"],
        age(asset["last_seen_date"], today),
        short(asset["id"]),
    ]


def _say_nothing_found(query: Any, total: int) -> None:
    if query.offset and total:
        note(f"There are {total}: --offset {query.offset} is past the end.")
    elif query == type(query)(sort=query.sort, limit=query.limit, offset=query.offset):
        note("The ledger is empty. Import a file: `asset-ledger import --template csv --output hosts.csv`.")
    else:
        note("No machine is like that. Leave an option out, or see all with `asset-ledger assets list`.")


@app.command()
def show(
    asset: Annotated[
        str, typer.Argument(metavar="ASSET", help="Id or its first 6 characters, hostname, alias, address.")
    ],
    days: Annotated[
        int, typer.Option(min=1, max=3660, help="How many days of history: of those on which a source spoke.")
    ] = 14,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: everything, documents included.")] = False,
) -> None:
    """Show one machine: what it is, who says so, how it got its id, what it was on every day, and what changed."""
    from asset_ledger.cli.asset_page import print_page
    from asset_ledger.store.asset_page import asset_page
    from asset_ledger.store.assets import find_asset

    today = machine_today()
    with connected() as connection:
        page = asset_page(connection, find_asset(connection, asset), today=today, days=days)
    if as_json:
        print_json(page)
    else:
        print_page(page, today=today, days=days)
