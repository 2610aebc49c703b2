"""`asset-ledger notices`: who is told of what went wrong, in which words, and whether they heard.

notices.yaml names the receivers (docs/notices.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.opening import connected, open_ledger
from asset_ledger.cli.screen import heading, note, print_json, print_table, say

if TYPE_CHECKING:
    from asset_ledger.pipeline.notices_shown import Shown

app = typer.Typer(help="Notices: who is told of what went wrong, and whether they heard.", no_args_is_help=True)
_NOBODY = "notices.yaml names no receiver (docs/notices.md)."


@app.command()
def preview(
    run: Annotated[
        str | None, typer.Option(help="What this run gives to tell: its id, or what it begins with. Else what waits.")
    ] = None,
    receiver: Annotated[str | None, typer.Option(help="To this receiver alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the very text that is sent, to whom, and what is not told and why. Nothing is sent."""
    from dataclasses import asdict
    from datetime import UTC, datetime

    from asset_ledger.pipeline.notices import receiver_named
    from asset_ledger.pipeline.notices_shown import of_run, of_what_waits

    ledger = open_ledger()
    notices = ledger.notices
    chosen = notices.receivers if receiver is None else (receiver_named(notices, receiver),)
    now = datetime.now(UTC)
    with connected(ledger) as connection:
        shown = (
            of_what_waits(connection, notices, chosen, now=now)
            if run is None
            else of_run(connection, notices, chosen, run, now=now)
        )
    if as_json:
        print_json([asdict(one) for one in shown])
        return
    if not chosen:
        note(_NOBODY)
    for one in shown:
        _print(one)


def _print(one: Shown) -> None:
    heading(f"{one.receiver}: {one.state}")
    if one.title:
        say(one.title)
        say()
        say(one.body)
    for why in one.left_out:
        say(f"  not told: {why}")


@app.command()
def test(name: Annotated[str, typer.Argument(metavar="NAME", help="A receiver of notices.yaml.")]) -> None:
    """Send a receiver a message that says it is a test, now, and say what came of it. No database is needed."""
    from datetime import UTC, datetime

    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.pipeline.notices import receiver_named, try_out
    from asset_ledger.settings import Settings

    ledger = Ledger(Settings.load())
    answered = try_out(receiver_named(ledger.notices, name), ledger.credentials, now=datetime.now(UTC))
    if not answered.arrived:
        note(f"receiver {name}: {answered.why}")
        raise typer.Exit(1)
    say(f"receiver {name}: it has the test")


@app.command("list")
def list_(
    receiver: Annotated[str | None, typer.Option(help="To this receiver alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: whole digests.")] = False,
) -> None:
    """List what was sent, what waits and since when it fails, and what was given up; newest first. What could not be
    delivered or understood is said beside it (on standard error)."""
    from asset_ledger.pipeline.notices_shown import warnings
    from asset_ledger.store.notices import list_notices

    ledger = open_ledger()
    names = {one.name for one in ledger.notices.receivers}
    with connected(ledger) as connection:
        found = list_notices(connection, receiver=receiver, limit=limit)
        odd = warnings(connection, ledger.notices)
    for one in found:
        one["configured"] = one["receiver"] in names
    for words in odd:
        note(f"warning: {words}")
    if as_json:
        print_json(found)
        return
    if not found:
        note("Nothing was told yet." if names else _NOBODY)
        return
    columns = ["notice!", "receiver!", "of", "worst", "state!", "since!", "sent or next!", "tries>", "said…"]
    print_table(columns, [_row(one) for one in found])


def _row(one: dict[str, Any]) -> list[Any]:
    ended = one["delivered_at"] or one["given_up_at"] or one["next_at"]
    number = str(one["batch"] or one["id"])[:8]
    state = one["state"] if one["configured"] else f"{one['state']}, not in notices.yaml"
    said = one["last_error"] or ""
    return [
        number,
        one["receiver"],
        one["digest"]["title"],
        one["severity"],
        state,
        one["created_at"],
        ended,
        one["attempts"],
        said,
    ]


@app.command()
def troubles(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List what is wrong, was told and is not over: that is not told again until it changes, or after a while."""
    from asset_ledger.store.notices import list_troubles

    with connected() as connection:
        found = list_troubles(connection)
    if as_json:
        print_json(found)
        return
    if not found:
        note("Nothing that was told is still wrong.")
        return
    keys = ("kind", "place", "code", "severity", "failing", "times", "opened_at", "told_at")
    columns = ["kind", "of", "code", "worst", "failing>", "times>", "since!", "told!"]
    print_table(columns, [[one[key] for key in keys] for one in found])


@app.command()
def deliver(
    again: Annotated[
        bool, typer.Option("--again", help="Also what was given up: it is tried for another day.")
    ] = False,
) -> None:
    """Send what is due now. The job notices does the same by itself as soon as something is."""
    from datetime import UTC, datetime

    from asset_ledger.pipeline.notices import deliver as send_all
    from asset_ledger.pipeline.notices import put_back

    ledger = open_ledger()
    with connected(ledger) as connection:
        if again:
            say(f"{put_back(connection, ledger.notices, now=datetime.now(UTC))} given-up digests are due again")
        outcome = send_all(connection, ledger.notices, ledger.credentials, clock=lambda: datetime.now(UTC))
    for one in outcome.done:
        if one.answered.why is not None:
            then = "" if one.again_at is None else f"; again at {one.again_at:%Y-%m-%d %H:%M:%S}Z"
            note(f"receiver {one.receiver}, notice {one.number}: {one.answered.why}{then}")
    say(f"{outcome.arrived} of {len(outcome.done)} messages arrived, {outcome.given_up} digests were given up")
    if outcome.arrived < len(outcome.done):
        raise typer.Exit(1)
