"""`asset-ledger tokens`: what Terraform, agents and scripts log in with. Kept by `store.access.tokens`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer

from asset_ledger.cli.opening import actor, connected
from asset_ledger.cli.screen import note, print_json, print_table, say
from asset_ledger.cli.tenant_named import Tenant, chosen
from asset_ledger.cli.users import ROLES, role_named

app = typer.Typer(help="API tokens: shown once, kept as a hash, ended when you say.", no_args_is_help=True)
_LEAST = 8


@app.command()
def add(
    user: Annotated[str, typer.Argument(metavar="USER")],
    name: Annotated[str, typer.Option("--name", help="What it is for.")],
    role: Annotated[str | None, typer.Option("--role", metavar="ROLE", help=f"The most it may: {ROLES}.")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, max=3650, help="How long it holds.")] = None,
    tenant: Tenant = None,
) -> None:
    """Make a token and print it, this once. The token alone goes to standard output."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.store.access import audit
    from asset_ledger.store.access.people import users
    from asset_ledger.store.access.tokens import add_token
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        found = next((each for each in users(connection, row.id) if each.username == user), None)
        if found is None:
            raise PermanentError(
                CONFIG_INVALID, f"no user of {row.name}; make one: `asset-ledger users add {user}`", target=user
            )
        until = datetime.now(UTC) + timedelta(days=days) if days else None
        may = role_named(role) if role else found.role
        token = add_token(connection, row.id, found.id, name, may, expires_at=until)
        with as_tenant(connection, row.id):
            details = {"token": name, "role": may, "for": user, "expires_at": until.isoformat() if until else None}
            audit.record(
                connection, row.id, audit.Entry("security.token", "add", "success", actor(), found.id, details=details)
            )
    note(f"For {row.name}/{user}, as {may}; it is not shown again:")
    say(token)


@app.command("list")
def list_(tenant: Tenant = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List a tenant's tokens by how they begin; nobody can see more of them."""
    from dataclasses import asdict

    from asset_ledger.store.access.tokens import tokens

    with connected() as connection:
        found = tokens(connection, chosen(connection, tenant).id)
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        note("No token yet. Make one: `asset-ledger tokens add USER --name WHAT_FOR`.")
    else:
        columns = ["id!", "token!", "for", "whose", "may", "made!", "until!", "last used!", "ended!"]
        print_table(
            columns,
            [
                [
                    str(t.id)[:8],
                    f"{t.shown}…",
                    t.name,
                    t.username,
                    t.role,
                    t.created_at,
                    t.expires_at,
                    t.last_used_at,
                    t.revoked_at,
                ]
                for t in found
            ],
        )


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id, or how it or the token begins: 8 characters.")],
    tenant: Tenant = None,
) -> None:
    """End a token. What comes with it from now on is refused."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.store.access import audit
    from asset_ledger.store.access.tokens import revoke as end
    from asset_ledger.store.access.tokens import tokens
    from asset_ledger.store.tenancy import as_tenant

    if len(token) < _LEAST:  # an unset variable of a shell is enough to mean the only one there is
        raise PermanentError(
            CONFIG_INVALID,
            f"give its id, or at least the first {_LEAST} characters; see `asset-ledger tokens list`",
            target=f"token {token!r}",
        )
    with connected() as connection:
        row = chosen(connection, tenant)
        held = [each for each in tokens(connection, row.id) if each.revoked_at is None]
        fitting: list[UUID] = [t.id for t in held if str(t.id).startswith(token) or token.startswith(t.shown)]
        if len(fitting) != 1:
            why = "several tokens begin so" if fitting else "no token that holds begins so"
            raise PermanentError(CONFIG_INVALID, f"{why}; see `asset-ledger tokens list`", target=token[:9])
        end(connection, row.id, fitting[0])
        with as_tenant(connection, row.id):
            details = {"token_id": str(fitting[0])}
            audit.record(
                connection, row.id, audit.Entry("security.token", "revoke", "success", actor(), details=details)
            )
    say(f"{fitting[0]}: ended")
