"""`asset-ledger state`: the states that Terraform and Pulumi keep with the HTTP service. Kept by `store.iac.states`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from asset_ledger.cli.opening import actor, connected, open_ledger
from asset_ledger.cli.screen import note, print_facts, print_json, print_table, say
from asset_ledger.cli.state_events import diff
from asset_ledger.cli.state_named import State, given, name_of, state_named
from asset_ledger.cli.state_plan import plan
from asset_ledger.cli.state_plans import plans
from asset_ledger.cli.state_upkeep import new_key, parse, rebuild, rekey
from asset_ledger.cli.tenant_named import Tenant, chosen, key_ring

app = typer.Typer(help="States of Terraform and Pulumi: list, versions, diff, locks, roll back.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(tenant: Tenant = None, as_json: AsJson = False) -> None:
    """List the states: the newest version of each, and who has it locked."""
    from asset_ledger.store.iac.states import states
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = states(connection, row.id)
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        note(f"No state yet. Terraform writes one to /terraform/state/PROJECT/STACK as {row.name}/USER with a token.")
    else:
        columns = ["state!", "version>", "serial>", "written!", "bytes>", "locked by", "since!"]
        print_table(
            columns,
            [
                [_shown(s), s.head_version, s.serial, s.written_at, s.size_bytes, s.locked_by, s.locked_at]
                for s in found
            ],
        )


@app.command()
def versions(
    state: State,
    tenant: Tenant = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the versions of a state, the newest first. Versions written under one lock are one run."""
    from asset_ledger.store.iac.states import versions as kept
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = kept(connection, row.id, state_named(connection, row.id, state).state_id, limit)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    columns = ["version>", "written!", "by", "operation", "run!", "serial>", "bytes>", "tool", "flags", "read"]
    print_table(
        columns,
        [
            [
                v.version,
                v.created_at,
                v.actor,
                v.operation,
                (v.run_id or "")[:8],
                v.serial,
                v.size_bytes,
                v.tool_version,
                v.flags,
                v.parse_error or v.parsed_at is not None,
            ]
            for v in found
        ],
    )


@app.command()
def show(
    state: State,
    version: Annotated[int | None, typer.Option("--version", min=1, help="Without it: the newest.")] = None,
    body: Annotated[bool, typer.Option("--body", help="Print the state itself, secrets included.")] = False,
    tenant: Tenant = None,
) -> None:
    """Show a state, or with --body print it as it was written, byte for byte. Printing is recorded."""
    from asset_ledger.store.access import audit
    from asset_ledger.store.iac.states import stored, versions
    from asset_ledger.store.tenancy import as_tenant

    ledger = open_ledger()
    with connected(ledger) as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = state_named(connection, row.id, state)
            number = version or found.head_version
            if not body:
                (facts,) = versions(connection, row.id, found.state_id, 1, below=number + 1) or (None,)
            else:
                kept = stored(connection, row.id, found.state_id, number)
                details = {"state": state, "version": number}
                entry = audit.Entry("state.read", "asset-ledger state show", "success", actor(), details=details)
                audit.record(connection, row.id, entry)
        if body:
            from asset_ledger.store.iac.states import opened

            sys.stdout.buffer.write(opened(key_ring(ledger), row.id, kept))
            return
    if facts is None:
        note(f"{state}: nothing was written yet.")
        return
    print_facts({name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(facts).items()})


@app.command()
def locks(tenant: Tenant = None, as_json: AsJson = False) -> None:
    """List the locks that are held, with what the holder says of itself. None ends by itself."""
    from asset_ledger.store.iac.states import locks as held
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = held(connection, row.id)
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        note("No state is locked.")
    else:
        columns = ["state!", "lock!", "held by", "says it is", "operation", "since!"]
        print_table(columns, [[_shown(x), x.lock_id, x.actor, x.who, x.operation, x.created_at] for x in found])


@app.command("force-unlock")
def force_unlock(
    state: State, lock_id: Annotated[str, typer.Argument(metavar="LOCK_ID")], tenant: Tenant = None
) -> None:
    """Take a lock away from its holder. What it writes afterwards is kept and flagged, or refused as a conflict."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.store.access import audit
    from asset_ledger.store.iac.states import force_lock, locks
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = state_named(connection, row.id, state)
            held = [each for each in locks(connection, row.id) if each.state_id == found.state_id]
            if [each.lock_id for each in held] != [lock_id]:
                now = f"by {held[0].lock_id}" if held else "by nobody"
                raise PermanentError(CONFIG_INVALID, f"it is not locked by {lock_id}, but {now}", target=state)
            force_lock(connection, row.id, name_of(state))
            details = {"state": state, "lock_id": lock_id, "who": held[0].who}
            entry = audit.Entry(
                "security.force_unlock", "asset-ledger state force-unlock", "success", actor(), details=details
            )
            audit.record(connection, row.id, entry)
    say(f"{state}: unlocked; {held[0].actor} had it since {held[0].created_at:%Y-%m-%d %H:%M} UTC")


@app.command()
def rollback(
    state: State,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1)],
    tenant: Tenant = None,
) -> None:
    """Make an old version the newest one again, as a new version with a serial above all others.

    Nothing in the world changes by it: the next plan shows what an apply would do.
    """
    from asset_ledger.store.access import audit
    from asset_ledger.store.iac.writing import roll_back
    from asset_ledger.store.tenancy import as_tenant

    ledger = open_ledger()
    with connected(ledger) as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = state_named(connection, row.id, state)
            number = roll_back(connection, row.id, name_of(state), found.state_id, version, key_ring(ledger), actor())
            details = {"state": state, "from_version": version, "version": number}
            entry = audit.Entry("state.rollback", "asset-ledger state rollback", "success", actor(), details=details)
            audit.record(connection, row.id, entry)
    say(f"{state}: version {version} is again the newest, as version {number}")


@app.command("import")
def import_(
    state: State,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="- reads standard input.")],
    tenant: Tenant = None,
) -> None:
    """Keep a file as the next version: what `terraform state pull` or `pulumi stack export` printed."""
    from asset_ledger.store.access import audit
    from asset_ledger.store.iac.writing import add_file
    from asset_ledger.store.tenancy import as_tenant

    data = given(file, "terraform state pull")
    ledger = open_ledger()
    with connected(ledger) as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            written = add_file(connection, row.id, name_of(state), data, key_ring(ledger), actor())
            details = {"state": state, "version": written.version, "again": written.taken.again}
            entry = audit.Entry("state.write", "asset-ledger state import", "success", actor(), details=details)
            audit.record(connection, row.id, entry)
    flags = f" ({', '.join(written.taken.flags)})" if written.taken.flags else ""
    say(f"{state}: " + ("the newest version already" if written.taken.again else f"version {written.version}{flags}"))


app.command()(diff)
app.command()(plan)
app.command()(plans)
app.command()(parse)
app.command()(rebuild)
app.command()(rekey)
app.command("new-key")(new_key)


def _shown(state: object) -> str:
    tool, project, stack = (getattr(state, name) for name in ("tool", "project", "stack"))
    return f"{'' if tool == 'terraform' else f'{tool}:'}{project}/{stack}"
