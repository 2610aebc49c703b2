"""`asset-ledger duplicates`: machines that may be one, and the person's word on it: two machines, or one.

Every command says what it did and how to undo it. What is evidence stands in `domain.duplicates`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.opening import actor, connected
from asset_ledger.cli.screen import age, heading, machine_today, note, print_json, print_table, say, short, show, size

if TYPE_CHECKING:
    from uuid import UUID

    from asset_ledger.store.decide.merges import Preview

app = typer.Typer(help="Machines that may be one: look, dismiss, merge, part.", no_args_is_help=True)

A = Annotated[str, typer.Argument(metavar="A", help="Id or its first 6 characters, hostname, alias, address.")]
B = Annotated[str, typer.Argument(metavar="B", help="The other one.")]
Note = Annotated[str | None, typer.Option("--note", help="Why: kept with the decision.")]
_SIZES = ("memory_bytes", "disk_total_bytes")
_BESIDE = (
    "id",
    "hostname",
    "mgmt_ip",
    "zone",
    "asset_type",
    "platform_type",
    "cpu_cores",
    *_SIZES,
    "os_family",
    "os_version",
    "sources",
    "created_at",
)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List pairs of machines that may be one, the likeliest first, with what speaks for and against it."""
    from asset_ledger.domain.duplicates import reason
    from asset_ledger.store.derive.duplicates import list_candidates

    with connected() as connection:
        found, total = list_candidates(connection, limit=limit, offset=offset)
    if as_json:
        print_json({"total": total, "limit": limit, "offset": offset, "candidates": found})
        return
    if not found:
        note("No two machines look like one. They are searched for after each reading: `asset-ledger runs list`.")
        return
    today = machine_today()
    print_table(
        ["score>", "one!", "other!", "why…"],
        [
            [
                each["score"],
                *(_machine(machine, today) for machine in each["machines"]),
                "\n".join(map(reason, each["parts"])),
            ]
            for each in found
        ],
    )
    last = offset + len(found)
    say(f"{offset + 1} to {last} of {total}" + (f"; next: --offset {last}" if last < total else ""))
    say("`asset-ledger duplicates show A B` sets two side by side; merge or dismiss them by their ids")


