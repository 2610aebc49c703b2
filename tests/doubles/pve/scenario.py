"""What a scenario file says: a cluster described in YAML, read into models. No behaviour.

`load("cluster")` reads scenarios/cluster.yaml; a file may include others (the users most of them share).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

SCENARIOS = Path(__file__).parent / "scenarios"
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def bytes_of(size: str | int | float) -> int:
    """Return the bytes of a size as Proxmox VE writes it: 32G, 512M, or a number of bytes."""
    text = str(size).strip().upper()
    unit = text[-1] if text[-1:] in UNITS and text[-1:] else ""
    return int(float(text.removesuffix(unit)) * UNITS[unit])


def _as_written(config: Any) -> dict[str, str]:
    """YAML makes numbers and booleans of values that a configuration file holds as text."""
    return {
        str(key): str(int(value) if isinstance(value, bool) else value) for key, value in dict(config or {}).items()
    }


Size = Annotated[int, BeforeValidator(bytes_of)]
Config = Annotated[dict[str, str], BeforeValidator(_as_written)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NodeSpec(Strict):
    """A host. The entry node's fingerprint is always that of the certificate the double serves."""

    name: str
    address: str
    fingerprint: str | None = None
    cpu: int = 8
    sockets: int = 1
    cpu_model: str = "AMD EPYC 7302P 16-Core Processor"
    mhz: str = "2994.372"
    memory: Size = bytes_of("64G")
    disk: Size = bytes_of("94G")
    level: str = ""
    network: list[dict[str, Any]] = Field(default_factory=list)


class GuestSpec(Strict):
    """A guest. `agent` is how the agent answers when it is asked; whether it is enabled stands in the config."""

    vmid: int
    node: str
    type: Literal["qemu", "lxc"] = "qemu"
    status: Literal["running", "stopped"] = "stopped"
    qmpstatus: str | None = None
    config: Config = Field(default_factory=dict)
    pending: Config = Field(default_factory=dict)
    pending_delete: list[str] = Field(default_factory=list)
    snapshots: dict[str, Config] = Field(default_factory=dict)
    agent: Literal["addresses", "silent", "not_running", "command_disabled", "empty", "partial"] = "not_running"
    agent_result: Any = None  # says exactly what `result` is, in place of `addresses`
    addresses: dict[str, list[str]] = Field(default_factory=dict)  # interface -> CIDRs, in the guest
    pool: str | None = None
    uptime: int = 86_400
    hastate: str | None = None
    stats: dict[str, Any] = Field(default_factory=dict)  # overrides numbers of the rows


class StorageSpec(Strict):
    name: str
    type: str = "dir"
    content: str = "images,rootdir"
    shared: bool = False
    nodes: list[str] | None = None
    size: Size = bytes_of("1T")
    used: Size = bytes_of("200G")


class UserSpec(Strict):
    userid: str
    password: str | None = None
    enabled: bool = True
    expired: bool = False
    tfa: bool = False
    groups: list[str] = Field(default_factory=list)


class TokenSpec(Strict):
    tokenid: str
    secret: str
    privsep: bool = True
    expired: bool = False


class AclSpec(Strict):
    """One entry; `ugid` is user@realm, @group or user@realm!token."""

    path: str
    role: str
    ugid: str
    propagate: bool = True


class Scenario(Strict):
    """A whole cluster, or a standalone node where `cluster` is None."""

    cluster: str | None = None
    cluster_version: int = 3
    nodes: list[NodeSpec]
    guests: list[GuestSpec] = Field(default_factory=list)
    pools: list[str] = Field(default_factory=list)
    storages: list[StorageSpec] = Field(default_factory=list)
    sdn: list[str] = Field(default_factory=list)
    options: dict[str, Any] = Field(default_factory=dict)  # datacenter.cfg
    users: list[UserSpec] = Field(default_factory=list)
    groups: list[str] = Field(default_factory=list)
    tokens: list[TokenSpec] = Field(default_factory=list)
    roles: dict[str, list[str]] = Field(default_factory=dict)
    acl: list[AclSpec] = Field(default_factory=list)


def _read(path: Path) -> dict[str, Any]:
    said: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    whole: dict[str, Any] = {}
    for name in said.pop("include", []):
        whole |= _read(path.parent / f"{name}.yaml")
    for key, value in said.items():
        if isinstance(value, list) and isinstance(whole.get(key), list):
            whole[key] = [*whole[key], *value]
        else:
            whole[key] = value
    return whole


def load(name: str | Path) -> Scenario:
    """Read a scenario by its name in scenarios/, or from a file."""
    path = Path(name) if Path(name).suffix else SCENARIOS / f"{name}.yaml"
    return Scenario.model_validate(_read(path))
