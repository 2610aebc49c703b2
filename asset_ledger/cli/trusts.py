"""`asset-ledger tenants trust`: identity providers whose tokens a tenant takes. Kept by `store.access.trusts`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from asset_ledger.cli.opening import actor, connected
from asset_ledger.cli.screen import note, print_json, print_table, say
from asset_ledger.cli.tenant_named import chosen
from asset_ledger.cli.users import role_named

app = typer.Typer(
    help="Identity providers whose tokens a tenant takes: GitLab CI, GitHub Actions, any OIDC.", no_args_is_help=True
)

_SHOWN = 8
# as `tenants.Tenant`, whose module needs this one
Tenant = Annotated[
    str | None, typer.Option("--tenant", metavar="TENANT", help="Which tenant; may be left out where there is one.")
]


@app.command()
def add(
    issuer: Annotated[str, typer.Option("--issuer", metavar="URL", help="The token's `iss`, sign for sign.")],
    jwks_url: Annotated[str, typer.Option("--jwks-url", metavar="URL", help="Where its public keys are read.")],
    audience: Annotated[str, typer.Option("--audience", metavar="TEXT", help="The token's `aud`: yours alone.")],
    claim: Annotated[
        list[str],
        typer.Option(
            "--claim",
            metavar="NAME=VALUE",
            help="What a token must say; NAME=A NAME=B: one of these; NAME:=JSON for numbers, true and false.",
        ),
    ],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="What its bearer may: reader, writer, admin.")],
    actor_claim: Annotated[
        str, typer.Option("--actor-claim", metavar="NAME", help="The claim that says who it is.")
    ] = "sub",
    hours: Annotated[
        int,
        typer.Option(
            "--hours",
            min=0,
            max=12,
            help="The longest that a token of ours holds that it is exchanged for; 0: none is.",
        ),
    ] = 1,
    tenant: Tenant = None,
) -> None:
    """Take an identity provider's tokens that say what is named here, and no others of it."""
    from dataclasses import asdict

    from asset_ledger.api.provider_keys import NO_KEY, Pace, ProviderAwayError, keys_at
    from asset_ledger.domain.trusts import Terms, demand_sound
    from asset_ledger.store.access import audit
    from asset_ledger.store.access.trusts import add_trust
    from asset_ledger.store.tenancy import as_tenant

    terms = Terms(issuer, audience, jwks_url, _claims(claim), role_named(role), actor_claim, hours)
    demand_sound(terms)
    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            trust_id = add_trust(connection, row.id, terms, actor=actor())
            details = {"trust_id": str(trust_id), **asdict(terms)}
            audit.record(
                connection, row.id, audit.Entry("security.tenant", "trust add", "success", actor(), details=details)
            )
    say(f"{trust_id}: {row.name} takes tokens of {issuer} now, as {role}")
    if starred := terms.starred():
        note(
            f"`*` in claim {', '.join(starred)} stands for itself alone; if a pattern was meant, end this trust and"
            " name a claim that has just that part (repository_owner, namespace_path), or every value"
        )
    try:
        keys = keys_at(jwks_url, Pace().within_s)
    except ProviderAwayError as error:
        note(f"From this machine its keys cannot be read just now; the service tries by itself: {error}")
    else:
        tried = f"{len(keys)} of its keys were read to try it; a token of it works now"
        note(tried if keys else f"{jwks_url}: {NO_KEY}; until it does, none of its tokens is taken")


@app.command("list")
def list_(
    tenant: Tenant = None,
    ended: Annotated[bool, typer.Option("--ended", help="Those that were ended too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the identity providers whose tokens a tenant takes."""
    from dataclasses import asdict

    from asset_ledger.store.access.trusts import trusts
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = [each for each in trusts(connection, row.id) if ended or each.ended_at is None]
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        note("No identity provider's tokens are taken. Take some: `asset-ledger tenants trust add --help`.")
    else:
        columns = ["id!", "issuer", "audience", "must say…", "may", "is called by", "hours!", "made!", "by", "ended!"]
        rows = [
            [t.issuer, t.audience, t.claims, t.role, t.actor_claim, t.hours, t.created_at, t.created_by, t.ended_at]
            for t in found
        ]
        print_table(columns, [[str(t.id)[:_SHOWN], *row] for t, row in zip(found, rows, strict=True)])


@app.command()
def end(
    trust: Annotated[str, typer.Argument(metavar="TRUST", help="Its id, or at least the first 8 characters of it.")],
    tenant: Tenant = None,
) -> None:
    """End a trust: its tokens are refused from now on, and so are those of ours that they were exchanged for."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.store.access import audit
    from asset_ledger.store.access.trusts import end_trust, trusts
    from asset_ledger.store.tenancy import as_tenant

    if len(trust) < _SHOWN:
        raise PermanentError(
            CONFIG_INVALID,
            f"give its id, or at least the first {_SHOWN} characters; see `asset-ledger tenants trust list`",
            target=f"trust {trust!r}",
        )
    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            held = [each for each in trusts(connection, row.id) if each.ended_at is None]
            fitting = [each for each in held if str(each.id).startswith(trust.lower())]
            if len(fitting) != 1 or not end_trust(connection, row.id, fitting[0].id):
                why = "several trusts begin so" if len(fitting) > 1 else "no trust in force begins so"
                raise PermanentError(
                    CONFIG_INVALID, f"{why}; see `asset-ledger tenants trust list --tenant {row.name}`", target=trust
                )
            details = {"trust_id": str(fitting[0].id), "issuer": fitting[0].issuer}
            audit.record(
                connection, row.id, audit.Entry("security.tenant", "trust end", "success", actor(), details=details)
            )
    say(f"{fitting[0].id}: {row.name} takes no tokens of {fitting[0].issuer} by it any more")


def _claims(given: list[str]) -> dict[str, Any]:
    """Return what tokens must say. Raises PermanentError(CONFIG_INVALID) for what is no NAME=VALUE."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError

    found: dict[str, list[Any]] = {}
    for each in given:
        name, sign, text = each.partition("=")
        value: Any = text
        if name.endswith(":"):
            name = name[:-1]
            try:
                value = json.loads(text)
            except ValueError:
                raise PermanentError(CONFIG_INVALID, "what follows := is not JSON", target=f"--claim {name}") from None
        if not sign or not name:
            raise PermanentError(CONFIG_INVALID, "write it as NAME=VALUE", target=f"--claim {each}")
        found.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}
