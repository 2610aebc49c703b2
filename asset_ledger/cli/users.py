"""`asset-ledger users`: who may use the HTTP service, and as what. Kept by `store.access.people`."""

from __future__ import annotations

import sys
from typing import Annotated, get_args

import typer

from asset_ledger.cli.opening import actor, connected
from asset_ledger.cli.screen import note, print_json, print_table, say
from asset_ledger.cli.tenant_named import Tenant, chosen
from asset_ledger.domain.roles import Role

app = typer.Typer(help="Users of the HTTP service, and their role in a tenant.", no_args_is_help=True)

ROLES = " | ".join(get_args(Role))


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help=ROLES)] = "reader",
    tenant: Tenant = None,
    email: Annotated[str | None, typer.Option("--email", help="Their address.")] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password; from a pipe, its first line is one.")
    ] = False,
) -> None:
    """Make a user, or give one there is another role, address or password. Who is disabled stays so."""
    from asset_ledger.domain.passwords import hashed
    from asset_ledger.store.access import audit
    from asset_ledger.store.access.people import set_user, users
    from asset_ledger.store.tenancy import as_tenant

    wanted = role_named(role)
    kept = None
    if password:
        try:
            kept = hashed(_asked())
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--password") from None
    with connected() as connection:
        row = chosen(connection, tenant)
        user_id = set_user(connection, row.id, name, wanted, password_hash=kept, email=email)
        with as_tenant(connection, row.id):
            details = {"username": name, "role": wanted, "password": kept is not None}
            audit.record(
                connection, row.id, audit.Entry("security.user", "set", "success", actor(), user_id, details=details)
            )
        kept_out = any(each.id == user_id and not each.is_active for each in users(connection, row.id))
    say(f"{name}: {wanted} of {row.name}. For Terraform and scripts: `asset-ledger tokens add {name} --name WHAT_FOR`")
    if kept_out:
        note(f"{name} is kept out of every tenant until `asset-ledger users enable {name}`")


@app.command("list")
def list_(tenant: Tenant = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List a tenant's users."""
    from dataclasses import asdict

    from asset_ledger.store.access.people import users

    with connected() as connection:
        found = users(connection, chosen(connection, tenant).id)
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        note("No user yet. Make one: `asset-ledger users add NAME --role admin`.")
    else:
        columns = ["user!", "role", "address", "made!", "last login!", "active"]
        print_table(
            columns,
            [[u.username, u.role, u.email, u.created_at, u.last_login_at, u.is_active] for u in found],
        )


@app.command()
def disable(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Keep a user out, with all their tokens and in every tenant, until `users enable`."""
    _set(name, active=False)
    say(f"{name}: kept out")


@app.command()
def enable(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Let a user in again, in every tenant they are in. Tokens that hold still are good again."""
    _set(name, active=True)
    say(f"{name}: let in again")


@app.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME")], tenant: Tenant = None) -> None:
    """Take a user out of one tenant: their tokens of it end. What they are in others stays."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.store.access import audit
    from asset_ledger.store.access.people import remove_user, users
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        found = next((each for each in users(connection, row.id) if each.username == name), None)
        if found is None:
            raise PermanentError(CONFIG_INVALID, f"no user of {row.name}", target=name)
        with as_tenant(connection, row.id):
            ended = remove_user(connection, row.id, found.id)
            details = {"username": name, "role": found.role, "tokens_ended": ended}
            entry = audit.Entry("security.user", "remove", "success", actor(), found.id, details=details)
            audit.record(connection, row.id, entry)
    say(f"{name}: out of {row.name}; tokens that ended by it: {ended}")


def _set(name: str, *, active: bool) -> None:
    from asset_ledger.store.access import audit
    from asset_ledger.store.access.people import disable_user, enable_user, tenants, users
    from asset_ledger.store.tenancy import as_tenant

    action = "enable" if active else "disable"
    with connected() as connection:
        (enable_user if active else disable_user)(connection, name)
        for tenant in tenants(connection):
            if any(each.username == name for each in users(connection, tenant.id)):
                with as_tenant(connection, tenant.id):
                    entry = audit.Entry("security.user", action, "success", actor(), details={"username": name})
                    audit.record(connection, tenant.id, entry)


def role_named(text: str) -> Role:
    for role in get_args(Role):
        if text == role:
            found: Role = role
            return found
    raise typer.BadParameter(f"{text!r} is no role; there are {ROLES}", param_hint="--role")


def _asked() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")
