"""`asset-ledger assets`: list, search, and show one machine with everything that is known of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.deciding import register
from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import (
    UNKNOWN,
    age,
    aged,
    gib,
    machine_today,
    note,
    print_json,
    print_table,
    say,
    short,
)

if TYPE_CHECKING:
    from asset_ledger.domain.as_of import AsOf
    from asset_ledger.store.query.assets import AssetQuery

app = typer.Typer(help="The machines: list and search them, show one with its history.", no_args_is_help=True)


_EVER_DAYS, _EVER_EVENTS = 36_600, 1_000_000


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


AsOfDay = Annotated[
    str | None, typer.Option("--as-of", metavar="DAY", help="As of this day (YYYY-MM-DD), not as they are now.")
]
KnownAt = Annotated[
    str | None,
    typer.Option(
        "--known-at",
        metavar="INSTANT",
        help="As the ledger knew it then, before later corrections: a day (its end), or 2026-11-03T10:00+08:00.",
    ),
]


def asked_of(as_of: str | None, known_at: str | None) -> AsOf | None:
    """Return the question about the past that the options ask, or None for the present. Ends a command for nonsense."""
    from asset_ledger.domain.as_of import parse_as_of

    if as_of is None and known_at is None:
        return None
    try:
        return parse_as_of(as_of, known_at, now=datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--as-of" if known_at is None else "--known-at") from None


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
    cpu: Annotated[int | None, typer.Option(min=1, help="With this many CPU cores.")] = None,
    unknown: Annotated[Unknown | None, typer.Option(help="Of which this is not known.")] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Only what complete readings no longer see.")] = False,
    retired: Annotated[bool, typer.Option("--retired", help="Only what a person retired.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Retired ones too.")] = False,
    as_of: AsOfDay = None,
    known_at: KnownAt = None,
    sort: Annotated[Sort, typer.Option(help="Order; cpu, memory and last_seen: the most first.")] = Sort.HOSTNAME,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List machines as they are now, or as they were. `~8 (3 d)`: known 3 days ago, and nobody has told it since.

    Missing machines are listed, with since when; `last seen` is the age of every value without a mark.
    """
    from asset_ledger.cli.as_of import with_zones
    from asset_ledger.store.query.assets import AssetQuery, list_assets

    if missing + retired + all_ > 1:
        raise typer.BadParameter("they exclude one another: give one of them", param_hint="--missing, --retired, --all")
    query = AssetQuery(
        search=search,
        tags=tuple(tag or ()),
        asset_type=asset_type,
        platform_type=platform,
        source=source,
        protocol=protocol,
        cpu_cores=cpu,
        unknown=unknown.value if unknown else None,
        state="missing" if missing else "retired" if retired else "all" if all_ else "ledger",
        sort=sort.value,
        limit=limit,
        offset=offset,
    )
    asked = asked_of(as_of, known_at)
    if asked is not None:
        _list_past(query, asked, as_json=as_json)
        return
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
    table = [_row(asset, today) for asset in found]
    print_table(*with_zones(columns, table, found))
    _say_place(query, len(found), total)


def _say_place(query: AssetQuery, shown: int, total: int, when: str = "") -> None:
    last = query.offset + shown
    if last < total or query.offset:
        say(f"{query.offset + 1} to {last} of {total}{when}" + (f"; next: --offset {last}" if last < total else ""))
    else:
        say(f"{total} machine{'s' if total != 1 else ''}{when}")


def _list_past(query: AssetQuery, asked: AsOf, *, as_json: bool) -> None:
    from asset_ledger.cli.as_of import known, print_past
    from asset_ledger.store.query.as_of import list_as_of

    if query.tags or query.protocol:
        raise typer.BadParameter("it is not kept by day", param_hint="--tag or --protocol with --as-of")
    with connected() as connection:
        found, total = list_as_of(connection, query, asked)
    if as_json:
        shown = {"as_of": asked.day, "known_at": asked.known_at, "total": total}
        print_json({**shown, "limit": query.limit, "offset": query.offset, "assets": found})
        return
    if not found:
        if query.offset and total:
            note(f"There were {total}: --offset {query.offset} is past the end.")
        else:
            note(f"No machine like that was known {known(asked)}.")
        return
    print_past(found, asked)
    _say_place(query, len(found), total, f" {known(asked)}")


