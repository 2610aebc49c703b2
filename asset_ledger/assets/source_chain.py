"""One source of sources.yaml as chains of Dagster assets, one for each scope, made by one factory for every platform.

    <source>/raw_inventory → <source>/normalized_assets → <source>/ledger_assets, daily_specs, daily_ips

A chain is one step: raw is committed first, in transactions of its own, and what a reading says is one transaction.
What a run does for its days is `pipeline.days`; here is what Dagster gives it and what Dagster shows of it.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.tags import RETRY_NUMBER_TAG

from asset_ledger.assets.checks import Findings, check_results, check_specs, refused_checks
from asset_ledger.assets.corrections import SHOWN_ROWS, plan_metadata
from asset_ledger.assets.failed_days import DEFECTS, failed_days
from asset_ledger.assets.metadata import chain_metadata
from asset_ledger.assets.nodes import key, keys, run_tags, specs
from asset_ledger.assets.policies import DAYS, ONE_RUN, RETRIES, beta_accepted, failure
from asset_ledger.assets.processes import this_process
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.shards import Shard
from asset_ledger.pipeline.chains import ALL, Chain, chains, collect_job
from asset_ledger.pipeline.days import ConnectionLostError, Day, Request, SourceRun, told, totals
from asset_ledger.pipeline.inbox import inbox_of
from asset_ledger.pipeline.ledger import source_row
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.resources.presence import PresenceResource
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection
from asset_ledger.store.query.checks import relation_counts, waiting_absences
from asset_ledger.store.raw import take_up
from asset_ledger.store.records import save_unread
from asset_ledger.store.sessions import end_sessions
from asset_ledger.store.sources import Part, SourceRow, exclusive, part_of_days, part_of_shard

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
    shard: str = ""
    """Probing only: the part of the machines to read, like 3/8. Empty reads them all."""
    left_by: list[str] = []
    """Replay of a probing only: runs that ended in the middle, whose kept raw is to be derived with the rest."""


def build_chains(source: SourceConfig) -> list[dg.AssetsDefinition]:
    """Return the assets of a source, a definition for each of its chains."""
    return [_build(chain, first=place) for place, chain in enumerate(reversed(chains(source)))]


def _build(chain: Chain, *, first: int) -> dg.AssetsDefinition:
    source = chain.source

    with beta_accepted():

        @dg.multi_asset(
            name=chain.op,
            specs=specs(chain),
            check_specs=check_specs(chain),
            partitions_def=DAYS,
            backfill_policy=ONE_RUN,
            retry_policy=RETRIES,
            pool=chain.platform.name,
            # in a run that does several chains of the source, theirs is the order of `chains`
            op_tags={"dagster/priority": str(first)} if first else None,
        )
        def step(
            context: dg.AssetExecutionContext,
            config: Reading,
            ledger: LedgerResource,
            presence: PresenceResource,  # noqa: ARG001 - it is there as long as the run is
        ) -> Iterator[Any]:
            _demand_not_over(context)
            others = _does_others(context, chain)
            scope, collecting = (ALL, "collect") if others else (chain.scope, chain.mode)
            # a run that somebody started by hand in the UI has no tags yet
            mode = "plan" if config.plan else "replay" if config.replay else collecting
            worked_on = this_process(context.run.run_id)
            context.instance.add_run_tags(context.run.run_id, run_tags(source, mode, scope) | worked_on)
            opened = ledger.open()
            try:
                request = _request(context, chain, config, mode=collecting, others=others)
                with opened.connect(context.run.run_id) as connection:
                    row = source_row(connection, source)
                    with _held(context, connection, chain, row, request):
                        for day in request.days if config.left_by else ():
                            # who holds the day knows that none of them is at it any more
                            take_up(connection, row, day, config.left_by)
                        done = SourceRun(opened, connection, chain, row, request, context.log).do()
                    found = _findings(connection, chain, row)
            except ConnectionLostError as lost:
                raise failed_days(source, lost.done, lost.unreached) from lost.__cause__
            except LedgerError as error:
                yield from refused_checks(chain, error)
                raise failure(error) from error
            except DEFECTS as error:
                raise dg.Failure(description=told(error), allow_retries=False) from error
            if done.failed:
                # what the other days came to is shown before the run fails
                (_show_plans if config.plan else _show_days)(context, chain, done.days)
                refused = next((error for error in done.failed.values() if isinstance(error, LedgerError)), None)
                if refused is not None:
                    yield from refused_checks(chain, refused)
                raise failed_days(source, done)
            if not done.derived and request.shard is not None:
                yield from _left(context, chain, request.shard)
                return
            if config.plan or not done.derived:
                yield from _planned(context, chain, done.days)
                return
            # only now it is known whether anything was read
            mode = collecting if any(day.mode != "replay" for day in done.days) else "replay"
            context.instance.add_run_tags(context.run.run_id, run_tags(source, mode, scope))
            yield from _results(context, chain, done.days, found)

    return step


def _demand_not_over(context: dg.AssetExecutionContext) -> None:
    """Raise dg.Failure where the run was given up meanwhile: a worker that hung and goes on is to do nothing more."""
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is not None and run.is_finished:
        raise dg.Failure(
            description=f"run {run.run_id} is over ({run.status.value}): what it was to do is another one's now",
            allow_retries=False,
        )


def _does_others(context: dg.AssetExecutionContext, chain: Chain) -> bool:
    """Say whether the run does other chains of the source too."""
    selected = context.run.asset_selection or ()
    others = [one for one in chains(chain.source) if one != chain]
    by_job = bool(others) and context.run.job_name == collect_job(chain.source)
    return by_job or any(each in selected for other in others for each in keys(other))


@contextmanager
def _held(
    context: dg.AssetExecutionContext, connection: Connection, chain: Chain, row: SourceRow, request: Request
) -> Iterator[None]:
    """Hold what the chain reads. A run that gives up because another one has it leaves the record of that, too."""
    with ExitStack() as stack:
        try:
            # a run before this one may hang on: nobody else ends its sessions, and what it holds is held
            end_sessions(connection, [run.run_id for run in _before(context)])
            part = _part(chain, request)
            stack.enter_context(exclusive(connection, row, covers=chain.covers, part=part, wait_s=LOCK_WAIT_S))
        except LedgerError as error:
            if not request.plan and context.retry_number >= RETRIES.max_retries:
                mode = "replay" if request.replay else request.mode
                save_unread(
                    connection, row, request.days[-1], error, run_id=request.run_id, mode=mode, scope=chain.scope
                )
            raise
        yield


def _part(chain: Chain, request: Request) -> Part | None:
    """Return what of the source the run holds, or None where that is all of it."""
    if request.shard is not None:
        return part_of_shard(request.shard, request.days[0])
    return part_of_days(request.days, chain.covers) if request.in_part else None


def _before(context: dg.AssetExecutionContext) -> list[dg.DagsterRun]:
    """Return the runs that are over of which this one is done again, the latest first: by Dagster, or by a person."""
    runs: list[dg.DagsterRun] = [context.run]
    while runs[-1].parent_run_id is not None:
        before = context.instance.get_run_by_id(runs[-1].parent_run_id)
        if before is None or not before.is_finished:
            break
        runs.append(before)
    return runs[1:]


def _attempts(context: dg.AssetExecutionContext) -> tuple[str, ...]:
    """Return this run and the failed ones that Dagster does again with it. Who asks by hand wants all read anew."""
    runs: list[dg.DagsterRun] = [context.run]
    for before in _before(context):
        # the daemon's own retries are numbered, and a person's are not
        if RETRY_NUMBER_TAG not in runs[-1].tags or before.status != dg.DagsterRunStatus.FAILURE:
            break
        runs.append(before)
    return tuple(run.run_id for run in runs)


def _request(context: dg.AssetExecutionContext, chain: Chain, config: Reading, *, mode: str, others: bool) -> Request:
    """Return what the run is asked for. Raises dg.Failure for a configuration that contradicts itself."""
    source = chain.source
    days = tuple(date.fromisoformat(partition) for partition in context.partition_keys)
    try:
        shard = Shard.named(config.shard) if config.shard else None
    except ValueError as error:
        raise dg.Failure(description=f"{source.name}: {error}", allow_retries=False) from error
    if shard is not None and (chain.platform.contract != "probe" or len(days) > 1 or config.replay or config.plan):
        raise dg.Failure(
            description=f"{source.name}: a shard is a part of the machines that a probing reads today, and nothing "
            "else is cut into shards. Nothing was done. Take `shard` out of the configuration.",
            allow_retries=False,
        )
    if config.left_by and (chain.platform.contract != "probe" or not config.replay or config.plan):
        raise dg.Failure(
            description=f"{source.name}: raw that runs left is taken up by the replay of a probing, and by nothing "
            "else. Nothing was done. Take `left_by` out of the configuration.",
            allow_retries=False,
        )
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
        mode=mode,
        others=others,
        files=tuple(map(Path, config.files)),
        complete=config.complete,
        replay=config.replay,
        plan=config.plan,
        shard=shard,
        attempts=_attempts(context),
        shown=SHOWN_ROWS,
    )


def _findings(connection: Connection, chain: Chain, row: SourceRow) -> Findings:
    """Return what the checks look at beside the counts of the run."""
    return Findings(
        held=waiting_absences(connection, row.id, chain.covers),
        relations=relation_counts(connection, row.id) if chain.has_machines_on_hosts else None,
    )


def _results(context: dg.AssetExecutionContext, chain: Chain, days: Sequence[Day], found: Findings) -> Iterator[Any]:
    """Yield what Dagster is to record: each day with its own numbers, nothing for a day without raw."""
    if len(days) == 1:
        for node in chain.nodes:
            yield dg.MaterializeResult(asset_key=key(chain, node), metadata=_metadata(context, chain, node, days[0]))
    else:
        _show_days(context, chain, days)
    counts = totals(one for day in days for one in day.derived)
    yield from check_results(chain, counts, [proof for day in days for proof in day.proofs], found)


def _show_days(context: dg.AssetExecutionContext, chain: Chain, days: Sequence[Day]) -> None:
    """Record the days of a range one by one: a yielded result would stand for every day of the run."""
    for day in days:
        for node in chain.nodes if day.derived else ():
            metadata = _metadata(context, chain, node, day)
            context.log_event(
                dg.AssetMaterialization(key(chain, node), partition=day.day.isoformat(), metadata=metadata)
            )
    _tell_skipped(context, days)


def _metadata(context: dg.AssetExecutionContext, chain: Chain, node: str, day: Day) -> dict[str, Any]:
    return chain_metadata(
        node,
        day.derived,
        source=chain.source.name,
        day=day.day,
        run_id=context.run.run_id,
        mode=day.mode,
        duration_s=day.duration_s,
        failed=day.failed,
        corrections=day.corrections,
        proofs=day.proofs,
        hosts=day.hosts,
        lately=day.lately,
        files=day.files,
        inbox=inbox_of(chain.source),
    )


def _planned(context: dg.AssetExecutionContext, chain: Chain, days: Sequence[Day]) -> Iterator[Any]:
    _show_plans(context, chain, days)
    # Dagster wants every check's output; without a result there is no evaluation, and the last one stands
    for check in check_specs(chain):
        yield dg.Output(None, output_name=check.get_python_identifier())


def _left(context: dg.AssetExecutionContext, chain: Chain, shard: Shard) -> Iterator[Any]:
    """Show a shard whose raw is kept and is derived by another run, in the order of the readings."""
    context.log.info("%s: shard %s is read; the day goes on with the shards that began before it", chain.op, shard)
    yield dg.MaterializeResult(asset_key=key(chain, "raw_inventory"), metadata={"shard": str(shard)})
    for check in check_specs(chain):
        yield dg.Output(None, output_name=check.get_python_identifier())


def _show_plans(context: dg.AssetExecutionContext, chain: Chain, days: Sequence[Day]) -> None:
    """Show what deriving each day again would change: as observations, since nothing was made."""
    for day in days:
        if not day.derived:
            continue
        metadata = plan_metadata(day.derived, day.corrections)
        context.log.info("%s %s, a plan: %s", chain.source.name, day.day, metadata["summary"])
        for correction in day.corrections[:SHOWN_ROWS]:
            for path, before, after in correction.fields:
                name = correction.hostname or correction.external_id or correction.asset_id
                context.log.info("%s %s: %s %s → %s", day.day, name, path, before, after)
        context.log_event(
            dg.AssetObservation(key(chain, "daily_specs"), partition=day.day.isoformat(), metadata=metadata)
        )
    _tell_skipped(context, days)


def _tell_skipped(context: dg.AssetExecutionContext, days: Sequence[Day]) -> None:
    empty = [day.day.isoformat() for day in days if not day.derived]
    if empty:
        shown = ", ".join(empty[:50]) + (" …" if len(empty) > 50 else "")
        context.log.warning("no raw is kept for %s of %s days, which were skipped: %s", len(empty), len(days), shown)


def run_key(source: SourceConfig, day: date, fingerprints: Sequence[str]) -> str:
    """Return the key under which the same files are asked for once."""
    digest = hashlib.sha256(os.fsencode("\n".join(sorted(fingerprints)))).hexdigest()[:16]
    return f"{source.name}:{day}:{digest}"
