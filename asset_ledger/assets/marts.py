"""dbt's models as Dagster assets: what is made by days, a day or a range in one call of dbt, and what is of now.

A view is in place once made, and is made again when the models change: for a day it is only said that it shows that.
Which models there are is `dbt_models/`; how dbt is called is `pipeline.marts`; how they show is `mart_nodes`.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import dagster as dg

from asset_ledger.assets.corrections import SHOWN_ROWS
from asset_ledger.assets.mart_nodes import Nodes, test_in_words
from asset_ledger.assets.policies import DAYS, FOLLOW, ONE_RUN, RETRIES, failure, follow
from asset_ledger.domain.calendar import LEDGER_TIMEZONE, collected_date
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.pipeline.marts import JOB, Made, Models, build, error_of, first_words, look_closer, span
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection, clock
from asset_ledger.store.marts import (
    building,
    built_range,
    columns_of,
    days_made_of,
    holders_of,
    note_days_built,
    note_views_made_of,
    row_counts,
    settled_before,
    views_made_of,
)

LOCK_WAIT_S = 600.0
"""How long a run waits for another one that makes marts before it fails, retryably."""
DAILY = "40 0 * * *"
"""When the marts of now are made in any case: ages grow, and a new day begins, without a reading."""


def build_mart_assets(sources: Sequence[SourceConfig], models: Models) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Return the assets of the models, downstream of everything that writes what they read."""
    nodes = Nodes(models, sources)
    return [
        *nodes.written_outside(),
        # apart, for marts of each kind stand on views of both
        _build("staging_of_days", nodes, nodes.by_days & nodes.views, partitions=DAYS),
        _build("staging_of_now", nodes, nodes.now & nodes.views, partitions=None),
        _build("marts_of_days", nodes, nodes.by_days - nodes.views, partitions=DAYS),
        _build("marts_of_now", nodes, nodes.now - nodes.views, partitions=None),
    ]


def build_marts_job(models: Models) -> Any:
    """Return the job that makes marts: those by days of a day or a range of days, and all that are of now."""
    keys = Nodes(models, ()).by_key
    return dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.assets(*keys),
        description="Make the marts: of a day, or of a range of days in one call of dbt, and those of now. "
        "Days that are not asked for stay as they are.",
        tags={"mode": "marts"},
    )


def _build(
    name: str, nodes: Nodes, chosen: frozenset[str], *, partitions: dg.DailyPartitionsDefinition | None
) -> dg.AssetsDefinition:
    from dagster_dbt import dbt_assets

    manifest = nodes.models.manifest

    @dbt_assets(
        manifest=manifest,
        select=" ".join(sorted(nodes.models.names(sorted(chosen)))),
        name=name,
        partitions_def=partitions,
        backfill_policy=ONE_RUN if partitions else None,
        dagster_dbt_translator=nodes.translator(_conditions(nodes)),
        retry_policy=RETRIES,
    )
    def step(context: dg.AssetExecutionContext, ledger: LedgerResource) -> Iterator[Any]:
        wanted = [nodes.by_key[each] for each in sorted(context.selected_asset_keys)]
        views = [each for each in wanted if each in nodes.views]
        tables = [each for each in wanted if each not in nodes.views]
        tests = nodes.check_ids(sorted(context.selected_asset_check_keys))
        try:
            opened = ledger.open()
            with opened.connect() as connection, building(connection, wait_s=LOCK_WAIT_S):
                days = _days(context) or (built_range(connection) if partitions else None) or _today()
                _put_views(context, opened, connection, nodes)
                for each in views:
                    yield dg.MaterializeResult(_key(nodes, each), metadata={"in_place": True})
                began_at, settled = clock(connection), settled_before(connection)
                same = days_made_of(connection) == nodes.models.digest
                making = partial(build, days=days, settled_before=settled, same_models=same)
                made = _build_aloud(context, opened, nodes, [*tables, *tests], making)
                yield from _results(context, connection, nodes, made, days if partitions else None)
                done = {one.unique_id for one in made if one.done}
                if partitions and nodes.by_days - nodes.views <= done:
                    note_days_built(connection, days, nodes.models.digest, began_at)
                failed = _error_of(connection, made, days)
        except LedgerError as error:
            raise failure(error) from error
        if failed is not None:
            raise failure(failed)

    return step


def _conditions(nodes: Nodes) -> dict[str, dg.AutomationCondition]:
    """Return when each model is made by itself.

    What is made by days follows only what comes by days: anything else would ask for every day there ever was.
    """
    daily = dg.AutomationCondition.cron_tick_passed(DAILY, LEDGER_TIMEZONE) & ~dg.AutomationCondition.in_progress()
    of_now = (FOLLOW | daily).with_label("what it is made of was made, or a day has begun")
    found: dict[str, dg.AutomationCondition] = dict.fromkeys(nodes.now, of_now)
    by_days = {key for key, unique_id in nodes.by_key.items() if unique_id in nodes.by_days}
    for unique_id in nodes.by_days:
        above = nodes.upstream(unique_id)
        chains = [each for each in above if each in by_days or each not in nodes.by_key]
        found[unique_id] = follow(
            dg.AssetSelection.assets(*chains), "what the day is made of was made, and is not being made"
        )
    return found


def _days(context: dg.AssetExecutionContext) -> tuple[date, date] | None:
    """Return the days of the run, both inclusive; None where it has none.

    Such a run makes what is of now, which is looked at with today's, or only tests what is made by days: all of them.
    """
    tags = context.run.tags
    first = tags.get("dagster/asset_partition_range_start") or tags.get("dagster/partition")
    last = tags.get("dagster/asset_partition_range_end") or first
    return (date.fromisoformat(first), date.fromisoformat(last)) if first and last else None


