"""The contract of a platform, and the model every configured source shares.

A platform is one `Platform` value in its folder's `__init__`, named by one line of `registry.py`.
How it is reached is its contract:

    pull    a collector reads a live system: healthcheck, detect, collect
    probe   a pull whose targets are ledger assets: one raw record a target, a failure is one too
    push    somebody brings the bytes: a dropped file, an agent, a state backend

All three end in `RawRecord`s. `parse` turns a raw record into items, purely, so that a past day can
be replayed from kept raw with today's code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.inventory import Item, RejectedRow
from asset_ledger.domain.raw import Delivered, RawRecord
from asset_ledger.domain.shards import MOST_SHARDS, Shard
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.sources.cron import checked_clock, checked_times

SourceType = Literal["platform", "probe", "import", "agent", "state"]
Contract = Literal["pull", "probe", "push"]
# what Dagster takes as an owner; a wrong one would keep every source from loading
Owner = Annotated[str, Field(pattern=r"^(team:\S+|[^@\s]+@[^@\s]+\.[^@\s]+)$")]


class SourceConfig(BaseModel):
    """What every source of sources.yaml may say. A platform's own model adds its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        description="Unique name; becomes the first part of the Dagster asset keys. Never rename: history hangs on it.",
    )
    platform: str = Field(description="Which platform's code reads this source.")
    description: str = Field(default="", description="One sentence for people; shown in the Dagster UI.")
    owners: tuple[Owner, ...] = Field(
        default=(),
        description="Who answers for this source: e-mail addresses or `team:NAME`.",
    )
    zone: str = Field(
        default="default",
        pattern=r"^[A-Za-z0-9_.:-]{1,64}$",
        description="The address space the source's management addresses are unique in: a site, a VPC.",
    )
    schedule: Annotated[str | dict[str, str], AfterValidator(checked_times)] | None = Field(
        default=None,
        description="Cron expression in Asia/Shanghai, or one for each scope. None: the platform's own default.",
    )
    enabled: bool = Field(default=True, description="False keeps the history and stops the reading.")
    removal_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="A complete reading that does not see more than this share of a kind's known machines, and at "
        "least `removal_at_least` of them, waits for a person before any counts as missing.",
    )
    removal_at_least: int = Field(default=5, ge=1, description="See `removal_share`.")
    fresh_by: Annotated[str, BeforeValidator(checked_clock)] | None = Field(
        default=None,
        description='The hour in Asia/Shanghai, `"09:00"`, by which the day has to be there. None: three hours after '
        "`schedule`; without a schedule and `every` no hour.",
    )
    every: str | None = Field(
        default=None,
        pattern=r"^[1-9][0-9]{0,2}d$",
        description="After how many days, `7d`, a reading is too old. None: when `schedule` says; a source without one "
        "is never too old.",
    )
    cliff_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="A day whose number of records differs from the usual by more than this share, and by at least "
        "`cliff_at_least`, is pointed out.",
    )
    cliff_at_least: int = Field(default=5, ge=1, description="See `cliff_share`.")


Shards = Annotated[
    int,
    Field(
        ge=1,
        le=MOST_SHARDS,
        description="Into how many runs a day's probing is cut, which several workers share. See workers.md.",
    ),
]
"""The field `shards` of every probing source."""


@dataclass(frozen=True, slots=True)
class TargetSelection:
    """Which ledger assets a probe source reads: their protocols, and the credential of those that name none.

    Without `needs_credential` those are read too that have none from either. A probing is cut into `shards` runs.
    """

    protocols: tuple[str, ...]
    default_credential_ref: str | None = None
    needs_credential: bool = True
    shards: int = 1


@dataclass(frozen=True, slots=True)
class Health:
    """The answer of `healthcheck`: `problems` is empty when a reading would succeed."""

    ok: bool
    checks: Mapping[str, str]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Detection:
    """The answer of `detect`, shown in the run's metadata."""

    target_version: str
    driver: str
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""


class Secrets(Protocol):
    """Turns a credential reference into its fields. See `asset_ledger.credentials`."""

    def resolve(self, reference: str) -> Mapping[str, str]:
        """Return the fields (`username`, `password`, `private_key`, …); raises a LedgerError."""


