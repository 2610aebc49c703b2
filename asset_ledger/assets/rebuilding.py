"""The job that makes the ledger again from its evidence, or proves that it would come out the same."""

import dagster as dg
from pydantic import Field

from asset_ledger.assets.policies import failure
from asset_ledger.domain.errors import REBUILD_DIFFERS, LedgerError, PermanentError
from asset_ledger.pipeline.rebuild import rebuild
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.config import load_sources


class Rebuilding(dg.Config):
    """Whether the rebuilt ledger is kept."""

    verify: bool = Field(
        default=True,
        description="Rebuild, compare every table with what is there, and roll back. False keeps the rebuilt ledger.",
    )


@dg.op(out=dg.Out(dg.Nothing))
def rebuild_ledger(context: dg.OpExecutionContext, config: Rebuilding, ledger: LedgerResource) -> None:
    try:
        opened = ledger.open()
        # the disabled ones too: their raw is evidence like any other
        sources = load_sources(opened.settings.sources_file, opened.settings.home)
        with opened.connect() as connection:
            report = rebuild(connection, sources, verify=config.verify, say=context.log.info)
    except LedgerError as error:
        raise failure(error) from error
    metadata = {
        "readings": report.readings,
        "tables_that_differ": len(report.differences),
        "digests": dg.MetadataValue.md(
            "| table | rows and digest |\n| --- | --- |\n"
            + "\n".join(f"| {table} | {digest} |" for table, digest in report.digests.items())
        ),
        **{f"older_parser/{source}": count for source, count in report.stale.items()},
    }
    context.add_output_metadata(metadata)
    for each in report.differences:
        told = f"{each.table}: {each.only_before} rows only in the ledger, {each.only_after} only in the rebuilt one"
        context.log.warning("%s; such as %s", told, [dict(row) for row in each.examples[:3]])
    if report.differences and config.verify:
        tables = ", ".join(f"{each.table} (-{each.only_before} +{each.only_after})" for each in report.differences)
        refused = failure(PermanentError(REBUILD_DIFFERS, f"{len(report.differences)} tables differ: {tables}"))
        raise dg.Failure(
            description=refused.description,
            metadata={
                **refused.metadata,
                "differences": dg.MetadataValue.table(
                    [
                        dg.TableRecord(
                            {"table": each.table, "only_in_ledger": each.only_before, "only_rebuilt": each.only_after}
                        )
                        for each in report.differences
                    ]
                ),
            },
            allow_retries=False,
        )


@dg.job(
    name="ledger_rebuild",
    description="Make everything that is derived again from raw readings and decisions, and compare. By default "
    "nothing is kept of it: the run fails where the ledger is not what its evidence says.",
    tags={"mode": "rebuild"},
)
def ledger_rebuild() -> None:
    """The job."""
    rebuild_ledger()
