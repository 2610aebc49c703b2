"""Reports as they come: what is latest, which rows history has, and what waits for the ledger."""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asset_ledger.domain.agents.arrival import TooOldError
from asset_ledger.domain.agents.payload import loads, read
from asset_ledger.store.agents import lists
from asset_ledger.store.agents.clients import retire
from asset_ledger.store.agents.reports import accept
from asset_ledger.store.agents.writing import MOST_AGAIN, ClientGoneError
from asset_ledger.store.database import connect
from asset_ledger.store.tenancy import as_tenant
from tests.agents.payloads import GIB, payload
from tests.agents.reporting import Office, body

# 09:00 in Shanghai: a whole day of instants about it
AT = datetime.now(UTC).replace(hour=1, minute=0, second=0, microsecond=0) - timedelta(days=2)
MINUTE = timedelta(minutes=1)


def spooled(minutes: float, **changes: Any) -> bytes:
    return body(collected_at=AT + minutes * MINUTE, spooled=True, **changes)


def kinds(acme: Office, client: Any) -> list[list[str]]:
    return [row["change_type"] for row in acme.history(client)]


def test_the_first_report_is_latest_and_history_and_waits_for_the_ledger_byte_for_byte(acme: Office) -> None:
    client, sent = acme.client(), body(collected_at=AT, spooled=True, agent_version="1.2.0", management_ip="192.0.2.10")
    accepted = acme.send(client, sent)
    assert (accepted.result, accepted.change.types) == ("changed", ("periodic_snapshot",))  # type: ignore[union-attr]
    latest, (row,) = acme.latest(client), acme.history(client)
    assert latest is not None
    assert (latest["hostname"], latest["cpu_count"], latest["memory_total"]) == ("web-01", 4, 16_376_053_760)
    assert (latest["collected_at"], latest["raw_data"]) == (AT, json.loads(sent))
    assert (row["change_summary"].split(":")[0], row["collected_date"]) == (
        "first report",
        (AT + 8 * 60 * MINUTE).date(),
    )
    (waiting,) = acme.rows("SELECT * FROM agent.reports WHERE client_id = %s", [client.client_id])
    assert (bytes(waiting["payload"]), str(waiting["peer"]), str(waiting["management_ip"])) == (
        sent,
        "192.0.2.10",
        "192.0.2.10",
    )
    (shown,) = acme.rows("SELECT hostname, os, agent_version FROM agent.clients WHERE id = %s", [client.client_id])
    assert shown == {"hostname": "web-01", "os": "linux", "agent_version": "1.2.0"}


def test_an_unchanged_report_writes_what_is_latest_alone(acme: Office) -> None:
    client = acme.client()
    acme.send(client, spooled(0))
    used = payload()["memory"] | {"used": 7 * GIB, "used_percent": 45.5}
    accepted = acme.send(client, spooled(5, memory=used, uptime=5))
    assert (accepted.result, accepted.change) == ("unchanged", None)
    latest = acme.latest(client)
    assert latest is not None
    assert (latest["collected_at"], latest["memory_used"], float(latest["memory_usage_percent"])) == (
        AT + 5 * MINUTE,
        7 * GIB,
        45.5,
    )
    assert (latest["raw_at"], latest["raw_data"]["host"]["uptime"]) == (AT, 864_000)
    assert len(acme.history(client)) == 1
    assert len(acme.rows("SELECT id FROM agent.reports WHERE client_id = %s", [client.client_id])) == 1


def test_an_unchanged_report_touches_no_index(acme: Office) -> None:
    client = acme.client()
    acme.send(client, spooled(0))
    query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'inventory_latest'"
    with acme.pool.connection() as connection, as_tenant(connection, acme.tenant_id):
        before = connection.execute(query).fetchone()
        for minute in range(1, 4):
            sent = spooled(minute, uptime=minute)
            accepted = accept(connection, client, sent, read(loads(sent)), received_at=datetime.now(UTC), peer=None)
            assert accepted.result == "unchanged"
        after = connection.execute(query).fetchone()
    assert before is not None
    assert after == (before[0] + 3, before[1] + 3)


def test_what_changed_is_a_row_of_its_types_and_of_the_day_before_the_count_of_what_was_said_again(
    acme: Office,
) -> None:
    client = acme.client()
    acme.send(client, spooled(0))
    acme.send(client, spooled(1))
    accepted = acme.send(client, spooled(2, memory_total=32 * GIB, kernel_version="6.1.0"))
    assert accepted.change is not None
    assert set(accepted.change.types) == {"hardware_change", "os_change"}
    first, second = acme.history(client)
    assert first["again_at"] == [AT + MINUTE]
    assert "memory" in second["change_summary"]
    assert "5.15.0-58-generic → 6.1.0" in second["change_summary"]


