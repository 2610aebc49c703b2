"""`asset-ledger doctor`: what is wrong with this installation, and what to do. What is looked at: `pipeline.doctor`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.screen import print_json, print_table, say

if TYPE_CHECKING:
    from asset_ledger.pipeline.doctor.findings import Finding


def doctor(
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="FILE", help="The PEM file that `serve` is given.")
    ] = None,
    backups: Annotated[
        Path | None,
        typer.Option("--backups", metavar="DIR", envvar="ASSET_LEDGER_BACKUPS", help="Where base backups are put."),
    ] = None,
    backup_hours: Annotated[
        float, typer.Option("--backup-hours", min=0.1, help="How old the newest backup may be.")
    ] = 26.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    every: Annotated[bool, typer.Option("--all", help="What is in order, too.")] = False,
) -> None:
    """Look at this installation and say what is wrong, why, and what to do. Nothing is changed.

    The exit code is 1 where there is a problem; warnings alone do not count.
    """
    from dataclasses import asdict

    from asset_ledger.pipeline.doctor.examine import Beside, examine

    found = list(examine(os.environ, Beside(certificate, backups, backup_hours)))
    problems = sum(each.status == "problem" for each in found)
    if as_json:
        print_json({"problems": problems, "findings": [asdict(each) for each in found]})
    else:
        _print(found, every=every)
    if problems:
        raise typer.Exit(1)


def _print(found: Sequence[Finding], *, every: bool) -> None:
    shown = [each for each in found if every or each.status in ("problem", "warning")]
    if shown:
        rows = [[each.check, _coloured(each.status), each.said, each.next_step] for each in shown]
        print_table(["what", "how!", "found…", "next step…"], rows)
    counts = {
        status: sum(each.status == status for each in found) for status in ("ok", "warning", "problem", "skipped")
    }
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    say(said + ("" if every else "; `--all` shows everything that was looked at"))


def _coloured(status: str) -> object:
    from rich.text import Text

    style = {"problem": "red", "warning": "yellow", "ok": "green"}.get(status, "dim")
    return Text(status, style=style)
