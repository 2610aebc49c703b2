"""One source of sources.yaml as a chain of Dagster assets, made by one factory for every platform.

    <source>/raw_inventory → <source>/normalized_assets → <source>/ledger_assets, daily_specs, daily_ips

The chain is one step: raw is committed first, in transactions of its own, and what a reading says is one transaction.
"""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from asset_ledger.assets.metadata import SHOWN_ROWS, chain_metadata, totals
from asset_ledger.assets.nodes import check_results, check_specs, key, nodes, run_tags, specs
from asset_ledger.assets.policies import DAYS, ONE_RUN, RETRIES, beta_accepted, failure
from asset_ledger.assets.processes import this_process
from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import RAW_MISSING, LedgerError, PermanentError
from asset_ledger.pipeline.derive import Derived, derive_day
from asset_ledger.pipeline.inbox import by_day, is_settled, waiting
from asset_ledger.pipeline.intake import TakenFile, read_source, take_files
from asset_ledger.pipeline.ledger import Ledger, platform_of, source_row
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection
from asset_ledger.store.records import failed_targets, save_rejected_file
from asset_ledger.store.sources import SourceRow, exclusive

LOCK_WAIT_S = 60.0
"""How long a run waits for another run of its source before it fails, retryably."""


class Reading(dg.Config):
    """What a run may be told. With nothing, a source reads what there is to read for its day."""

    files: list[str] = []
    """Import only: the files to take in. Empty takes every file of the day that waits in the inbox."""
    replay: bool = False
    """Read nothing; derive the day again from kept raw."""


@dataclass(slots=True)
class _Day:
    """What one run did for one day."""

    day: date
    mode: str = "replay"
    derived: list[Derived] = field(default_factory=list)
    files: list[TakenFile] = field(default_factory=list)
    failed: Sequence[Any] = ()
    duration_s: float = 0.0


def build_chain(source: SourceConfig) -> dg.AssetsDefinition:
    """Return the assets of a source."""
    platform = platform_of(source)

    with beta_accepted():

        @dg.multi_asset(
            name=op_name(source),
            specs=specs(source),
            check_specs=check_specs(source),
            partitions_def=DAYS,
            backfill_policy=ONE_RUN,
            retry_policy=RETRIES,
            pool=platform.name,
        )
        def chain(context: dg.AssetExecutionContext, config: Reading, ledger: LedgerResource) -> Iterator[Any]:
            # a run that somebody started by hand in the UI has no tags yet
            mode = "replay" if config.replay else "collect"
            context.instance.add_run_tags(context.run.run_id, run_tags(source, mode) | this_process())
            opened = ledger.open()
            try:
                with opened.connect() as connection:
                    row = source_row(connection, source)
                    with exclusive(connection, row, wait_s=LOCK_WAIT_S):
                        days = _read_and_derive(context, config, opened, connection, source, row)
            except LedgerError as error:
                raise failure(error) from error
            except (OSError, ValueError, TypeError, LookupError) as error:
                # a folder that may not be written, or a defect: the same again a minute later
                raise dg.Failure(description=_told(error), allow_retries=False) from error
            # only now it is known whether anything was read
            mode = "collect" if any(day.mode == "collect" for day in days) else "replay"
            context.instance.add_run_tags(context.run.run_id, run_tags(source, mode))
            yield from _results(context, source, days)

    return chain


def _read_and_derive(
    context: dg.AssetExecutionContext,
    config: Reading,
    ledger: Ledger,
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
) -> list[_Day]:
    """Return what was done day by day. Raises LedgerErrors, RAW_MISSING where no day has anything."""
    partitions = [date.fromisoformat(partition) for partition in context.partition_keys]
    if config.files and len(partitions) > 1:
        raise dg.Failure(
            description=f"{source.name}: files are taken in for one day, and this run is for {len(partitions)} "
            f"({partitions[0]} to {partitions[-1]}). Nothing was read. Start a run for the one day that "
            "the files describe, or drop them into the inbox under names that carry their days.",
            allow_retries=False,
        )
    today = collected_date(datetime.now(UTC))
    days: list[_Day] = []
    for day in (_Day(partition) for partition in partitions):
        started = time.monotonic()
        if not config.replay:
            _read(context, config, ledger, connection, source, row, day, today)
        day.derived = derive_day(
            connection, source, row, day.day, run_id=context.run.run_id, mode=day.mode, inbox=_inbox(source)
        )
        for one in day.derived:
            if one.unreported:
                context.log.warning("%s", one.unreported)
        day.failed = failed_targets(connection, [one.inventory.id for one in day.derived], SHOWN_ROWS)
        day.duration_s = time.monotonic() - started
        done = {name: count for name, count in totals(day.derived).items() if count}
        context.log.info("%s %s: %s", source.name, day.day, done or "no raw is kept")
        days.append(day)
    if not any(day.derived for day in days):
        for file in (file for day in days for file in day.files):
            if file.error is not None:
                raise file.error
        span = f"{partitions[0]} to {partitions[-1]}" if len(partitions) > 1 else f"{partitions[0]}"
        raise PermanentError(RAW_MISSING, f"nothing to read or replay for {span}", target=source.name)
    return days


