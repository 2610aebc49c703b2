"""`asset-ledger impact`: what goes when something goes, as a tree: each line hangs on the one it is under."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.graph import KINDS, NAMED, OfTenant, graph_of, meant, reason, shown, tenant_names
from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import note, print_json, say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from asset_ledger.store.iac.graph import Impact, Step


def impact(
    name: Annotated[str, typer.Argument(metavar="NAME", help=NAMED)],
    tenant: OfTenant = None,
    depth: Annotated[int, typer.Option(min=1, max=100, help="Tell what is this many steps away at most.")] = 30,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Tell this many at most; all are counted.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what goes when this goes: machines, database instances and resources, and why each of them does."""
    with connected() as connection:
        seen = graph_of(connection, tenant)
        start = meant(connection, seen, name)
        found = seen.impact([start], most=limit + 1, deepest=depth)
        start = next((step.id for step in found.steps), start)  # a merge may have come between
        names = tenant_names(connection)
    if as_json:
        print_json(_as_json(found, start))
        return
    say(shown(found.nodes[start], names))
    say(f"if this goes: {_counted(found)}")
    for line in _tree(found, start, names):
        say(line)
    if found.cut:
        note(f"{len(found.steps) - 1} of them are told: see more with --limit and --depth")


def _counted(found: Impact) -> str:
    parts = [f"{count} {KINDS[kind]}{'s' * (count != 1)}" for kind, count in found.counts.items() if count]
    return ("at least " if found.at_least else "") + (", ".join(parts) or "nothing else")


def _tree(found: Impact, start: UUID, names: dict[UUID, str]) -> Iterator[str]:
    """Yield the lines below the first: what hangs on a node directly under it, in the order of names."""
    below: dict[UUID, list[Step]] = {}
    for step in found.steps:
        if step.via is not None:
            below.setdefault(step.via, []).append(step)

    def under(node: UUID) -> list[Step]:
        # the last first: they are taken from the end
        return sorted(below.get(node, ()), key=lambda each: (each.kind, found.nodes[each.id].name), reverse=True)

    waiting = under(start)
    while waiting:
        step = waiting.pop()
        yield f"{'  ' * step.depth}{shown(found.nodes[step.id], names)}: {_why(found, step)}"
        waiting += under(step.id)


def _why(found: Impact, step: Step) -> str:
    """Return why a node goes; what hangs on a missing machine does so as it was when that was last seen."""
    on = found.nodes.get(step.via) if step.via else None
    return reason(step.how or "", step.kind) + (", as last known" if on is not None and on.missing_since else "")


def _as_json(found: Impact, start: UUID) -> dict[str, object]:
    return {
        "node": asdict(found.nodes[start]),
        "counts": found.counts,
        "at_least": found.at_least,
        "cut": found.cut,
        "nodes": [
            {**asdict(found.nodes[step.id]), "depth": step.depth, "via": step.via, "how": step.how}
            for step in found.steps
            if step.via is not None
        ],
    }
