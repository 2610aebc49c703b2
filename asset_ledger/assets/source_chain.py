"""One source of sources.yaml as a chain of Dagster assets, made by one factory for every platform.

    <source>/raw_inventory → <source>/normalized_assets → <source>/ledger_assets, daily_specs, daily_ips

The chain is one step: raw is committed first, in transactions of its own, and what a reading says is one transaction.
What a run does for its days is `pipeline.days`; here is what Dagster gives it and what Dagster shows of it.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from asset_ledger.assets.checks import Findings, check_results, check_specs, refused_checks
from asset_ledger.assets.corrections import SHOWN_ROWS, plan_metadata
from asset_ledger.assets.failed_days import DEFECTS, failed_days
from asset_ledger.assets.metadata import chain_metadata
from asset_ledger.assets.nodes import key, nodes, run_tags, specs
from asset_ledger.assets.policies import DAYS, ONE_RUN, RETRIES, beta_accepted, failure
from asset_ledger.assets.processes import this_process
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.days import ConnectionLostError, Day, Request, SourceRun, told, totals
from asset_ledger.pipeline.inbox import inbox_of
from asset_ledger.pipeline.ledger import platform_of, source_row
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection
from asset_ledger.store.query.checks import relation_counts, waiting_absences
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
                request = _request(context, source, config)
                with opened.connect() as connection:
                    row = source_row(connection, source)
                    with exclusive(connection, row, wait_s=LOCK_WAIT_S):
                        done = SourceRun(opened, connection, source, row, request, context.log).do()
                    found = _findings(connection, source, row)
            except ConnectionLostError as lost:
                raise failed_days(source, lost.done, lost.unreached) from lost.__cause__
            except LedgerError as error:
                yield from refused_checks(source, error)
                raise failure(error) from error
            except DEFECTS as error:
                raise dg.Failure(description=told(error), allow_retries=False) from error
            if done.failed:
                # what the other days came to is shown before the run fails
                (_show_plans if config.plan else _show_days)(context, source, done.days)
                refused = next((error for error in done.failed.values() if isinstance(error, LedgerError)), None)
                if refused is not None:
                    yield from refused_checks(source, refused)
                raise failed_days(source, done)
            if config.plan:
                yield from _planned(context, source, done.days)
                return
            # only now it is known whether anything was read
            mode = "collect" if any(day.mode == "collect" for day in done.days) else "replay"
            context.instance.add_run_tags(context.run.run_id, run_tags(source, mode))
            yield from _results(context, source, done.days, found)

    return chain


def _request(context: dg.AssetExecutionContext, source: SourceConfig, config: Reading) -> Request:
    """Return what the run is asked for. Raises dg.Failure for a configuration that contradicts itself."""
    days = tuple(date.fromisoformat(partition) for partition in context.partition_keys)
    if config.files and (config.plan or config.replay):
        raise dg.Failure(
            description=f"{source.name}: a replay or its plan reads nothing, and files are named "
            f"({len(config.files)}). Nothing was done. Take `files` out of the configuration, or `replay` and `plan`.",
            allow_retries=False,
        )
    if config.files and len(days) > 1:
        raise dg.Failure(
            description=f"{source.name}: files are taken in for one day, and this run is for {len(days)} "
            f"({days[0]} to {days[-1]}). Nothing was read. Start a run for the one day that "
            "the files describe, or drop them into the inbox under names that carry their days.",
            allow_retries=False,
        )
    return Request(
        days=days,
        run_id=context.run.run_id,
        files=tuple(map(Path, config.files)),
        complete=config.complete,
        replay=config.replay,
        plan=config.plan,
        shown=SHOWN_ROWS,
    )


def _findings(connection: Connection, source: SourceConfig, row: SourceRow) -> Findings:
    """Return what the checks look at beside the counts of the run."""
    return Findings(
        held=waiting_absences(connection, row.id),
        relations=relation_counts(connection, row.id) if platform_of(source).relations else None,
    )


def _results(
    context: dg.AssetExecutionContext, source: SourceConfig, days: Sequence[Day], found: Findings
) -> Iterator[Any]:
    """Yield what Dagster is to record: each day with its own numbers, nothing for a day without raw."""
    if len(days) == 1:
        for node in nodes(source):
            yield dg.MaterializeResult(asset_key=key(source, node), metadata=_metadata(source, node, days[0]))
    else:
        _show_days(context, source, days)
    counts = totals(one for day in days for one in day.derived)
    yield from check_results(source, counts, [proof for day in days for proof in day.proofs], found)


def _show_days(context: dg.AssetExecutionContext, source: SourceConfig, days: Sequence[Day]) -> None:
    """Record the days of a range one by one: a yielded result would stand for every day of the run."""
    for day in days:
        for node in nodes(source) if day.derived else ():
            metadata = _metadata(source, node, day)
            context.log_event(
                dg.AssetMaterialization(key(source, node), partition=day.day.isoformat(), metadata=metadata)
            )
    _tell_skipped(context, days)


def _metadata(source: SourceConfig, node: str, day: Day) -> dict[str, Any]:
    return chain_metadata(
        node,
        day.derived,
        mode=day.mode,
        duration_s=day.duration_s,
        failed=day.failed,
        corrections=day.corrections,
        proofs=day.proofs,
        files=day.files,
        inbox=inbox_of(source),
    )


def _planned(context: dg.AssetExecutionContext, source: SourceConfig, days: Sequence[Day]) -> Iterator[Any]:
    _show_plans(context, source, days)
    # Dagster wants every check's output; without a result there is no evaluation, and the last one stands
    for check in check_specs(source):
        yield dg.Output(None, output_name=check.get_python_identifier())


def _show_plans(context: dg.AssetExecutionContext, source: SourceConfig, days: Sequence[Day]) -> None:
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


def _tell_skipped(context: dg.AssetExecutionContext, days: Sequence[Day]) -> None:
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
