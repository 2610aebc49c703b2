"""The resources of one state, whichever tool wrote it. Made by `terraform_state` and `pulumi_state`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from asset_ledger.domain.iac.addresses import Module

Tool = Literal["terraform", "pulumi"]
Path = tuple[str | int, ...]
Place = tuple[str, str]
"""Where an object stands in a state: its address, and under which a replaced one waits to be deleted."""


class Resource(NamedTuple):
    """One object of a state: an instance, or what a replacement left behind under its address (`deposed`).

    No two objects of one state share a `place`.
    `provider` is namespace/type in lower case, without the host it was fetched from (`hashicorp/aws`); `alias` tells
    apart its configurations. `attributes` are as the document has them: secrets included. `sensitive` are the paths
    that the tool itself marks. `dependencies` name resources as the tool does: Terraform without instance keys.
    `modules` is the path to it, with keys. Every other text is fit to be stored.

    A tuple: a large state has tens of thousands, and a frozen dataclass takes six times as long to make.
    """

    place: Place
    config: str
    provider: str
    alias: str
    type: str
    managed: bool
    attributes: Mapping[str, Any]
    sensitive: tuple[Path, ...] = ()
    dependencies: tuple[str, ...] = ()
    tainted: bool = False
    modules: tuple[Module, ...] = ()

    @property
    def address(self) -> str:
        """Where it stands, with every instance key; a Pulumi resource's URN."""
        return self.place[0]

    @property
    def deposed(self) -> str:
        """Under which key it waits to be deleted; empty for the current one."""
        return self.place[1]

    def __repr__(self) -> str:
        # what it is, and nothing of what it holds: a traceback or a log may print it
        return f"Resource({self.type!r}, {self.provider!r})"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state as it was at one version. `skipped` says in words what of it could not be read."""

    tool: Tool
    serial: int | None
    lineage: str | None
    tool_version: str | None
    resources: tuple[Resource, ...]
    skipped: tuple[str, ...] = ()


def one_a_place(resources: Iterable[Resource], skipped: list[str]) -> tuple[Resource, ...]:
    """Return the first object of each place, and say in `skipped` which places were told twice."""
    found: dict[Place, Resource] = {}
    for each in resources:
        if found.setdefault(each.place, each) is not each:
            skipped.append(f"{each.address}{f' ({each.deposed})' if each.deposed else ''} is there twice")
    return tuple(found.values())
