"""What people say in iac.yaml: which source knows the machines of their states, what is no finding, who is told.

Pure: `pipeline.iac_file` reads the file, `pipeline.findings` asks these rules, docs/iac-yaml.md explains them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from asset_ledger.domain.iac.snapshot import Tool

FindingKind = Literal["drift", "missing", "double", "orphan"]
KINDS: tuple[FindingKind, ...] = get_args(FindingKind)
"""What is found of states."""

AgentKind = Literal["alive_but_gone", "agent_differs"]
AGENT_KINDS: tuple[AgentKind, ...] = get_args(AgentKind)
"""What is found where agents and platforms speak of one machine."""
AGENT_ATTRIBUTES = ("hostname", "os_family", "cpu_cores")
"""What is compared between them. Memory and disks are not: from within a machine these are other numbers."""

AnyKind = Literal[FindingKind, AgentKind]
EVERY_KIND: tuple[AnyKind, ...] = (*KINDS, *AGENT_KINDS)

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "aliyun": ("alicloud",),
    "pve": ("proxmox", "proxmoxve"),
    "vcenter": ("vsphere",),
}
"""Whose machines a source of that platform reads, by the last word of the provider. Its ids are those of the states."""

FROM_WITHIN = ("import", "ssh", "winrm")
"""Platforms that see anybody's machines, and know none of their ids: a mapping says whose they are."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """The source of the ledger by which the machines of some states are read.

    `states` are globs over PROJECT/STACK. None of tool, provider and alias is any; where no provider is named,
    `families` are those that may be meant, and empty is any. `orphans`: is every machine of the source to be declared?
    """

    tenant: str
    source: str
    states: tuple[str, ...]
    tool: Tool | None
    provider: str | None
    alias: str | None
    orphans: bool
    families: tuple[str, ...] = ()

    def covers(self, tenant: str, tool: Tool, state: str, provider: str, alias: str) -> bool:
        """Say whether it speaks of what a provider's configuration makes in a state (PROJECT/STACK) of a tenant."""
        family = provider.rpartition("/")[2]
        wanted = self.families if self.provider is None else (self.provider,)
        return (
            self.tenant == tenant
            and self.tool in (None, tool)
            and self.alias in (None, alias)
            and (not wanted or family in wanted or provider in wanted)
            and any(matches(glob, state) for glob in self.states)
        )


@dataclass(frozen=True, slots=True)
class Ignored:
    """What is no finding, or with `keep` is one after all. Each text is a glob, None is any; good up to `until`."""

    kind: AnyKind | None = None
    source: str | None = None
    state: str | None = None
    address: str | None = None
    type: str | None = None
    name: str | None = None
    external_id: str | None = None
    attribute: str | None = None
    keep: bool = False
    reason: str | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Hook:
    """Who is told of findings. `tenant` None is every tenant's; the secret is kept under `credential_ref`."""

    name: str
    url: str
    credential_ref: str
    tenant: str | None
    kinds: tuple[AnyKind, ...]
    ca_file: Path | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What would be a finding. A text that it does not have is empty."""

    kind: AnyKind
    source: str
    state: str
    address: str
    type: str
    name: str
    external_id: str
    attribute: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The whole of iac.yaml. Without the file nothing is mapped, ignored or told."""

    mappings: tuple[Mapped, ...] = ()
    ignore: tuple[Ignored, ...] = ()
    hooks: tuple[Hook, ...] = ()

    def mapping(self, tenant: str, tool: Tool, state: str, provider: str, alias: str) -> Mapped | None:
        """Return the first mapping that speaks of it; None where nobody said by which source it is read."""
        return next((one for one in self.mappings if one.covers(tenant, tool, state, provider, alias)), None)

    def ignored(self, one: Candidate, today: date) -> Ignored | None:
        """Return the rule by which it is no finding; None where it is one. The last rule that matches decides."""
        last = next((rule for rule in reversed(self.ignore) if _speaks_of(rule, one, today)), None)
        return None if last is None or last.keep else last


def matches(glob: str, text: str) -> bool:
    """Say whether a whole text is as the glob says: `*` is any text, `?` any character, all else itself.

    Not fnmatch: in `module.app["eu"].vm[0]` brackets are brackets.
    """
    return _compiled(glob).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    # a run of stars is one star: each further one would cost the text again
    parts = re.split(r"(\*+|\?)", glob)
    return re.compile(
        "".join(".*" if part[:1] == "*" else "." if part == "?" else re.escape(part) for part in parts), re.DOTALL
    )


def _speaks_of(rule: Ignored, one: Candidate, today: date) -> bool:
    if rule.until is not None and today > rule.until:
        return False
    if rule.kind not in (None, one.kind):
        return False
    asked = (
        (rule.source, one.source),
        (rule.state, one.state),
        (rule.address, one.address),
        (rule.type, one.type),
        (rule.name, one.name),
        (rule.external_id, one.external_id),
        (rule.attribute, one.attribute),
    )
    # what it does not have matches nothing: `state: "*"` is whatever stands in a state, and no orphan
    return all(glob is None or (text != "" and matches(glob, text)) for glob, text in asked)
