"""`asset-ledger findings` and `asset-ledger coverage`: what is not as declared, and how much is declared at all."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.opening import connected, open_ledger
from asset_ledger.cli.screen import clean, note, print_facts, print_json, print_table, say, short
from asset_ledger.cli.state_named import name_of
from asset_ledger.cli.tenant_named import Tenant, chosen
from asset_ledger.cli.wording import value_in_words

if TYPE_CHECKING:
    from asset_ledger.store.access.people import TenantRow
    from asset_ledger.store.database import Connection
    from asset_ledger.store.iac.found import CoverageRow, FindingRow

app = typer.Typer(
    help="What is not as declared, or not as agents say: drift, orphans and their like.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SourceName = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only of this source.")]
_WIDEST = 60


class Kind(StrEnum):
    """A kind of finding."""

    drift = "drift"
    missing = "missing"
    double = "double"
    orphan = "orphan"
    alive_but_gone = "alive_but_gone"
    agent_differs = "agent_differs"


class Which(StrEnum):
    """Which findings are listed."""

    open = "open"
    closed = "closed"
    all = "all"


@app.command("list")
def list_(
    kind: Annotated[list[Kind] | None, typer.Option("--kind", help="Only of this kind; may be repeated.")] = None,
    source: SourceName = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="PROJECT/STACK", help="Only of this state (pulumi: before it).")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Those that hold; so it is without a word.")] = False,
    closed: Annotated[bool, typer.Option("--closed", help="Those that hold no more.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Both.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, those opened last.")] = 200,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """List findings, those opened last first."""
    from asset_ledger.store.iac.found import listed
    from asset_ledger.store.tenancy import as_tenant

    if open_ + closed + every > 1:
        raise typer.BadParameter("--open, --closed and --all exclude one another")
    which = Which.closed if closed else Which.all if every else Which.open
    name = None if state is None else name_of(state)
    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            _demand_source(connection, row, source)
            found = listed(
                connection,
                row.id,
                status=which.value,
                kinds=[each.value for each in kind or ()],
                source=source,
                state=None if name is None else (name.tool, name.project, name.stack),
                limit=limit,
            )
    if as_json:
        print_json([asdict(each) for each in found])
        return
    if not found:
        note("None. `asset-ledger findings check` looks now; `asset-ledger coverage` says what was looked at.")
        return
    columns = ["id!", "kind", "where", "what", "declared", "observed", "source", "since!", "is"]
    print_table(columns, [_line(each) for each in found])
    if len(found) == limit:
        note(f"the {limit} opened last; --limit shows more")


@app.command()
def show(
    finding: Annotated[str, typer.Argument(metavar="ID", help="Its id, or how it begins.")],
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Show a finding."""
    from asset_ledger.domain.errors import FINDING_NOT_FOUND, PermanentError
    from asset_ledger.store.iac.found import findings_beginning
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = findings_beginning(connection, row.id, finding)
    if len(found) != 1:
        why = "several findings' ids begin so" if found else "there is no such finding"
        raise PermanentError(FINDING_NOT_FOUND, why, target=finding)
    if as_json:
        print_json(asdict(found[0]))
        return
    facts = asdict(found[0])
    for side in ("declared", "observed"):
        facts[side] = _value(found[0], facts[side], whole=True)
    print_facts(facts)


