"""Findings in Dagster, in the group `iac`: looked for after every reading of a mapped source and every new state.

What is found stands in tables; the checks turn yellow, and say what a person does next. Nothing here changes a machine.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from asset_ledger.assets.iac import DEPENDENCY_EDGES, RESOURCES_CURRENT
from asset_ledger.assets.nodes import key
from asset_ledger.assets.policies import DEFAULT_OWNERS, FOLLOW, RETRIES, failure
from asset_ledger.domain.calendar import LEDGER_TIMEZONE
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.iac.rules import KINDS, FindingKind, Rules
from asset_ledger.pipeline.chains import chains
from asset_ledger.pipeline.findings import Evaluated, look
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.platform import SourceConfig

DRIFT_FINDINGS = dg.AssetKey(["iac", "drift_findings"])
CLOUD_ORPHANS = dg.AssetKey(["iac", "cloud_orphans"])
FINDINGS_JOB = "iac_findings"
DAILY = "0 9 * * *"
_OF_STATES: tuple[FindingKind, ...] = ("drift", "missing", "double")
_SHOWN = 20

# Once a day in any case: a source that cannot be read any more updates nothing, and its findings are to say that they
# are unsure.
_FOLLOW_OR_DAILY = (
    FOLLOW | (dg.AutomationCondition.cron_tick_passed(DAILY, LEDGER_TIMEZONE) & ~dg.AutomationCondition.in_progress())
).with_label("a source or a state was read, or a day has passed")

_NO_DRIFT = dg.AssetCheckSpec(
    "no_drift",
    asset=DRIFT_FINDINGS,
    description="Every machine that a state declares is there, as declared, and declared once.",
)
_NO_ORPHANS = dg.AssetCheckSpec(
    "no_orphans", asset=CLOUD_ORPHANS, description="Every machine of a mapped source is declared by a state."
)


def build_findings_assets(sources: Sequence[SourceConfig], rules: Rules) -> list[dg.AssetsDefinition]:
    """Return the assets of findings, downstream of the states and of every source that iac.yaml maps."""
    mapped = {one.source for one in rules.mappings}
    upstream: list[dg.AssetKey] = [
        key(chain, "ledger_assets")
        for source in sources
        if source.name in mapped
        for chain in chains(source)
        if "ledger_assets" in chain.nodes
    ]
    shared: dict[str, Any] = {
        "deps": [RESOURCES_CURRENT, DEPENDENCY_EDGES, *upstream],
        "kinds": {"postgres"},
        "owners": list(DEFAULT_OWNERS),
        "tags": {"layer": "iac"},
        "automation_condition": _FOLLOW_OR_DAILY,
    }

    @dg.multi_asset(
        name="iac_look_for_findings",
        specs=[
            dg.AssetSpec(
                DRIFT_FINDINGS,
                description="What states declare and sources saw otherwise: drift, machines that are gone, machines "
                "that are declared twice. Findings open, age and close.",
                metadata={"dagster/table_name": "iac.drift_findings"},
                **shared,
            ),
            dg.AssetSpec(
                CLOUD_ORPHANS,
                description="Machines of mapped sources that no state declares.",
                metadata={"dagster/table_name": "iac.cloud_orphans"},
                **shared,
            ),
        ],
        check_specs=[_NO_DRIFT, _NO_ORPHANS],
        group_name="iac",
        retry_policy=RETRIES,
    )
    def look_for_findings(ledger: LedgerResource) -> Iterator[dg.MaterializeResult]:
        try:
            opened = ledger.open()
            with opened.connect() as connection:
                found = look(opened, connection)
        except LedgerError as error:
            raise failure(error) from error
        yield dg.MaterializeResult(DRIFT_FINDINGS, metadata=_counts(found, _OF_STATES), check_results=[_drift(found)])
        yield dg.MaterializeResult(CLOUD_ORPHANS, metadata=_counts(found, ("orphan",)), check_results=[_orphans(found)])

    return [look_for_findings]


def build_findings_job() -> Any:
    """Return the job that looks for findings now."""
    return dg.define_asset_job(
        FINDINGS_JOB,
        selection=[DRIFT_FINDINGS, CLOUD_ORPHANS],
        description="Compares what states declare with what sources saw, tenant by tenant.",
        tags={"mode": "findings"},
    )


def _counts(found: Sequence[Evaluated], kinds: Sequence[FindingKind]) -> dict[str, Any]:
    every: dict[str, int] = {kind: sum(one.open[kind] for one in found) for kind in kinds}
    rows = [row for one in found for row in one.coverage]
    return {
        "dagster/row_count": sum(every.values()),
        **every,
        "opened": sum(one.opened for one in found),
        "closed": sum(one.closed for one in found),
        "unsure": sum(one.unsure for one in found),
        "declared": sum(row.declared for row in rows),
        "observed": sum(row.observed for row in rows),
        "managed": sum(row.managed for row in rows),
        "table": dg.MetadataValue.md(_table(found)),
    }


def _table(found: Sequence[Evaluated]) -> str:
    lines = [
        "| tenant | source | declared | observed | managed | % | " + " | ".join(KINDS) + " | said |",
        "|---|---|" + "---:|" * (4 + len(KINDS)) + "---|",
    ]
    rows = [(one.tenant, row) for one in found for row in one.coverage]
    for tenant, row in rows[:_SHOWN]:
        share = "" if row.managed_percent is None else f"{row.managed_percent:g}"
        counts = (row.declared, row.observed, row.managed, share, row.drifting, row.missing, row.doubles, row.orphans)
        said = (row.why or "").replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {tenant} | {row.source} | {' | '.join(map(str, counts))} | {said} |")
    if len(rows) > _SHOWN:
        lines.append(f"| and {len(rows) - _SHOWN} more |" + " |" * (6 + len(KINDS)))
    notes = [f"{one.tenant}: {name} was not read yet" for one in found for name in one.unread]
    notes += [f"{one.tenant}: no mapping speaks of the machines of {name}" for one in found for name in one.unmapped]
    more = [f"and {len(notes) - _SHOWN} more such"] if len(notes) > _SHOWN else []
    return "\n".join([*lines, "", *(f"- {line}" for line in (*notes[:_SHOWN], *more))]).strip()


def _drift(found: Sequence[Evaluated]) -> dg.AssetCheckResult:
    counts: dict[str, int] = {kind: sum(one.open[kind] for one in found) for kind in _OF_STATES}
    told = (
        f"{counts['drift']} attributes are not as declared, {counts['missing']} declared machines are gone, "
        f"{counts['double']} are declared twice. See them: `asset-ledger findings list`. Apply the state, declare what "
        "is, or say in iac.yaml what is no finding."
    )
    return _result(_NO_DRIFT, counts, told)


def _orphans(found: Sequence[Evaluated]) -> dg.AssetCheckResult:
    counts = {"orphan": sum(one.open["orphan"] for one in found)}
    told = (
        f"No state declares {counts['orphan']} machines. See them: `asset-ledger findings list --kind orphan`. Import "
        "them into a state, delete them, or say in iac.yaml that they need not be declared."
    )
    return _result(_NO_ORPHANS, counts, told)


def _result(check: dg.AssetCheckSpec, counts: dict[str, int], told: str) -> dg.AssetCheckResult:
    bad = sum(counts.values())
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=bad == 0,
        severity=dg.AssetCheckSeverity.WARN,
        description=told if bad else check.description,
        metadata=dict(counts),
    )
