"""`asset-ledger audit`: who asked the HTTP service for what. Kept by `store.access.audit`."""

from __future__ import annotations

from typing import Annotated

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import note, print_json, print_table
from asset_ledger.cli.tenant_named import Tenant, chosen

app = typer.Typer(help="Who asked the HTTP service for what, and what came of it.", no_args_is_help=True)


@app.command("list")
def list_(
    tenant: Tenant = None,
    nobody: Annotated[
        bool,
        typer.Option("--nobody", help="Those of no tenant: who could not log in, what retention let go."),
    ] = False,
    kind: Annotated[
        str | None, typer.Option("--type", help="`state.write`, or `security.` for all that begin so.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many, the newest.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what was asked, the newest first."""
    from dataclasses import asdict

    from asset_ledger.store.access.audit import entries

    with connected() as connection:
        found = entries(connection, None if nobody else chosen(connection, tenant).id, kind=kind, limit=limit)
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        note("Nothing was asked yet.")
    else:
        columns = ["at!", "who", "what!", "came of it", "request", "from!", "details…"]
        print_table(
            columns, [[e.created_at, e.actor, e.type, e.result, e.action, e.ip_address, e.details] for e in found]
        )
