"""The ledger made again from its evidence: raw readings, resolutions and decisions. Nothing else is needed.

Everything derived is dropped and every reading derived anew in the order in which readings count, in one transaction.
With `verify` that is rolled back, and what came out is compared with what was there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from asset_ledger.domain.errors import CONFIG_INVALID, REBUILD_DIFFERS, PermanentError
from asset_ledger.pipeline.derive import derive_again
from asset_ledger.pipeline.ledger import platform_of, source_row
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection
from asset_ledger.store.derive import evidence
from asset_ledger.store.derive.absences import settle_absences
from asset_ledger.store.derive.apply import begin_writing
from asset_ledger.store.derive.evidence import Difference
from asset_ledger.store.derive.follow import follow
from asset_ledger.store.derive.roots import repoint
from asset_ledger.store.derive.settle import settle_assets
from asset_ledger.store.sources import SourceRow, exclusive

WAIT_S = 60.0
"""How long a rebuild waits for a run that holds a source."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a rebuild did. `digests` are of every derived table, by name; `stale` counts readings of an older parser.

    `differences` names every table that came out otherwise, with examples; it is empty where the ledger is as its
    evidence says. Days that were derived by an older parser may differ until they are replayed. `behind` counts rows of
    the tables that follow the assets which were not up to date, or were changed by hand.
    """

    readings: int
    digests: dict[str, str]
    differences: tuple[Difference, ...]
    stale: dict[str, int]
    behind: dict[str, int]


def rebuild(
    connection: Connection,
    sources: Sequence[SourceConfig],
    *,
    verify: bool,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Drop what is derived, derive it again, and compare; with `verify` leave the ledger as it was.

    Holds every source, so that nothing is read meanwhile. Raises RetryableError(SOURCE_BUSY), and
    PermanentError: CONFIG_INVALID where raw is kept of a source that sources.yaml does not have; REBUILD_DIFFERS where
    another parser derived readings, unless that is only verified.
    """
    with ExitStack() as held:
        configured: dict[int, tuple[SourceConfig, SourceRow]] = {}
        for source in sources:
            row = source_row(connection, source)
            held.enter_context(exclusive(connection, row, wait_s=WAIT_S))
            configured[row.id] = (source, row)
        held.enter_context(connection.transaction(force_rollback=verify))
        writing = begin_writing(connection, rebuild=True)
        readings = evidence.derived_readings(connection)
        _demand_configured(connection, configured, {source_id for source_id, _ in readings})
        stale = evidence.stale_readings(
            connection, {row.id: platform_of(source).parser_version for source, row in configured.values()}
        )
        if stale and not verify:
            raise PermanentError(
                REBUILD_DIFFERS,
                "an older parser derived readings of it, and what their days answered until now would be forgotten: "
                + ", ".join(f"{count} of {name}" for name, count in stale.items()),
                target="the ledger",
            )
        # two states are compared, not a state with yesterday's links
        behind = follow(connection)
        before = evidence.keep(connection)
        evidence.drop_derived(connection)
        for number, (source_id, inventory) in enumerate(readings, 1):
            derive_again(connection, *configured[source_id], inventory, writing)
            if number % 100 == 0:
                say(f"{number:,} of {len(readings):,} readings, at {inventory.collected_date}")
        for _, row in configured.values():
            settle_absences(connection, row.id)
        repoint(connection)
        settle_assets(connection, None)
        follow(connection)
        after = evidence.digests(connection)
        differences = (
            *evidence.mended_documents(connection),
            *evidence.differences(connection, before, after),
        )
    return Report(len(readings), after, differences, stale, {name: count for name, count in behind.items() if count})


def _demand_configured(
    connection: Connection, configured: dict[int, tuple[SourceConfig, SourceRow]], wanted: set[int]
) -> None:
    left = evidence.source_names(connection, wanted - configured.keys())
    if left:
        raise PermanentError(
            CONFIG_INVALID,
            "raw is kept of sources it does not have, and their parsers are needed; put them back, disabled if need be",
            target=", ".join(left),
        )
