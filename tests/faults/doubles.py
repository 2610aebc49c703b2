"""The doubles the scenarios are played with: what one must offer, and the list of those there are.

A platform that comes later adds a class here that renders the same `World` and `Faults` in its own protocol, and a line
in DOUBLES; every scenario of this folder then runs over it too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Protocol

from asset_ledger.sources.platform import SourceConfig
from tests.faults.scripted import CERTIFICATE_CHANGED, NODE_UNREACHABLE, UNREACHABLE, ScriptedConfig
from tests.faults.world import NONE, Faults, Host, Machine, Vm, World, answers


class Double(Protocol):
    """A platform that shows a scripted world."""

    @property
    def source(self) -> SourceConfig:
        """The source that reads it."""

    @property
    def supports(self) -> frozenset[str]:
        """The names of the `Faults` it can play; a scenario that needs another is skipped."""

    @property
    def codes(self) -> Mapping[str, str]:
        """The platform's own error codes: of a `lost_page`, and as reasons under `down_hosts` and `stranger_hosts`."""

    def reading(self, world: World, faults: Faults = NONE) -> None:
        """Show this world, with these faults, to whoever reads from now on."""

    def name(self, machine: Machine) -> tuple[str, str]:
        """Return the external kind and id under which a reading gives a machine."""

    def generation(self, machine: Machine) -> Mapping[str, str]:
        """Return what tells a machine from another one that has its external id later."""


class Scripted:
    """The platform `scripted`, whose answers lie in a file."""

    supports = frozenset(Faults.__dataclass_fields__)
    codes: ClassVar[Mapping[str, str]] = {
        "lost_page": UNREACHABLE.code,
        "down_hosts": NODE_UNREACHABLE.code,
        "stranger_hosts": CERTIFICATE_CHANGED.code,
    }

    def __init__(self, folder: Path, name: str = "lab", **settings: object) -> None:
        self.source = ScriptedConfig.model_validate(
            {"name": name, "platform": "scripted", "answers": folder / f"{name}.json", **settings}
        )

    def reading(self, world: World, faults: Faults = NONE) -> None:
        self.source.answers.write_text(json.dumps(answers(world, faults)), encoding="utf-8")

    def name(self, machine: Machine) -> tuple[str, str]:
        return machine.kind, machine.id

    def generation(self, machine: Machine) -> Mapping[str, str]:
        match machine:
            case Vm():
                return {"created": machine.created, "uuid": machine.uuid}
            case Host():
                return {"created": machine.created}
            case _:
                return {}


DOUBLES: dict[str, Callable[[Path], Double]] = {"scripted": Scripted}
