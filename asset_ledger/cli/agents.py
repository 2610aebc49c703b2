"""`asset-ledger agents`: the machines that report by themselves, what they say and said, and what ends one.

Kept by `store.agents`. What runs on such a machine is `asset-ledger agent`; versions of it are `agents versions`.
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.agent_versions import app as versions
from asset_ledger.cli.opening import actor, connected
from asset_ledger.cli.screen import note, print_facts, print_json, print_table, say, short, size
from asset_ledger.cli.tenant_named import Tenant, chosen

if TYPE_CHECKING:
    from uuid import UUID

    from asset_ledger.store.agents.lists import ClientRow, HistoryRow, Said
    from asset_ledger.store.database import Connection

app = typer.Typer(help="Machines that report by themselves: list, show, compare, end.", no_args_is_help=True)
app.add_typer(versions, name="versions")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Client = Annotated[
    str, typer.Argument(metavar="CLIENT", help="Its id, how that begins (8 characters), or its hostname.")
]
_LEAST = 8
_BYTES = ("memory_total", "memory_used", "memory_free", "disk_total", "disk_used", "disk_free")


class Status(StrEnum):
    """Whether a client is there."""

    online = "online"
    offline = "offline"


class Kind(StrEnum):
    """What a row of history is of."""

    hardware_change = "hardware_change"
    network_change = "network_change"
    os_change = "os_change"
    periodic_snapshot = "periodic_snapshot"


@app.command("list")
def list_(
    status: Annotated[Status | None, typer.Option("--status", help="Only those that are there, or are not.")] = None,
    os: Annotated[str | None, typer.Option("--os", help="linux, windows, darwin.")] = None,
    platform: Annotated[str | None, typer.Option("--platform", help="Such as ubuntu.")] = None,
    hostname: Annotated[str | None, typer.Option("--hostname", help="A part of it.")] = None,
    agent_version: Annotated[str | None, typer.Option("--agent-version", help="Such as 1.2.0.")] = None,
    retired: Annotated[bool, typer.Option("--retired", help="Those that were retired.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Those too.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 200,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """List clients by hostname, and say how many reports wait for the ledger."""
    from asset_ledger.store.agents import lists
    from asset_ledger.store.tenancy import as_tenant

    if retired and every:
        raise typer.BadParameter("--retired and --all exclude one another")
    wanted = lists.Wanted(
        status=status.value if status else None,
        os=os,
        platform=platform,
        hostname=hostname,
        agent_version=agent_version,
        retired="yes" if retired else "all" if every else "no",
    )
    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = lists.clients(connection, row.id, wanted, limit=limit)
            waiting, since = lists.waiting(connection, row.id)
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        note("None. Enrol a machine on itself: `asset-ledger agent enroll --server URL` (docs/agents.md).")
    else:
        columns = [
            "id!",
            "hostname!",
            "status",
            "since!",
            "system",
            "CPUs>",
            "memory>",
            "agent",
            "reported!",
            "waiting>",
        ]
        print_table(columns, [_line(each) for each in found])
    if len(found) == limit:
        note(f"the first {limit}; --limit shows more")
    if waiting:
        note(
            f"{waiting} reports wait for the ledger, the oldest since {since:%Y-%m-%d %H:%M} UTC:"
            " a source of the platform agent takes them in (docs/agents.md)"
        )


@app.command()
def show(client: Client, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Show a client and what it said last."""
    from asset_ledger.store.agents import lists
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = _client(connection, row.id, client)
            latest = lists.latest(connection, row.id, found.id)
    if as_json:
        print_json({**asdict(found), "inventory": None if latest is None else asdict(latest)})
        return
    facts = asdict(found)
    if latest is not None:
        facts |= {name: value for name, value in asdict(latest).items() if name != "raw_data"}
    else:
        note("It said nothing yet.")
    print_facts({name: size(value) if name in _BYTES else value for name, value in facts.items()})


