"""How things look on a terminal and in a pipe: tables, JSON, sizes, ages. Knows nothing of the ledger."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import typer

PIPED_WIDTH = 160
UNKNOWN = "-"
_KIB = 1024
LONG = 90
"""The widest a column of prose gets; it is folded, never cut."""


def print_json(document: Any) -> None:
    """Print one JSON document: ISO days and instants, sizes as integers, ids as text."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def say(text: str = "") -> None:
    """Print a line as it is, whatever signs it has."""
    typer.echo(clean(text))


def note(text: str) -> None:
    """Print a line for people to standard error, so that a pipe gets the data alone."""
    typer.echo(clean(text), err=True)


def heading(text: str) -> None:
    """Print a heading, in bold on a terminal."""
    typer.echo("")
    typer.secho(clean(text), bold=True)


def clean(text: str) -> str:
    """Return a text without signs that a terminal would obey."""
    return "".join(sign if sign.isprintable() or sign == "\n" else f"\\x{ord(sign):02x}" for sign in text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, indent: int = 0) -> None:
    """Print a table. A column's name may end in `>` (to the right), `!` (never folded) or `…` (prose, folded).

    On a terminal it is as wide as that; in a pipe as wide as its content, so that no id is cut.
    """
    from rich import box
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1))
    for column in columns:
        table.add_column(
            column.rstrip(">!…"),
            justify="right" if column.endswith(">") else "left",
            no_wrap=column.endswith((">", "!")),
            overflow="fold",
            max_width=LONG if column.endswith("…") else None,
        )
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(clean(show(cell))) for cell in row))
    shown = Padding(table, (0, 0, 0, indent))
    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    if console.is_terminal:
        console.print(shown)
        return
    wide = Console(
        file=io.StringIO(), markup=False, highlight=False, emoji=False, width=max(PIPED_WIDTH, _width(table) + indent)
    )
    with wide.capture() as captured:
        wide.print(shown)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def _width(table: Any) -> int:
    from rich.console import Console

    return int(Console(width=100_000).measure(table).maximum)


def print_facts(facts: Mapping[str, Any], *, indent: int = 0) -> None:
    """Print names and values, one a line, the values under one another."""
    from rich.cells import cell_len

    width = max((cell_len(name) for name in facts), default=0)
    for name, value in facts.items():
        say(f"{' ' * indent}{name}{' ' * (width - cell_len(name))}  {show(value)}")


def show(value: Any) -> str:
    """Return a value as a cell shows it; what is not known is a dash."""
    match value:
        case None | "" | []:
            text = UNKNOWN
        case bool():
            text = "yes" if value else "no"
        case datetime():
            text = instant(value)
        case list() | tuple():
            text = ", ".join(show(item) for item in value)
        case dict():  # the pattern {} would take any
            text = json.dumps(value, ensure_ascii=False, default=_plain) if value else UNKNOWN
        case _:
            text = str(value)
    return text


def size(count: int | None) -> str:
    """Return bytes in the binary unit that people say: `16 GiB`, `1.5 TiB`."""
    if count is None:
        return UNKNOWN
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if amount < _KIB:
            break
        amount, unit = amount / _KIB, larger
    return f"{amount:.1f}".removesuffix(".0") + f" {unit}"


def gib(count: int | None) -> str:
    """Return bytes as GiB with at most one decimal, for a column of numbers. What is there is never 0."""
    if count is None:
        return UNKNOWN
    return "<0.1" if 0 < count < _KIB**3 / 20 else f"{count / _KIB**3:.1f}".removesuffix(".0")


def instant(at: datetime | None) -> str:
    """Return an instant in UTC, to the second."""
    return UNKNOWN if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def age(day: date | None, today: date) -> str:
    """Return a day with how long ago it is: `2026-11-20 (2 days ago)`."""
    if day is None:
        return "never"
    days = (today - day).days
    ago = "today" if days == 0 else "1 day ago" if days == 1 else f"{days} days ago"
    return f"{day.isoformat()} ({ago})"


def aged(value: Any, day: date | None, today: date) -> str:
    """Return a value as a cell shows it; one that was last told on an earlier `day` with its age: `~8 (3 d)`."""
    text = show(value)
    return text if day is None or text == UNKNOWN else f"~{text} ({(today - day).days} d)"


def short(identifier: object) -> str:
    """Return an id's beginning on a terminal, where it is enough to go on with, and the whole id in a pipe."""
    text = show(None) if identifier is None else str(identifier)
    return text[:8] if sys.stdout.isatty() else text


def coloured(status: str) -> Any:
    """Return a status as a cell, coloured by how good it is."""
    from rich.text import Text

    good, middling = ("ok", "derived", "confirmed"), ("partial", "raw", "reading", "candidate", "skipped")
    style = "green" if status in good else "yellow" if status in middling else "red"
    return Text(status, style=style)


def machine_today() -> date:
    """Return the ledger's day now."""
    from asset_ledger.domain.calendar import collected_date

    return collected_date(datetime.now(UTC))