@dataclass(frozen=True, slots=True)
class ReadOrder:
    """What a collector is to read: a scope, on a probe its targets, which are a part of them all where `shard` is said.

    `known` are external kind and id of every machine that the ledger has of the source: a platform can ask for those
    its list lacks, before they count as missing. `gone` are those of them that are missing already.
    """

    scope: str = "all"
    targets: tuple[ProbeTarget, ...] = ()
    known: frozenset[tuple[str, str]] = frozenset()
    gone: frozenset[tuple[str, str]] = frozenset()
    shard: Shard | None = None


class Collector(Protocol):
    """The live half of a pull or probe platform. One instance serves one run."""

    def healthcheck(self, order: ReadOrder) -> Health:
        """Prove that a reading would succeed, without making one."""

    def detect(self, order: ReadOrder) -> Detection:
        """Say what is there: version, driver, capabilities."""

    def collect(self, order: ReadOrder) -> Iterator[RawRecord]:
        """Yield raw records as they come in. A target that fails yields its failure; the source failing raises."""


class Parse(Protocol):
    """The pure half: one raw record to items, in the raw's own order."""

    def __call__(self, raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:
        """Yield items. `known` maps record digests the ledger already has to external ids; it only saves work."""


@dataclass(frozen=True, slots=True)
class Queue:
    """How what waits in the HTTP service becomes raw of a source: whose it is, and a raw record of each delivery.

    `tenant` names the tenant of a configured source; `record` is pure, and leaves secrets out.
    """

    tenant: Callable[[Any], str]
    record: Callable[[Delivered], RawRecord]


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure for monitoring, made of what the proofs of a platform's readings count.

    With `of` it is the share of `counted` in `of` in a source's newest proven reading; without, the sum of `counted`
    over all readings, and of the readings that failed with one of `codes`.
    """

    name: str
    help: str
    counted: str
    of: str | None = None
    codes: tuple[ErrorCode, ...] = ()


@dataclass(frozen=True, slots=True)
class Platform:
    """Everything the rest of the program needs to know about one platform.

    `naming_rank` and `specs_rank` say whose word counts where two sources describe one ledger asset:
    the lower rank wins, for names and access on one side, for hardware, OS and addresses on the other.
    `complete_by_nature` is False for readings that never see everything: they mark nothing missing. Where it is True
    the parser proves each reading complete (`domain.inventory.Proof`). `scopes` are the parts that one run reads
    completely, each with the external kinds it covers; none means every kind. `chains` says which of them a source is
    read in, each by runs of its own and in this order. `relations` says that a virtual machine of this platform always
    runs on something: a reading in which none does is refused.
    `exclusive` names fields that no two sources may share, of a list not even one entry. `tables` are the ledger nodes
    the platform's chain writes, in lineage order. `kind` is the word under which the
    Dagster UI shows where raw comes from; at most `pool_limit` readings of the platform run at a time. `measures` are
    its own metrics, beside those that every platform has. What is pushed comes as files (`accept`) or to the HTTP
    service, where it waits (`queue`).
    """

    name: str
    title: str
    kind: str
    platform_type: str
    source_type: SourceType
    contract: Contract
    config: type[SourceConfig]
    parse: Parse
    parser_version: int
    error_codes: tuple[ErrorCode, ...]
    naming_rank: int
    specs_rank: int
    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"all": ()})
    chains: Callable[[Any], tuple[str, ...]] = lambda _: ("all",)
    complete_by_nature: bool = False
    relations: bool = False
    default_schedule: str | None = None
    pool_limit: int = 2
    open: Callable[[Any, Secrets], Collector] | None = None
    select: Callable[[Any], TargetSelection] | None = None
    accept: Callable[[Path, datetime, Any], RawRecord] | None = None
    queue: Queue | None = None
    reports: Callable[[RawRecord, tuple[RejectedRow, ...]], Iterable[tuple[str, bytes]]] | None = None
    exclusive: tuple[str, ...] = ()
    tables: tuple[str, ...] = ("ledger_assets", "daily_specs", "daily_ips")
    measures: tuple[Measure, ...] = ()

    @property
    def by_machine(self) -> bool:
        """Whether each raw record is one machine's word about itself, and a target of its own."""
        return self.contract == "probe" or self.queue is not None
