"""Edges of states from version to version: what is replaced, what a move of names leaves, what is not read whole."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from asset_ledger.cli import state_upkeep
from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.iac.locking import lock_of
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.states import Parsed, parse_version, parse_waiting, rebuild
from asset_ledger.store.access.people import add_tenant
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.iac import resources, states
from asset_ledger.store.iac.states import Name, NewBody, Who, Written
from asset_ledger.store.tenancy import as_tenant

RING = KeyRing({"k1": b"k" * 32})
STACK = Name("terraform", "net", "prod")
AWS = 'provider["registry.terraform.io/hashicorp/aws"]'


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as found:
        yield found


@pytest.fixture
def tenant(connection: Connection) -> UUID:
    return add_tenant(connection, "acme", RING)


def net(native: str, name: str = "net") -> dict[str, Any]:
    attributes = {"id": native, "arn": f"arn:aws:ec2:eu-west-1:1:subnet/{native}"}
    return {
        "mode": "managed",
        "type": "aws_subnet",
        "name": name,
        "provider": AWS,
        "instances": [{"attributes": attributes}],
    }


def web(*, needs: tuple[str, ...] = ("aws_subnet.net",)) -> dict[str, Any]:
    instance = {
        "attributes": {"id": "i-web0001", "arn": "arn:aws:ec2:eu-west-1:1:instance/i-web0001"},
        "dependencies": list(needs),
    }
    return {"mode": "managed", "type": "aws_instance", "name": "web", "provider": AWS, "instances": [instance]}


def written(
    connection: Connection, tenant: UUID, *resources: dict[str, Any], operation: str = "OperationTypeApply"
) -> None:
    """Write a version as a run with an operation does, and read it."""
    with as_tenant(connection, tenant):
        lock = lock_of(json.dumps({"ID": "run", "Operation": operation}).encode())
        states.take_lock(connection, tenant, STACK, lock, Who("ci", None))
        serial = connection.execute("SELECT count(*) FROM iac.states").fetchone()
        assert serial is not None
        body = json.dumps({"version": 4, "serial": serial[0], "lineage": "one", "resources": resources}).encode()
        new = NewBody(body, "terraform", True, serial[0], "one", "1.15.5")
        done = states.add_version(connection, tenant, STACK, new, lock_id="run", who=Who("ci", None), ring=RING)
        assert isinstance(done, Written)
        states.give_lock(connection, tenant, STACK, "run", Who("ci", None))
    (parsed,) = parse_waiting(connection, RING)
    assert parsed.said is None or "resources[" in parsed.said


def edges(connection: Connection) -> set[tuple[str, str]]:
    """Return every edge by the addresses of its ends; an end that stands no more is `gone`."""
    rows = connection.execute(
        "SELECT coalesce(s.addr, 'gone'), coalesce(d.addr, 'gone') FROM iac.dependency_edges AS e"
        " LEFT JOIN iac.resources_current AS s ON s.stable_uid = e.src_uid"
        " LEFT JOIN iac.resources_current AS d ON d.stable_uid = e.dst_uid"
    ).fetchall()
    return {(row[0], row[1]) for row in rows}


NEEDED = {("aws_instance.web", "aws_subnet.net")}


def test_what_needs_a_replaced_resource_needs_the_one_in_its_place(connection: Connection, tenant: UUID) -> None:
    written(connection, tenant, net("subnet-1"), web())
    assert edges(connection) == NEEDED
    written(connection, tenant, net("subnet-2"), web())
    assert edges(connection) == NEEDED


def test_a_move_of_names_takes_no_edge_although_terraform_drops_the_names(connection: Connection, tenant: UUID) -> None:
    written(connection, tenant, net("subnet-1"), web())
    written(connection, tenant, net("subnet-1", "lan"), web(needs=()), operation="state-mv")
    assert edges(connection) == {("aws_instance.web", "aws_subnet.lan")}
    written(connection, tenant, net("subnet-1", "lan"), web(needs=("aws_subnet.lan",)))
    assert edges(connection) == {("aws_instance.web", "aws_subnet.lan")}


def test_a_resource_that_left_by_a_move_to_another_state_takes_its_edges_along(
    connection: Connection, tenant: UUID
) -> None:
    written(connection, tenant, net("subnet-1"), web())
    written(connection, tenant, web(needs=()), operation="state-mv")
    assert edges(connection) == set()


def test_an_edge_that_is_needed_no_more_goes(connection: Connection, tenant: UUID) -> None:
    written(connection, tenant, net("subnet-1"), web())
    written(connection, tenant, net("subnet-1"), web(needs=()))
    assert edges(connection) == set()


def test_what_could_not_be_read_of_a_version_keeps_its_edges(connection: Connection, tenant: UUID) -> None:
    written(connection, tenant, net("subnet-1"), web())
    odd = {"mode": "managed", "type": "aws_instance", "name": "web", "provider": AWS, "instances": "none of these"}
    written(connection, tenant, net("subnet-1"), odd)
    assert edges(connection) == NEEDED


def body(serial: int, *found: dict[str, Any]) -> NewBody:
    told = {"version": 4, "serial": serial, "lineage": "one", "resources": found}
    return NewBody(json.dumps(told).encode(), "terraform", True, serial, "one", "1.15.5")


def keep(connection: Connection, tenant: UUID, new: NewBody, name: Name = STACK) -> int:
    """Write a version as nobody with a lock does, inside a transaction of its own or of the caller."""
    with as_tenant(connection, tenant):
        done = states.add_version(connection, tenant, name, new, lock_id=None, who=Who("ci", None), ring=RING)
    assert isinstance(done, Written)
    return done.version


def derived(connection: Connection) -> list[list[tuple[Any, ...]]]:
    tables = ("resource_events", "resources_current", "dependency_edges", "declared_machines")
    return [sorted(connection.execute(f"SELECT * FROM iac.{table}").fetchall(), key=repr) for table in tables]


def read(found: list[Parsed]) -> list[int]:
    return [each.version.version for each in found]


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as found:
        yield found


def test_of_two_writers_the_one_that_began_first_and_wrote_last_is_the_later_version(
    connection: Connection, other: Connection, tenant: UUID
) -> None:
    with as_tenant(connection, tenant):  # a slow request: its transaction began before the other's
        time.sleep(0.01)
        assert keep(other, tenant, body(1, net("subnet-1"))) == 1
        assert keep(connection, tenant, body(2, net("subnet-1"), web())) == 2
    assert connection.execute("SELECT version FROM iac.states ORDER BY created_at").fetchall() == [(1,), (2,)]
    assert read(parse_waiting(connection, RING)) == [1, 2]


def test_versions_are_read_and_made_again_in_their_order_whatever_their_clocks_say(
    connection: Connection, tenant: UUID
) -> None:
    lan = Name("terraform", "lan", "prod")
    for serial in (1, 2, 3):
        keep(connection, tenant, body(serial, net(f"subnet-{serial}")))
    keep(connection, tenant, body(1, net("subnet-9")), lan)
    # the clock of the database was set back between each two: the last is the oldest by its time
    connection.execute("UPDATE iac.states SET created_at = created_at - make_interval(mins => version::int)")
    assert read(parse_waiting(connection, RING)) == [1, 2, 3, 1], "the state that waits longest comes first"
    before = derived(connection)
    assert [row[0] for row in connection.execute("SELECT last_version FROM iac.resources_current ORDER BY 1")] == [1, 3]
    assert read(rebuild(connection, tenant, RING)) == [1, 2, 3, 1]
    assert derived(connection) == before
    assert connection.execute("SELECT count(*) FROM iac.states WHERE parsed_at IS NULL").fetchone() == (0,)


def test_what_comes_while_others_are_read_is_read_too(
    connection: Connection, other: Connection, tenant: UUID, database_url: str
) -> None:
    keep(connection, tenant, body(1, net("subnet-1")))
    found: list[Parsed] = []

    def reads() -> None:
        with connect(database_url) as mine:
            found.extend(parse_waiting(mine, RING))

    with as_tenant(connection, tenant):
        (one,) = resources.waiting(connection)
        assert resources.take(connection, one) is not None
        # the reader looks at what waits, and then waits itself for this state
        reader = threading.Thread(target=reads, daemon=True)
        reader.start()
        waits_for(other, "%pg_advisory_xact_lock%")
        keep(other, tenant, body(2, net("subnet-2")))
    reader.join(60)
    assert read(found) == [1, 2]


def waits_for(connection: Connection, query: str) -> None:
    """Wait until somebody waits for a lock in a query."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    until = time.monotonic() + 60
    while connection.execute(asked, [query]).fetchone() == (0,):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_is_made_again_waits_for_whoever_reads_just_now(
    connection: Connection, other: Connection, tenant: UUID, database_url: str
) -> None:
    keep(connection, tenant, body(1, net("subnet-1"), web()))
    found: list[Parsed] = []

    def makes() -> None:
        with connect(database_url) as mine:
            found.extend(rebuild(mine, tenant, RING))

    with as_tenant(connection, tenant):
        (one,) = resources.waiting(connection)
        assert parse_version(connection, one, RING) is not None
        maker = threading.Thread(target=makes, daemon=True)
        maker.start()
        waits_for(other, "%pg_advisory_xact_lock%")
    maker.join(60)
    assert [(each.version.version, each.said) for each in found] == [(1, None)]
    assert [row[0] for row in connection.execute("SELECT addr FROM iac.resource_events ORDER BY 1")] == [
        "aws_instance.web",
        "aws_subnet.net",
    ]


