"""`asset-ledger links`: which machine each database instance runs on, by which rule, and what people decide of it."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.opening import actor, connected
from asset_ledger.cli.screen import (
    UNKNOWN,
    coloured,
    heading,
    instant,
    note,
    print_facts,
    print_json,
    print_table,
    say,
    short,
)

if TYPE_CHECKING:
    from uuid import UUID

    from asset_ledger.store.database import Connection

app = typer.Typer(
    help="Which machine each database instance runs on: see, confirm, reject.",
    no_args_is_help=True,
)

Instance = Annotated[
    str, typer.Argument(metavar="INSTANCE", help="Name, host:port, host, id or its first 6 characters.")
]
Asset = Annotated[str, typer.Argument(metavar="ASSET", help="Id or its first 6 characters, hostname, alias, address.")]
Note = Annotated[str | None, typer.Option("--note", help="Why; kept with the decision.")]


class Status(StrEnum):
    """What a link is."""

    CANDIDATE = "candidate"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"


@app.callback()
def links() -> None:
    """Which machine each database instance runs on."""


@app.command("list")
def list_(
    status: Annotated[Status | None, typer.Option(help="Only these.")] = None,
    instance: Annotated[str | None, typer.Option(help="Of this instance: name, host:port, host or id.")] = None,
    asset: Annotated[str | None, typer.Option(help="Of this machine: id, hostname, alias or address.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 200,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the links between instances and machines, those first that wait for a person."""
    from asset_ledger.store.decide.link_decisions import names_in
    from asset_ledger.store.query.assets import find_asset
    from asset_ledger.store.query.instances import find_instance, list_links

    with connected() as connection:
        found = list_links(
            connection,
            status=None if status is None else status.value,
            instance=None if instance is None else find_instance(connection, instance),
            asset=None if asset is None else find_asset(connection, asset),
            limit=limit,
            offset=offset,
        )
        names = names_in(connection, found)
    if as_json:
        print_json(found)
        return
    if not found:
        _say_nothing_found(filtered=bool(status or instance or asset or offset))
        return
    rows = [
        [
            each["instance"],
            each["db_type"],
            _place(each),
            each["hostname"] or short(each["asset_id"]),
            each["mgmt_ip"],
            coloured(each["match_status"]),
            f"{each['matched_by_rule']}, {each['confidence']} %",
            "waits for you" if each["waits"] else each["link_type"],
            _why(each, names),
        ]
        for each in found
    ]
    columns = ["instance!", "type", "address!", "machine!", "mgmt_ip!", "status", "by", "made", "why…"]
    print_table(columns, rows)
    if len(found) == limit:
        say(f"next: --offset {offset + limit}")
    if any(each["waits"] for each in found):
        note("Decide: `asset-ledger links confirm INSTANCE MACHINE`, or `reject`; see first: `links show INSTANCE`.")


