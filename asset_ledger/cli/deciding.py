"""The deciding half of `asset-ledger assets`: a person's word on one machine, and how to take it back.

`cli.assets` registers these; what a decision does is `store.decide.decisions`. A name means the canonical machine, so
what is said of one that is merged into another is decided about that other.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.opening import actor, connected
from asset_ledger.cli.screen import instant, say, short

if TYPE_CHECKING:
    from uuid import UUID

    from asset_ledger.store.database import Connection

Asset = Annotated[str, typer.Argument(metavar="ASSET", help="Id or its first 6 characters, hostname, alias, address.")]
Note = Annotated[str | None, typer.Option("--note", help="Why: kept with the decision.")]
_FIELDS = "hostname, asset_type, os_family, os_version or custom_fields.NAME"


def set_hostname(
    asset: Asset,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is to be called from now on.")],
    note: Note = None,
) -> None:
    """Give a machine its name, whatever sources call it. Their names go on finding it."""
    _override(asset, {"hostname": name}, note)


def set_(
    asset: Asset,
    fields: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE...", help=f"{_FIELDS}, and what it is.")],
    note: Note = None,
) -> None:
    """Decide fields of a machine, whatever the sources say; all of them or, where one is refused, none."""
    decided: dict[str, str] = {}
    for each in fields:
        field, sign, value = each.partition("=")
        if not sign:
            raise typer.BadParameter(f"{each!r} has no '=': write FIELD=VALUE, such as os_version=9.4")
        if field in decided:
            raise typer.BadParameter(f"{field} is given twice")
        decided[field] = value
    _override(asset, decided, note)


def unset(
    asset: Asset,
    fields: Annotated[list[str], typer.Argument(metavar="FIELD...", help=_FIELDS)],
    note: Note = None,
) -> None:
    """Give fields of a machine back to the sources: they are again what those say."""
    from asset_ledger.store.decide.decisions import clear_override
    from asset_ledger.store.query.assets import find_asset

    lines = []
    with _deciding() as connection:
        asset_id = find_asset(connection, asset)
        named = _named(connection, asset_id)
        before = _decided(connection, asset_id)
        for field in dict.fromkeys(fields):
            if clear_override(connection, asset_id, field, actor=actor(), at=datetime.now(UTC), note=note) is None:
                lines.append(f"{named}: nobody had decided {field}; nothing changed")
            else:
                undo = f"asset-ledger assets set {short(asset_id)} {shlex.quote(f'{field}={before[field]}')}"
                lines.append(f"{named}: {field} is again what the sources say. Undo: `{undo}`")
    say("\n".join(lines))


def retire(asset: Asset, note: Note = None) -> None:
    """Take a machine out of the lists. Its history is kept, and no reading brings it back."""
    from asset_ledger.store.decide.decisions import retire as decide
    from asset_ledger.store.query.assets import find_asset

    with _deciding() as connection:
        asset_id = find_asset(connection, asset)
        made = decide(connection, asset_id, actor=actor(), at=datetime.now(UTC), note=note)
        named = _named(connection, asset_id)
    undo = f"Undo: `asset-ledger assets restore {short(asset_id)}`"
    if made is not None and made.new:
        say(f"{named}: retired; it is out of the lists, its history is kept, no reading brings it back. {undo}")
    elif made is not None:
        say(f"{named}: was retired already, by {made.actor} at {instant(made.decided_at)}; nothing changed. {undo}")


def restore(asset: Asset, note: Note = None) -> None:
    """Bring a retired machine back into the lists. A name or address that another has too means the retired one."""
    from asset_ledger.store.decide.decisions import restore as decide
    from asset_ledger.store.query.assets import find_asset

    with _deciding() as connection:
        # who brings one back means the retired one, whoever has its name or address now
        asset_id = find_asset(connection, asset, retired_first=True)
        made = decide(connection, asset_id, actor=actor(), at=datetime.now(UTC), note=note)
        named = _named(connection, asset_id)
    if made is None:
        say(f"{named}: it is not retired; nothing changed")
    else:
        undo = f"asset-ledger assets retire {short(asset_id)}"
        say(f"{named}: back in the lists. Undo: `{undo}`")


def _override(asset: str, fields: dict[str, str], note: str | None) -> None:
    from asset_ledger.store.decide.decisions import override
    from asset_ledger.store.query.assets import find_asset

    lines = []
    with _deciding() as connection:
        asset_id = find_asset(connection, asset)
        named, short_id = _named(connection, asset_id), short(asset_id)
        before = _decided(connection, asset_id)
        for field, value in fields.items():
            made = override(connection, asset_id, field, value, actor=actor(), at=datetime.now(UTC), note=note)
            if field in before:
                undo = f"asset-ledger assets set {short_id} {shlex.quote(f'{field}={before[field]}')}"
            else:
                undo = f"asset-ledger assets unset {short_id} {shlex.quote(field)}"
            if made.new:
                lines.append(f"{named}: {field} is now {made.value}, whatever the sources say. Undo: `{undo}`")
            else:
                lines.append(
                    f"{named}: {field} was decided as {made.value} already, by {made.actor} at "
                    f"{instant(made.decided_at)}; nothing changed"
                )
    say("\n".join(lines))


@contextmanager
def _deciding() -> Iterator[Connection]:
    """Open the ledger for decisions: all that a command decides is one transaction, and what follows from it too."""
    from asset_ledger.store.derive.follow import follow

    with connected() as connection, connection.transaction():
        yield connection
        follow(connection)


def _named(connection: Connection, asset_id: UUID) -> str:
    """Return what the answer calls a machine: not as the person did, who may have named it by one merged into it."""
    from asset_ledger.store.decide.decisions import hostname_of

    return f"{hostname_of(connection, asset_id)} ({short(asset_id)})"


def _decided(connection: Connection, asset_id: UUID) -> dict[str, str]:
    from asset_ledger.store.decide.decisions import in_force

    standing = in_force(connection, kind="override", asset_id=asset_id)
    # those of assets that are merged into it are listed with its own
    return {each["field"]: each["value"] for each in standing if each["asset_id"] == asset_id}


def register(app: typer.Typer) -> None:
    """Add these commands to the app of `asset-ledger assets`."""
    app.command("set-hostname")(set_hostname)
    app.command("set")(set_)
    app.command()(unset)
    app.command()(retire)
    app.command()(restore)