def test_what_cannot_be_made_again_whole_stays_as_it_was(connection: Connection, tenant: UUID) -> None:
    for serial in (1, 2, 3):
        keep(connection, tenant, body(serial, net(f"subnet-{serial}")))
    parse_waiting(connection, RING)
    before = derived(connection)
    connection.execute(
        "CREATE FUNCTION pg_temp.keeps() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.version = 2 THEN NEW.parsed_at := NULL; END IF; RETURN NEW; END $$"
    )
    connection.execute("CREATE TRIGGER keeps BEFORE UPDATE ON iac.states FOR EACH ROW EXECUTE FUNCTION pg_temp.keeps()")
    try:
        with pytest.raises(
            PermanentError, match="nothing was rebuilt: 2 versions are still unread, the first of them 2"
        ):
            rebuild(connection, tenant, RING)
    finally:
        connection.execute("DROP TRIGGER keeps ON iac.states")
    assert derived(connection) == before


def test_a_name_that_fits_into_no_index_is_shortened_and_the_same_again(connection: Connection, tenant: UUID) -> None:
    noise = "".join(f"{number * 2654435761 % 2**32:08x}" for number in range(1000))  # it must not compress
    odd = web() | {"instances": [{"attributes": {"id": f"i-{noise}", "arn": f"arn:aws:x:{noise}", "ami": "one"}}]}
    same = json.loads(json.dumps(odd).replace('"one"', '"two"'))
    keep(connection, tenant, body(1, net("subnet-1"), odd))
    keep(connection, tenant, body(2, net("subnet-1"), same))
    keep(connection, tenant, body(1, odd), Name("terraform", "lan", "prod"))
    assert [each.said for each in parse_waiting(connection, RING)] == [None] * 3
    events = connection.execute(
        "SELECT action FROM iac.resource_events JOIN iac.state_heads USING (state_id)"
        " WHERE addr = 'aws_instance.web' AND stack = 'prod' AND project = 'net' ORDER BY version"
    ).fetchall()
    assert events == [("create",), ("update",)], "whose name was shortened is nobody else by that"
    rows = connection.execute(
        "SELECT DISTINCT native_key, incarnation, machine_kind, machine_id FROM iac.resources_current"
        " WHERE addr = 'aws_instance.web'"
    ).fetchall()
    assert len(rows) == 1, "and is found again from another state"
    key, incarnation, kind, machine = rows[0]
    assert (key[:11], incarnation[:6], kind, machine[:6]) == ("arn:aws:x:0", "i-0000", "vm", "i-0000")
    assert max(map(len, rows[0])) < 250


def test_a_body_that_would_take_a_gigabyte_to_read_is_kept_unread_with_why_and_holds_up_nobody(
    connection: Connection, tenant: UUID
) -> None:
    crowded = b'{"version":4,"resources":[' + b"[]," * 7_000_000 + b"0]}"
    keep(connection, tenant, NewBody(crowded, "terraform", True, None, None, None))
    keep(connection, tenant, body(2, net("subnet-1")))
    found = parse_waiting(connection, RING)
    assert [(each.unread, each.waits) for each in found] == [(True, False), (False, False)]
    assert "more than 1 GB of memory" in str(found[0].said)


def test_what_is_kept_and_not_read_is_not_counted_among_what_was_read(
    connection: Connection, tenant: UUID, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(connection, tenant, body(1, net("subnet-1")))
    keep(connection, tenant, NewBody(b'{"encrypted_data":"x"}', "opentofu-encrypted", False, None, None, None))
    found = parse_waiting(connection, RING)
    assert [each.unread for each in found] == [False, True]
    state_upkeep._tell(found)
    told = capsys.readouterr()
    assert "1 versions read: 1 events" in told.out
    assert "version 2 was not read: encrypted by its client" in " ".join((told.out + told.err).split())
