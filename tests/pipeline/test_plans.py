"""Plans that are kept with a state: read, followed by the run they are of, made again the same, and never in the way."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.iac.locking import lock_of
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.plans import CaughtUp, catch_up, rebuild
from asset_ledger.pipeline.states import parse_waiting
from asset_ledger.store.access.people import add_tenant
from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.iac import following, plans, states
from asset_ledger.store.iac.plans import KeptPlan, NewPlan
from asset_ledger.store.iac.queue import backlog
from asset_ledger.store.iac.rekeying import rekey
from asset_ledger.store.iac.states import Name, NewBody, Who, Written
from asset_ledger.store.tenancy import as_tenant
from tests.patience import no_minutes, until
from tests.plain_owner import plainly_owned

RING = KeyRing({"k1": b"k" * 32})
STACK = Name("terraform", "net", "prod")
PROVIDER = "registry.terraform.io/hashicorp/aws"
CI = Who("ci", None)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as found:
        yield found


@pytest.fixture
def tenant(connection: Connection) -> UUID:
    return add_tenant(connection, "acme", RING)


def web(name: str = "web", native: str = "i-1", **attributes: Any) -> dict[str, Any]:
    told = {"id": native, "arn": f"arn:aws:ec2:eu-west-1:1:instance/{native}", **attributes}
    return {
        "mode": "managed", "type": "aws_instance", "name": name, "provider": f'provider["{PROVIDER}"]',
        "instances": [{"schema_version": 1, "attributes": told}],
    }  # fmt: skip


def change(actions: list[str], name: str = "web", before: Any = None, after: Any = None, **more: Any) -> dict[str, Any]:
    unknown = {"id": True, "arn": True} if actions in (["create"], ["delete", "create"]) else {}
    return {
        "address": f"aws_instance.{name}", "mode": "managed", "type": "aws_instance", "name": name,
        "provider_name": PROVIDER, **more,
        "change": {"actions": actions, "before": before, "after": after, "after_unknown": unknown},
    }  # fmt: skip


def plan(*changes: dict[str, Any], **more: Any) -> bytes:
    told = {"format_version": "1.2", "terraform_version": "1.15.5", "planned_values": {}, "errored": False}
    return json.dumps({**told, "resource_changes": changes, **more}).encode()


def sent(
    connection: Connection, tenant: UUID, body: bytes, *, base: int | None = None, ring: KeyRing = RING
) -> KeptPlan:
    with as_tenant(connection, tenant):
        return plans.add_plan(connection, tenant, STACK, NewPlan(body), base=base, who=CI, ring=ring)


def applied(
    connection: Connection,
    tenant: UUID,
    *versions: list[dict[str, Any]],
    run: str | None = "run-1",
    operation: str = "OperationTypeApply",
    read: bool = True,
) -> CaughtUp:
    """Write versions as one run does, and read what waits."""
    with as_tenant(connection, tenant):
        if run is not None:
            lock = lock_of(json.dumps({"ID": run, "Operation": operation}).encode())
            states.take_lock(connection, tenant, STACK, lock, CI)
        for resources in versions:
            (serial,) = connection.execute("SELECT count(*) FROM iac.states").fetchone() or (0,)
            body = json.dumps({"version": 4, "serial": serial, "lineage": "one", "resources": resources}).encode()
            new = NewBody(body, "terraform", True, serial, "one", "1.15.5")
            done = states.add_version(connection, tenant, STACK, new, lock_id=run, who=CI, ring=RING)
            assert isinstance(done, Written)
        if run is not None:
            states.give_lock(connection, tenant, STACK, run, CI)
    return read_all(connection) if read else CaughtUp((), ())


def read_all(connection: Connection, ring: KeyRing = RING) -> CaughtUp:
    parse_waiting(connection, ring)
    return catch_up(connection, ring)


def told(connection: Connection, kept: KeptPlan) -> list[tuple[str, str | None, int | None]]:
    """Return (what, outcome, version of its event) of a plan's predictions."""
    found = connection.execute(
        "SELECT action || ' ' || addr, outcome, event_version FROM iac.plan_events WHERE plan_id = %s ORDER BY sequence",
        [kept.id],
    )
    return [tuple(row) for row in found.fetchall()]  # type: ignore[misc]