@app.command("show")
def show_(
    a: A,
    b: B,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Set two machines side by side, with what speaks for one machine and what was decided."""
    from asset_ledger.domain.duplicates import reason
    from asset_ledger.store.decide.decisions import dismissals
    from asset_ledger.store.derive.duplicates import compare
    from asset_ledger.store.query.assets import find_asset

    with connected() as connection:
        one, other = find_asset(connection, a), find_asset(connection, b)
        found = compare(connection, one, other) | {"dismissed": dismissals(connection, one, other)}
    if as_json:
        print_json(found)
        return
    if one == other:
        say(
            f"{a} and {b} are one machine in the ledger: {one}. `asset-ledger duplicates unmerge` parts what was merged"
        )
        return
    machines, today = found["machines"], machine_today()
    lines = [[field, *(_cell(field, machine) for machine in machines)] for field in _BESIDE]
    lines.append(["last seen", *(age(machine["last_seen_date"], today) for machine in machines)])
    print_table(["field!", f"{a}…", f"{b}…"], lines)
    heading("What speaks for one machine, and against")
    if found["candidate"]:
        for part in found["candidate"]["parts"]:
            say(f"  {reason(part)}")
        say(f"  score {found['candidate']['score']}")
    else:
        say("  nothing exact that few others share")
    for each in found["dismissed"]:
        say(f"  {each['actor']} said on {each['decided_at']:%Y-%m-%d} that they are two machines")
    ids = f"{short(one)} {short(other)}"
    undo = f"asset-ledger duplicates undismiss {ids}" if found["dismissed"] else None
    say()
    say(f"`{undo}` takes that back" if undo else f"two machines: `asset-ledger duplicates dismiss {ids}`")
    if not undo:
        say(f"one machine:  `asset-ledger duplicates merge {ids} --preview`")


@app.command()
def dismiss(a: A, b: B, note: Note = None) -> None:
    """Say that two machines are two, for good: the pair never comes back into the list."""
    from asset_ledger.store.decide.decisions import hostname_of, not_duplicate
    from asset_ledger.store.derive.follow import follow
    from asset_ledger.store.query.assets import find_asset

    with connected() as connection, connection.transaction():
        one, other = find_asset(connection, a), find_asset(connection, b)
        (made,) = not_duplicate(connection, one, other, actor=actor(), at=datetime.now(UTC), note=note)
        follow(connection)
        both = f"{hostname_of(connection, one)} and {hostname_of(connection, other)}"
    undo = f"Undo: `asset-ledger duplicates undismiss {short(one)} {short(other)}`"
    if made.new:
        say(f"{both} are two machines: the pair is not listed again, whatever is read. {undo}")
    else:
        say(f"{made.actor} said so on {made.decided_at:%Y-%m-%d} already; nothing changed. {undo}")


@app.command()
def undismiss(a: A, b: B, note: Note = None) -> None:
    """Take back that two machines are two."""
    from asset_ledger.store.decide.decisions import hostname_of, not_duplicate
    from asset_ledger.store.derive.follow import follow
    from asset_ledger.store.query.assets import find_asset

    with connected() as connection, connection.transaction():
        one, other = find_asset(connection, a), find_asset(connection, b)
        withdrawn = not_duplicate(
            connection, one, other, dismissed=False, actor=actor(), at=datetime.now(UTC), note=note
        )
        follow(connection)
        both = f"{hostname_of(connection, one)} and {hostname_of(connection, other)}"
    if not withdrawn:
        say(f"nobody had said that {both} are two machines; nothing changed")
        return
    say(
        f"{both} are listed again where anything speaks for one machine. "
        f"Undo: `asset-ledger duplicates dismiss {short(one)} {short(other)}`"
    )


@app.command()
def merge(
    child: Annotated[str, typer.Argument(metavar="CHILD", help="The machine that is to be part of the other.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="The one that stays: its id and its decisions count.")],
    preview: Annotated[bool, typer.Option("--preview", help="Only show what would become of the two.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    across_zones: Annotated[
        bool, typer.Option("--across-zones", help="Although the two are in different zones.")
    ] = False,
    note: Note = None,
) -> None:
    """Say that two machines are one. Nothing is moved or lost, and `unmerge` makes both again as they were."""
    from asset_ledger.store.decide import merges
    from asset_ledger.store.decide.decisions import hostname_of
    from asset_ledger.store.derive.follow import follow

    with connected() as connection:
        one, other = merges.find_to_merge(connection, child), merges.find_to_merge_into(connection, into)
        named = [f"{hostname_of(connection, each)} ({short(each)})" for each in (one, other)]
        at = datetime.now(UTC)
        if not yes:
            _print_preview(merges.preview(connection, one, other, at=at, across_zones=across_zones), child, into)
        if preview:
            say(f"Nothing was done. Do it: `asset-ledger duplicates merge {short(one)} {short(other)} --yes`")
            return
        if not yes:
            typer.confirm("Merge them?", abort=True)
        with connection.transaction():
            done = merges.merge(connection, one, other, actor=actor(), at=at, note=note, across_zones=across_zones)
            follow(connection)
    more = len(done.moved) - 2
    along = f", and {more} more that {'was' if more == 1 else 'were'} merged into it" if more > 0 else ""
    say(
        f"{named[0]} is now part of {named[1]}{along}; every row of its history is kept. "
        f"Undo: `asset-ledger duplicates unmerge {short(one)}`"
    )


@app.command()
def unmerge(
    child: Annotated[
        str, typer.Argument(metavar="CHILD", help="The merged machine: id or its first 6 characters, name, address.")
    ],
    note: Note = None,
) -> None:
    """Part a machine from the one it was merged into; both are what they would be had they never been merged."""
    from asset_ledger.store.decide import merges
    from asset_ledger.store.decide.decisions import hostname_of
    from asset_ledger.store.derive.follow import follow

    with connected() as connection, connection.transaction():
        one = merges.find_merged(connection, child)
        done = merges.unmerge(connection, one, actor=actor(), at=datetime.now(UTC), note=note)
        follow(connection)
        named = f"{hostname_of(connection, one)} ({short(one)})"
        zones = " --across-zones" if merges.in_two_zones(connection, one, done.root) else ""
    say(
        f"{named} is a machine of its own again, with all of its history. "
        f"Undo: `asset-ledger duplicates merge {short(one)} {short(done.into)} --yes{zones}`"
    )


def _machine(machine: dict[str, Any], today: Any) -> str:
    return "\n".join(
        [
            f"{machine['hostname'] or 'no hostname'}  {machine['mgmt_ip'] or 'no address'}",
            f"{show(machine['sources'])}, {age(machine['last_seen_date'], today)}",
            short(machine["id"]),
        ]
    )


def _cell(field: str, machine: dict[str, Any]) -> Any:
    return size(machine[field]) if field in _SIZES else machine[field]


def _print_preview(told: Preview, child: str, into: str) -> None:
    rows = []
    for each in told.fields:
        values = [each.child, each.into, each.result]
        if all(value in (None, {}) for value in values):
            continue
        rows.append([each.field, *(map(size, values) if each.field in _SIZES else values), each.from_])
    print_table(["field!", f"{child}…", f"{into}…", "merged…", "from"], rows)
    heading("What comes together")
    say(f"  days with history: {told.child_days} and {told.into_days}, of which {told.both_days} in both")
    say(f"  database instances: {told.child_instances} and {told.into_instances}")
    shared = ", ".join(f"{kind} {value}" for kind, value in told.shared)
    say(f"  both have: {shared or 'nothing in common'}")
    others = _others(told.members, told.child["id"])
    if others:
        say(f"  with it come {len(others)} that are merged into it: {', '.join(map(short, others))}")
    say()


def _others(members: tuple[UUID, ...], child: UUID) -> list[UUID]:
    return [each for each in members if each != child]
