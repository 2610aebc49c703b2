"""`asset-ledger hooks`: who is told of findings, and whether they heard. iac.yaml names them (docs/webhooks.md)."""

from __future__ import annotations

from typing import Annotated

import typer

from asset_ledger.cli.opening import connected, open_ledger
from asset_ledger.cli.screen import note, print_json, print_table, say

app = typer.Typer(help="Webhooks: who is told of findings, and whether they heard.", no_args_is_help=True)


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the webhooks of iac.yaml, and what each was told or still has to be told of every tenant's findings."""
    from dataclasses import asdict

    from asset_ledger.store.iac.outbox import boxes

    ledger = open_ledger()
    hooks = ledger.iac_rules.hooks
    with connected(ledger) as connection:
        found = boxes(connection)
    named = {hook.name: hook for hook in hooks}
    told: list[dict[str, object]] = [
        # one of another tenant's is told nothing of this one's
        {"configured": (hook := named.get(box.hook)) is not None and hook.tenant in (None, box.tenant), **asdict(box)}
        for box in found
    ]
    heard = {box.hook for box in found}
    told += [
        {"configured": True, "tenant": hook.tenant, "hook": hook.name, "waiting": 0, "delivered": 0, "given_up": 0}
        for hook in hooks
        if hook.name not in heard
    ]
    if as_json:
        print_json(told)
    elif not told:
        note("iac.yaml names no webhook (docs/webhooks.md).")
    else:
        columns = ["webhook!", "tenant!", "in iac.yaml", "waiting>", "next!", "arrived>", "last!", "given up>", "said…"]
        keys = (
            "hook",
            "tenant",
            "configured",
            "waiting",
            "next_at",
            "delivered",
            "delivered_at",
            "given_up",
            "last_error",
        )
        print_table(columns, [[row.get(key) for key in keys] for row in told])


@app.command()
def deliver(
    again: Annotated[
        bool, typer.Option("--again", help="Also what was given up: each such message is tried once more.")
    ] = False,
) -> None:
    """Send what is due now. The job iac_hooks does the same by itself as soon as something is."""
    from datetime import UTC, datetime

    from asset_ledger.pipeline.deliveries import deliver as send_all
    from asset_ledger.pipeline.deliveries import put_back

    ledger = open_ledger()
    rules = ledger.iac_rules
    with connected(ledger) as connection:
        if again:
            say(f"{put_back(connection, rules, now=datetime.now(UTC))} given-up messages are due again")
        outcome = send_all(connection, rules, ledger.credentials, clock=lambda: datetime.now(UTC))
    for one in outcome.done:
        if one.answered.why is not None:
            then = "given up" if one.again_at is None else f"again at {one.again_at:%Y-%m-%d %H:%M:%S}Z"
            note(f"webhook {one.hook} ({one.tenant}): {one.answered.why}; {then}")
    say(f"{outcome.arrived} of {len(outcome.done)} messages arrived, {outcome.given_up} were given up")
    if outcome.arrived < len(outcome.done):
        raise typer.Exit(1)


@app.command()
def test(name: Annotated[str, typer.Argument(metavar="NAME", help="A webhook of iac.yaml.")]) -> None:
    """Send a webhook a message of the type `ledger.test`, now, and say what came of it. No database is needed."""
    from datetime import UTC, datetime
    from uuid import uuid4

    from asset_ledger.pipeline.deliveries import hook_named, try_out
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.settings import Settings

    ledger = Ledger(Settings.load())
    answered = try_out(hook_named(ledger.iac_rules, name), ledger.credentials, str(uuid4()), now=datetime.now(UTC))
    if not answered.arrived:
        note(f"webhook {name}: {answered.why}")
        raise typer.Exit(1)
    say(f"webhook {name}: answered {answered.status}")
