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

from asset_ledger.assets.checks import Findings, check_results, check_specs, refused_checks
from asset_ledger.assets.corrections import SHOWN_ROWS, plan_metadata
from asset_ledger.assets.failed_days import DEFECTS, failed_days, told
from asset_ledger.assets.metadata import chain_metadata, totals
from asset_ledger.assets.nodes import key, nodes, run_tags, specs
from asset_ledger.assets.policies import DAYS, ONE_RUN, RETRIES, beta_accepted, failure
from asset_ledger.assets.processes import this_process
from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import RAW_MISSING, LedgerError, PermanentError
from asset_ledger.domain.outcome import Correction
from asset_ledger.pipeline.derive import Derived, derive_day, plan_day
from asset_ledger.pipeline.inbox import by_day, is_settled, waiting
from asset_ledger.pipeline.intake import TakenFile, read_source, take_files
from asset_ledger.pipeline.ledger import Ledger, platform_of, source_row
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection
from asset_ledger.store.query.checks import completeness_proofs, relation_counts, waiting_absences
from asset_ledger.store.records import failed_targets, save_rejected_file, save_unread
from asset_ledger.store.sources import SourceRow, exclusive

LOCK_WAIT_S = 60.0
"""How long a run waits for another run of its source before it fails, retryably."""


class Reading(dg.Config):
    """What a run may be told. With nothing, a source reads what there is to read for its day."""

    files: list[str] = []
    """Import only: the files to take in. Empty takes every file of the day that waits in the inbox."""
    complete: bool = False
    """Import only: each file lists every machine of the source. What one does not list counts as missing."""
    replay: bool = False
    """Read nothing; derive the day again from kept raw."""
    plan: bool = False
    """Read nothing and write nothing; say what deriving the days again would change."""


@dataclass(slots=True)
class _Day:
    """What one run did for one day."""

    day: date
    mode: str = "replay"
    derived: Sequence[Derived] = ()
    corrections: Sequence[Correction] = ()
    files: list[TakenFile] = field(default_factory=list)
    failed: Sequence[Any] = ()
    proofs: Sequence[Any] = ()
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
            mode = "plan" if config.plan else "replay" if config.replay else "collect"
            context.instance.add_run_tags(context.run.run_id, run_tags(source, mode) | this_process())
            opened = ledger.open()
            try:
                with opened.connect() as connection:
                    row = source_row(connection, source)
                    with exclusive(connection, row, wait_s=LOCK_WAIT_S):
                        days, failed = _read_and_derive(context, config, opened, connection, source, row)
                    found = _findings(connection, source, row)
            except LedgerError as error:
                yield from refused_checks(source, error)
                raise failure(error) from error
            except DEFECTS as error:
                raise dg.Failure(description=told(error), allow_retries=False) from error
            if failed:
                # what the other days came to is shown before the run fails
                (_show_plans if config.plan else _show_days)(context, source, days)
                refused = next((error for error in failed.values() if isinstance(error, LedgerError)), None)
                if refused is not None:
                    yield from refused_checks(source, refused)
                raise failed_days(source, failed, [day.day for day in days if day.derived], ())
            if config.plan:
                yield from _planned(context, source, days)
                return
            # only now it is known whether anything was read
            mode = "collect" if any(day.mode == "collect" for day in days) else "replay"
            context.instance.add_run_tags(context.run.run_id, run_tags(source, mode))
            yield from _results(context, source, days, found)

    return chain


def _read_and_derive(
    context: dg.AssetExecutionContext,
    config: Reading,
    ledger: Ledger,
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
) -> tuple[list[_Day], dict[date, Exception]]:
    """Return what was done day by day, and the days that failed: the others of a range are done nevertheless.

    Raises what fails of a run for one day, and RAW_MISSING where no day has anything.
    """
    partitions = [date.fromisoformat(partition) for partition in context.partition_keys]
    if config.files and (config.plan or config.replay):
        raise dg.Failure(
            description=f"{source.name}: a replay or its plan reads nothing, and files are named "
            f"({len(config.files)}). Nothing was done. Take `files` out of the configuration, or `replay` and `plan`.",
            allow_retries=False,
        )
    if config.files and len(partitions) > 1:
        raise dg.Failure(
            description=f"{source.name}: files are taken in for one day, and this run is for {len(partitions)} "
            f"({partitions[0]} to {partitions[-1]}). Nothing was read. Start a run for the one day that "
            "the files describe, or drop them into the inbox under names that carry their days.",
            allow_retries=False,
        )
    today = collected_date(datetime.now(UTC))
    days: list[_Day] = []
    failed: dict[date, Exception] = {}
    for number, day in enumerate(map(_Day, partitions), 1):
        try:
            _do_day(context, config, ledger, connection, source, row, day, today)
        except Exception as error:
            if len(partitions) == 1:
                raise
            failed[day.day] = error
            context.log.warning("%s %s: failed: %s", source.name, day.day, told(error))
            if connection.closed or connection.broken:
                # nothing after it can be done, and whether it was done itself is not known
                done = [each.day for each in days if each.derived]
                raise failed_days(source, failed, done, partitions[number:]) from error
        else:
            days.append(day)
    if not failed and not any(day.derived for day in days):
        for file in (file for day in days for file in day.files):
            if file.error is not None:
                raise file.error
        span = f"{partitions[0]} to {partitions[-1]}" if len(partitions) > 1 else f"{partitions[0]}"
        raise PermanentError(RAW_MISSING, f"nothing to read or replay for {span}", target=source.name)
    return days, failed


