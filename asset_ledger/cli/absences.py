"""`asset-ledger absences`: readings that did not see too many machines at once, and the person's word on them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from asset_ledger.cli.opening import actor, connected
from asset_ledger.cli.screen import age, coloured, machine_today, note, print_json, print_table, say, short, show

app = typer.Typer(help="Readings that lost too many machines at once: are they missing?", no_args_is_help=True)

Id = Annotated[int, typer.Argument(metavar="ID", help="The reading's number, as `absences list` shows it.")]
Ids = Annotated[list[int], typer.Argument(metavar="ID...", help="The readings' numbers.")]
Note = Annotated[str | None, typer.Option("--note", help="Why; kept with the decision.")]
SHOWN = 200


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Those that were decided on too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List complete readings whose absences wait for a person, newest first."""
    from asset_ledger.store.derive.absences import list_held

    with connected() as connection:
        found = list_held(connection, decided=every)
    if as_json:
        print_json(found)
        return
    if not found:
        note("No reading waits for a decision." + ("" if every else " `--all` shows those that were decided on."))
        return
    today = machine_today()
    rows = [
        [
            each["id"],
            each["source"],
            age(each["collected_date"], today),
            _unseen(each["unseen"]),
            each["waiting"],
            coloured(each["decision"] or "waits"),
            each["actor"],
            each["note"],
        ]
        for each in found
    ]
    columns = ["id>", "source!", "reading!", "not seen…", "would be missing>", "decision", "by!", "why…"]
    print_table(columns, rows)
    if any(each["decision"] is None for each in found):
        note("See the machines: `asset-ledger absences show ID`. Decide: `absences approve ID`, or `reject`.")


@app.command("show")
def show_(
    reading: Id,
    limit: Annotated[int, typer.Option(min=1, help="How many machines at most.")] = SHOWN,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the machines that a held reading did not see and that approving it makes missing."""
    from asset_ledger.store.derive.absences import list_held, unseen_assets

    with connected() as connection:
        held = {each["id"]: each for each in list_held(connection, decided=True)}
        found = unseen_assets(connection, reading, limit=limit) if reading in held else []
    if reading not in held:
        raise typer.BadParameter(f"no reading {reading} is held; `asset-ledger absences list --all` has them all")
    each = held[reading]
    if as_json:
        print_json({**each, "machines": found})
        return
    say(f"reading {reading} of {each['source']} for {each['collected_date']}, run {short(each['run_id'])}")
    say(f"  not seen: {_unseen(each['unseen'])}")
    if each["decision"]:
        said = f"{each['decision']} by {each['actor']} at {show(each['decided_at'])}"
        say(f"  {said}{': ' + each['note'] if each['note'] else ''}")
    _print_machines(found, each["waiting"])
    if each["decision"] is None:
        note(f"Decide: `asset-ledger absences approve {reading}`, or `reject`.")


def _print_machines(found: list[dict[str, Any]], waiting: int) -> None:
    if not found:
        say("  every machine it did not see was seen since, or is missing already")
        return
    rows = [
        [
            machine["hostname"],
            machine["mgmt_ip"],
            f"{machine['external_kind']} {machine['external_id']}",
            machine["last_seen_at"],
            short(machine["id"]),
        ]
        for machine in found
    ]
    print_table(["machine!", "mgmt_ip!", "known as!", "last seen!", "id!"], rows, indent=2)
    if waiting > len(found):
        say(f"  and {waiting - len(found)} more; --limit shows them")


@app.command()
def approve(readings: Ids, note_: Note = None) -> None:
    """Say that what these readings did not see is missing."""
    _decide(readings, "approved", note_)


@app.command()
def reject(readings: Ids, note_: Note = None) -> None:
    """Say that these readings were wrong: nothing is missing by them."""
    _decide(readings, "rejected", note_)


def _decide(readings: list[int], verdict: Any, why: str | None) -> None:
    from asset_ledger.store.derive.absences import decide_absences
    from asset_ledger.store.derive.follow import follow

    undo = "reject" if verdict == "approved" else "approve"
    lines = []
    with connected() as connection, connection.transaction():
        for reading in dict.fromkeys(readings):
            done = decide_absences(connection, reading, verdict, actor=actor(), at=datetime.now(UTC), note=why)
            if not done.new:
                lines.append(f"reading {reading}: {verdict} already; nothing changed")
                continue
            counts = [f"{done.missing} machines are missing"] if done.missing else []
            counts += [f"{done.revived} are no longer missing"] if done.revived else []
            told = ", ".join(counts) or "no machine changes by it"
            lines.append(f"reading {reading}: {verdict}; {told}. Undo: `asset-ledger absences {undo} {reading}`")
        follow(connection)
    say("\n".join(lines))


def _unseen(unseen: dict[str, dict[str, int]]) -> str:
    parts = [f"{each['unseen']} of {each['known']} {kind}s" for kind, each in sorted(unseen.items()) if each["unseen"]]
    return ", ".join(parts) or "nothing"
