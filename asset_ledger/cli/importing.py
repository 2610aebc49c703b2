"""`asset-ledger import`: files of any place into the ledger, or what they would do to it.

A dry run is the import itself, rolled back; both print the same report by the same code. The file stays where it is,
a copy goes to the archive of the source's inbox.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.opening import choose_source, connected, open_ledger
from asset_ledger.cli.reports import print_report
from asset_ledger.cli.screen import note, print_json, say

if TYPE_CHECKING:
    from asset_ledger.cli.dagster_run import RunRequest
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.sources.platform import SourceConfig
    from asset_ledger.store.database import Connection
    from asset_ledger.store.sources import SourceRow


class Template(StrEnum):
    """Which kind of template."""

    CSV = "csv"
    XLSX = "xlsx"


class Kind(StrEnum):
    """What a template's rows are."""

    HOSTS = "hosts"
    INSTANCES = "instances"


@dataclass(frozen=True, slots=True)
class _File:
    """One file and what became, or would become, of it: a report, the earlier name of its content, or an error."""

    path: Path
    day: date
    report: dict[str, Any] | None = None
    duplicate_of: str | None = None
    error: str | None = None
    run_id: str | None = None


def import_files(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="CSV or Excel files; they stay in place."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would happen; write nothing.")] = False,
    day: Annotated[
        str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="The day they describe, if no name says it.")
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Each file lists every machine: others count as missing.")
    ] = False,
    source: Annotated[str | None, typer.Option(help="The import source, if there are several.")] = None,
    template: Annotated[Template | None, typer.Option(help="Write a template to fill in, and do nothing else.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="What the template is for.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, help="Where the template goes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Import CSV and Excel files, or see with --dry-run what they would change.

    A file is of the day in its name (hosts_2026-11-01.csv), else of --date, else of today. Good rows are taken, bad
    ones are listed. The same file twice changes nothing.
    """
    if template is not None:
        _write_template(template, kind, output)
        return
    if not files:
        raise typer.BadParameter("name a FILE, or use --template csv to get one to fill in")
    ledger = open_ledger(reads_sources=True)
    chosen = choose_source(ledger, source, source_type="import")
    now = datetime.now(UTC)
    wanted = [_File(path.absolute(), _day(path.name, day, now)) for path in files]
    done = (
        _plan(ledger, chosen, wanted, now, complete=complete)
        if dry_run
        else _apply(ledger, chosen, wanted, complete=complete)
    )
    if complete and any(file.duplicate_of for file in done):
        note("a file that was imported before stays what it was said to be then: --complete changes nothing of it")
    if as_json:
        print_json([_as_data(file, chosen, dry_run=dry_run) for file in done])
    else:
        say(_heading(done, dry_run=dry_run))
        for file in done:
            _print_file(file, chosen)
    if any(file.error for file in done):
        raise typer.Exit(1)


def _day(name: str, asked: str | None, now: datetime) -> date:
    """Return a file's day. Raises PermanentError(IMPORT_DAY_INVALID) where name and --date say two days."""
    from asset_ledger.domain.calendar import collected_date, day_in_name
    from asset_ledger.domain.errors import IMPORT_DAY_INVALID, PermanentError
    from asset_ledger.pipeline.inbox import check_day, day_of

    if asked is None:
        return day_of(name, now)
    try:
        day = date.fromisoformat(asked)
    except ValueError:
        raise typer.BadParameter(f"{asked!r} is no day of the form YYYY-MM-DD", param_hint="--date") from None
    day_of(name, now)
    named = day_in_name(name)
    if named not in (None, day):
        raise PermanentError(IMPORT_DAY_INVALID, f"its name says {named}, --date says {day}", target=name)
    return check_day(day, today=collected_date(now), name=name)


def _plan(
    ledger: Ledger, source: SourceConfig, files: Sequence[_File], now: datetime, *, complete: bool
) -> list[_File]:
    """Return what importing the files would do: all of it is done in one transaction, which is rolled back."""
    from asset_ledger.domain.calendar import moment_on
    from asset_ledger.domain.errors import LedgerError
    from asset_ledger.pipeline.derive import plan_file
    from asset_ledger.pipeline.ledger import platform_of, source_row
    from asset_ledger.store.sources import exclusive

    accept = platform_of(source).accept
    assert accept is not None
    done: list[_File] = []
    with connected(ledger) as connection, connection.transaction(force_rollback=True):
        row = source_row(connection, source)
        with exclusive(connection, row):
            for file, earlier in _with_duplicates(connection, row, files):
                if earlier is not None:
                    done.append(replace(file, duplicate_of=earlier))
                    continue
                try:
                    record = accept(file.path, now, source)
                    at = moment_on(file.day, now)
                    outcome = plan_file(connection, source, row, record, file.day, at, complete=complete)
                except LedgerError as error:
                    done.append(replace(file, error=str(error)))
                else:
                    # through JSON, as a report that was kept comes back
                    done.append(replace(file, report=json.loads(json.dumps(outcome.report()))))
    if len(files) > 1:
        note("each file is planned against the ledger as it is now, without the files before it")
    return done


def _apply(ledger: Ledger, source: SourceConfig, files: Sequence[_File], *, complete: bool) -> list[_File]:
    """Import each file by a Dagster run of its own, then join instances and machines anew and look for duplicates."""
    from asset_ledger.cli.dagster_run import RunRequest, run
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.store.query.runs import run_reports

    with connected(ledger) as connection:
        known = _with_duplicates(connection, source_row(connection, source), files)
    requests = [_request(source, file, complete=complete) for file, earlier in known if earlier is None]
    following = [RunRequest("ledger_follow")] if requests else []
    results = run(ledger, [*requests, *following])
    answers = iter(results)
    done: list[_File] = []
    with connected(ledger) as connection:
        for file, earlier in known:
            if earlier is not None:
                done.append(replace(file, duplicate_of=earlier))
                continue
            result = next(answers)
            readings = run_reports(connection, result.run_id) if result.success else []
            # a run also derives what other files of the day left waiting
            reports = [each for each in readings if each["target"] == file.path.name] or readings
            done.append(
                replace(
                    file,
                    run_id=result.run_id,
                    error=None if result.success else result.error,
                    report=reports[-1]["report"] if reports else None,
                )
            )
    for result in answers:
        if not result.success:
            note(f"{result.job}, which follows every import, failed: {result.error}")
    return done


def _request(source: SourceConfig, file: _File, *, complete: bool) -> RunRequest:
    from asset_ledger.cli.dagster_run import RunRequest
    from asset_ledger.pipeline.chains import chains, collect_job, reading_config

    config = reading_config(chains(source), files=[file.path], complete=complete)
    return RunRequest(collect_job(source), partition=file.day.isoformat(), config=config)


def _with_duplicates(connection: Connection, row: SourceRow, files: Sequence[_File]) -> list[tuple[_File, str | None]]:
    """Return each file with the name under which its content was taken for its day before, or None.

    Content that still waits to be derived, or could not be, is no duplicate: importing it again derives it.
    """
    from asset_ledger.store.raw import content_taken, inventories

    first: dict[tuple[bytes, date], str] = {}
    found: list[tuple[_File, str | None]] = []
    for file in files:
        with file.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").digest()
        earlier = first.get((digest, file.day))
        if earlier is None:
            first[(digest, file.day)] = file.path.name
            taken = content_taken(connection, row, digest, file.day)
            whole = all(reading.status == "derived" for reading in inventories(connection, row, file.day))
            earlier = taken.name if taken is not None and not taken.pending and whole else None
        found.append((file, earlier))
    return found


def _heading(files: Sequence[_File], *, dry_run: bool) -> str:
    failed = sum(file.error is not None for file in files)
    if dry_run:
        return "dry run: nothing was written"
    if failed == len(files):
        return "nothing was imported"
    return f"imported, without {failed} of {len(files)} files" if failed else "imported"


def _print_file(file: _File, source: SourceConfig) -> None:
    say(f"{file.path.name} for {file.day}, source {source.name}")
    if file.error is not None:
        typer.secho(f"  {file.error}", fg=typer.colors.RED, err=True)
    elif file.duplicate_of is not None:
        say(f"  it has the very content of {file.duplicate_of}, which was imported for {file.day}: nothing changes")
    else:
        print_report(file.report or {})


def _as_data(file: _File, source: SourceConfig, *, dry_run: bool) -> dict[str, Any]:
    return {
        "file": str(file.path),
        "source": source.name,
        "collected_date": file.day,
        "dry_run": dry_run,
        "run_id": file.run_id,
        "duplicate_of": file.duplicate_of,
        "error": file.error,
        "report": file.report,
    }


def _write_template(template: Template, kind: Kind | None, output: Path | None) -> None:
    from asset_ledger.sources.import_files.rows import kind_of
    from asset_ledger.sources.import_files.template import template_csv, template_xlsx

    rows_of = kind.value if kind else kind_of(output.name) if output else Kind.HOSTS.value
    body = template_csv(rows_of) if template is Template.CSV else template_xlsx(rows_of)
    if output is None:
        if template is Template.XLSX and sys.stdout.isatty():
            raise typer.BadParameter("a workbook does not belong on a terminal: add --output FILE")
        sys.stdout.buffer.write(body)
        return
    if output.suffix.lower() != f".{template.value}":
        raise typer.BadParameter(f"{output.name} does not end in .{template.value}", param_hint="--output")
    try:
        with output.open("xb") as stream:
            stream.write(body)
    except FileExistsError:
        raise typer.BadParameter(f"{output} is there already and stays as it is", param_hint="--output") from None
    except OSError as error:
        raise typer.BadParameter(f"{output} cannot be written: {error.strerror}", param_hint="--output") from None
    note(f"wrote {output}; fill it in, then `asset-ledger import {output} --dry-run`")