def test_the_first_unchanged_report_of_a_day_is_a_snapshot(acme: Office) -> None:
    client = acme.client()
    acme.send(client, spooled(0))
    accepted = acme.send(client, spooled(24 * 60))
    assert (accepted.result, accepted.change.types) == ("changed", ("periodic_snapshot",))  # type: ignore[union-attr]
    assert kinds(acme, client) == [["periodic_snapshot"]] * 2


@pytest.mark.parametrize("again", [{}, {"spooled": None}], ids=["the same bytes", "in other bytes"])
def test_the_same_report_twice_changes_nothing(acme: Office, again: dict[str, Any]) -> None:
    client = acme.client()
    at = datetime.now(UTC) - MINUTE
    acme.send(client, body(collected_at=at, spooled=True))
    before = acme.history(client)
    assert acme.send(client, body(collected_at=at, **{"spooled": True, **again})).result == "duplicate"
    assert acme.history(client) == before
    acme.send(client, body(collected_at=at + MINUTE, memory_total=32 * GIB))
    assert acme.send(client, body(collected_at=at, **{"spooled": True, **again})).result == "duplicate"
    assert len(acme.history(client)) == 2
    assert len(acme.rows("SELECT id FROM agent.reports WHERE client_id = %s", [client.client_id])) == 2


def test_a_report_sent_again_in_other_bytes_is_what_the_client_is_known_to_have_said(acme: Office) -> None:
    enrolled = acme.enrolled()
    client = acme.holder(enrolled.token)
    assert client is not None
    acme.send(client, body(collected_at=datetime.now(UTC)))
    (at,) = [row["collected_at"] for row in acme.history(client)]
    sent = body(collected_at=at, spooled=True)
    assert acme.send(client, sent).result == "duplicate"
    again = acme.holder(enrolled.token)
    assert again is not None
    assert again.payload_sha256 == hashlib.sha256(sent).digest()


def test_two_reports_of_one_second_that_differ_are_both_kept(acme: Office) -> None:
    client = acme.client()
    acme.send(client, spooled(0))
    acme.send(client, spooled(0, memory_total=32 * GIB))
    acme.send(client, spooled(1, memory_total=32 * GIB))
    assert [row["memory_total"] for row in acme.history(client)] == [16_376_053_760, 32 * GIB]
    assert acme.latest(client)["memory_total"] == 32 * GIB  # type: ignore[index]


def test_a_late_report_takes_its_place_and_what_is_latest_stays(acme: Office) -> None:
    client = acme.client()
    acme.send(client, spooled(0))
    acme.send(client, spooled(20, memory_total=32 * GIB))
    accepted = acme.send(client, spooled(10, kernel_version="6.1.0"))
    assert (accepted.result, accepted.change.types) == ("late", ("os_change",))  # type: ignore[union-attr]
    assert kinds(acme, client) == [["periodic_snapshot"], ["os_change"], ["hardware_change", "os_change"]]
    assert acme.latest(client)["collected_at"] == AT + 20 * MINUTE  # type: ignore[index]
    assert len(acme.rows("SELECT id FROM agent.reports WHERE client_id = %s", [client.client_id])) == 3


STATES: tuple[dict[str, Any], ...] = (
    {},
    {"memory_total": 32 * GIB},
    {"kernel_version": "6.1.0"},
    {"memory": None},
    {"cpu": None, "network": None},
)
SENT = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, len(STATES) - 1)), unique_by=lambda one: one[0], min_size=1, max_size=9
)


@settings(max_examples=60, derandomize=True)
@given(reports=SENT, data=st.data())
@example(reports=[(0, 0), (1, 1), (2, 0), (3, 0), (4, 0)], data=None)
def test_any_order_of_the_same_reports_gives_the_same_history_and_the_same_latest(
    acme_for_all: Office, reports: list[tuple[int, int]], data: Any
) -> None:
    acme = acme_for_all
    reports = sorted(reports)
    mixed = [reports[n] for n in (0, 2, 4, 3, 1)] if data is None else data.draw(st.permutations(reports))

    def outcome(order: list[tuple[int, int]]) -> Any:
        client = acme.client()
        for hour, state in order:  # over two days and more
            acme.send(client, spooled(60 * hour, uptime=hour + 1, **STATES[state]))
        same = ("change_type", "change_summary", "collected_at", "collected_date", "digest", "memory_total")
        found = [{name: row[name] for name in same} for row in acme.history(client)]
        latest = acme.latest(client)
        assert latest is not None
        newest = ("collected_at", "memory_total", "kernel_version", "digest", "since", "again_at", "payload_sha256")
        again = [row["again_at"] for row in acme.history(client)]
        return found, {name: latest[name] for name in newest}, again

    assert outcome(mixed) == outcome(reports)


