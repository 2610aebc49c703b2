"""How a state is named on the command line, and which one that is; and the file that is to be kept with it."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from asset_ledger.store.database import Connection
    from asset_ledger.store.iac.states import Name, StateRow

State = Annotated[str, typer.Argument(metavar="PROJECT/STACK", help="pulumi:PROJECT/STACK for one of Pulumi's.")]


def name_of(text: str) -> Name:
    """Return the name that PROJECT/STACK, or with pulumi: before it, stands for. Raises typer.BadParameter."""
    from asset_ledger.store.iac.states import WORD, Name

    found = re.fullmatch(rf"(?:(terraform|pulumi):)?({WORD})/({WORD})", text)
    if found is None:
        each = "project and stack are letters, digits and . _ -, at most 100 of them"
        raise typer.BadParameter(f"{text!r} is not PROJECT/STACK: {each}")
    return Name(found[1] or "terraform", found[2], found[3])


def given(file: Path, made_by: str) -> bytes:
    """Return what stands in a file, or of `-` what comes in. Raises PermanentError(CONFIG_INVALID)."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError

    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        why = f"it cannot be read: {error.strerror or error}; make it with `{made_by} > FILE`"
        raise PermanentError(CONFIG_INVALID, why, target=str(file)) from None


def state_named(connection: Connection, tenant_id: UUID, text: str) -> StateRow:
    """Return a tenant's state, inside `as_tenant`. Raises PermanentError(CONFIG_INVALID) where there is none."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.store.iac.states import states

    name = name_of(text)
    for each in states(connection, tenant_id):
        if (each.tool, each.project, each.stack) == (name.tool, name.project, name.stack):
            return each
    raise PermanentError(CONFIG_INVALID, "there is no such state; see `asset-ledger state list`", target=text)
