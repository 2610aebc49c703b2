"""How a state is named on the command line, and which one that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from uuid import UUID

    from asset_ledger.store.database import Connection
    from asset_ledger.store.iac.states import Name, StateRow

State = Annotated[str, typer.Argument(metavar="PROJECT/STACK", help="pulumi:PROJECT/STACK for one of Pulumi's.")]


def name_of(text: str) -> Name:
    """Return the name that PROJECT/STACK, or with pulumi: before it, stands for. Raises typer.BadParameter."""
    from asset_ledger.store.iac.states import Name

    tool, colon, rest = text.rpartition(":")
    project, slash, stack = rest.partition("/")
    if not slash or not project or not stack or "/" in stack or tool not in ("", "terraform", "pulumi"):
        raise typer.BadParameter(f"{text!r} is not PROJECT/STACK")
    return Name(tool if colon else "terraform", project, stack)


def state_named(connection: Connection, tenant_id: UUID, text: str) -> StateRow:
    """Return a tenant's state, inside `as_tenant`. Raises PermanentError(CONFIG_INVALID) where there is none."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.store.iac.states import states

    name = name_of(text)
    for each in states(connection, tenant_id):
        if (each.tool, each.project, each.stack) == (name.tool, name.project, name.stack):
            return each
    raise PermanentError(CONFIG_INVALID, "there is no such state; see `asset-ledger state list`", target=text)
