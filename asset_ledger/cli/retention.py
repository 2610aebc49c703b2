"""`asset-ledger retention`: what is let go of agent history and audit, planned or done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from asset_ledger.cli.opening import connected, open_ledger
from asset_ledger.cli.screen import note, print_json, print_table, say

app = typer.Typer(
    help="What is let go: agent history after 90 days and a year, audit after 180 days.", no_args_is_help=True
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Table(StrEnum):
    """The tables that have a ladder, as people call them."""

    history = "history"
    audit = "audit"


Tables = Annotated[list[Table] | None, typer.Option("--table", help="Only this one; both without a word.")]
_NAMES = {Table.history: "agent.inventory_history", Table.audit: "audit.audit_logs"}


@app.command()
def plan(table: Tables = None, as_json: AsJson = False) -> None:
    """Show what a run would do to each month. Changes nothing."""
    from asset_ledger.pipeline.retention import document as documented
    from asset_ledger.pipeline.retention import plan as planned
    from asset_ledger.store.agents.retention import TABLES

    wanted = _chosen(table)
    with connected() as connection:
        found: dict[str, Any] = {name: planned(connection, name) for name in TABLES if name in wanted}
    document = {name: documented(each) for name, each in found.items()}
    if as_json:
        print_json({"plan": True, "tables": document})
    else:
        _print(document, "would change")


@app.command()
def run(as_json: AsJson = False) -> None:
    """Let go of what is past its time, as the schedule does every day: as a Dagster run."""
    from asset_ledger.cli.dagster_run import RunRequest
    from asset_ledger.cli.dagster_run import run as run_job
    from asset_ledger.pipeline.retention import RETENTION_JOB

    (result,) = run_job(open_ledger(), [RunRequest(RETENTION_JOB)])
    document = {
        name: result.metadata[f"of {name}"] for name in _NAMES.values() if f"of {name}" in result.metadata
    }  # of a step that failed there is none
    if as_json:
        print_json({"plan": False, "run": result.run_id, "tables": document, "error": result.error})
    else:
        _print(document, "changed")
        if result.run_id:
            say(f"run {result.run_id}")
    if not result.success:
        typer.secho(result.error or "the run failed; its page in the UI says why", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


def _chosen(table: Sequence[Table] | None) -> set[str]:
    return {_NAMES[one] for one in table or _NAMES}


def _print(document: Mapping[str, Mapping[str, Any]], what: str) -> None:
    for name, found in document.items():
        counts = found["totals"]
        told = ", ".join(f"{counts[f'rows_{each}']} {each}" for each in ("before", "kept", "thinned", "dropped"))
        say(f"{name}: {told} in {counts['months']} months")
        changed = [one for one in found["months"] if one["state"] != "untouched"]
        columns = ["month!", "what", "before>", "kept>", "thinned>", "dropped>", "said…"]
        if changed:
            print_table(columns, [_line(one) for one in changed], indent=2)
        else:
            note(f"{name}: nothing {what}")


def _line(one: Mapping[str, Any]) -> list[Any]:
    late = f"{one['late']} rows came meanwhile, and are there" if one["late"] else None
    counts = [one[name] for name in ("before", "kept", "thinned", "dropped")]
    return [one["month"], one["state"], *counts, one["why"] or late]