@pytest.fixture(scope="module")
def acme_for_all(shared_url: str) -> Any:
    from tests.agents.reporting import office

    with office(shared_url) as made:
        yield made


def test_many_reports_of_one_client_at_once_come_to_what_they_would_one_by_one(acme: Office) -> None:
    client = acme.client()
    sent = [spooled(n, **STATES[n % 3]) for n in range(12)] * 2
    failed: list[BaseException] = []

    def work(mine: list[bytes]) -> None:
        try:
            for one in mine:
                acme.send(client, one)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(sent[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    other = acme.client()
    for n in range(12):
        acme.send(other, spooled(n, **STATES[n % 3]))
    told = [(row["collected_at"], row["change_type"], row["change_summary"]) for row in acme.history(client)]
    assert told == [(row["collected_at"], row["change_type"], row["change_summary"]) for row in acme.history(other)]
    assert len(told) == 12


def test_two_first_reports_at_once_are_two_rows_in_their_order(acme: Office) -> None:
    client = acme.client()
    together = threading.Barrier(2)

    def work(minute: int) -> None:
        sent = spooled(minute, **STATES[minute])
        together.wait()
        acme.send(client, sent)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert kinds(acme, client) == [["periodic_snapshot"], ["hardware_change"]]


def test_more_unchanged_reports_than_are_remembered_are_still_unchanged(acme: Office) -> None:
    client = acme.client()
    for n in range(MOST_AGAIN + 3):
        acme.send(client, spooled(n / 60))
    assert len(acme.history(client)) == 1
    latest = acme.latest(client)
    assert latest is not None
    assert (len(latest["again_at"]), latest["collected_at"]) == (MOST_AGAIN, AT + (MOST_AGAIN + 2) / 60 * MINUTE)


def test_a_report_ahead_of_the_clock_counts_as_now_and_one_behind_for_today(acme: Office) -> None:
    client, now = acme.client(), datetime.now(UTC)
    ahead = acme.send(client, body(collected_at=now + timedelta(hours=3)), received_at=now)
    assert (ahead.collected_at, ahead.notes) == (now, ("collected_at is 3 h ahead: taken as now",))
    behind = acme.send(client, body(collected_at=AT), received_at=now)
    assert (behind.collected_at, behind.collected_date) == (AT, ahead.collected_date)


def test_a_report_without_an_instant_counts_as_now_each_time(acme: Office) -> None:
    client, now = acme.client(), datetime.now(UTC)
    sent = body()
    assert acme.send(client, sent, received_at=now).result == "changed"
    assert acme.send(client, sent, received_at=now + MINUTE).result == "unchanged"
    assert acme.latest(client)["collected_at"] == now + MINUTE  # type: ignore[index]


def test_what_waited_for_months_goes_into_history_alone_and_for_years_nowhere(acme: Office) -> None:
    client, now = acme.client(), datetime.now(UTC)
    acme.send(client, body(collected_at=now))
    old = acme.send(client, body(collected_at=now - timedelta(days=90), spooled=True, memory_total=GIB))
    assert old.result == "late"
    assert len(acme.history(client)) == 2
    assert len(acme.rows("SELECT id FROM agent.reports WHERE client_id = %s", [client.client_id])) == 1
    with pytest.raises(TooOldError, match="800 days ago"):
        acme.send(client, body(collected_at=now - timedelta(days=800), spooled=True))
    assert acme.send(client, body(collected_at=datetime(1970, 1, 1, tzinfo=UTC), memory_total=GIB)).result == "changed"


def test_a_client_that_was_retired_meanwhile_is_refused(acme: Office) -> None:
    client = acme.client()
    with acme.pool.connection() as connection, as_tenant(connection, acme.tenant_id):
        assert retire(connection, acme.tenant_id, client.client_id)
    with pytest.raises(ClientGoneError):
        acme.send(client, body())


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (rb'"a\u0000b"', "a�b"),
        (rb'"\ud800"', "�"),
        (b"1e5000", "1E+5000"),
        (b"1" + b"0" * 1200, "1" + "0" * 1200),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"1e30", 10**30),
        ('"字"'.encode(), "字"),
    ],
)
def test_what_jsonb_has_no_room_for_is_kept_all_the_same(acme: Office, sent: bytes, kept: object) -> None:
    client = acme.client()
    whole = body()[:-1] + b', "more": ' + sent + b"}"
    acme.send(client, whole)
    (waiting,) = acme.rows("SELECT payload FROM agent.reports WHERE client_id = %s", [client.client_id])
    assert bytes(waiting["payload"]) == whole
    assert acme.latest(client)["raw_data"]["more"] == kept  # type: ignore[index]


