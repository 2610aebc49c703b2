"""`asset-ledger state plan`: what a saved plan would do, in words and without what is secret in it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from asset_ledger.cli.opening import connected, open_ledger
from asset_ledger.cli.screen import clean, note, print_json, say
from asset_ledger.cli.state_events import step_told
from asset_ledger.cli.tenants import Tenant, chosen, key_ring


def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="`terraform show -json PLAN`; - reads standard input.")],
    tenant: Tenant = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a plan would do to each resource, and what it found changed outside. Secrets show as hashes."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.domain.iac import plans
    from asset_ledger.domain.iac.exact_json import loads
    from asset_ledger.store.access.people import hash_key
    from asset_ledger.store.tenancy import as_tenant

    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    ledger = open_ledger()
    with connected(ledger) as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            key = hash_key(connection, row.id, key_ring(ledger))
    try:
        found = plans.read(loads(data), key)
    except (ValueError, RecursionError) as error:  # no JSON, or no plan
        raise PermanentError(CONFIG_INVALID, f"no plan: {error}", target=str(file)) from None
    if as_json:
        print_json(asdict(found))
        return
    for event in found.events:
        where = clean(event.address) + (f" (deposed {event.deposed})" if event.deposed else "")
        before = f", before {clean(event.previous_address)}" if event.previous_address else ""
        say(f"{event.action} {where}{before}{f' ({event.reason})' if event.reason else ''}")
        if event.action in ("update", "drift"):
            for step in event.patch:
                say("    " + step_told(step))
    if not found.events:
        say("nothing would change")
    if found.errored:
        note("the plan ended in an error: what it did not get to is not in it")
    for each in found.skipped:
        note(each)
