"""The job that sends people what waits to be told, and what a run that ended did, as notices read it.

It makes no asset: it only sends. What is told is decided by `pipeline.notices`; the sensor of notices calls both.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast, get_args

import dagster as dg

from asset_ledger.assets.checks import FOLLOWS, NEXT_STEP
from asset_ledger.assets.policies import DEFAULT_OWNERS, failure
from asset_ledger.domain.errors import NOTICE_GIVEN_UP, LedgerError, PermanentError
from asset_ledger.domain.notices.run import CheckSaid, RunFacts, Status, StepFailed
from asset_ledger.domain.notices.troubles import Follows
from asset_ledger.pipeline.notices import deliver
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.registry import error_codes

NOTICES_JOB = "notices"

ENDED: Mapping[dg.DagsterRunStatus, Status] = {
    dg.DagsterRunStatus.SUCCESS: "success",
    dg.DagsterRunStatus.FAILURE: "failure",
    dg.DagsterRunStatus.CANCELED: "canceled",
}
assert set(ENDED.values()) == set(get_args(Status))
_EVENTS = {
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}
_DAY_TAGS = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def build_notices_job() -> dg.JobDefinition:
    """Return the job; the sensor of notices starts it, and a person may."""

    @dg.op(name="notices_op", out=dg.Out(dg.Nothing))
    def send_what_is_due(context: dg.OpExecutionContext, ledger: LedgerResource) -> None:
        opened = ledger.open()
        try:
            with opened.connect() as connection:
                outcome = deliver(connection, opened.notices, opened.credentials, clock=lambda: datetime.now(UTC))
        except LedgerError as error:
            raise failure(error) from error
        context.add_output_metadata(
            {
                "arrived": outcome.arrived,
                "not_arrived": len(outcome.done) - outcome.arrived,
                "given_up": outcome.given_up,
            }
        )
        for one in outcome.done:
            if one.answered.why is not None:
                again = "" if one.again_at is None else f"; again at {one.again_at:%Y-%m-%d %H:%M}Z"
                context.log.warning(f"receiver {one.receiver}, notice {one.number}: {one.answered.why}{again}")
        # a receiver that is away for a while is no red run; one that cannot be used, or heard nothing for a day, is
        for unusable in outcome.unusable.values():
            raise failure(unusable) from unusable
        for name, defect in outcome.defects.items():
            # its own words may quote anything
            said = f"receiver {name}: the message could not be made or sent, by a defect: {defect}"
            raise dg.Failure(said, metadata={"error_code": "DEFECT"}, allow_retries=False)
        if outcome.given_up:
            raise failure(PermanentError(NOTICE_GIVEN_UP, f"{outcome.given_up} were given up", target="notices"))

    @dg.job(
        name=NOTICES_JOB,
        description="Tells the receivers of notices.yaml what runs failed at, found, and held for a person.",
        # what is told of a long reading must not wait behind the next ones
        tags={"mode": "deliver", "dagster/priority": "100"},
    )
    def job() -> None:
        send_what_is_due()

    return job


def run_facts(instance: dg.DagsterInstance, record: dg.RunRecord, owners: Mapping[str, tuple[str, ...]]) -> RunFacts:
    """Return what Dagster knows of a run that ended. `owners` are those of the sources, by name."""
    run = record.dagster_run
    succeeded: list[str] = []
    failed: list[StepFailed] = []
    checks: list[CheckSaid] = []
    for entry in instance.all_logs(run.run_id, of_type=_EVENTS):
        event = entry.dagster_event
        assert event is not None
        if event.event_type is dg.DagsterEventType.STEP_SUCCESS:
            succeeded.append(event.step_key or "")
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
            failed.append(_failed(event))
        else:
            checks.append(_check(event))
    ended_at = record.end_time or record.update_timestamp.timestamp()
    source = run.tags.get("source", "")
    return RunFacts(
        run_id=run.run_id,
        job=run.job_name,
        status=ENDED[run.status],
        mode=run.tags.get("mode", ""),
        source=source,
        scope=run.tags.get("scope", ""),
        day=" to ".join(run.tags[tag] for tag in _DAY_TAGS if tag in run.tags),
        owner=", ".join(owners.get(source) or DEFAULT_OWNERS),
        started_at=datetime.fromtimestamp(record.start_time or ended_at, UTC),
        ended_at=datetime.fromtimestamp(ended_at, UTC),
        succeeded=tuple(succeeded),
        failed=tuple(failed),
        checks=tuple(checks),
        shard=run.tags.get("shard", ""),
    )


def _failed(event: dg.DagsterEvent) -> StepFailed:
    data = event.step_failure_data
    told = data.user_failure_data
    step = event.step_key or ""
    if told is not None and "error_code" in told.metadata:
        code = str(told.metadata["error_code"].value)
        category = next((one.category for one in error_codes() if one.code == code), "")
        # `CODE: target: message. advice`: the code is said by the notice itself, the advice in its own place
        advice = str(told.metadata["advice"].value) if "advice" in told.metadata else ""
        message = (told.description or "").removeprefix(f"{code}:").replace(advice, "", 1).strip()
        return StepFailed(step, code, category, message, advice)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    name = (error.cls_name if error is not None else None) or "unknown"
    # what else it says may quote anything
    return StepFailed(step, "DEFECT", "", f"it ended with {name}; the log of the run says where")


def _check(event: dg.DagsterEvent) -> CheckSaid:
    said = event.asset_check_evaluation_data
    follows, step = said.metadata.get(FOLLOWS), said.metadata.get(NEXT_STEP)
    advice = "" if step is None else str(step.value)
    return CheckSaid(
        asset=said.asset_key.to_user_string(),
        name=said.check_name,
        passed=said.passed,
        severity="error" if said.severity is dg.AssetCheckSeverity.ERROR else "warning",
        day=said.partition,
        message=(said.description or "").removesuffix(advice).rstrip(),
        follows=cast("Follows", follows.value) if follows is not None and follows.value in get_args(Follows) else "",
        advice=advice,
    )
