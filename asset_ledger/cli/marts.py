"""`asset-ledger marts`: the tables that answer what people ask most, made by dbt. Making them is a Dagster run."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.days import checked_day
from asset_ledger.cli.opening import connected, open_ledger
from asset_ledger.cli.screen import machine_today, note, print_facts, print_json, print_table, say, size

if TYPE_CHECKING:
    from asset_ledger.cli.dagster_run import RunRequest
    from asset_ledger.store.database import Connection
    from asset_ledger.store.marts import Mart

app = typer.Typer(
    help="Tables made for questions: current machines, capacity, changes, coverage.", no_args_is_help=True
)

Day = Annotated[str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="This day.")]
Since = Annotated[str | None, typer.Option("--since", metavar="YYYY-MM-DD", help="The first day.")]
Until = Annotated[str | None, typer.Option("--until", metavar="YYYY-MM-DD", help="The last day; today.")]


@app.command("build")
def build_(
    day: Day = None,
    since: Since = None,
    until: Until = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make the marts: those by days of these days, and those of now. Without days, of every day that lacks.

    Days that are not asked for stay as they are; any number of days is one run and one call of dbt.
    """
    from asset_ledger.cli.dagster_run import run

    if day is not None and (since is not None or until is not None):
        raise typer.BadParameter("--day is one day; --since and --until are several")
    if until is not None and since is None:
        raise typer.BadParameter("--until wants --since")
    ledger = open_ledger(reads_sources=True)
    if day is not None:
        first = last = checked_day("--day", day)
    elif since is not None:
        first = checked_day("--since", since)
        last = machine_today() if until is None else checked_day("--until", until)
    else:
        with connected(ledger) as connection:
            first, last = lacking(connection)
    if first > last:
        raise typer.BadParameter(f"{first} is after {last}")
    (result,) = run(ledger, [request(first, last)])
    with connected(ledger) as connection:
        found = _built(connection)
    if as_json:
        document = {"from": first, "to": last, "run_id": result.run_id, "error": result.error}
        print_json(document | {"marts": [asdict(one) for one in found]})
    else:
        span = f"{first}" if first == last else f"{first} to {last}"
        say(f"marts of {span}, run {result.run_id}" if result.run_id else f"marts of {span}: the run died")
        _print(found)
    if not result.success:
        error = result.error or "the run failed; its page in the Dagster UI says why"
        typer.secho(error, fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the marts that there are: their rows, and of which days."""
    with connected() as connection:
        found = _built(connection)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        note("No mart has been made yet: `asset-ledger marts build`.")
        return
    _print(found)
    note("What is in one: `asset-ledger marts show NAME`. Take it along: `asset-ledger export NAME`.")


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The mart, as `marts list` shows it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a mart is and what each of its columns means."""
    from asset_ledger.store.marts import columns_of

    with connected() as connection:
        found = {one.name: one for one in _built(connection)}
        columns = columns_of(connection, name) if name in found else []
    if name not in found:
        there = ", ".join(found) or "none; make them with `asset-ledger marts build`"
        raise typer.BadParameter(f"there is no mart {name}; there are: {there}")
    mart = found[name]
    if as_json:
        print_json(asdict(mart) | {"columns": [asdict(one) for one in columns]})
        return
    print_facts({"mart": mart.name, "is": mart.description, "rows": mart.row_count, "days": _days(mart)})
    print_table(["column!", "type!", "is…"], [[one.name, one.type, one.description] for one in columns])


@app.command("docs")
def docs_(
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where to.")] = Path("build/marts"),
) -> None:
    """Write dbt's pages of the models as one HTML file: lineage, columns, tests, SQL. Needs no database."""
    from asset_ledger.pipeline.marts import write_docs

    write_docs(to)
    note(f"wrote {to / 'index.html'}; open it in a browser")


def request(first: date, last: date) -> RunRequest:
    """Return the run that makes the marts of these days, both inclusive."""
    from asset_ledger.cli.dagster_run import RunRequest
    from asset_ledger.pipeline.marts import JOB

    if first == last:
        return RunRequest(JOB, partition=first.isoformat())
    return RunRequest(JOB, partition_range=(first.isoformat(), last.isoformat()))


def lacking(connection: Connection) -> tuple[date, date]:
    """Return from which day to which the marts are to be made so that none lacks anything; today at least."""
    from datetime import timedelta

    from asset_ledger.store.marts import days_lacking

    today = machine_today()
    return min([*days_lacking(connection, today, patience=timedelta(0)), today]), today


def _built(connection: Connection) -> list[Mart]:
    from asset_ledger.store.marts import built_marts

    return built_marts(connection)


def _days(mart: Mart) -> str | None:
    if mart.first_day is None:
        return "none yet" if mart.by_days else None
    return f"{mart.first_day}" if mart.first_day == mart.last_day else f"{mart.first_day} to {mart.last_day}"


def _print(found: list[Mart]) -> None:
    rows = [
        [one.name, one.row_count, _days(one) or "now", size(one.size_bytes), (one.description or "").split(". ")[0]]
        for one in found
    ]
    print_table(["mart!", "rows>", "of!", "size>", "is…"], rows)