def followed(connection: Connection, kept: KeptPlan) -> tuple[Any, ...]:
    row = connection.execute("SELECT followed_by, followed_run FROM iac.plans WHERE id = %s", [kept.id]).fetchone()
    assert row is not None
    return tuple(row)


def besides(connection: Connection, tenant: UUID, kept: KeptPlan) -> list[str]:
    with as_tenant(connection, tenant):
        return [f"{e.action} {e.addr}" for e in plans.unpredicted(connection, tenant, kept.id, 100)]


GROW = change(["update"], before={"id": "i-1", "size": 1}, after={"id": "i-1", "size": 2})


def test_a_plan_is_kept_with_a_state_that_is_not_there_yet_and_its_first_apply_follows_it(
    connection: Connection, tenant: UUID
) -> None:
    kept = sent(
        connection, tenant, plan(change(["create"], after={"size": 1}), change(["create"], "db", after={"size": 1}))
    )
    assert kept.base_version == 0
    found = read_all(connection)
    assert [(each.events, each.said) for each in found.read] == [(2, None)]
    assert told(connection, kept) == [("create aws_instance.web", None, None), ("create aws_instance.db", None, None)]
    applied(connection, tenant, [web(size=1)])
    assert followed(connection, kept) == (1, "run-1")
    assert told(connection, kept) == [
        ("create aws_instance.web", "as_predicted", 1),
        ("create aws_instance.db", "not_done", None),
    ]
    (uid,) = connection.execute("SELECT stable_uid FROM iac.resources_current").fetchall()
    assert connection.execute("SELECT stable_uid FROM iac.plan_events ORDER BY sequence").fetchall() == [uid, (None,)]


def test_what_a_run_does_besides_and_otherwise_is_told(connection: Connection, tenant: UUID) -> None:
    applied(connection, tenant, [web(size=1), web("db", "i-2", size=1), web("old", "i-3"), web("lan", "i-4", size=1)])
    kept = sent(
        connection,
        tenant,
        plan(
            GROW,
            change(["delete"], "old", before={"id": "i-3"}),
            change(
                ["delete", "create"], "db", before={"size": 1}, after={"size": 1}, action_reason="replace_by_request"
            ),
            change(["no-op"], "lan2", before={"id": "i-4"}, after={"id": "i-4"}, previous_address="aws_instance.lan"),
            resource_drift=[change(["update"], "lan", before={"size": 1}, after={"size": 7})],
        ),
    )
    applied(
        connection,
        tenant,
        [web(size=3), web("db", "i-9", size=1), web("lan2", "i-4", size=7), web("new", "i-8")],
        run="run-2",
    )
    assert told(connection, kept) == [
        ("drift aws_instance.lan", None, None),
        ("update aws_instance.web", "otherwise", 2),
        ("delete aws_instance.old", "as_predicted", 2),
        ("replace aws_instance.db", "as_predicted", 2),
        ("moved aws_instance.lan2", "as_predicted", 2),
    ]
    assert besides(connection, tenant, kept) == ["create aws_instance.new"]


def test_a_long_run_is_followed_to_its_last_version(connection: Connection, tenant: UUID) -> None:
    kept = sent(
        connection, tenant, plan(change(["create"], after={"size": 1}), change(["create"], "db", after={"size": 1}))
    )
    applied(connection, tenant, [web(size=1)])
    assert [outcome for _, outcome, _ in told(connection, kept)] == ["as_predicted", "not_done"]
    applied(connection, tenant, [web(size=1), web("db", "i-2", size=1)])
    assert followed(connection, kept) == (2, "run-1")
    assert [outcome for _, outcome, _ in told(connection, kept)] == ["as_predicted"] * 2
    applied(connection, tenant, [], run="run-2")
    assert followed(connection, kept) == (2, "run-1"), "the next run is another one"
    assert [outcome for _, outcome, _ in told(connection, kept)] == ["as_predicted"] * 2


