"""`asset-ledger export`: a mart, or the machines as of a day, as CSV, Parquet or Excel.

A file is there when all of it is, or never; what is piped on ends early where something fails, and the command with 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import clean, note, print_json, print_table, size
from asset_ledger.cli.stopping import interruptible

if TYPE_CHECKING:
    from asset_ledger.domain.exports import Reading
    from asset_ledger.exports.formats import Format
    from asset_ledger.store.query.exports import Asked
    from asset_ledger.store.query.importable import LeftOut


class FormatName(StrEnum):
    """As what it is written."""

    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"


def export(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A mart, or assets: --list tells.")] = None,
    format_: Annotated[
        FormatName | None, typer.Option("--format", "-f", help="Without it as --output ends, else csv.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="DAY", help="The machines as of this day (YYYY-MM-DD).")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="DAY", help="Of a mart by days: from this day on.")] = None,
    until: Annotated[str | None, typer.Option(metavar="DAY", help="Of a mart by days: to this day.")] = None,
    filter_: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="COLUMN=TEXT", help="Rows of a mart that have this. Repeatable."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file; - for standard output, as without it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    for_excel: Annotated[
        bool, typer.Option("--for-excel", help="CSV that Excel takes for UTF-8, and no text in it for a formula.")
    ] = False,
    for_import: Annotated[
        bool, typer.Option("--for-import", help="assets as `asset-ledger import` reads them: its columns.")
    ] = False,
    zone: Annotated[str | None, typer.Option(help="With --for-import: the zone, where there are several.")] = None,
    list_: Annotated[bool, typer.Option("--list", "-l", help="What can be exported, and what of it is built.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """Write a mart, or the machines as of a day, to a file or to standard output: all rows, in one order.

    The same rows make the same CSV and Parquet. A file appears whole or not at all, and replaces none without --force.
    """
    from asset_ledger.pipeline.exports import opened, opened_for_import

    if list_ or name is None:
        if name is None and not list_:
            raise typer.BadParameter("name what to export; `asset-ledger export --list` tells what there is")
        _list(as_json=as_json)
        return
    form = _format(format_, output)
    asked = _asked(name, as_of, since, until, filter_)
    if for_excel and form != "csv":
        raise typer.BadParameter("it is a matter of csv alone", param_hint="--for-excel")
    if zone is not None and not for_import:
        raise typer.BadParameter("it goes with --for-import", param_hint="--zone")
    if for_import:
        _check_importable(asked, form, for_excel=for_excel)
        with connected() as connection, opened_for_import(connection, zone) as (reading, left_out):
            _write(reading, form, output, force=force)
            _say_left_out(left_out)
        return
    with connected() as connection, opened(connection, asked) as reading:
        _write(reading, form, output, force=force, for_excel=for_excel)


def _format(named: FormatName | None, output: str | None) -> Format:
    from asset_ledger.exports.formats import format_of

    if named is not None:
        return named.value
    return (format_of(output) if output else None) or "csv"


def _asked(name: str, as_of: str | None, since: str | None, until: str | None, filters: list[str] | None) -> Asked:
    from asset_ledger.cli.days import checked_day
    from asset_ledger.store.query.exports import Asked

    days = [
        None if text is None else checked_day(option, text)
        for option, text in (("--as-of", as_of), ("--since", since), ("--until", until))
    ]
    if days[1] and days[2] and days[1] > days[2]:
        raise typer.BadParameter("it is after --until", param_hint="--since")
    chosen: dict[str, list[str]] = {}
    for text in filters or ():
        column, given, wanted = text.partition("=")
        if not given or not column.strip():
            raise typer.BadParameter(f"{text!r} is not COLUMN=TEXT", param_hint="--filter")
        chosen.setdefault(column.strip(), []).append(wanted)
    return Asked(name, days[0], days[1], days[2], chosen or None)


def _check_importable(asked: Asked, form: Format, *, for_excel: bool) -> None:
    from asset_ledger.store.query.exports import Asked

    if asked != Asked("assets"):
        raise typer.BadParameter("it is of assets as they are now, all of them", param_hint="--for-import")
    if form == "parquet" or for_excel:
        raise typer.BadParameter("what is imported is plain csv, or xlsx", param_hint="--for-import")


def _write(reading: Reading, form: Format, output: str | None, *, force: bool, for_excel: bool = False) -> None:
    from asset_ledger.exports.formats import pieces
    from asset_ledger.pipeline.exports import Counted, pour, whole_file

    counted = Counted()
    made = pieces(counted.counting(reading), form, for_excel=for_excel)
    with interruptible():
        if output is None or output == "-":
            _to_stdout(made, form)
            return
        path = Path(output).expanduser()
        with whole_file(path, force=force) as file:
            written = pour(made, file)
    note(f"wrote {path}: {counted.rows:,} row{'s' if counted.rows != 1 else ''}, {size(written)}")


def _to_stdout(made: Iterator[bytes], form: Format) -> None:
    from asset_ledger.domain.errors import EXPORT_TO_TERMINAL, PermanentError
    from asset_ledger.pipeline.exports import pour

    if not sys.stdout.isatty():
        pour(made, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    if form != "csv":
        raise PermanentError(EXPORT_TO_TERMINAL, f"{form} is not written to a terminal", target="standard output")
    for piece in made:
        # a name is data: it must not move the cursor
        typer.echo(clean(piece.decode().replace("\r\n", "\n")), nl=False)


def _say_left_out(left_out: LeftOut) -> None:
    if left_out.count:
        note(
            f"{left_out.count} machine{'s are' if left_out.count != 1 else ' is'} left out: missing, of no name or no "
            "address of its own, or of a kind that files do not list"
        )


def _list(*, as_json: bool) -> None:
    from dataclasses import asdict

    from asset_ledger.pipeline.exports import listed

    with connected() as connection:
        found = listed(connection)
    if as_json:
        print_json({"exports": [asdict(each) for each in found]})
        return
    table: list[list[Any]] = []
    for each in found:
        built = "-" if each.built else "not built"
        if each.built and each.has_days:
            built = f"{each.first_day} to {each.last_day}" if each.last_day else "no days yet"
        elif each.built:
            built = "yes"
        table.append([each.name, built, each.rows, each.description])
    print_table(["name!", "built!", "rows>", "what it is…"], table)
    if not all(each.built for each in found):
        note("Marts that are not built: `asset-ledger marts build`.")
