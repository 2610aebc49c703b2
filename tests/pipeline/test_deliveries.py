"""What webhooks are told: put in with the finding, sent until the receiver has it, by one deliverer at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asset_ledger.domain.errors import CONFIG_INVALID, CREDENTIAL_NOT_FOUND, CREDENTIAL_UNREADABLE, PermanentError
from asset_ledger.domain.iac.rules import Hook, Rules
from asset_ledger.pipeline.deliveries import Outcome, deliver, hook_named, put_back, try_out
from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.iac import outbox
from asset_ledger.store.iac.figures import open_findings, source_findings
from asset_ledger.store.tenancy import SERVICE_ROLE, as_tenant
from tests.doubles.webhooks import Receiver, new_secret
from tests.pipeline.telling_hooks import closed, hook, opened, tenant
from tests.plain_owner import plainly_owned
from tests.postgres import create_database, database_name, drop_database

DAY = datetime(2026, 11, 20, 8, 0, 0, 123456, tzinfo=UTC)


class Clock:
    """Whose time only goes on where a test says so; messages are signed with the real one, as `send` is told it."""

    def __init__(self, at: datetime) -> None:
        self.now = at

    def __call__(self) -> datetime:
        return self.now


class Secrets:
    """A credential store in which the test puts the secrets: by reference."""

    def __init__(self, **kept: str) -> None:
        self.kept = kept

    def resolve(self, reference: str) -> Mapping[str, str]:
        name = reference.removeprefix("env:")
        if name not in self.kept:
            raise PermanentError(CREDENTIAL_NOT_FOUND, "there is none", target=reference)
        return {"secret": self.kept[name]}


@pytest.fixture(scope="module")
def one_database(template_database: str) -> Iterator[str]:
    url = create_database(template_database, template=database_name(template_database))
    yield url
    drop_database(url)


@pytest.fixture
def db(one_database: str) -> Iterator[Connection]:
    with connect(one_database) as connection:
        connection.execute("TRUNCATE agent.tenants, ledger.assets CASCADE")
        yield connection


@pytest.fixture(scope="module")
def shared() -> Iterator[Receiver]:
    with Receiver() as there:
        yield there


@pytest.fixture
def there(shared: Receiver) -> Receiver:
    shared.faults.clear()
    shared.requests.clear()
    shared.taken.clear()
    shared.again.clear()
    return shared


@pytest.fixture
def tickets(there: Receiver) -> Hook:
    return hook("tickets", there.url, ca_file=there.ca_file)


def put_in(connection: Connection, at: datetime, *hooks: Hook, of: str = "acme") -> int:
    with as_tenant(connection, tenant(connection, of)):
        return outbox.enqueue(connection, of, hooks, at=at)


def told(connection: Connection, of: str = "acme") -> list[dict[str, Any]]:
    with as_tenant(connection, tenant(connection, of)):
        return rows(
            connection,
            "SELECT * FROM iac.webhook_deliveries WHERE tenant_id = %s ORDER BY created_at, endpoint, event, id",
            [tenant(connection, of)],
        )


def sending(
    connection: Connection, there: Receiver, *hooks: Hook, at: datetime | None = None, most: int = 100
) -> Outcome:
    secrets = Secrets(**{one.name.upper(): there.secret for one in hooks})
    return deliver(connection, Rules(hooks=hooks), secrets, clock=Clock(at or datetime.now(UTC)), most=most)


def test_a_finding_that_opens_and_closes_is_told_with_what_a_ticket_needs(
    db: Connection, there: Receiver, tickets: Hook
) -> None:
    (finding,) = opened(db, DAY, "drift", declared=4, observed=8, name="数据库-02")
    assert put_in(db, DAY, tickets) == 1
    later = DAY + timedelta(hours=2)
    closed(db, later, [finding], "agrees")
    assert put_in(db, later, tickets) == 1
    outcome = sending(db, there, tickets)
    assert (outcome.arrived, outcome.given_up, len(outcome.done)) == (2, 0, 2)
    first, second = (message.said for message in there.taken.values())
    assert first == {
        "type": "finding.opened",
        "timestamp": "2026-11-20T08:00:00.123456+00:00",
        "data": {
            "id": str(finding),
            "kind": "drift",
            "tenant": "acme",
            "state": "shop/prod",
            "tool": "terraform",
            "address": "proxmox_vm.web[0]",
            "attribute": "cpu_cores",
            "declared": 4,
            "observed": 8,
            "rule": "id",
            "score": 100,
            "name": "数据库-02",
            "source": "pve_lab",
            "external_kind": None,
            "external_id": None,
            "asset": None,
            "observed_at": "2026-11-20T08:00:00.123456+00:00",
            "opened_at": "2026-11-20T08:00:00.123456+00:00",
            "age_s": 0,
            "closed_at": None,
            "closed_because": None,
        },
    }
    assert (second["type"], second["data"]["closed_because"], second["data"]["age_s"]) == (
        "finding.closed",
        "agrees",
        7200,
    )
    assert sending(db, there, tickets).done == []
    assert [row["last_status"] for row in told(db)] == [204, 204]


def test_a_machine_that_nobody_declares_is_told_by_its_id_at_the_source_and_its_name(
    db: Connection, there: Receiver, tickets: Hook
) -> None:
    asset = UUID(int=7)
    db.execute(
        "INSERT INTO ledger.assets (id, zone, platform_type, hostname, created_at, updated_at)"
        " VALUES (%s, 'default', 'pve', 'left-over', now(), now())",
        [asset],
    )
    (finding,) = opened(db, DAY, "orphan", asset_id=asset)
    put_in(db, DAY, tickets)
    said = json.loads(told(db)[0]["payload"])["data"]
    assert said["asset"] == {"id": str(asset), "name": "left-over"}
    assert (said["external_kind"], said["external_id"]) == ("vm", f"qemu/{finding}")
    assert said["state"] is said["address"] is said["attribute"] is None


def test_who_is_told_of_what_is_the_hooks_own_business(db: Connection, there: Receiver) -> None:
    tenant(db, "beta")
    opened(db, DAY, "drift", "missing", "orphan")
    opened(db, DAY, "drift", of="beta")
    opened(db, DAY - timedelta(days=1), "drift")  # of another time
    every = hook("every", there.url)
    drift = hook("drift", there.url, kinds=("drift", "double"))
    beta = hook("beta", there.url, tenant="beta")
    assert put_in(db, DAY, every, drift, beta) == 4
    assert put_in(db, DAY, every, drift, beta, of="beta") == 3
    assert [row["endpoint"] for row in told(db)] == ["drift", "every", "every", "every"]
    assert [row["endpoint"] for row in told(db, "beta")] == ["beta", "drift", "every"]
    assert put_in(db, DAY) == 0


def test_putting_in_again_changes_nothing(db: Connection, there: Receiver, tickets: Hook) -> None:
    opened(db, DAY, "drift", "orphan")
    assert put_in(db, DAY, tickets) == 2
    before = told(db)
    assert put_in(db, DAY, tickets) == 0
    assert told(db) == before


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
_JSON = st.none() | st.integers(-(2**53), 2**53) | _TEXT | st.lists(_TEXT, max_size=3)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=_TEXT, declared=_JSON, observed=_JSON)
def test_whatever_a_finding_says_is_told_as_it_is(
    db: Connection, tickets: Hook, name: str, declared: Any, observed: Any
) -> None:
    with db.transaction(force_rollback=True):
        opened(db, DAY, "drift", name=name, declared=declared, observed=observed)
        assert put_in(db, DAY, tickets) == 1
        said = json.loads(told(db)[0]["payload"])["data"]
    assert (said["name"], said["declared"], said["observed"]) == (name, declared, observed)


def test_a_receiver_that_fails_is_asked_ever_less_often_and_given_up_after_a_week(
    db: Connection, there: Receiver, tickets: Hook
) -> None:
    opened(db, DAY, "drift")
    put_in(db, DAY, tickets)
    there.faults.add("POST *", "status", status=500, times=None)
    waits: list[float] = []
    at = DAY
    while told(db)[0]["given_up_at"] is None:
        outcome = sending(db, there, tickets, at=at)
        (done,) = outcome.done
        assert not outcome.arrived
        if done.again_at is None:
            assert outcome.given_up == 1
            break
        waits.append((done.again_at - at).total_seconds())
        assert sending(db, there, tickets, at=done.again_at - timedelta(seconds=1)).done == []
        at = done.again_at
    for number, wait in enumerate(waits):
        whole = min(60 * 2**number, 6 * 3600)
        assert 0.8 * whole <= wait <= 1.2 * whole
    assert at >= DAY + timedelta(days=7)
    assert at - timedelta(seconds=waits[-1]) < DAY + timedelta(days=7)
    (row,) = told(db)
    assert (row["attempts"], row["last_status"], row["last_error"]) == (len(waits) + 1, 500, "answered 500")
    assert sending(db, there, tickets, at=at + timedelta(days=1)).done == []
    # a person may have it tried once more
    there.faults.clear()
    assert put_back(db, Rules(hooks=(tickets,)), now=datetime.now(UTC)) == 1
    assert sending(db, there, tickets).arrived == 1


def test_what_failed_together_does_not_come_again_together(db: Connection, there: Receiver, tickets: Hook) -> None:
    hooks = [hook(f"hook{number}", there.url, ca_file=there.ca_file) for number in range(6)]
    opened(db, DAY, "drift")
    put_in(db, DAY, *hooks)
    there.faults.add("POST *", "status", status=500, times=None)
    sending(db, there, *hooks, at=DAY)
    assert len({row["next_at"] for row in told(db)}) == 6


def test_a_receiver_that_is_away_is_asked_once_a_run_and_the_others_go_on(
    db: Connection, there: Receiver, tickets: Hook
) -> None:
    with Receiver() as other:
        other.secret = there.secret
        pager = hook("pager", other.url, ca_file=other.ca_file)
        opened(db, DAY, "drift", "missing", "orphan")
        put_in(db, DAY, tickets, pager)
        there.faults.add("POST *", "status", status=503, times=None)
        outcome = sending(db, there, tickets, pager, at=datetime.now(UTC))
        assert there.requests.count() == 1
        assert len(other.taken) == outcome.arrived == 3
    waiting = [row for row in told(db) if row["endpoint"] == "tickets"]
    assert sorted(row["attempts"] for row in waiting) == [0, 0, 1]
    assert len({row["next_at"] for row in waiting}) == 1
    assert {row["last_error"] for row in waiting} == {"answered 503"}


def test_a_message_that_is_refused_does_not_hold_up_the_next(db: Connection, there: Receiver, tickets: Hook) -> None:
    opened(db, DAY, "drift", "missing", "orphan")
    put_in(db, DAY, tickets)
    there.faults.add("POST *", "status", status=422)
    outcome = sending(db, there, tickets)
    assert (outcome.arrived, len(outcome.done)) == (2, 3)


def test_a_receiver_that_says_gone_is_told_no_more(db: Connection, there: Receiver, tickets: Hook) -> None:
    opened(db, DAY, "drift")
    put_in(db, DAY, tickets)
    there.faults.add("POST *", "status", status=410)
    outcome = sending(db, there, tickets)
    assert (outcome.arrived, outcome.given_up, outcome.done[0].again_at) == (0, 1, None)
    assert sending(db, there, tickets, at=datetime.now(UTC) + timedelta(days=1)).done == []


def test_a_receiver_that_says_when_is_asked_then(db: Connection, there: Receiver, tickets: Hook) -> None:
    opened(db, DAY, "drift")
    put_in(db, DAY, tickets)
    there.faults.add("POST *", "status", status=429, headers={"Retry-After": "1800"})
    (done,) = sending(db, there, tickets, at=DAY).done
    assert done.again_at == DAY + timedelta(seconds=1800)


def test_what_is_older_than_a_week_is_given_up_together_with_a_receiver_that_is_away(
    db: Connection, there: Receiver, tickets: Hook
) -> None:
    opened(db, DAY, "drift", "missing", "orphan")
    put_in(db, DAY, tickets)
    opened(db, DAY + timedelta(days=9), "double")
    put_in(db, DAY + timedelta(days=9), tickets)
    there.faults.add("POST *", "status", status=503, times=None)
    outcome = sending(db, there, tickets, at=DAY + timedelta(days=10))
    assert outcome.given_up == 3
    assert [row["given_up_at"] is None for row in told(db)] == [False, False, False, True]


def test_two_deliverers_never_send_one_message_at_once(
    db: Connection, one_database: str, there: Receiver, tickets: Hook
) -> None:
    opened(db, DAY, "drift")
    put_in(db, DAY, tickets)
    arrived, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        arrived.set()
        go_on.wait(30)

    there.on("POST *", hold)
    found: list[Outcome] = []

    def first() -> None:
        with connect(one_database) as connection:
            found.append(sending(connection, there, tickets))

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert arrived.wait(30)
        # while the first waits for an answer
        assert sending(db, there, tickets).done == []
    finally:
        go_on.set()
        thread.join(30)
    assert found[0].arrived == 1
    assert there.requests.count() == 1
    assert not there.again


def test_a_deliverer_that_dies_before_it_notes_it_sends_again_under_the_same_id(
    db: Connection, one_database: str, there: Receiver, tickets: Hook
) -> None:
    import psycopg

    opened(db, DAY, "drift")
    put_in(db, DAY, tickets)
    with connect(one_database) as dying:
        process = dying.info.backend_pid
        there.on("POST *", lambda _: db.execute("SELECT pg_terminate_backend(%s, 5000)", [process]))
        with pytest.raises(psycopg.OperationalError):
            sending(dying, there, tickets)
    assert told(db)[0]["attempts"] == 0
    assert sending(db, there, tickets).arrived == 1
    assert [one.id for one in there.again] == list(there.taken)


def test_a_hook_without_a_secret_rests_and_says_what_is_wrong_and_the_others_go_on(
    db: Connection, there: Receiver, tickets: Hook
) -> None:
    lost = hook("lost", there.url, ca_file=there.ca_file)
    bad = hook("bad", there.url, ca_file=there.ca_file)
    opened(db, DAY, "drift", "orphan")
    put_in(db, DAY, bad, lost, tickets)
    secrets = Secrets(TICKETS=there.secret, BAD="whsec_short")
    outcome = deliver(db, Rules(hooks=(bad, lost, tickets)), secrets, clock=lambda: datetime.now(UTC))
    assert outcome.arrived == 2
    assert {name: error.code for name, error in outcome.unusable.items()} == {
        "lost": CREDENTIAL_NOT_FOUND,
        "bad": CREDENTIAL_UNREADABLE,
    }
    said = {row["endpoint"]: row["last_error"] for row in told(db)}
    assert "CREDENTIAL_NOT_FOUND" in said["lost"]
    assert "whsec_short" not in str(said)


def test_what_waits_for_a_hook_that_is_no_more_is_not_sent_and_given_up_after_a_week(
    db: Connection, there: Receiver, tickets: Hook
) -> None:
    opened(db, DAY, "drift")
    put_in(db, DAY, tickets)
    moved = hook("tickets", there.url, ca_file=there.ca_file, tenant="beta")  # now another tenant's alone
    assert sending(db, there, moved, at=DAY + timedelta(days=6)).given_up == 0
    assert outbox.due(db, [moved], now=DAY + timedelta(days=6)).messages == 0
    assert sending(db, there, moved, at=DAY + timedelta(days=7)).given_up == 1
    assert not there.requests.count()
    assert "no such hook" in told(db)[0]["last_error"]


def test_of_one_run_there_are_so_many_messages_at_most(db: Connection, there: Receiver, tickets: Hook) -> None:
    opened(db, DAY, *["drift"] * 5)
    put_in(db, DAY, tickets)
    assert len(sending(db, there, tickets, most=3).done) == 3
    assert len(sending(db, there, tickets, most=3).done) == 2


def test_what_is_due_is_another_set_after_every_attempt(db: Connection, there: Receiver, tickets: Hook) -> None:
    opened(db, DAY, "drift", "orphan")
    put_in(db, DAY, tickets)
    first = outbox.due(db, [tickets], now=DAY + timedelta(minutes=5))
    assert (first.messages, first.late_s) == (2, 300)
    assert outbox.due(db, [tickets], now=DAY + timedelta(minutes=6)).which == first.which
    there.faults.add("POST *", "status", status=422, times=None)
    sending(db, there, tickets, at=DAY)
    assert outbox.due(db, [tickets], now=DAY).messages == 0
    assert outbox.due(db, [tickets], now=DAY + timedelta(hours=1)).which != first.which
    assert outbox.due(db, [], now=DAY + timedelta(hours=1)).messages == 0


def test_how_it_stands_with_every_hook_is_told_without_what_was_sent(
    db: Connection, there: Receiver, tickets: Hook
) -> None:
    opened(db, DAY, "drift", "orphan")
    put_in(db, DAY, tickets)
    there.faults.add("POST *", "status", status=422)
    sending(db, there, tickets)
    (box,) = outbox.boxes(db)
    assert (box.tenant, box.hook, box.waiting, box.delivered, box.given_up) == ("acme", "tickets", 1, 1, 0)
    assert (box.last_status, box.last_error) == (422, "answered 422")


def test_a_hook_is_tried_out_with_a_message_of_its_own_kind(there: Receiver, tickets: Hook) -> None:
    rules = Rules(hooks=(tickets,))
    answered = try_out(hook_named(rules, "tickets"), Secrets(TICKETS=there.secret), "try", now=datetime.now(UTC))
    assert answered.arrived
    assert there.taken["try"].said["type"] == "ledger.test"
    assert not try_out(tickets, Secrets(TICKETS=new_secret()), "two", now=datetime.now(UTC)).arrived
    with pytest.raises(PermanentError, match="there are: tickets") as caught:
        hook_named(rules, "ticket")
    assert caught.value.code is CONFIG_INVALID


def test_the_service_does_not_see_what_hooks_are_told(db: Connection) -> None:
    found = db.execute(
        "SELECT has_table_privilege('asset_ledger_service', 'iac.webhook_deliveries', 'SELECT, INSERT, UPDATE, DELETE')"
    ).fetchone()
    assert found == (False,)


def test_everything_is_told_for_an_owner_who_is_no_superuser(there: Receiver, tickets: Hook) -> None:
    with plainly_owned() as (url, _, _), connect(url) as db:
        tenant(db, "beta")
        opened(db, DAY, "drift", "orphan")
        opened(db, DAY, "missing", of="beta")
        assert put_in(db, DAY, tickets) == 2
        assert put_in(db, DAY, tickets, of="beta") == 1
        assert outbox.due(db, [tickets], now=DAY).messages == 3
        there.faults.add("POST *", "status", status=410)
        outcome = sending(db, there, tickets)
        assert (outcome.arrived, outcome.given_up) == (2, 1)
        assert put_back(db, Rules(hooks=(tickets,)), now=datetime.now(UTC)) == 1
        assert sending(db, there, tickets).arrived == 1
        assert [(box.tenant, box.delivered) for box in outbox.boxes(db)] == [("acme", 2), ("beta", 1)]
        assert [(row["tenant"], row["kind"]) for row in source_findings(db)] == [
            ("acme", "drift"),
            ("acme", "orphan"),
            ("beta", "missing"),
        ]
        with db.transaction():
            assert db.execute("SELECT count(*) FROM iac.webhook_deliveries").fetchone() == (0,), "without a tenant"
        with db.transaction(force_rollback=True):
            db.execute(f"SET LOCAL ROLE {SERVICE_ROLE}")
            assert [(one.kind, one.open) for one in open_findings(db)] == [("drift", 1), ("missing", 1), ("orphan", 1)]


def test_who_was_told_that_a_finding_opened_is_told_that_it_closed_whatever_its_hook_asks_for_by_then(
    db: Connection, there: Receiver, tickets: Hook
) -> None:
    narrowed, gone = opened(db, DAY, "drift", "missing")
    assert put_in(db, DAY, tickets) == 2
    sending(db, there, tickets)
    closed(db, DAY + timedelta(hours=1), [narrowed], "agrees")
    assert put_in(db, DAY + timedelta(hours=1), replace(tickets, kinds=("orphan",))) == 1
    # while nobody was named, and then again
    closed(db, DAY + timedelta(hours=2), [gone], "seen_again")
    assert put_in(db, DAY + timedelta(hours=2)) == 0
    assert put_in(db, DAY + timedelta(hours=9), replace(tickets, tenant="other")) == 0
    assert put_in(db, DAY + timedelta(hours=9), tickets) == 1
    assert put_in(db, DAY + timedelta(hours=10), tickets) == 0
    late = json.loads(told(db)[-1]["payload"])
    assert (late["type"], late["data"]["age_s"]) == ("finding.closed", 7200)
    assert late["timestamp"] == late["data"]["closed_at"]


def test_what_arrived_long_ago_goes_with_its_finding_and_never_before(
    db: Connection, there: Receiver, tickets: Hook
) -> None:
    over, still = opened(db, DAY, "drift", "missing")
    put_in(db, DAY, tickets)
    closed(db, DAY + timedelta(hours=1), [over], "agrees")
    put_in(db, DAY + timedelta(hours=1), tickets)
    now = datetime.now(UTC)
    assert sending(db, there, tickets, at=now).arrived == 3
    sending(db, there, tickets, at=now + outbox.KEPT_FOR - timedelta(hours=1))
    assert len(told(db)) == 3
    sending(db, there, tickets, at=now + outbox.KEPT_FOR)
    assert [one["finding_id"] for one in told(db)] == [still]