def _row(asset: dict[str, Any], today: date) -> list[Any]:
    from asset_ledger.domain.calendar import collected_date

    carried = asset["carried"]
    system = " ".join(filter(None, (asset["os_family"], asset["os_version"]))) or UNKNOWN
    seen = age(asset["last_seen_date"], today)
    if asset["missing_since"]:
        seen += f", missing since {collected_date(asset['missing_since'])}"
    if asset["deleted_at"]:
        seen += f", retired {collected_date(asset['deleted_at'])}"
    return [
        aged(asset["hostname"], carried.get("hostname"), today),
        aged(asset["mgmt_ip"], carried.get("mgmt_ip"), today),
        aged(asset["asset_type"], carried.get("asset_type"), today),
        aged(asset["cpu_cores"], carried.get("cpu_cores"), today),
        aged(gib(asset["memory_bytes"]), carried.get("memory_bytes"), today),
        aged(gib(asset["disk_total_bytes"]), carried.get("disk_total_bytes"), today),
        aged(system, min(filter(None, map(carried.get, ("os_family", "os_version"))), default=None), today),
        asset["tags"],
        asset["sources"],
        seen,
        short(asset["id"]),
    ]


def _say_nothing_found(query: AssetQuery, total: int) -> None:
    if query.offset and total:
        note(f"There are {total}: --offset {query.offset} is past the end.")
    elif replace(query, sort="hostname", limit=50, offset=0) == type(query)():
        note("The ledger is empty. Import a file: `asset-ledger import --template csv --output hosts.csv`.")
    else:
        sources = "" if query.source is None else " The sources are in `asset-ledger sources list`."
        note(f"No machine is like that. Leave an option out, or see all with `asset-ledger assets list`.{sources}")


@app.command()
def show(
    asset: Annotated[
        str, typer.Argument(metavar="ASSET", help="Id or its first 6 characters, hostname, alias, address.")
    ],
    days: Annotated[
        int, typer.Option(min=1, max=3660, help="How many days of history: of those on which a source spoke.")
    ] = 14,
    events: Annotated[int, typer.Option(min=1, max=10_000, help="How many things that happened, of all time.")] = 30,
    all_: Annotated[bool, typer.Option("--all", help="Every day and everything that happened.")] = False,
    as_of: AsOfDay = None,
    known_at: KnownAt = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: everything, documents included.")] = False,
) -> None:
    """Show one machine: what it is, who says so, what it hangs on, what it was on every day, and what happened to it.

    With --as-of or --known-at: what was known of it on that day, and how old each value was.
    """
    from asset_ledger.cli.asset_page import print_page
    from asset_ledger.store.query.asset_page import asset_page
    from asset_ledger.store.query.assets import find_asset

    asked = asked_of(as_of, known_at)
    if asked is not None:
        _show_past(asset, asked, as_json=as_json)
        return
    today = machine_today()
    with connected() as connection:
        days, events = (_EVER_DAYS, _EVER_EVENTS) if all_ else (days, events)
        page = asset_page(connection, find_asset(connection, asset), today=today, days=days, events=events)
    if as_json:
        print_json(page)
    else:
        print_page(page, today=today, days=days)


def _show_past(asset: str, asked: AsOf, *, as_json: bool) -> None:
    from asset_ledger.cli.as_of import print_past_page
    from asset_ledger.store.query.asset_as_of import asset_as_of
    from asset_ledger.store.query.assets import find_asset_then

    with connected() as connection:
        page = asset_as_of(connection, find_asset_then(connection, asset, asked), asked)
    if as_json:
        print_json(page)
    else:
        print_past_page(page, asked)


register(app)
