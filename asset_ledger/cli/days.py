"""Days as they are written on the command line."""

from __future__ import annotations

from datetime import date

import typer

from asset_ledger.cli.screen import machine_today


def checked_day(option: str, text: str | None) -> date:
    """Return the day of an option. Raises typer.BadParameter for none, and for one before the ledger or after today."""
    from asset_ledger.domain.calendar import FIRST_DAY

    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day of the form YYYY-MM-DD", param_hint=option) from None
    if not FIRST_DAY <= day <= machine_today():
        raise typer.BadParameter(f"{day} is not between {FIRST_DAY} and today", param_hint=option)
    return day
