"""`asset-ledger changes`: what changed across the ledger between days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import machine_today, note, print_json, print_table, say
from asset_ledger.cli.wording import value_in_words

DEFAULT_DAYS = 7


def changes(
    since: Annotated[
        str | None, typer.Option(metavar="DAY", help="From this day on; without it the last 7 days.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="DAY", help="Up to this day; without it today.")] = None,
    asset: Annotated[
        str | None, typer.Option(metavar="ASSET", help="Of this machine: id, hostname, alias, address.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="That this source told.")] = None,
    field: Annotated[
        str | None,
        typer.Option(
            help="Of this field: cpu_cores, memory_bytes, ip, tag, runs_on, custom_fields.NAME, record (came, went), …"
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 100,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what changed, newest day first: fields, addresses, tags, relations; what came, went and came back."""
    from asset_ledger.store.query.assets import find_asset
    from asset_ledger.store.query.changes import ChangeQuery, is_field, known_fields, list_changes

    last = _day(until, "--until") or machine_today()
    first = _day(since, "--since") or last - timedelta(days=DEFAULT_DAYS - 1)
    if first > last:
        raise typer.BadParameter(f"{first} is after {last}", param_hint="--since")
    if field is not None and not is_field(field):
        known = ", ".join(known_fields())
        raise typer.BadParameter(
            f"{field!r} is none of {known}, custom_fields.NAME, or a document's path such as hardware.cpu_count",
            param_hint="--field",
        )
    with connected() as connection:
        assets = None if asset is None else (find_asset(connection, asset),)
        query = ChangeQuery(first, last, assets, source, field, limit, offset)
        found, more = list_changes(connection, query)
    if as_json:
        window = {"since": first, "until": last, "limit": limit, "offset": offset, "more": more}
        print_json({**window, "changes": found})
        return
    if not found:
        like_that = " like that" if assets or source or field else ""
        note(f"Nothing{like_that} changed from {first} to {last}; --since DAY looks further back.")
        return
    columns = ["day!", "machine!", "source", "what changed…", "known otherwise on!"]
    rows = [
        [each["day"], each["hostname"] or each["external_id"], each["source"], in_words(each), each["since"]]
        for each in found
    ]
    print_table(columns, rows)
    if more:
        say(f"{offset + 1} to {offset + len(found)}; next: --offset {offset + len(found)}")


def _day(text: str | None, option: str) -> date | None:
    from asset_ledger.domain.as_of import parse_day

    if text is None:
        return None
    try:
        return parse_day(text, now=datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def in_words(event: dict[str, Any]) -> str:
    """Return an event as people say it: `cpu_cores 4 → 8`, `ip added 10.0.0.5`, `runs_on esx-1 → esx-2`, `missing`."""
    field, change = event["field"], event["change"]
    if field == "record":
        return f"{change} as {event['external_kind']} {event['external_id']}"
    before, after = (value_in_words(field, event[side]) for side in ("before", "after"))
    if change in ("added", "removed"):
        return f"{field} {change} {after if change == 'added' else before}"
    return f"{field} {before} → {after}"
