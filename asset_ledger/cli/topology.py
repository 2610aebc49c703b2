"""`asset-ledger topology`: what a machine stands on and what stands on it, as lines, as JSON, or as a picture."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.graph import NAMED, OfTenant, graph_of, meant, shown, tenant_names
from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import note, print_json, say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from asset_ledger.pipeline.topology import Around


def topology(
    name: Annotated[str, typer.Argument(metavar="NAME", help=NAMED)],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="With --svg: where it is written; else standard output.")
    ] = None,
    svg: Annotated[bool, typer.Option("--svg", help="A picture, as one SVG that stands for itself.")] = False,
    tenant: OfTenant = None,
    depth: Annotated[int, typer.Option(min=1, max=30, help="How many steps away at most.")] = 5,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most; the rest is counted.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a thing needs and what needs it: cluster, host, machines, database instances, resources of states."""
    from asset_ledger.pipeline.topology import around, counted, not_told, picture
    from asset_ledger.pipeline.topology import as_json as as_data

    if svg and as_json:
        raise typer.BadParameter("they exclude one another: give one of them", param_hint="--svg, --json")
    if file is not None and not svg:
        raise typer.BadParameter("a file is written with --svg alone", param_hint="FILE")
    with connected() as connection:
        seen = graph_of(connection, tenant)
        found = around(seen, meant(connection, seen, name), limit=limit, depth=depth)
        names = tenant_names(connection)
    if as_json:
        print_json(as_data(found))
        return
    command = f"asset-ledger impact {shlex.quote(name)}, or topology with --limit"
    if svg:
        drawn = picture(found, found.nodes[found.start].name, command)
        if file is None:
            typer.echo(drawn, nl=False)
        else:
            file.write_text(drawn, encoding="utf-8")
            note(f"{len(found.nodes)} drawn, {sum(found.more.values())} more counted: {file}")
        return
    for line in _lines(found, names):
        say(line)
    say(counted(found))
    if left := not_told(found):
        note(f"{left}: {command}")


def _lines(found: Around, names: dict[UUID, str]) -> Iterator[str]:
    """Yield what each node hangs on, under it, in the order in which they were found."""
    from asset_ledger.pipeline.topology import together, why

    for node in found.nodes:
        hangs = [edge for edge in found.edges if edge.node == node]
        more = found.more.get(node)
        if not hangs and not more and node != found.start:
            continue
        yield shown(found.nodes[node], names)
        for edge in hangs:
            yield f"  {why(edge.how)} {shown(found.nodes[edge.needed], names)}"
        if more:
            yield f"  and {more} more {together(more)} it"