def _do_day(
    context: dg.AssetExecutionContext,
    config: Reading,
    ledger: Ledger,
    connection: Connection,
    source: SourceConfig,
    row: SourceRow,
    day: _Day,
    today: date,
) -> None:
    """Read what there is to read for a day, derive it or plan that, and note in `day` what it came to."""
    started = time.monotonic()
    if config.plan:
        made = plan_day(connection, source, row, day.day)
    else:
        if not config.replay:
            _read(context, config, ledger, connection, source, row, day, today)
        made = derive_day(
            connection, source, row, day.day, run_id=context.run.run_id, mode=day.mode, inbox=_inbox(source)
        )
    day.derived, day.corrections = made.readings, made.corrections
    for one in day.derived:
        if one.unreported:
            context.log.warning("%s", one.unreported)
    if not config.plan:
        inventories = [one.inventory.id for one in day.derived]
        day.failed = failed_targets(connection, inventories, SHOWN_ROWS)
        day.proofs = completeness_proofs(connection, inventories)
    day.duration_s = time.monotonic() - started
    done = {name: count for name, count in totals(day.derived).items() if count}
    context.log.info("%s %s: %s", source.name, day.day, done or "no raw is kept")


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
            try:
                read_source(ledger, connection, source, row, scope="all", run_id=run_id, mode="collect")
            except Exception as error:
                # no target of a run is without its record, whatever kept it from being read
                save_unread(connection, row, day.day, error, run_id=run_id, mode="collect")
                raise
            day.mode = "collect"
        return
    inbox = _inbox(source)
    if inbox is None:
        return
    files = _named(context, config, inbox) if config.files else _waiting_for(context, inbox, day.day)
    day.files = take_files(
        connection,
        source,
        row,
        files,
        day.day,
        inbox=inbox,
        run_id=run_id,
        mode="collect",
        complete=config.complete,
    )
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


def _findings(connection: Connection, source: SourceConfig, row: SourceRow) -> Findings:
    """Return what the checks look at beside the counts of the run."""
    return Findings(
        held=waiting_absences(connection, row.id),
        relations=relation_counts(connection, row.id) if platform_of(source).relations else None,
    )


def _results(
    context: dg.AssetExecutionContext, source: SourceConfig, days: Sequence[_Day], found: Findings
) -> Iterator[Any]:
    """Yield what Dagster is to record: each day with its own numbers, nothing for a day without raw."""
    if len(days) == 1:
        for node in nodes(source):
            yield dg.MaterializeResult(asset_key=key(source, node), metadata=_metadata(source, node, days[0]))
    else:
        _show_days(context, source, days)
    counts = totals(one for day in days for one in day.derived)
    yield from check_results(source, counts, [proof for day in days for proof in day.proofs], found)


def _show_days(context: dg.AssetExecutionContext, source: SourceConfig, days: Sequence[_Day]) -> None:
    """Record the days of a range one by one: a yielded result would stand for every day of the run."""
    for day in days:
        for node in nodes(source) if day.derived else ():
            metadata = _metadata(source, node, day)
            context.log_event(
                dg.AssetMaterialization(key(source, node), partition=day.day.isoformat(), metadata=metadata)
            )
    _tell_skipped(context, days)


def _metadata(source: SourceConfig, node: str, day: _Day) -> dict[str, Any]:
    return chain_metadata(
        node,
        day.derived,
        mode=day.mode,
        duration_s=day.duration_s,
        failed=day.failed,
        corrections=day.corrections,
        proofs=day.proofs,
        files=day.files,
        inbox=_inbox(source),
    )


def _planned(context: dg.AssetExecutionContext, source: SourceConfig, days: Sequence[_Day]) -> Iterator[Any]:
    _show_plans(context, source, days)
    # Dagster wants every check's output; without a result there is no evaluation, and the last one stands
    for check in check_specs(source):
        yield dg.Output(None, output_name=check.get_python_identifier())


def _show_plans(context: dg.AssetExecutionContext, source: SourceConfig, days: Sequence[_Day]) -> None:
    """Show what deriving each day again would change: as observations, since nothing was made."""
    for day in days:
        if not day.derived:
            continue
        metadata = plan_metadata(day.derived, day.corrections)
        context.log.info("%s %s, a plan: %s", source.name, day.day, metadata["summary"])
        for correction in day.corrections[:SHOWN_ROWS]:
            for path, before, after in correction.fields:
                name = correction.hostname or correction.external_id or correction.asset_id
                context.log.info("%s %s: %s %s → %s", day.day, name, path, before, after)
        context.log_event(
            dg.AssetObservation(key(source, "daily_specs"), partition=day.day.isoformat(), metadata=metadata)
        )
    _tell_skipped(context, days)


def _tell_skipped(context: dg.AssetExecutionContext, days: Sequence[_Day]) -> None:
    empty = [day.day.isoformat() for day in days if not day.derived]
    if empty:
        shown = ", ".join(empty[:50]) + (" …" if len(empty) > 50 else "")
        context.log.warning("no raw is kept for %s of %s days, which were skipped: %s", len(empty), len(days), shown)


def op_name(source: SourceConfig) -> str:
    """Return the name under which a run's configuration addresses the chain."""
    return f"{source.name}_chain"


def reading_config(
    source: SourceConfig,
    *,
    files: Sequence[Path] = (),
    complete: bool = False,
    replay: bool = False,
    plan: bool = False,
) -> dict[str, Any]:
    """Return the run configuration that hands a `Reading` to a source's chain."""
    reading = {"files": [str(file) for file in files], "complete": complete, "replay": replay, "plan": plan}
    return {"ops": {op_name(source): {"config": reading}}}


def run_key(source: SourceConfig, day: date, fingerprints: Sequence[str]) -> str:
    """Return the key under which the same files are asked for once."""
    digest = hashlib.sha256(os.fsencode("\n".join(sorted(fingerprints)))).hexdigest()[:16]
    return f"{source.name}:{day}:{digest}"
