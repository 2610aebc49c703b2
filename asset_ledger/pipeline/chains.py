"""The chains of a source: one for each scope that is read by itself, and the names under which Dagster knows them.

Most sources have one chain, of scope `all`. Where a platform splits a source (`Platform.chains`), each scope has its
own Dagster assets, job, schedule, checks and records, and `<source>_collect` does them all in one run, one after the
other.
Knows nothing of Dagster: the command line asks for runs by these names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.shards import Shard, cut
from asset_ledger.pipeline.ledger import platform_of
from asset_ledger.sources.cron import later
from asset_ledger.sources.platform import Platform, SourceConfig
from asset_ledger.store.scopes import overlaps

ALL = "all"
APART_MIN = 5
"""How many minutes after the chain before it a chain is read, where one cron expression is meant for several."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One scope of one source."""

    source: SourceConfig
    scope: str = ALL

    @property
    def platform(self) -> Platform:
        """The source's platform."""
        return platform_of(self.source)

    @property
    def covers(self) -> tuple[str, ...]:
        """The external kinds that its readings see whole; none where that is every kind."""
        return self.platform.scopes[self.scope]

    @property
    def mode(self) -> str:
        """What a run that reads it is called: `collect`, or `collect_<scope>`."""
        return f"collect{self._suffix}"

    @property
    def job(self) -> str:
        """The job that reads it alone."""
        return f"{self.source.name}_{self.mode}"

    @property
    def op(self) -> str:
        """The name under which a run's configuration addresses it."""
        return f"{self.source.name}_chain{self._suffix}"

    @property
    def nodes(self) -> dict[str, str]:
        """What Dagster calls each node, by the node's role, in lineage order: `raw_inventory` → `raw_hosts`."""
        roles = ("raw_inventory", "normalized_assets", *self.platform.tables)
        if self.scope == ALL:
            return {role: role for role in roles}
        stems = {"raw_inventory": "raw", "normalized_assets": "normalized", "ledger_assets": "ledger"}
        return {role: f"{stems.get(role, role)}{self._suffix}" for role in roles}

    @property
    def has_machines_on_hosts(self) -> bool:
        """Whether its readings tell which host a virtual machine runs on."""
        return self.platform.relations and (not self.covers or "vm" in self.covers)

    @property
    def _suffix(self) -> str:
        return "" if self.scope == ALL else f"_{self.scope}"


def chains(source: SourceConfig) -> tuple[Chain, ...]:
    """Return the chains of a source, in the order in which they are read."""
    return tuple(Chain(source, scope) for scope in platform_of(source).chains(source))


def collect_job(source: SourceConfig) -> str:
    """Return the name of the job that does every chain of a source in one run."""
    return f"{source.name}_collect"


def chosen(source: SourceConfig, mode: str | None) -> tuple[str, tuple[Chain, ...]]:
    """Return the job of a mode (`collect`, `collect_hosts`) and its chains. Raises CONFIG_INVALID for another mode."""
    every = chains(source)
    if mode in (None, "collect"):
        return collect_job(source), every
    for chain in every:
        if chain.mode == mode:
            return chain.job, (chain,)
    modes = dict.fromkeys(["collect", *(chain.mode for chain in every)])
    raise PermanentError(CONFIG_INVALID, f"it has no mode {mode}; its modes are {', '.join(modes)}", target=source.name)


@dataclass(frozen=True, slots=True)
class Timed:
    """A job that starts by the clock, and what keeps it from starting.

    That are the jobs of `blocked_by`, its own among them, and runs of any other name that do a chain of `overlaps`.
    """

    name: str
    scope: str
    mode: str
    job: str
    cron: str
    blocked_by: tuple[str, ...]
    overlaps: tuple[Chain, ...]


def timed(source: SourceConfig) -> tuple[Timed, ...]:
    """Return what of a source starts by the clock, in the order of reading; nothing where files are brought."""
    every = chains(source)
    said = source.schedule or platform_of(source).default_schedule
    if said is None:
        return ()
    if isinstance(said, str):
        said = {chain.scope: later(said, place * APART_MIN) for place, chain in enumerate(every)}
    jobs = {chain.scope: (chain.mode, chain.job, chain.covers) for chain in every}
    jobs.setdefault(ALL, ("collect", collect_job(source), ()))
    found = []
    for scope, (mode, job, covers) in jobs.items():
        if scope in said:
            others = tuple(other for _, other, theirs in jobs.values() if overlaps(covers, theirs))
            touched = tuple(chain for chain in every if overlaps(covers, chain.covers))
            suffix = "" if scope == ALL else f"_{scope}"
            found.append(Timed(f"{source.name}_daily{suffix}", scope, mode, job, said[scope], others, touched))
    return tuple(found)


def shards(source: SourceConfig, parts: int | None = None) -> tuple[Shard, ...]:
    """Return the shards that a day's probing of a source is cut into, one a run; none where it is one run.

    `parts` is another number than the source's own. Raises CONFIG_INVALID for a source that is not probed.
    """
    select = platform_of(source).select
    if select is None:
        if parts is None:
            return ()
        raise PermanentError(CONFIG_INVALID, "only probing is cut into shards", target=source.name)
    wanted = parts or select(source).shards
    return cut(wanted) if wanted > 1 else ()


def reading_config(
    reading: Sequence[Chain],
    *,
    files: Sequence[Path] = (),
    complete: bool = False,
    replay: bool = False,
    plan: bool = False,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """Return the run configuration that tells these chains what to do. Without a wish it is empty."""
    told: dict[str, Any] = {
        "files": [str(file) for file in files],
        "complete": complete,
        "replay": replay,
        "plan": plan,
    }
    if shard is not None:
        told["shard"] = str(shard)
    if not any(told.values()):
        return {}
    return {"ops": {chain.op: {"config": dict(told)} for chain in reading}}
