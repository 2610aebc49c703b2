"""What agents and platforms do not agree on, in Dagster: looked for after every reading of either, and every hour.

What is found stands in a table and is listed with the other findings; the check turns yellow, and says what a person
does next.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from asset_ledger.assets.nodes import key
from asset_ledger.assets.policies import DEFAULT_OWNERS, FOLLOW, RETRIES, failure
from asset_ledger.domain.calendar import LEDGER_TIMEZONE
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.iac.rules import AGENT_KINDS
from asset_ledger.pipeline.agent_findings import Looked, look
from asset_ledger.pipeline.agents import queued
from asset_ledger.pipeline.chains import chains
from asset_ledger.pipeline.ledger import platform_of
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.platform import SourceConfig

FINDINGS = dg.AssetKey.from_user_string("agent/findings")
FINDINGS_JOB = "agent_findings"
HOURLY = "20 * * * *"
"""An agent that goes on living after its machine was found gone is heard, and nothing is read for it."""
DAILY = "20 9 * * *"
_SHOWN = 20

_AGREED = dg.AssetCheckSpec(
    "agents_and_platforms_agree",
    asset=FINDINGS,
    description="No agent lives on a machine that its platform says is gone, and none says otherwise what it is.",
)


def build_agent_findings_assets(sources: Sequence[SourceConfig]) -> list[dg.AssetsDefinition]:
    """Return the asset of agents' findings, downstream of the agents' sources and of the platforms'."""
    agents = queued(sources)
    upstream = [
        key(chain, "ledger_assets")
        for source in (*agents, *(one for one in sources if platform_of(one).source_type == "platform"))
        for chain in chains(source)
        if agents and "ledger_assets" in chain.nodes
    ]
    by_the_clock = dg.AutomationCondition.cron_tick_passed(HOURLY if agents else DAILY, LEDGER_TIMEZONE)

    @dg.multi_asset(
        name="agent_look_for_findings",
        specs=[
            dg.AssetSpec(
                FINDINGS,
                deps=upstream,
                description="Agents that live on machines which their platforms say are gone, and machines that are "
                "not what their platforms say. Findings open, age and close.",
                metadata={"dagster/table_name": "agent.findings"},
                kinds={"postgres"},
                owners=list(DEFAULT_OWNERS),
                tags={"layer": "ledger"},
                automation_condition=(FOLLOW | (by_the_clock & ~dg.AutomationCondition.in_progress())).with_label(
                    "a source was read, or time has passed"
                ),
            )
        ],
        check_specs=[_AGREED],
        group_name=FINDINGS.path[0],
        retry_policy=RETRIES,
    )
    def look_for_findings(ledger: LedgerResource) -> Iterator[dg.MaterializeResult]:
        try:
            opened = ledger.open()
            with opened.connect() as connection:
                found = look(opened, connection)
        except LedgerError as error:
            raise failure(error) from error
        yield dg.MaterializeResult(FINDINGS, metadata=_counts(found), check_results=[_checked(found)])

    return [look_for_findings]


def build_agent_findings_job() -> Any:
    """Return the job that looks for agents' findings now."""
    return dg.define_asset_job(
        FINDINGS_JOB,
        selection=[FINDINGS],
        description="Compares what agents say of their machines with what the platforms say, tenant by tenant.",
        tags={"mode": "findings"},
    )


def _open(found: Sequence[Looked]) -> dict[str, int]:
    return {kind: sum(one.open[kind] for one in found) for kind in AGENT_KINDS}


def _counts(found: Sequence[Looked]) -> dict[str, Any]:
    every = _open(found)
    lines = [
        "| tenant | compared with | machines | " + " | ".join(AGENT_KINDS) + " | unsure |",
        "|---|---|---:|" + "---:|" * (len(AGENT_KINDS) + 1),
    ]
    for one in found[:_SHOWN]:
        counts = (one.compared, *(one.open[kind] for kind in AGENT_KINDS), one.unsure)
        lines.append(f"| {one.tenant} | {', '.join(one.platforms)} | {' | '.join(map(str, counts))} |")
    if len(found) > _SHOWN:
        lines.append(f"| and {len(found) - _SHOWN} more |" + " |" * (3 + len(AGENT_KINDS)))
    return {
        "dagster/row_count": sum(every.values()),
        **every,
        "compared": sum(one.compared for one in found),
        "opened": sum(one.opened for one in found),
        "closed": sum(one.closed for one in found),
        "unsure": sum(one.unsure for one in found),
        "table": dg.MetadataValue.md("\n".join(lines)),
    }


def _checked(found: Sequence[Looked]) -> dg.AssetCheckResult:
    counts = _open(found)
    bad = sum(counts.values())
    told = (
        f"{counts['alive_but_gone']} agents live on machines that their platforms say are gone, and "
        f"{counts['agent_differs']} attributes are not what the platforms say. See them: `asset-ledger findings list "
        "--kind alive_but_gone --kind agent_differs`. Read the platform again, mend the machine or its name there, or "
        "say in iac.yaml what is no finding."
    )
    return dg.AssetCheckResult(
        asset_key=_AGREED.asset_key,
        check_name=_AGREED.name,
        passed=bad == 0,
        severity=dg.AssetCheckSeverity.WARN,
        description=told if bad else _AGREED.description,
        metadata=dict(counts),
    )
