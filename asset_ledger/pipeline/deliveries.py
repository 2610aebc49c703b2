"""Sends what waits for the receivers of webhooks, and notes what came of it. A transaction a message.

A message stays in the table until its receiver has said so: one that was taken by the receiver, and of which we did
not hear any more, is sent again under the same id. Called by the job `iac_hooks` and the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from asset_ledger.domain.errors import CONFIG_INVALID, LedgerError, PermanentError
from asset_ledger.domain.iac.rules import Hook, Rules
from asset_ledger.notify.webhooks import Answered, Receiver, secrets_of, send
from asset_ledger.store.access.people import tenants
from asset_ledger.store.database import Connection
from asset_ledger.store.iac import outbox
from asset_ledger.store.tenancy import as_tenant

MOST = 5000
"""Messages of one run: what is left over is the next run's."""


class Secrets(Protocol):
    """What turns a reference into the fields of a credential."""

    def resolve(self, reference: str) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of one message. `again_at` is None where it arrived or was given up."""

    tenant: str
    hook: str
    answered: Answered
    again_at: datetime | None


@dataclass
class Outcome:
    """What a run did. `unusable` says, by the hook's name, what is wrong with how it is written down here."""

    done: list[Delivered] = field(default_factory=list)
    given_up: int = 0
    unusable: dict[str, LedgerError] = field(default_factory=dict)

    @property
    def arrived(self) -> int:
        return sum(one.answered.arrived for one in self.done)


def deliver(
    connection: Connection, rules: Rules, credentials: Secrets, *, clock: Callable[[], datetime], most: int = MOST
) -> Outcome:
    """Send what is due, tenant by tenant and hook by hook, the oldest first; at most so many messages.

    A receiver that is away rests, with all that waits for it, and so is not asked again in this run. A hook that cannot
    be used as it is written (no secret, no such ca_file) rests as well and is in `unusable`: the others go on.
    """
    outcome = Outcome()
    receivers: dict[str, Receiver] = {}
    for tenant in tenants(connection):
        hooks = [hook for hook in rules.hooks if hook.tenant in (None, tenant.name)]
        with as_tenant(connection, tenant.id):
            outcome.given_up += outbox.forget_unnamed(connection, tenant.id, [hook.name for hook in hooks], now=clock())
            outbox.forget_ended(connection, tenant.id, now=clock())
        for hook in hooks:
            while len(outcome.done) < most:
                with as_tenant(connection, tenant.id):
                    one = outbox.take(connection, tenant.id, hook.name, now=clock())
                    if one is None:
                        break
                    answered = _sent(hook, one, credentials, receivers, outcome, clock())
                    again_at, given_up = _noted(connection, tenant.id, one, answered, clock())
                outcome.done.append(Delivered(tenant.name, hook.name, answered, again_at))
                outcome.given_up += given_up
    return outcome


def put_back(connection: Connection, rules: Rules, *, now: datetime) -> int:
    """Let what was given up be due once more, of hooks that there are; return how much that is."""
    count = 0
    for tenant in tenants(connection):
        names = [hook.name for hook in rules.hooks if hook.tenant in (None, tenant.name)]
        with as_tenant(connection, tenant.id):
            count += outbox.put_back(connection, tenant.id, names, now=now)
    return count


def try_out(hook: Hook, credentials: Secrets, message_id: str, *, now: datetime) -> Answered:
    """Send a hook a message that says nothing but that it is a test. Raises LedgerError where it cannot be used."""
    import json

    said = {"type": "ledger.test", "timestamp": now.isoformat(), "data": {"hook": hook.name}}
    return send(receiver_of(hook, credentials), message_id, json.dumps(said), now=now)


def receiver_of(hook: Hook, credentials: Secrets) -> Receiver:
    """Return where a hook leads, with its secret. Raises LedgerError where the credential store has none."""
    keys = secrets_of(credentials.resolve(hook.credential_ref), hook.credential_ref)
    return Receiver(hook.name, hook.url, keys, hook.ca_file)


def hook_named(rules: Rules, name: str) -> Hook:
    """Return a hook of iac.yaml by its name. Raises PermanentError(CONFIG_INVALID) naming those there are."""
    for hook in rules.hooks:
        if hook.name == name:
            return hook
    names = ", ".join(hook.name for hook in rules.hooks) or "none"
    raise PermanentError(CONFIG_INVALID, f"iac.yaml has no webhook of this name; there are: {names}", target=name)


def _sent(
    hook: Hook,
    one: outbox.Delivery,
    credentials: Secrets,
    receivers: dict[str, Receiver],
    outcome: Outcome,
    now: datetime,
) -> Answered:
    try:
        if hook.name in outcome.unusable:
            raise outcome.unusable[hook.name]
        if hook.name not in receivers:
            receivers[hook.name] = receiver_of(hook, credentials)
        return send(receivers[hook.name], str(one.id), one.payload, now=now)
    except LedgerError as error:
        outcome.unusable[hook.name] = error
        return Answered(None, str(error), away=True)


def _noted(
    connection: Connection, tenant_id: UUID, one: outbox.Delivery, answered: Answered, now: datetime
) -> tuple[datetime | None, int]:
    """Note what came of a message; return when it is sent again, and how many were given up."""
    if answered.why is None:
        assert answered.status is not None
        outbox.delivered(connection, tenant_id, one, answered.status, now=now)
        return None, 0
    again_at = outbox.failed(
        connection,
        tenant_id,
        one,
        now=now,
        status=answered.status,
        why=answered.why,
        gone=answered.gone,
        at_least=timedelta(seconds=answered.retry_after_s),
    )
    given_up = 1 if again_at is None else 0
    if answered.away:
        until = again_at or now + outbox.FIRST_WAIT
        given_up += outbox.rest(connection, tenant_id, one.endpoint, until=until, now=now, why=answered.why)
    return again_at, given_up