def test_of_several_plans_over_one_version_the_newest_from_before_the_run_is_followed(
    connection: Connection, tenant: UUID
) -> None:
    applied(connection, tenant, [web(size=1)])
    first, second = (sent(connection, tenant, plan(GROW, timestamp=str(number))) for number in (1, 2))
    failed = sent(connection, tenant, plan(GROW, errored=True))
    applied(connection, tenant, [web(size=2)], run="run-2")
    late = sent(connection, tenant, plan(GROW, timestamp="3"), base=1)
    read_all(connection)
    assert [followed(connection, each)[0] for each in (first, second, failed, late)] == [None, 2, None, None]
    assert told(connection, second) == [("update aws_instance.web", "as_predicted", 2)]


def test_a_plan_that_comes_after_its_run_is_joined_to_it_and_a_later_one_takes_its_place(
    connection: Connection, tenant: UUID
) -> None:
    applied(connection, tenant, [web(size=1)])
    applied(connection, tenant, [web(size=2), web("db", "i-2")], run="run-2")
    applied(connection, tenant, [web(size=9), web("db", "i-2"), web("more", "i-3")], run="run-3")
    creation = change(["create"], "db", after={})
    kept = sent(connection, tenant, plan(GROW, creation), base=1)
    read_all(connection)
    assert followed(connection, kept) == (2, "run-2")
    assert [outcome for _, outcome, _ in told(connection, kept)] == ["as_predicted", "as_predicted"], (
        "compared with the version of then, not with that of now"
    )
    assert besides(connection, tenant, kept) == [], "what the next run did is not its"
    again = sent(connection, tenant, plan(GROW, creation, timestamp="later"), base=1)
    read_all(connection)
    assert followed(connection, again) == (2, "run-2")
    assert followed(connection, kept) == (None, None)
    assert told(connection, kept) == [("update aws_instance.web", None, None), ("create aws_instance.db", None, None)]
    before = derived(connection)
    rebuild(connection, tenant, RING)
    assert derived(connection) == before


@pytest.mark.parametrize("operation", ["state-mv", "state-rm", "taint", "OperationTypeInvalid"])
def test_a_command_that_is_no_apply_follows_no_plan(connection: Connection, tenant: UUID, operation: str) -> None:
    applied(connection, tenant, [web(size=1)])
    kept = sent(connection, tenant, plan(GROW))
    applied(connection, tenant, [web("lan", size=1)], run="run-2", operation=operation)
    applied(connection, tenant, [web("lan", size=2)], run="run-3")
    assert followed(connection, kept) == (None, None), "Terraform applies no saved plan over that either"


def test_a_plan_from_the_middle_of_a_run_is_followed_by_nothing(connection: Connection, tenant: UUID) -> None:
    applied(connection, tenant, [web(size=1)])
    kept = sent(connection, tenant, plan(GROW))
    applied(connection, tenant, [web(size=2)])
    assert followed(connection, kept) == (None, None)


def test_a_version_without_a_lock_is_a_run_of_its_own(connection: Connection, tenant: UUID) -> None:
    kept = sent(connection, tenant, plan(change(["create"], after={"size": 1})))
    applied(connection, tenant, [web(size=1)], [web(size=2)], run=None)
    assert followed(connection, kept) == (1, "version 1")
    assert told(connection, kept) == [("create aws_instance.web", "as_predicted", 1)]


