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
from tests.faults.aliyun import Aliyun
from tests.faults.hyperv import Hyperv
from tests.faults.pve import Pve
from tests.faults.scripted import CERTIFICATE_CHANGED, NODE_UNREACHABLE, UNREACHABLE, ScriptedConfig
from tests.faults.vcenter import Vcenter
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
    def hosts(self) -> bool:
        """Whether it tells of hosts, and which of them a machine runs on; a world of one that does not has none."""

    @property
    def clusters(self) -> int:
        """How many clusters one source can have."""

    @property
    def lists_generations(self) -> bool:
        """Whether a reading tells machines of one id apart while their node tells nothing."""

    @property
    def codes(self) -> Mapping[str, tuple[str, str]]:
        """The platform's own reasons under `down_hosts` and `stranger_hosts`: the host's, and that of its machines."""

    @property
    def pool_field(self) -> str:
        """The custom field that tells a machine's pool."""

    @property
    def state_fields(self) -> frozenset[str]:
        """The fields in which the platform itself says that it does not hear of a machine: these do change."""

    @property
    def refusals(self) -> Mapping[str, tuple[str, str]]:
        """By fault under which a reading fails: its code, and words of its message."""

    @property
    def found_by_ids(self) -> frozenset[str]:
        """The faults that only show where the ledger knows what they hide."""

    def reading(self, world: World, faults: Faults = NONE) -> None:
        """Show this world, with these faults, to whoever reads from now on."""

    def close(self) -> None:
        """Stop showing anything."""

    def name(self, machine: Machine) -> tuple[str, str]:
        """Return the external kind and id under which a reading gives a machine."""

    def generation(self, machine: Machine) -> Mapping[str, str]:
        """Return what tells a machine from another one that has its external id later."""


class Scripted:
    """The platform `scripted`, whose answers lie in a file."""

    supports = frozenset(Faults.__dataclass_fields__)
    hosts = True
    clusters = 2
    lists_generations = True
    found_by_ids: frozenset[str] = frozenset()
    refusals: ClassVar[Mapping[str, tuple[str, str]]] = {
        "lost_page": (UNREACHABLE.code, ""),
        "truncated": ("INVENTORY_INCOMPLETE", "the count says"),
        "short_body": ("INVENTORY_INCOMPLETE", "broke off"),
        "shifted_page": ("INVENTORY_INCOMPLETE", "the count says"),
        "hidden_pools": ("INVENTORY_INCOMPLETE", "VM.Audit on /pool/test"),
        "hostless": ("INVENTORY_RELATIONS_EMPTY", ""),
    }
    codes: ClassVar[Mapping[str, tuple[str, str]]] = {
        "down_hosts": (NODE_UNREACHABLE.code, NODE_UNREACHABLE.code),
        "stranger_hosts": (CERTIFICATE_CHANGED.code, CERTIFICATE_CHANGED.code),
    }
    pool_field = "pool"
    state_fields: frozenset[str] = frozenset()

    def __init__(self, folder: Path, name: str = "lab", **settings: object) -> None:
        self.source = ScriptedConfig.model_validate(
            {"name": name, "platform": "scripted", "answers": folder / f"{name}.json", **settings}
        )

    def reading(self, world: World, faults: Faults = NONE) -> None:
        self.source.answers.write_text(json.dumps(answers(world, faults)), encoding="utf-8")

    def close(self) -> None:
        pass

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


DOUBLES: dict[str, Callable[[Path], Double]] = {
    "scripted": Scripted,
    "pve": Pve,
    "vcenter": Vcenter,
    "aliyun": Aliyun,
    "hyperv": Hyperv,
}