@app.command()
def check(as_json: AsJson = False) -> None:
    """Look for findings now, in every tenant, as is done after every reading."""
    from asset_ledger.pipeline import agent_findings
    from asset_ledger.pipeline.agents import queued
    from asset_ledger.pipeline.findings import look

    ledger = open_ledger(reads_sources=True)
    rules = ledger.iac_rules
    if not rules.mappings:
        note(f"{ledger.settings.iac_file} maps no state to a source: no state is compared (docs/iac-yaml.md).")
    with connected(ledger) as connection:
        found = look(ledger, connection)
        of_agents = agent_findings.look(ledger, connection) if queued(ledger.sources) else []
        if as_json:
            print_json([asdict(each) for each in found] + [asdict(each) for each in of_agents])
        else:
            for one in found:
                kinds = ", ".join(f"{count} {name}" for name, count in one.open.items())
                say(f"{one.tenant}: {one.opened} opened, {one.closed} closed; open are {kinds}")
                for row in one.coverage:
                    if row.why is not None:
                        note(f"{one.tenant}: nobody can say all of {row.source}: {row.why}")
                for name in one.unread:
                    note(f"{one.tenant}: the source {name} was not read yet: `asset-ledger sources collect {name}`")
                for name in one.unmapped:
                    note(f"{one.tenant}: iac.yaml does not say which source knows the machines of {name}")
            for told in of_agents:
                kinds = ", ".join(f"{count} {name}" for name, count in told.open.items())
                say(f"{told.tenant}, agents: {told.opened} opened, {told.closed} closed; open are {kinds}")
                if not told.platforms:
                    note(f"{told.tenant}: its agents are compared with no platform (docs/platforms/agent.md)")
                elif told.alone:
                    note(
                        f"{told.tenant}: {told.alone} of its agents' machines are on no machine of a platform, and "
                        "compared with nothing; look-alikes wait in `asset-ledger duplicates list`"
                    )


def coverage(
    source: SourceName = None,
    days: Annotated[int, typer.Option("--days", min=1, help="How many days of each source.")] = 1,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Say how much of each mapped source is declared, in machines, as last looked at on a day."""
    from asset_ledger.store.iac.found import coverage as told
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            _demand_source(connection, row, source)
            found = told(connection, row.id, source=source, days=days)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    if not found:
        note("Nothing was compared yet. Map states to sources in iac.yaml, then `asset-ledger findings check`.")
        return
    columns = ["source!", "day!", "observed>", "declared>", "managed>", "%>", "drifting>", "missing>", "doubles>",
               "orphans>", "ignored>", "unknown", "said"]  # fmt: skip
    print_table(columns, [_covered(each) for each in found])


def _demand_source(connection: Connection, tenant: TenantRow, name: str | None) -> None:
    """Raise PermanentError(CONFIG_INVALID) for a source of which nothing can be known, inside `as_tenant`."""
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.store.iac.found import sources_of

    if name is None or name in (there := sources_of(connection, tenant.id)):
        return
    raise PermanentError(
        CONFIG_INVALID,
        f"no source of this name was ever compared with states of {tenant.name}; there are: "
        f"{', '.join(there) or 'none'}. iac.yaml maps sources, and `asset-ledger findings check` compares them",
        target=f"--source {name}",
    )


def _line(one: FindingRow) -> list[Any]:
    where = f"{_state(one)} {one.addr}" if one.project else one.external_id
    what = one.attribute or one.name
    state = f"closed: {one.closed_because}" if one.closed_at else "unsure" if one.unsure_since else "open"
    sides = [_value(one, one.declared), _value(one, one.observed)]
    return [short(one.id), one.kind, where, what, *sides, one.source, one.opened_at, state]


def _state(one: FindingRow) -> str:
    return f"{'pulumi:' if one.tool == 'pulumi' else ''}{one.project}/{one.stack}"


def _value(one: FindingRow, value: Any, *, whole: bool = False) -> str | None:
    if value is None:
        return None
    text = clean(value_in_words(one.attribute, value) if not isinstance(value, dict) else json.dumps(value))
    return text if whole or len(text) <= _WIDEST else text[:_WIDEST] + "…"


def _covered(row: CoverageRow) -> list[Any]:
    unknown = ", ".join(f"{count} {why}" for why, count in sorted(row.unknown.items()))
    share = None if row.managed_percent is None else f"{row.managed_percent:g}"
    counts = [
        row.observed,
        row.declared,
        row.managed,
        share,
        row.drifting,
        row.missing,
        row.doubles,
        row.orphans,
        row.ignored,
    ]
    return [row.source, row.day, *counts, unknown, row.why]