def test_the_same_plan_twice_is_one_and_a_version_that_is_not_there_is_no_base(
    connection: Connection, tenant: UUID
) -> None:
    kept = sent(connection, tenant, plan(GROW))
    again = sent(connection, tenant, plan(GROW))
    assert (again.id, again.again) == (kept.id, True)
    with pytest.raises(plans.NoSuchBaseError, match="version 1; the newest of the state is 0"):
        sent(connection, tenant, plan(), base=1)


def test_a_plan_whose_key_is_not_there_waits_and_the_others_do_not(connection: Connection, tenant: UUID) -> None:
    held = sent(connection, tenant, plan(GROW))
    connection.execute("UPDATE iac.plans SET key_id = 'gone'")
    kept = sent(connection, tenant, plan(GROW, timestamp="2"))
    found = read_all(connection)
    assert [(each.plan.plan_id, each.waits) for each in found.read] == [(held.id, True), (kept.id, False)]
    with pytest.raises(PermanentError, match="nothing was rebuilt: the plan cannot be opened"):
        rebuild(connection, tenant, RING)
    assert told(connection, kept) == [("update aws_instance.web", None, None)], "and what there was is there"
    connection.execute("UPDATE iac.plans SET key_id = 'k1'")
    assert [each.plan.plan_id for each in read_all(connection).read] == [held.id]


def test_a_plan_waits_for_the_versions_that_it_was_made_over(connection: Connection, tenant: UUID) -> None:
    applied(connection, tenant, [web(size=1)], read=False)
    connection.execute("UPDATE iac.states SET key_id = 'gone'")
    kept = sent(connection, tenant, plan(GROW))
    assert read_all(connection).read == ()
    connection.execute("UPDATE iac.states SET key_id = 'k1'")
    read_all(connection)
    uids = connection.execute("SELECT stable_uid FROM iac.resources_current").fetchall()
    assert connection.execute("SELECT stable_uid FROM iac.plan_events WHERE plan_id = %s", [kept.id]).fetchall() == uids


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff", "UnicodeDecodeError"),
        (b"{}", "its `format_version` is none"),
        (plan(more=json.loads("[" * 300 + "]" * 300)), "nested deeper"),
        (plan()[:-1] + b',"more":[' + b"[]," * 7_000_000 + b"0]}", "more than 1 GB of memory"),
    ],
)
def test_what_cannot_be_read_is_marked_with_why_and_holds_up_nobody(
    connection: Connection, tenant: UUID, body: bytes, why: str
) -> None:
    odd = sent(connection, tenant, body)
    kept = sent(connection, tenant, plan(change(["create"], after={"size": 1})))
    found = read_all(connection).read
    assert [(each.unread, each.waits) for each in found] == [(True, False), (False, False)]
    assert why in str(found[0].said)
    applied(connection, tenant, [web(size=1)])
    assert followed(connection, kept) == (1, "run-1")
    assert followed(connection, odd) == (None, None)
    assert connection.execute("SELECT count(*) FROM iac.plans WHERE parsed_at IS NULL").fetchone() == (0,)


def test_what_could_not_be_read_of_a_plan_is_told_and_costs_no_other(connection: Connection, tenant: UUID) -> None:
    kept = sent(connection, tenant, plan(change(["explode"]), GROW))
    (found,) = read_all(connection).read
    assert found.said is not None
    assert "resource_changes[0]" in found.said
    assert told(connection, kept) == [("update aws_instance.web", None, None)]


def test_what_would_take_too_long_to_compare_is_not_told_and_holds_up_nobody(
    connection: Connection, tenant: UUID
) -> None:
    alike = [["u", *map(str, range(60)), number] for number in range(2000)]
    odd = change(["create"], after={"rules": alike})
    odd["change"]["after_unknown"]["rules"] = [[True]] * len(alike)
    kept, other = sent(connection, tenant, plan(odd)), change(["create"], "db", after={"size": 1})
    with no_minutes():
        (found,) = applied(connection, tenant, [web(rules=[*reversed(alike)])]).followed
    assert found.said == "what came of it cannot be told: too many values fit too many others"
    assert told(connection, kept) == [("create aws_instance.web", None, None)]
    second = sent(connection, tenant, plan(other))
    applied(connection, tenant, [web("db", "i-2", size=1)], run="run-2")
    assert told(connection, second) == [("create aws_instance.db", "as_predicted", 2)]


