"""`asset-ledger state diff`: what happened to the resources of a state between two versions, in words."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import clean, note, print_json, say
from asset_ledger.cli.state_named import State, state_named
from asset_ledger.cli.tenant_named import Tenant, chosen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asset_ledger.store.iac.resources import ToldEvent

_WIDEST = 100
_MOST = 10_000


def diff(
    state: State,
    first: Annotated[int | None, typer.Argument(metavar="[A]", min=0, help="Without it: the one before B.")] = None,
    last: Annotated[int | None, typer.Argument(metavar="[B]", min=1, help="Without it: the newest.")] = None,
    tenant: Tenant = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what happened to the resources between version A and version B. What is secret shows as a hash."""
    from asset_ledger.store.iac.resources import events
    from asset_ledger.store.iac.states import versions
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = state_named(connection, row.id, state)
            upto = found.head_version if last is None else last
            above = max(upto - 1, 0) if first is None else first
            if above > upto:
                raise typer.BadParameter(f"version {above} comes after version {upto}", param_hint="A B")
            told = events(connection, row.id, found.state_id, above=above, upto=upto, limit=_MOST)
            between = versions(connection, row.id, found.state_id, upto - above, below=upto + 1) if upto > above else []
    if as_json:
        print_json([asdict(each) for each in told])
        return
    for version in reversed(between):
        if version.parsed_at is None:
            note(f"version {version.version} was not read yet: `asset-ledger state parse`")
        elif version.parse_error is not None:
            note(f"version {version.version}: {version.parse_error}")
    if not told:
        say(f"{state}: nothing happened to a resource between version {above} and version {upto}")
    by = {version.version: version for version in between}
    for number, group in groupby(told, key=lambda each: each.version):
        facts = by.get(number)
        say(f"version {number}" + (f", {facts.created_at:%Y-%m-%d %H:%M} UTC by {facts.actor}" if facts else ""))
        for each in group:
            for line in _lines(each):
                say(line)
    if len(told) == _MOST:
        note(f"the first {_MOST} events; name two versions that are closer together for the others")


def _lines(event: ToldEvent) -> Iterator[str]:
    place = clean(event.addr) + (f" (deposed {event.deposed})" if event.deposed else "")
    from_place = f", before {clean(event.previous_addr)}" if event.previous_addr else ""
    yield f"  {event.action} {place}{from_place}"
    if event.action == "update":
        for step in event.patch:
            yield "      " + step_told(step)


def step_told(step: dict[str, Any]) -> str:
    """Return a step of a patch in words."""
    place = clean(str(step["path"]).lstrip("/").replace("/", ".").replace("~1", "/").replace("~0", "~"))
    if step["op"] == "remove":
        return f"{place or 'everything'}: gone"
    text = clean(json.dumps(step.get("value"), ensure_ascii=False))
    text = text if len(text) <= _WIDEST else text[:_WIDEST] + "…"
    return f"{place or 'everything'}: {'now' if step['op'] == 'replace' else 'new,'} {text}"