@app.command()
def show(instance: Instance, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show one instance: every machine it may run on or ran on, what speaks for each, and what people decided."""
    from asset_ledger.store.decide.link_decisions import instance_page
    from asset_ledger.store.query.instances import find_instance

    with connected() as connection:
        page = instance_page(connection, find_instance(connection, instance))
    if as_json:
        print_json(page)
        return
    say(f"{page['name']}  {_place(page)}  {page['id']}")
    facts = {
        "type": page["db_type"],
        "zone": page["zone"],
        "told by": page["source"],
        "first seen": page["first_seen_at"],
        "last seen": page["last_seen_at"],
        **{f"custom.{name}": value for name, value in page["custom_fields"].items()},
    }
    print_facts(facts, indent=2)
    _print_links(page)
    _print_decisions(page)
    _print_changes(page)


@app.command()
def confirm(
    instance: Instance,
    asset: Asset,
    note_: Note = None,
    across_zones: Annotated[
        bool, typer.Option("--across-zones", help="Although the two are in different zones.")
    ] = False,
) -> None:
    """Say that an instance runs on a machine. It stays so whatever is read later."""
    from asset_ledger.store.decide.link_decisions import confirm_link

    with connected() as connection:
        instance_id, asset_id, names = _both(connection, instance, asset)
        by: dict[str, Any] = {"actor": actor(), "at": datetime.now(UTC), "note": note_}
        new = confirm_link(connection, instance_id, asset_id, across_zones=across_zones, **by)
    say(f"{names}: confirmed" if new else f"{names}: a person confirmed it already; nothing changed")
    _say_undo(instance_id, asset_id)


@app.command()
def reject(instance: Instance, asset: Asset, note_: Note = None) -> None:
    """Say that an instance does not run on a machine. No rule brings the link back."""
    from asset_ledger.store.decide.link_decisions import reject_link

    with connected() as connection:
        instance_id, asset_id, names = _both(connection, instance, asset)
        new = reject_link(connection, instance_id, asset_id, actor=actor(), at=datetime.now(UTC), note=note_)
        now = _runs_on(connection, instance_id)
    say(f"{names}: rejected; {now}" if new else f"{names}: a person rejected it already; nothing changed")
    _say_undo(instance_id, asset_id)


@app.command()
def clear(instance: Instance, asset: Asset, note_: Note = None) -> None:
    """Take back what was decided of an instance and a machine: the rules speak again."""
    from asset_ledger.store.decide.link_decisions import clear_link, zones_of

    with connected() as connection:
        instance_id, asset_id, names = _both(connection, instance, asset)
        was = clear_link(connection, instance_id, asset_id, actor=actor(), at=datetime.now(UTC), note=note_)
        now = _runs_on(connection, instance_id)
        zones = zones_of(connection, instance_id, asset_id)
    if was is None:
        say(f"{names}: nobody decided anything; nothing changed")
        return
    say(f"{names}: no longer {was} by a person; {now}")
    word = {"confirmed": "confirm", "rejected": "reject"}[was]
    option = " --across-zones" if word == "confirm" and zones[0] != zones[1] else ""
    say(f"undo: asset-ledger links {word} {instance_id} {asset_id}{option}")


def _both(connection: Connection, instance: str, asset: str) -> tuple[UUID, UUID, str]:
    """Return the ids of an instance and a machine, and what to call the two."""
    from asset_ledger.store.decide.link_decisions import pair_name
    from asset_ledger.store.query.assets import find_asset
    from asset_ledger.store.query.instances import find_instance

    instance_id, asset_id = find_instance(connection, instance), find_asset(connection, asset)
    return instance_id, asset_id, pair_name(connection, instance_id, asset_id)


def _runs_on(connection: Connection, instance_id: UUID) -> str:
    from asset_ledger.store.decide.link_decisions import instance_page

    page = instance_page(connection, instance_id)
    on = [_machine(each) for each in page["links"] if each["match_status"] == "confirmed"]
    waiting = [_machine(each) for each in page["links"] if each["match_status"] == "candidate"]
    if on:
        return f"it runs on {', '.join(on)}"
    return f"candidates: {', '.join(waiting)}" if waiting else "no machine is known that it runs on"


def _say_undo(instance_id: UUID, asset_id: UUID) -> None:
    say(f"undo: asset-ledger links clear {instance_id} {asset_id}")


def _say_nothing_found(*, filtered: bool) -> None:
    if filtered:
        note("No link is like that. Leave an option out, or see all with `asset-ledger links list`.")
    else:
        note("No links. They are made when instances are imported: `asset-ledger instances list` shows those.")


def _print_links(page: dict[str, Any]) -> None:
    from asset_ledger.domain.links import in_words

    heading("Machines")
    if not page["links"]:
        say("  none has its address or name; `asset-ledger links confirm INSTANCE MACHINE` says which it is")
        return
    rows = [
        [
            _machine(each) + (" (missing)" if each["missing_since"] else ""),
            each["mgmt_ip"],
            coloured(each["match_status"]),
            f"{each['matched_by_rule']}, {each['confidence']} %",
            _why(each, page["names"]),
            "; ".join(in_words(each["matched_by_rule"], each["evidence"], _names(page["names"]))),
            each["created_at"],
            each["updated_at"],
        ]
        for each in page["links"]
    ]
    columns = ["machine!", "mgmt_ip!", "status", "by", "why…", "evidence…", "since", "changed"]
    print_table(columns, rows, indent=2)


def _print_changes(page: dict[str, Any]) -> None:
    if not page["changes"]:
        return
    heading("Changes")
    rows = [[each["collected_date"], each["field"], each["before"], each["after"]] for each in page["changes"]]
    print_table(["day!", "field!", "was…", "is…"], rows, indent=2)


def _print_decisions(page: dict[str, Any]) -> None:
    heading("Decisions")
    if not page["decisions"]:
        say("  none")
        return
    rows = [
        [
            instant(each["decided_at"]),
            each["actor"],
            each["value"] or "cleared",
            each["asset"] + (" (merged since)" if each["merged_into_asset_id"] else ""),
            "retired machine" if each["retired_at"] else "yes" if each["in_force"] else "no",
            each["note"],
        ]
        for each in page["decisions"]
    ]
    print_table(["when!", "who", "decided", "machine!", "in force", "note…"], rows, indent=2)


def _names(names: dict[str, str]) -> Any:
    return lambda asset_id: names.get(asset_id, asset_id)


def _why(link: dict[str, Any], names: dict[str, str]) -> str:
    from asset_ledger.domain.links import why

    return why(link["match_status"], link["matched_by_rule"], link["evidence"], _names(names))


def _machine(link: dict[str, Any]) -> str:
    return str(link["hostname"] or link["mgmt_ip"] or link["asset_id"])


def _place(instance: dict[str, Any]) -> str:
    host = str(instance["host"] or UNKNOWN)
    return f"{host}:{instance['port']}" if instance["port"] else host