@pytest.mark.parametrize(
    ("kind", "body"), [("opentofu-encrypted", b'{"encrypted_data":"x"}'), ("terraform", b"no state at all")]
)
def test_over_a_version_that_nobody_can_read_nothing_is_said_of_what_came_of_a_plan(
    connection: Connection, tenant: UUID, kind: str, body: bytes
) -> None:
    kept = sent(connection, tenant, plan(change(["create"], after={"size": 1})))
    with as_tenant(connection, tenant):
        new = NewBody(body, kind, False, None, None, None)
        states.add_version(connection, tenant, STACK, new, lock_id=None, who=CI, ring=RING)
    (found,) = read_all(connection).followed
    assert found.said == "what came of it cannot be told: version 1 cannot be read"
    assert followed(connection, kept) == (1, "version 1")
    assert told(connection, kept) == [("create aws_instance.web", None, None)]
    assert read_all(connection).followed == (), "it is said once"


def derived(connection: Connection) -> list[list[dict[str, Any]]]:
    tables = ("resource_events", "resources_current", "plan_events", "plans")
    found = [sorted(rows(connection, f"SELECT * FROM iac.{table}"), key=repr) for table in tables]
    for row in found[3]:
        del row["parsed_at"], row["body"]
    return found


def test_what_was_read_of_plans_is_made_again_the_same(connection: Connection, tenant: UUID) -> None:
    sent(connection, tenant, plan(change(["create"], after={"size": 1, "password": "hunter2"})))
    applied(connection, tenant, [web(size=1)])
    sent(connection, tenant, plan(GROW))
    sent(connection, tenant, plan(change(["delete", "create"], before={"size": 1}, after={"size": 2})))
    applied(connection, tenant, [], [web(native="i-2", size=2), web("db", "i-5")], run="run-2")
    sent(connection, tenant, plan(GROW, change(["update"], "db", before={"a": 1}, after={"a": 2})))
    sent(connection, tenant, b"{}")
    read_all(connection)
    before = derived(connection)
    assert all(before)
    assert sum(row["outcome"] == "as_predicted" for row in before[2]) == 2
    versions, found = rebuild(connection, tenant, RING)
    assert (len(versions), len(found.read)) == (3, 5)
    assert derived(connection) == before
    connection.execute("DELETE FROM iac.plan_events")
    rebuild(connection, tenant, RING)
    assert derived(connection) == before
    assert read_all(connection) == CaughtUp((), ()), "nothing is left to do"


def test_readers_at_once_read_each_plan_once(connection: Connection, tenant: UUID, database_url: str) -> None:
    kept = [sent(connection, tenant, plan(GROW, timestamp=str(number))) for number in range(6)]
    found: list[CaughtUp] = []

    def read() -> None:
        with connect(database_url) as mine:
            found.append(catch_up(mine, RING))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    read_by_any = [each.plan.plan_id for some in found for each in some.read]
    assert sorted(read_by_any) == sorted(each.id for each in kept)


def test_who_looks_what_followed_waits_for_who_does_it_just_now(
    connection: Connection, tenant: UUID, database_url: str
) -> None:
    kept = sent(connection, tenant, plan(change(["create"], after={"size": 1})))
    read_all(connection)
    applied(connection, tenant, [web(size=1)], read=False)
    parse_waiting(connection, RING)
    found: list[CaughtUp] = []

    def looks() -> None:
        with connect(database_url) as mine:
            found.append(catch_up(mine, RING))

    with connect(database_url) as other, as_tenant(connection, tenant):
        (one,) = following.to_follow(connection, tenant)
        following.hold(connection, one.state_id)
        looker = threading.Thread(target=looks, daemon=True)
        looker.start()
        until(
            lambda: (
                other.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database() AND query LIKE '%pg_advisory_xact_lock%'"
                ).fetchone()
                == (1,)
            )
        )
        assert len(catch_up(connection, RING).followed) == 1
    looker.join(60)
    assert found == [CaughtUp((), ())]
    assert followed(connection, kept) == (1, "run-1")


