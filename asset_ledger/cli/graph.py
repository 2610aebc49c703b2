"""`asset-ledger graph`: by which way one thing needs another; and which node a person means, for `impact` too."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import clean, note, print_json, say
from asset_ledger.cli.tenant_named import chosen

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from asset_ledger.store.database import Connection
    from asset_ledger.store.iac.graph import Graph, Kind, Node, Paths

app = typer.Typer(help="What needs what: by which way one thing needs another.", no_args_is_help=True)

NAMED = (
    "A machine's name, address or id; a resource's address, or [TOOL:]PROJECT/STACK:ADDRESS; an instance's name;"
    " KIND:UUID."
)
OfTenant = Annotated[
    str | None, typer.Option("--tenant", metavar="TENANT", help="Resources of this tenant alone; without it, of all.")
]
KINDS = {"asset": "machine", "resource": "resource", "instance": "database instance"}
_SHOWN = 10
_HOW = {
    "runs_on": "runs on it",
    "member_of": "is a member of it",
    "instance_on": "is confirmed to run on it",
    "value": "one of its attributes names it",
    "config": "depends on it",
    "resource": "depends on it, or on another of its count",
    "property": "one of its inputs is made of it",
    "parent": "is a part of it",
    "provider": "is made through it",
}


@app.callback()
def graph() -> None:
    """What needs what."""


@app.command()
def path(
    first: Annotated[str, typer.Argument(metavar="A", help=NAMED)],
    second: Annotated[str, typer.Argument(metavar="B")],
    tenant: OfTenant = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many ways at most.")] = 5,
    depth: Annotated[int, typer.Option(min=1, max=100, help="How many steps a way has at most.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say by which ways A needs B; where it does not, by which B needs A. The shortest come first."""
    with connected() as connection:
        seen = graph_of(connection, tenant)
        start, end = meant(connection, seen, first), meant(connection, seen, second)
        found = seen.paths(start, end, most=limit, deepest=depth)
        cut = found.cut
        if not found.paths:
            found = seen.paths(end, start, most=limit, deepest=depth)
            cut = cut or found.cut
        names = tenant_names(connection)
    if as_json:
        print_json({"paths": [_as_json(found, each) for each in found.paths], "cut": cut})
        return
    for number, each in enumerate(found.paths, 1):
        for line in _lines(found, each, names):
            say(line)
        if number < len(found.paths):
            say()
    if not found.paths:
        found_none = "no way was found by which either needs the other" if cut else "neither needs the other"
        say(f"{first} and {second}: {found_none}, by {depth} steps or fewer")
    if cut:
        note("not all was looked through: raise --limit or --depth, or name things that are closer together")


def _as_json(found: Paths, each: list[UUID]) -> list[dict[str, object]]:
    hows = {(edge.node, edge.needed): edge.how for edge in reversed(found.edges)}
    ways = [None, *(hows[pair] for pair in pairwise(each))]
    return [
        {"kind": found.nodes[node].kind, "id": node, "name": found.nodes[node].name, "how": how}
        for node, how in zip(each, ways, strict=True)
    ]


def _lines(found: Paths, each: list[UUID], names: dict[UUID, str]) -> Iterable[str]:
    hows = {(edge.node, edge.needed): edge.how for edge in reversed(found.edges)}
    yield shown(found.nodes[each[0]], names)
    for before, node in pairwise(each):
        why = reason(hows[before, node], found.nodes[before].kind)
        yield f"  {why}: {shown(found.nodes[node], names)}"


def reason(how: str, kind: Kind) -> str:
    """Return in words why a node of a kind needs the other end of an edge, which is `it`."""
    if rule := how.removeprefix("joined_by_") if how.startswith("joined_by_") else "":
        return f"declares it, known by its {rule}" if kind == "resource" else f"is declared by it, known by its {rule}"
    return _HOW.get(how, how)


def shown(node: Node, names: dict[UUID, str]) -> str:
    """Return a node as a line has it: what it is, its name, and where it is found."""
    place = [*node.states, names.get(node.tenant_id) if node.tenant_id and len(names) > 1 else None]
    told = [None if node.type == node.kind else node.type, node.address if node.address != node.name else None, *place]
    if node.deposed:
        told.append(f"deposed {node.deposed}")
    if node.missing_since:
        told.append(f"missing since {node.missing_since:%Y-%m-%d}")
    if node.retired_at:
        told.append(f"retired {node.retired_at:%Y-%m-%d}")
    more = ", ".join(filter(None, told))
    return clean(f"{KINDS[node.kind]} {node.name}" + (f" ({more})" if more else ""))


def graph_of(connection: Connection, tenant: str | None) -> Graph:
    """Return the graph: the whole ledger, with the resources of a tenant or of all of them."""
    from asset_ledger.store.access.people import tenants
    from asset_ledger.store.iac.graph import Graph

    if tenant is not None:
        return Graph(connection, (chosen(connection, tenant).id,))
    return Graph(connection, tuple(each.id for each in tenants(connection)))


def tenant_names(connection: Connection) -> dict[UUID, str]:
    """Return what the tenants are called."""
    from asset_ledger.store.access.people import tenants

    return {each.id: each.name for each in tenants(connection)}


def meant(connection: Connection, seen: Graph, text: str) -> UUID:
    """Return the node that a person means.

    Raises PermanentError(ASSET_NOT_FOUND), or PermanentError(ASSET_AMBIGUOUS) whose note names the candidates.
    """
    from asset_ledger.domain.errors import ASSET_AMBIGUOUS, ASSET_NOT_FOUND, PermanentError

    found = _by_id(seen, text)
    if not found:
        found = seen.answering(text) | _machine(connection, seen, text)
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise PermanentError(ASSET_NOT_FOUND, "no machine, resource or linked instance answers to it", target=text)
    error = PermanentError(ASSET_AMBIGUOUS, f"{len(found)} nodes answer to it; name one by KIND:UUID", target=text)
    names = tenant_names(connection)
    told = [f"  {each.kind}:{each.id}  {shown(each, names)}" for each in seen.named(found).values()]
    error.add_note("\n".join(told[:_SHOWN] + [f"  and {len(told) - _SHOWN} more"] * (len(told) > _SHOWN)))
    raise error


def _by_id(seen: Graph, text: str) -> dict[UUID, Kind]:
    from uuid import UUID

    kind, _, rest = text.rpartition(":")
    try:
        wanted = UUID(rest)
    except ValueError:
        return {}
    return {each: of for each, of in seen.known([wanted]).items() if kind in ("", of)}


def _machine(connection: Connection, seen: Graph, text: str) -> dict[UUID, Kind]:
    from asset_ledger.domain.errors import ASSET_NOT_FOUND, PermanentError
    from asset_ledger.store.query.assets import find_asset

    try:
        return seen.known([find_asset(connection, text)])
    except PermanentError as error:
        if error.code != ASSET_NOT_FOUND:
            raise
        return {}