def test_any_two_of_what_a_client_said_can_be_compared_and_one_that_was_split_off_too(acme: Office) -> None:
    client = acme.client()
    for n in (0, 2, 4, 5):
        acme.send(client, spooled(n))
    acme.send(client, spooled(1, memory_total=32 * GIB))
    with acme.pool.connection() as connection, as_tenant(connection, acme.tenant_id):
        first, second, third = reversed(lists.history(connection, acme.tenant_id, client.client_id, limit=10))
        assert [third.raw_kept, third.said_again, third.memory_used] == [False, 2, None]
        said = [lists.said(connection, acme.tenant_id, client.client_id, each.id) for each in (first, second, third)]
        last = lists.said(connection, acme.tenant_id, client.client_id, None)
    assert [one and one.inventory.memory_total for one in (*said, last)] == [
        16_376_053_760,
        32 * GIB,
        16_376_053_760,
        16_376_053_760,
    ]


def test_a_secret_that_an_agent_sends_along_is_kept_nowhere(acme: Office) -> None:
    client = acme.client()
    for number, hostname in enumerate(("web-01", "web-02")):
        sent = spooled(number, hostname=hostname, labels={"db_password": "planted-1"}, note="https://a:planted-2@host/")
        acme.send(client, sent)
        assert hashlib.sha256(sent).digest() == bytes((acme.latest(client) or {})["payload_sha256"])
    assert "planted" not in str([acme.latest(client), *acme.history(client)])
    waiting = acme.rows("SELECT payload FROM agent.reports WHERE client_id = %s", [client.client_id])
    assert len(waiting) == 2
    assert not any(b"planted" in bytes(row["payload"]) for row in waiting)


def test_what_is_told_of_a_change_holds_no_secret_either(acme: Office) -> None:
    client = acme.client()
    disk = {"device": "https://ann:planted@dav.example/x", "mountpoint": "/dav", "fstype": "davfs", "total": 10 * GIB}
    for number, kernel in enumerate(("9.0", "9.1", "9.2")):
        acme.send(client, spooled(number, kernel_version=kernel, disks=[*payload()["disks"], disk]))
    assert [row["change_type"] for row in acme.history(client)] == [["periodic_snapshot"], ["os_change"], ["os_change"]]
    assert "planted" not in str([acme.latest(client), *acme.history(client)])


def test_a_late_report_parts_even_a_row_that_was_said_again_very_often(acme: Office) -> None:
    client = acme.client()
    many = MOST_AGAIN + 20
    for number in range(many):
        acme.send(client, spooled(number / 10))
    late = spooled((many - 5) / 10 - 0.05, memory_total=32 * GIB)
    assert acme.send(client, late).result == "late"
    assert [row["memory_total"] == 32 * GIB for row in acme.history(client)] == [False, True, False]
    assert acme.send(client, late).result == "duplicate"
    assert len(acme.history(client)) == 3


def test_a_change_is_seen_past_a_report_that_tells_only_a_part(acme: Office) -> None:
    client = acme.client()
    parts = {"cpu": None, "memory": None, "disks": None, "network": None}
    acme.send(client, spooled(0))
    acme.send(client, spooled(1, **parts))
    acme.send(client, spooled(2, kernel_version="6.9", **parts))
    accepted = acme.send(client, spooled(3, kernel_version="6.9", memory_total=64 * GIB, cores=32))
    assert accepted.change is not None
    assert accepted.change.types == ("hardware_change",)
    assert "64 GiB" in accepted.change.summary
    # what came late before them is what they are compared with then
    acme.send(client, spooled(0.5, memory_total=64 * GIB, cores=32))
    assert kinds(acme, client) == [
        ["periodic_snapshot"], ["hardware_change"], ["periodic_snapshot"], ["os_change"], ["periodic_snapshot"]
    ]  # fmt: skip


def test_a_late_report_of_a_month_that_retention_dropped_finds_it_made_again(acme: Office) -> None:
    client, long_ago = acme.client(), datetime.now(UTC) - timedelta(days=400)
    for _ in range(2):
        acme.send(client, body(collected_at=long_ago, spooled=True))
    with connect(acme.database_url) as connection:
        connection.execute(f"DROP TABLE agent.inventory_history_y{long_ago.year}m{long_ago.month:02}")
    assert acme.send(client, body(collected_at=long_ago + MINUTE, spooled=True, cores=2)).result == "changed"
    assert [row["cpu_count"] for row in acme.history(client)] == [2]