@app.command()
def history(
    client: Client,
    kind: Annotated[list[Kind] | None, typer.Option("--type", help="Only with this; may be repeated.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 50,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """List what changed of a client and when, the newest first."""
    from asset_ledger.store.agents import lists
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            one = _client(connection, row.id, client)
            kinds = [each for each in lists.CHANGE_TYPES if Kind(each) in (kind or ())]
            found = lists.history(connection, row.id, one.id, kinds=kinds, limit=limit)
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        note("Nothing of that kind is known.")
    else:
        print_table(["id!", "collected!", "what", "summary…", "again>"], [_past(each) for each in found])


@app.command()
def diff(
    client: Client,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="ID", help="A row of its history; usually the one before.")
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="ID", help="A row of its history.")] = "latest",
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Show what differs between any two reports of a client: exactly, whether it counts as a change or not."""
    from asset_ledger.domain.agents.changes import compare, differences
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            one = _client(connection, row.id, client)
            before = _said(connection, row.id, one, from_ or _before(connection, row.id, one, to))
            after = _said(connection, row.id, one, to)
    change = compare(before.inventory, after.inventory)
    found = differences(before.inventory, after.inventory)
    if as_json:
        print_json(
            {
                "from": {"id": before.id, "collected_at": before.collected_at},
                "to": {"id": after.id, "collected_at": after.collected_at},
                "change_type": change.types,
                "change_summary": change.summary,
                "differences": [each._asdict() for each in found],
            }
        )
        return
    say(f"{', '.join(change.types)}: {change.summary}")
    if found:
        rows = [[each.field, _value(each.field, each.before), _value(each.field, each.after)] for each in found]
        print_table(["field!", f"{before.collected_at:%Y-%m-%d %H:%M}…", f"{after.collected_at:%Y-%m-%d %H:%M}…"], rows)


@app.command()
def rotate(client: Client, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Give a client a new token and print it, this once. The ones it had end at once."""
    from asset_ledger.store.agents import clients
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            one = _client(connection, row.id, client, live=True)
            token = clients.rotate(connection, row.id, one.id, who=actor())
            if token is None:
                raise _not_found(client, "it was retired meanwhile")
            _record(connection, row.id, one.id, "rotate")
    if as_json:
        print_json({"client_id": one.id, "token": token})
        return
    note(f"For {one.hostname or one.id} of {row.name}; it is not shown again:")
    say(token)


@app.command()
def revoke(client: Client, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """End a client's tokens. It is let in again by enrolling it anew, or with `rotate`."""
    from asset_ledger.store.agents import clients
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            one = _client(connection, row.id, client)
            ended = clients.revoke(connection, row.id, one.id)
            _record(connection, row.id, one.id, "revoke")
    if as_json:
        print_json({"client_id": one.id, "tokens": ended})
    else:
        say(f"{one.hostname or one.id}: {ended} {'token' if ended == 1 else 'tokens'} ended")


@app.command()
def retire(client: Client, tenant: Tenant = None, as_json: AsJson = False) -> None:
    """Take a client as gone for good: it is listed and let in no more, and its history stays."""
    from asset_ledger.store.agents import clients
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            one = _client(connection, row.id, client, live=True)
            clients.retire(connection, row.id, one.id)
            _record(connection, row.id, one.id, "retire")
    if as_json:
        print_json({"client_id": one.id, "retired": True})
    else:
        say(f"{one.hostname or one.id}: retired; enrolling the machine again brings it back")


def _client(connection: Connection, tenant_id: UUID, text: str, *, live: bool = False) -> ClientRow:
    """Return the client that is meant. Raises PermanentError(CLIENT_NOT_FOUND)."""
    from asset_ledger.store.agents.lists import clients_called

    found = clients_called(connection, tenant_id, text, by_id=len(text) >= _LEAST)
    if live:
        found = [each for each in found if each.retired_at is None]
    if len(found) != 1:
        why = "several clients are called so; name one by its id" if found else "there is no such client"
        raise _not_found(text, why)
    return found[0]


def _said(connection: Connection, tenant_id: UUID, one: ClientRow, which: str) -> Said:
    from asset_ledger.store.agents.lists import NotKeptError, said

    if which != "latest" and not (which.isascii() and which.isdigit() and len(which) < 19):
        raise typer.BadParameter(f"{which} is no row of history; `asset-ledger agents history` has their ids")
    try:
        found = said(connection, tenant_id, one.id, None if which == "latest" else int(which))
    except NotKeptError:
        raise _not_found(which, "the report of this row is not kept any more (retention)") from None
    if found is None:
        raise _not_found(which, "it said nothing yet" if which == "latest" else "its history has no such row")
    return found


def _before(connection: Connection, tenant_id: UUID, one: ClientRow, to: str) -> str:
    """Return the row of history before another one; before the newest where that is what is latest."""
    from asset_ledger.store.agents.lists import history as rows

    after = int(to) if to.isascii() and to.isdigit() and len(to) < 19 else None
    found = rows(connection, tenant_id, one.id, after=after, limit=1 if after is not None else 2)
    if not found:
        raise _not_found(to, "nothing is known of the time before it")
    return str(found[-1].id)


def _record(connection: Connection, tenant_id: UUID, client_id: UUID, what: str) -> None:
    from asset_ledger.store.access import audit

    entry = audit.Entry("security.client", what, "success", actor(), client_id=client_id, details={"what": what})
    audit.record(connection, tenant_id, entry)


def _not_found(target: str, why: str) -> Exception:
    from asset_ledger.domain.errors import CLIENT_NOT_FOUND, PermanentError

    return PermanentError(CLIENT_NOT_FOUND, why, target=target)


def _line(one: ClientRow) -> list[Any]:
    status = "retired" if one.retired_at else one.status
    system = " ".join(filter(None, (one.platform or one.os, one.arch)))
    since = one.retired_at or one.status_at
    memory = None if one.memory_total is None else size(one.memory_total)
    return [short(one.id), one.hostname, status, since, system, one.cpu_count, memory, one.agent_version,
            one.collected_at, one.waiting or None]  # fmt: skip


def _past(row: HistoryRow) -> list[Any]:
    return [row.id, row.collected_at, ", ".join(row.change_type), row.change_summary, row.said_again or None]


def _value(field: str, value: Any) -> Any:
    return size(value) if field in _BYTES and value is not None else value
