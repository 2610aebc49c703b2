"""The jobs: one a source to read it, others to look at it without reading, and those for what is across sources.

Decisions are `assets.decisions`, the rebuild is `assets.rebuilding`.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from asset_ledger.assets.decisions import build_decision_jobs
from asset_ledger.assets.ledger import DUPLICATE_CANDIDATES, INSTANCE_ASSET_LINKS
from asset_ledger.assets.nodes import keys, run_tags
from asset_ledger.assets.policies import failure
from asset_ledger.assets.rebuilding import ledger_rebuild
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.chains import ALL, Chain, chains, collect_job
from asset_ledger.pipeline.intake import open_collector
from asset_ledger.pipeline.ledger import platform_of, source_row
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.platform import SourceConfig


def build_jobs(sources: Sequence[SourceConfig]) -> list[Any]:
    """Return every job there is for these sources."""
    jobs: list[Any] = [*_ledger_jobs(), *build_decision_jobs(), ledger_rebuild]
    for source in sources:
        every = chains(source)
        jobs.append(_collect_job(source, collect_job(source), every))
        if len(every) > 1:
            jobs += [_collect_job(source, chain.job, (chain,)) for chain in every]
        if platform_of(source).open is not None:
            jobs += [_look_job(source, "healthcheck"), _look_job(source, "detect")]
    return jobs


def _collect_job(source: SourceConfig, name: str, reading: Sequence[Chain]) -> Any:
    platform = platform_of(source)
    verb = "Take in the reports that wait for" if platform.queue else "Read"
    verb = "Take in what waits in the inbox of" if platform.accept else verb
    alone = reading[0] if name == reading[0].job else Chain(source)
    what = " and ".join(chain.scope for chain in reading)
    read = source.name if what == ALL else f"{what} of {source.name}"
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*(each for chain in reading for each in keys(chain))),
        description=f"{verb} {read} and derive the day; a past day is replayed from kept raw. In the "
        "configuration, `replay` reads nothing, and `plan` only says what a replay would change"
        + (", each for the step it is said of." if len(reading) > 1 else "."),
        tags=run_tags(source, alone.mode, alone.scope),
    )


def _ledger_jobs() -> list[Any]:
    return [
        dg.define_asset_job(
            "ledger_links",
            selection=dg.AssetSelection.assets(INSTANCE_ASSET_LINKS),
            description="Join database instances to the machines they run on.",
        ),
        dg.define_asset_job(
            "ledger_duplicates",
            selection=dg.AssetSelection.assets(DUPLICATE_CANDIDATES),
            description="Look for ledger assets that may be one machine.",
        ),
        dg.define_asset_job(
            "ledger_follow",
            selection=dg.AssetSelection.assets(INSTANCE_ASSET_LINKS, DUPLICATE_CANDIDATES),
            description="What follows every reading, in one run: join instances to machines, look for duplicates.",
        ),
    ]


def _look_job(source: SourceConfig, mode: str) -> dg.JobDefinition:
    @dg.op(name=f"{source.name}_{mode}_op", out=dg.Out(dg.Nothing))
    def look(context: dg.OpExecutionContext, ledger: LedgerResource) -> None:
        opened = ledger.open()
        try:
            with opened.connect() as connection:
                collector, order = open_collector(opened, connection, source, source_row(connection, source))
                if mode == "healthcheck":
                    health = collector.healthcheck(order)
                    context.add_output_metadata({"ok": health.ok, **dict(health.checks)})
                    if not health.ok:
                        raise dg.Failure(description="\n".join(health.problems), allow_retries=False)
                else:
                    found = collector.detect(order)
                    context.add_output_metadata(
                        {
                            "target_version": found.target_version,
                            "driver": found.driver,
                            "capabilities": dg.MetadataValue.json(dict(found.capabilities)),
                            "advice": found.advice or "none",
                        }
                    )
        except LedgerError as error:
            raise failure(error) from error

    described = {
        "healthcheck": "Prove that a reading would succeed, without making one.",
        "detect": "Say what is there: version, driver, capabilities.",
    }

    @dg.job(name=f"{source.name}_{mode}", description=f"{source.name}: {described[mode]}", tags=run_tags(source, mode))
    def job() -> None:
        look()

    return job
