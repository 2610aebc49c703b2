"""Retention in Dagster: what is let go of the agents' history and of the audit, counted.

Everything else is kept for ever. A plan, asked for in the run's configuration, changes nothing and shows the same
table.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from asset_ledger.assets.policies import DEFAULT_OWNERS, RETRIES, failure
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.retention import RETENTION_JOB, Outcome, apply, document, in_words, plan, step, totals
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.store.agents.retention import AUDIT, HISTORY, TableName

HISTORY_RETENTION = dg.AssetKey.from_user_string("agent/inventory_history_retention")
AUDIT_RETENTION = dg.AssetKey.from_user_string("audit/audit_logs_retention")
_LADDERS: dict[TableName, tuple[dg.AssetKey, str]] = {
    HISTORY: (
        HISTORY_RETENTION,
        (
            "What agents said: all of it for 90 days, then the first of each month, after a year the first of each "
            "quarter; the first and the last of each client, and every change without its raw data, for ever."
        ),
    ),
    AUDIT: (AUDIT_RETENTION, "Who asked for what: 180 days of it, and what is of security for ever."),
}


class Retaining(dg.Config):
    """What a run may be told."""

    plan: bool = Field(default=False, description="Change nothing; show what a run would do to each month.")


def build_retention_assets() -> list[dg.AssetsDefinition]:
    """Return an asset for each table that has a ladder."""
    return [_build(table) for table in _LADDERS]


def build_retention_job() -> Any:
    """Return the job; its schedule starts it, and a person may."""
    return dg.define_asset_job(
        RETENTION_JOB,
        selection=[key for key, _ in _LADDERS.values()],
        description="Lets go of old agent history and audit rows, month by month. In the configuration, `plan` only "
        "shows what would be done.",
        tags={"mode": "retention"},
    )


def _build(table: TableName) -> dg.AssetsDefinition:
    key, description = _LADDERS[table]

    @dg.multi_asset(
        name=step(table),
        specs=[
            dg.AssetSpec(
                key,
                description=description,
                metadata={"dagster/table_name": table},
                kinds={"postgres"},
                owners=list(DEFAULT_OWNERS),
                tags={"layer": "retention"},
                skippable=True,  # a plan makes nothing
            )
        ],
        group_name=key.path[0],
        retry_policy=RETRIES,
    )
    def let_go(
        context: dg.AssetExecutionContext, config: Retaining, ledger: LedgerResource
    ) -> Iterator[dg.MaterializeResult]:
        try:
            with ledger.open().connect() as connection:
                if config.plan:
                    found = plan(connection, table)
                    context.log_event(dg.AssetObservation(key, metadata={"mode": "plan", **_metadata(table, found)}))
                    for one in found:
                        if one.state != "untouched":
                            context.log.info("a plan: %s", in_words(one))
                    return
                found = apply(connection, table, run_id=context.run.run_id, say=context.log.info)
        except LedgerError as error:
            raise failure(error) from error
        for one in found:
            if one.state == "left":
                context.log.warning(in_words(one))
        yield dg.MaterializeResult(key, metadata=_metadata(table, found))

    return let_go


def _metadata(table: TableName, found: Sequence[Outcome]) -> dict[str, Any]:
    """Return counts under the same names every time, and every month as a table."""
    counts = totals(found)
    return {
        "dagster/row_count": counts["rows_kept"] + counts["rows_thinned"],
        **counts,
        "table": dg.MetadataValue.md(_table(found)),
        # by table: the command line reads what both steps said as one
        f"of {table}": dg.MetadataValue.json(document(found)),
    }


def _table(found: Sequence[Outcome]) -> str:
    lines = ["| month | | before | kept | thinned | dropped | late | said |", "|---|---|---:|---:|---:|---:|---:|---|"]
    for one in found:
        counts = one.counts
        cells = (
            one.month,
            one.state,
            counts.before,
            counts.kept,
            counts.thinned,
            counts.dropped,
            one.late,
            one.why or "",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)
