"""The line of time of one machine on the screen: what happened to it, newest first, a day at a time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from asset_ledger.cli.changes import in_words as change_in_words
from asset_ledger.cli.decisions import in_words as decision_in_words
from asset_ledger.cli.screen import heading, say
from asset_ledger.cli.wording import value_in_words


def print_timeline(things: Sequence[dict[str, Any]], *, more: bool) -> None:
    """Print what happened, one line a thing, the day before the first of each."""
    heading("What happened, newest first")
    if not things:
        say("  nothing is known of it")
    for day, of_day in groupby(things, key=lambda thing: thing["day"]):
        for number, thing in enumerate(of_day):
            label = day.isoformat() if number == 0 else " " * 10
            say(f"  {label}  {'●' if number == 0 else '│'} {thing_in_words(thing)}")
    if more:
        say(f"  {' ' * 10}  ┆ and older ones: --events {2 * len(things)}, or --all")


def thing_in_words(thing: dict[str, Any]) -> str:
    """Return one thing as a line: what happened, then who says so."""
    said, whose = _told(thing)
    told = ", ".join(filter(None, (thing["source"], *whose)))
    return f"{said}  ({told})" if told else said


def _told(thing: dict[str, Any]) -> tuple[str, list[str | None]]:
    what = thing["what"]
    match thing["kind"]:
        case "change":
            since = f"known otherwise on {what['since']}" if what["since"] else None
            return change_in_words(what), [since]
        case "decision":
            note = f"“{what['note']}”" if what["note"] else None
            return f"decided: {decision_in_words(what)}", [f"by {what['actor']}", note]
        case "agent":
            by = f"by {what['by']}" if what["by"] else None
            version = f"version {what['agent_version']}" if what["agent_version"] else None
            return f"agent {what['event']}", [by, version, f"client {what['client']}", what["tenant"]]
        case "state":
            return _state(what), [what["tenant"]]
        case "finding":
            return _finding(what), [what["tenant"]]
        case _:
            return _probe(what) if thing["kind"] == "probe" else _ledger(what), []


def _ledger(what: dict[str, Any]) -> str:
    if what["event"] == "created":
        return f"entered the ledger as {what['id']}"
    return f"{what['external_kind']} {what['external_id']} is another machine from then on"


def _probe(what: dict[str, Any]) -> str:
    days = "1 day" if what["days"] == 1 else f"{what['days']} days, to {what['until']}"
    return f"probe failed: {what['error_code']}, {days}" if what["error_code"] else f"probe answered, {days}"


def _state(what: dict[str, Any]) -> str:
    where = " in ".join(filter(None, (what["address"], what["state"])))
    version = f", version {what['version']}" if what["version"] is not None else ""
    if what["event"] == "declared":
        return f"declared by {where}, known by its {what['rule']}"
    if what["event"] == "no longer declared":
        return f"no longer declared by {where}"
    return f"{what['event']} by {where}{version}"


def _finding(what: dict[str, Any]) -> str:
    name = " ".join(filter(None, (what["finding"].replace("_", " "), what["attribute"])))
    values = ""
    if what["declared"] is not None or what["observed"] is not None:
        declared, observed = (value_in_words(what["attribute"], what[side]) for side in ("declared", "observed"))
        values = f": declared {declared}, is {observed}"
    if what["event"] == "closed":
        return f"finding closed, {str(what['because']).replace('_', ' ')}: {name}"
    return f"finding: {name}{values}"