def _read(
    context: dg.AssetExecutionContext,
    config: Reading,
    ledger: Ledger,
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    day: _Day,
    today: date,
) -> None:
    """Read what the source has for the day, if it has anything; the day's mode says whether raw was added."""
    run_id = context.run.run_id
    if platform_of(source).contract != "push":
        if day.day == today:
            read_source(ledger, connection, source, row, scope="all", run_id=run_id, mode="collect")
            day.mode = "collect"
        return
    inbox = _inbox(source)
    if inbox is None:
        return
    files = _named(context, config, inbox) if config.files else _waiting_for(context, inbox, day.day)
    day.files = take_files(connection, source, row, files, day.day, inbox=inbox, run_id=run_id, mode="collect")
    for file in day.files:
        context.log.info("%s: %s (%s)", file.name, file.state, file.note)
        if file.error is not None:
            save_rejected_file(connection, row, day.day, file.name, file.error, run_id=run_id)
    if any(file.state == "taken" for file in day.files):
        day.mode = "collect"


def _named(context: dg.AssetExecutionContext, config: Reading, inbox: Path) -> list[Path]:
    """Return the files the run was given, without those that another run took out of the inbox meanwhile."""
    files = [Path(file) for file in config.files]
    gone = [file for file in files if file.parent == inbox and not file.exists()]
    if gone:
        context.log.warning("no more in the inbox: %s", ", ".join(file.name for file in gone))
    return [file for file in files if file not in gone]


def _waiting_for(context: dg.AssetExecutionContext, inbox: Path, day: date) -> list[Path]:
    """Return the files of a day that wait in the inbox and are whole."""
    now = datetime.now(UTC)
    mine = [file for file, its_day in by_day(waiting(inbox), now) if its_day == day]
    still = [file.shown for file in mine if not is_settled(file)]
    if still:
        context.log.warning("left in the inbox because they may still be written: %s", ", ".join(still))
    return [file.path for file in mine if is_settled(file)]


def _inbox(source: SourceConfig) -> Path | None:
    inbox = getattr(source, "inbox", None)
    return inbox if isinstance(inbox, Path) else None


def _results(context: dg.AssetExecutionContext, source: SourceConfig, days: Sequence[_Day]) -> Iterator[Any]:
    """Yield what Dagster is to record: each day with its own numbers, nothing for a day without raw."""
    with_raw = [day for day in days if day.derived]
    for day in with_raw:
        for node in nodes(source):
            metadata = chain_metadata(
                node,
                day.derived,
                mode=day.mode,
                duration_s=day.duration_s,
                failed=day.failed,
                files=day.files,
                inbox=_inbox(source),
            )
            if len(days) == 1:
                yield dg.MaterializeResult(asset_key=key(source, node), metadata=metadata)
            else:
                # a yielded result stands for every day of the run, also for those without raw
                context.log_event(
                    dg.AssetMaterialization(key(source, node), partition=day.day.isoformat(), metadata=metadata)
                )
    empty = [day.day.isoformat() for day in days if not day.derived]
    if empty:
        shown = ", ".join(empty[:50]) + (" …" if len(empty) > 50 else "")
        context.log.warning("no raw is kept for %s of %s days, which were skipped: %s", len(empty), len(days), shown)
    yield from check_results(source, totals(one for day in days for one in day.derived))


def _told(error: Exception) -> str:
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {error}{notes}"


def op_name(source: SourceConfig) -> str:
    """Return the name under which a run's configuration addresses the chain."""
    return f"{source.name}_chain"


def reading_config(source: SourceConfig, *, files: Sequence[Path] = (), replay: bool = False) -> dict[str, Any]:
    """Return the run configuration that hands a `Reading` to a source's chain."""
    return {"ops": {op_name(source): {"config": {"files": [str(file) for file in files], "replay": replay}}}}


def run_key(source: SourceConfig, day: date, fingerprints: Sequence[str]) -> str:
    """Return the key under which the same files are asked for once."""
    digest = hashlib.sha256(os.fsencode("\n".join(sorted(fingerprints)))).hexdigest()[:16]
    return f"{source.name}:{day}:{digest}"