def _today() -> tuple[date, date]:
    today = collected_date(datetime.now(UTC))
    return today, today


def _put_views(context: dg.AssetExecutionContext, ledger: Ledger, connection: Connection, nodes: Nodes) -> None:
    """Make every staging view, if they are not those of these models. Raises PermanentError(MARTS_MODEL_FAILED)."""
    if views_made_of(connection) == nodes.models.digest:
        return
    error = _error_of(connection, _build_aloud(context, ledger, nodes, sorted(nodes.views), build))
    if error is not None:
        raise error
    note_views_made_of(connection, nodes.models.digest)


def _error_of(
    connection: Connection, made: Sequence[Made], days: tuple[date, date] | None = None
) -> LedgerError | None:
    """Return the error of what dbt could not make, with who holds a table that it waited for."""
    held = [one.name for one in made if one.held]
    return error_of(made, days=days, holders=holders_of(connection, held) if held else ())


def _build_aloud(
    context: dg.AssetExecutionContext,
    ledger: Ledger,
    nodes: Nodes,
    unique_ids: Sequence[str],
    making: Callable[..., list[Made]],
) -> list[Made]:
    """Call dbt, and log what it said as one event: a line of its own each would cost more than making the marts."""
    if not unique_ids:
        return []
    tests = sum(each.startswith("test.") for each in unique_ids)
    context.log.info("dbt makes %s models and runs %s tests", len(unique_ids) - tests, tests)
    said: list[str] = []
    try:
        return making(ledger, nodes.models, unique_ids, say=said.append)
    finally:
        context.log.info("dbt said:\n%s", "\n".join(said))


def _results(
    context: dg.AssetExecutionContext,
    connection: Connection,
    nodes: Nodes,
    made: Sequence[Made],
    days: tuple[date, date] | None,
) -> Iterator[Any]:
    """Yield what dbt made and what its tests found. What it left out has no result: what was there before stands."""
    for one in made:
        node = nodes.models.manifest["nodes"][one.unique_id]
        if one.is_test:
            if one.status != "skipped":
                yield _check(connection, nodes, one, node, days)
        elif one.done:
            key = _key(nodes, one.unique_id)
            counts = row_counts(connection, node["schema"], node["name"], days)
            for day, rows in counts.items():
                context.add_asset_metadata(
                    {"dagster/row_count": rows}, key, partition_key=None if day is None else f"{day}"
                )
            # of many days each would keep a copy: the newest does
            context.add_asset_metadata(
                {"dagster/column_schema": _columns(connection, node["name"])},
                key,
                partition_key=None if days is None else f"{days[1]}",
            )
            yield dg.MaterializeResult(key, metadata={"duration_s": one.duration_s, "days_of_run": len(counts)})


def _columns(connection: Connection, mart: str) -> dg.TableSchema:
    """Return the columns as they are shown: with the types that dbt's descriptions do not know."""
    found = columns_of(connection, mart)
    return dg.TableSchema([dg.TableColumn(one.name, type=one.type, description=one.description) for one in found])


def _check(
    connection: Connection, nodes: Nodes, one: Made, node: dict[str, Any], days: tuple[date, date] | None
) -> dg.AssetCheckResult:
    """Return what a test found, and what it found of other days before."""
    key = nodes.check_key(one.unique_id)
    assert key is not None
    found = look_closer(connection, one, days, most=SHOWN_ROWS)
    metadata: dict[str, Any] = {"failed_rows": one.failures or 0, "duration_s": one.duration_s}
    if days is not None:
        metadata["days"] = span(days)
    if found.rows:
        metadata["rows"] = dg.MetadataValue.table(
            [dg.TableRecord({name: _cell(value) for name, value in row.items()}) for row in found.rows]
        )
    if one.status != "pass":
        metadata["look"] = dg.MetadataValue.md(f"```sql\n{(one.query or '').strip()}\n```")
    # that other days are broken stops nothing that is made of these
    warning = one.status == "warn" or (one.status == "pass" and bool(found.others))
    return dg.AssetCheckResult(
        passed=one.status == "pass" and not found.others,
        asset_key=key.asset_key,
        check_name=key.name,
        severity=dg.AssetCheckSeverity.WARN if warning else dg.AssetCheckSeverity.ERROR,
        description=_told(one, test_in_words(node), days, found.others),
        metadata=metadata,
    )


def _told(one: Made, demanded: str, days: tuple[date, date] | None, others: Sequence[date]) -> str:
    """Return what a test found, in words."""
    of = "" if days is None else f" of {span(days)}"
    if one.status == "error":
        told = f"The test could not be run: {first_words(one.message)}."
    elif one.status == "pass":
        told = demanded if days is None else f"{demanded} Looked at: {span(days)}."
    else:
        broken = f"1 row{of} breaks it" if one.failures == 1 else f"{one.failures} rows{of} break it"
        told = f"{broken}, the first of them under `rows`; the query under `look` shows all. It demands: {demanded}"
    if others:
        told += (
            f" But {', '.join(map(str, others[:5]))}{' …' if len(others) > 5 else ''} broke it when last looked at, "
            f"and is to be made again: asset-ledger marts build --since {others[0]} --until {others[-1]}."
        )
    return told


def _cell(value: Any, most: int = 400) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[:most]} …"


def _key(nodes: Nodes, unique_id: str) -> dg.AssetKey:
    return next(key for key, each in nodes.by_key.items() if each == unique_id)