def test_plans_are_encrypted_anew_with_the_versions_and_bound_to_their_place(
    connection: Connection, tenant: UUID
) -> None:
    applied(connection, tenant, [web(size=1)])
    body = plan(GROW, pad="y" * 5000)
    kept = sent(connection, tenant, body)
    other = sent(connection, tenant, plan())
    (stored,) = connection.execute("SELECT body FROM iac.plans WHERE id = %s", [kept.id]).fetchall()
    assert len(stored[0]) < 1000
    assert b"hashicorp" not in stored[0]
    assert zlib.compress(body, 1) not in stored[0]
    anew = KeyRing({"k2": b"2" * 32, **RING.keys})
    assert [(kind is None) for _, kind in rekey(connection, tenant, anew)] == [False, True, True]
    assert list(rekey(connection, tenant, anew)) == []
    alone = KeyRing({"k2": b"2" * 32})
    with as_tenant(connection, tenant):
        assert plans.opened_plan(connection, tenant, kept.id, alone) == body
        with pytest.raises(PermanentError, match="'k2', which is not in the ring"):
            plans.opened_plan(connection, tenant, kept.id, RING)
        connection.execute(
            "UPDATE iac.plans SET body = (SELECT body FROM iac.plans WHERE id = %s) WHERE id = %s", [kept.id, other.id]
        )
        with pytest.raises(PermanentError, match="was not encrypted"):
            plans.opened_plan(connection, tenant, other.id, alone)


def test_with_a_ring_that_is_not_the_tenants_nothing_is_kept(connection: Connection, tenant: UUID) -> None:
    with pytest.raises(PermanentError):
        sent(connection, tenant, plan(), ring=KeyRing({"k9": b"9" * 32}))
    assert connection.execute("SELECT count(*) FROM iac.plans").fetchone() == (0,)


def test_an_owner_who_is_no_superuser_reads_follows_and_makes_plans_again() -> None:
    with plainly_owned() as (url, _, _), connect(url) as mine:
        tenant = add_tenant(mine, "acme", RING)
        kept = sent(mine, tenant, plan(change(["create"], after={"size": 1})))
        assert backlog(mine, RING.keys).plans == 1
        with as_tenant(mine, tenant):
            new = NewBody(state_of(web(size=1), web("db", "i-2")), "terraform", True, 1, "one", "1.15.5")
            states.add_version(mine, tenant, STACK, new, lock_id=None, who=CI, ring=RING)
        assert len(read_all(mine).followed) == 1
        for _ in range(2):
            with as_tenant(mine, tenant):
                (row,) = plans.plans(mine, tenant, row_of(mine), 10)
                assert (row.id, row.as_predicted, row.followed_by) == (kept.id, 1, 1)
                assert [e.addr for e in plans.unpredicted(mine, tenant, kept.id, 10)] == ["aws_instance.db"]
            rebuild(mine, tenant, RING)
        assert len(list(rekey(mine, tenant, KeyRing({"k2": b"2" * 32, **RING.keys})))) == 2


def state_of(*resources: dict[str, Any]) -> bytes:
    return json.dumps({"version": 4, "serial": 1, "lineage": "one", "resources": resources}).encode()


def row_of(connection: Connection) -> UUID:
    (found,) = connection.execute("SELECT state_id FROM iac.state_heads").fetchone() or ()
    assert isinstance(found, UUID)
    return found
