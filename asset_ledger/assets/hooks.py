"""The job that tells the receivers of webhooks what findings opened and closed. It makes no asset: it only sends."""

from datetime import UTC, datetime

import dagster as dg

from asset_ledger.assets.policies import failure
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.deliveries import deliver
from asset_ledger.resources.ledger import LedgerResource

HOOKS_JOB = "iac_hooks"


def build_hooks_job() -> dg.JobDefinition:
    """Return the job; the sensor of the outbox starts it, and a person may."""

    @dg.op(name="iac_hooks_op", out=dg.Out(dg.Nothing))
    def send_what_waits(context: dg.OpExecutionContext, ledger: LedgerResource) -> None:
        opened = ledger.open()
        try:
            with opened.connect() as connection:
                outcome = deliver(connection, opened.iac_rules, opened.credentials, clock=lambda: datetime.now(UTC))
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
                again = "given up" if one.again_at is None else f"again at {one.again_at:%Y-%m-%d %H:%M}Z"
                context.log.warning(f"webhook {one.hook} ({one.tenant}): {one.answered.why}; {again}")
        # a receiver that is away is its own people's to mend; what is written wrong here is ours
        for unusable in outcome.unusable.values():
            raise failure(unusable) from unusable

    @dg.job(
        name=HOOKS_JOB,
        description="Sends the receivers of webhooks (iac.yaml) what findings opened and closed.",
        tags={"mode": "deliver"},
    )
    def job() -> None:
        send_what_waits()

    return job
