"""What an agent tells its server, and what it does when that goes wrong: nothing lost, nothing twice, in its order."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from asset_ledger.agent import collect
from asset_ledger.agent import talk as talking
from asset_ledger.agent.identity import Identity, load, save
from asset_ledger.agent.talk import ASKED_EVERY_S, RARELY_S, Talk
from tests.agent.server import Reported

HEARTBEAT, REPORT = "POST /api/v1/agents/heartbeat", "POST /api/v1/agents/report"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give this machine another name, which is a change as any other."""

    def rename(name: str) -> None:
        monkeypatch.setattr("socket.gethostname", lambda: name)

    rename("before")
    return rename


def turn(talk: Talk) -> float:
    talk.look()
    return talk.speak()


def test_an_inventory_is_sent_once_and_then_only_when_it_changed(
    talk: Talk, server: Reported, address: Callable[[str], None]
) -> None:
    for _ in range(3):
        turn(talk)
    assert len(server.reports) == 1
    address("after")
    turn(talk)
    assert [each["host"]["hostname"] for each in server.reports] == ["before", "after"]
    assert server.spooled == [False, False]
    assert server.wrong == []


def test_a_heartbeat_says_which_report_the_server_has(talk: Talk, server: Reported) -> None:
    turn(talk)
    turn(talk)
    assert [each["inventory"] for each in server.beats] == ["", hashlib.sha256(server.bodies[0]).hexdigest()]


def test_an_agent_that_is_started_again_sends_nothing_again(start: Callable[..., Talk], server: Reported) -> None:
    turn(start())
    turn(start())
    assert len(server.reports) == 1
    assert server.beats[-1]["inventory"] == hashlib.sha256(server.bodies[0]).hexdigest()


def test_an_agent_of_another_client_begins_anew(start: Callable[..., Talk], server: Reported, home: Path) -> None:
    turn(start())
    known = load(home / "identity.json")
    save(home / "identity.json", Identity(known.server, "c-2", known.token, known.ca_file))
    turn(start())
    assert len(server.reports) == 2
    assert server.beats[-1]["inventory"] == ""


def test_the_server_gets_the_inventory_when_it_asks_but_not_with_every_heartbeat(talk: Talk, server: Reported) -> None:
    turn(talk)
    server.asks = True
    for _ in range(3):
        turn(talk)
    assert len(server.reports) == 1, "it was sent a moment ago"
    talk._asked_after -= ASKED_EVERY_S
    turn(talk)
    turn(talk)
    assert len(server.reports) == 2


def test_an_unchanged_machine_reports_once_a_day(start: Callable[..., Talk], server: Reported) -> None:
    with time_machine.travel(datetime.fromisoformat("2027-03-01T08:00:00+00:00"), tick=False) as clock:
        talk = start()
        for hours in (0, 12, 23, 25, 26):
            clock.move_to(datetime.fromisoformat("2027-03-01T08:00:00+00:00") + timedelta(hours=hours))
            turn(talk)
    assert [each["collected_at"][:16] for each in server.reports] == ["2027-03-01T08:00", "2027-03-02T09:00"]


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)])
def test_a_clock_that_jumps_costs_one_report_and_no_flood(
    start: Callable[..., Talk], server: Reported, jump: timedelta
) -> None:
    at = datetime.fromisoformat("2027-03-01T08:00:00+00:00")
    with time_machine.travel(at, tick=False) as clock:
        talk = start()
        turn(talk)
        for minute in range(1, 4):
            clock.move_to(at + jump + timedelta(minutes=minute))
            turn(talk)
    assert len(server.reports) == 2


def test_what_changes_while_the_server_is_away_comes_in_its_order_each_once(
    talk: Talk, server: Reported, address: Callable[[str], None]
) -> None:
    turn(talk)
    server.faults.add(HEARTBEAT, "close", times=None)
    for name in ("one", "two", "three", "three"):
        address(name)
        turn(talk)
    assert talk.waiting == 3
    server.faults.clear()
    turn(talk)
    turn(talk)
    assert [each["host"]["hostname"] for each in server.reports] == ["before", "one", "two", "three"]
    assert server.spooled == [False, True, True, True]
    instants = [each["collected_at"] for each in server.reports]
    assert sorted(set(instants)) == instants
    assert talk.waiting == 0


def test_what_waits_survives_the_agent(
    start: Callable[..., Talk], server: Reported, address: Callable[[str], None]
) -> None:
    server.faults.add("*/agents/*", "close", times=None)
    for name in ("one", "two"):
        address(name)
        turn(start())
    server.faults.clear()
    turn(start())
    assert [each["host"]["hostname"] for each in server.reports] == ["one", "two"]


def test_a_server_that_goes_away_in_the_middle_of_the_waiting_gets_the_rest_later(
    talk: Talk, server: Reported, address: Callable[[str], None]
) -> None:
    server.faults.add(HEARTBEAT, "close", times=4)
    for name in ("one", "two", "three"):
        address(name)
        turn(talk)
    server.faults.clear()
    server.faults.add(REPORT, "status", status=503, after=1, times=1)
    turn(talk)
    assert [each["host"]["hostname"] for each in server.reports] == ["one"]
    turn(talk)
    assert [each["host"]["hostname"] for each in server.reports] == ["one", "two", "three"]


def test_a_clock_that_jumps_back_does_not_change_the_order_of_what_waits(
    start: Callable[..., Talk], server: Reported, address: Callable[[str], None]
) -> None:
    at = datetime.fromisoformat("2027-03-01T08:00:00+00:00")
    server.faults.add("*/agents/*", "close", times=None)
    with time_machine.travel(at, tick=False) as clock:
        talk = start()
        for name, hours in (("one", 0), ("two", -5), ("three", 1)):
            clock.move_to(at + timedelta(hours=hours))
            address(name)
            turn(talk)
        server.faults.clear()
        turn(talk)
    assert [each["host"]["hostname"] for each in server.reports] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("status", {"status": 500}),
        ("status", {"status": 502}),
        ("status", {"status": 429, "headers": {"Retry-After": "40"}}),
        ("status", {"status": 404}),
        ("redirect", {}),
        ("html", {}),
        ("garbled", {}),
        ("close", {}),
        ("reset", {}),
        ("cut", {}),
    ],
)
@pytest.mark.parametrize("where", [HEARTBEAT, REPORT])
def test_whatever_the_server_does_the_report_is_kept_and_comes_later(
    talk: Talk, server: Reported, where: str, kind: str, said: dict[str, object]
) -> None:
    # a connection that was kept is tried anew, once
    tries = 2 if where == REPORT and kind in ("close", "reset") else 1
    server.faults.add(where, kind, times=tries, **said)
    wait_s = turn(talk)
    if "headers" in said:
        assert wait_s >= 40
    assert wait_s <= 60
    assert talk.waiting == 1
    turn(talk)
    assert talk.waiting == 0
    names = [each["host"]["hostname"] for each in server.reports]
    assert set(names) == set(names[:1])
    assert {each["collected_at"] for each in server.reports} == {server.reports[0]["collected_at"]}
    assert server.spooled[-1] is True
    assert not server.requests.count("*/elsewhere"), "a redirect was followed"


def test_pauses_grow_and_end_with_the_first_answer(talk: Talk, server: Reported) -> None:
    server.faults.add("*/agents/*", "status", status=500, times=14)
    waits = [turn(talk) for _ in range(14)]
    assert waits[0] <= 1
    assert all(150 <= wait <= 300 for wait in waits[-3:])
    assert len(set(waits)) == len(waits)
    assert 48 <= turn(talk) <= 72
    server.faults.add("*/agents/*", "status", status=500)
    assert turn(talk) <= 1


def test_the_first_failure_and_the_return_are_told_and_nothing_between(
    talk: Talk, server: Reported, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.faults.add("*/agents/*", "status", status=500, times=5)
    for _ in range(7):
        turn(talk)
    about = [each.getMessage() for each in caplog.records if "127.0.0.1" in each.getMessage()]
    assert len(about) == 2
    assert "answered 500" in about[0]
    assert "answers again; 1 reports waited" in about[1]


def test_a_report_that_the_server_never_wants_is_dropped_and_blocks_nothing(
    talk: Talk, server: Reported, address: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    server.faults.add(HEARTBEAT, "close", times=4)
    for name in ("one", "two"):
        address(name)
        turn(talk)
    server.faults.clear()
    why = b'{"code": "REPORT_INVALID", "message": "disks[0].total is a text"}'
    server.faults.add(REPORT, "status", status=422, body=why)
    turn(talk)
    assert [each["host"]["hostname"] for each in server.reports] == ["two"]
    assert "disks[0].total is a text" in caplog.text
    assert talk.waiting == 0


def test_a_reading_that_the_server_does_not_want_is_not_sent_again_until_it_changes(
    talk: Talk, server: Reported, address: Callable[[str], None]
) -> None:
    server.faults.add(REPORT, "status", status=413, body=b'{"message": "too large"}', times=None)
    for _ in range(3):
        turn(talk)
    assert server.requests.count(REPORT) == 1
    assert talk.waiting == 0
    address("after")
    turn(talk)
    assert server.requests.count(REPORT) == 2


def test_a_page_of_a_proxy_in_place_of_a_refusal_costs_no_report(talk: Talk, server: Reported) -> None:
    server.faults.add(REPORT, "status", status=400)
    turn(talk)
    assert talk.waiting == 1


def test_an_agent_whose_token_is_revoked_stops_says_what_to_do_and_tries_rarely(
    talk: Talk, server: Reported, address: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    turn(talk)
    server.token = "ac_another"
    waits = []
    for name in ("one", "two", "three"):
        address(name)
        waits.append(turn(talk))
    assert all(wait >= RARELY_S * 0.8 for wait in waits)
    assert talk.waiting == 0
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert len(told) == 1
    assert "asset-ledger agent enroll --server https://127.0.0.1" in told[0]
    assert load(talk._identity_file).token not in caplog.text


def test_an_agent_that_is_enrolled_again_goes_on_at_once(talk: Talk, server: Reported, home: Path) -> None:
    server.token = "ac_another"
    turn(talk)
    assert not talk.renewed()
    known = load(home / "identity.json")
    save(home / "identity.json", Identity(known.server, "c-1", "ac_another", known.ca_file))
    assert talk.renewed()
    assert turn(talk) <= 72
    assert len(server.reports) == 1


def test_an_identity_that_becomes_readable_for_others_is_not_taken(
    talk: Talk, server: Reported, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = home / "copy"
    shutil.copy(home / "identity.json", copy)
    copy.chmod(0o644)
    copy.replace(home / "identity.json")
    assert not talk.renewed()
    assert not talk.renewed()
    assert caplog.text.count("AGENT_IDENTITY_UNSAFE") == 1


def test_an_agent_that_is_too_old_keeps_its_reports_and_its_heartbeat(
    talk: Talk, server: Reported, address: Callable[[str], None]
) -> None:
    server.faults.add(REPORT, "status", status=426, body=b'{"message": "take 2.0.0"}', times=None)
    assert turn(talk) <= 72
    address("after")
    assert turn(talk) <= 72
    assert talk.waiting == 2
    assert server.requests.count(REPORT) == 1
    server.faults.clear()
    talk._reports_after = 0.0
    turn(talk)
    assert [each["host"]["hostname"] for each in server.reports] == ["before", "after"]


def test_a_late_report_is_not_taken_for_the_newest(talk: Talk, server: Reported) -> None:
    server.result = "late"
    turn(talk)
    turn(talk)
    assert server.beats[-1]["inventory"] == ""


def test_the_server_says_how_often_unless_a_person_did(start: Callable[..., Talk], server: Reported) -> None:
    server.heartbeat_s = 300
    assert 240 <= turn(start()) <= 360
    assert 8 <= turn(start(interval_s=10)) <= 12
    server.heartbeat_s = 0
    assert turn(start()) >= 4, "never without a pause"


def test_a_disk_that_is_full_keeps_the_newest_in_memory(
    home: Path, server: Reported, address: Callable[[str], None], start: Callable[..., Talk]
) -> None:
    talk = start()
    server.faults.add("*/agents/*", "close", times=None)
    shutil.rmtree(home / "spool")
    for name in ("one", "two"):
        address(name)
        turn(talk)
    server.faults.clear()
    (home / "spool").mkdir()
    turn(talk)
    assert [each["host"]["hostname"] for each in server.reports] == ["two"]


def test_a_token_that_the_server_says_back_is_not_in_the_log(
    talk: Talk, server: Reported, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps({"message": f"what is {server.token}?\x1b[31m\n"}).encode()
    server.faults.add(HEARTBEAT, "status", status=500, body=body)
    turn(talk)
    assert "what is …?" in caplog.text
    assert server.token not in caplog.text
    assert "\x1b" not in caplog.text


def test_a_newer_agent_is_told_of_once_an_hour(talk: Talk, server: Reported, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server.latest_agent = "99.0.0"
    turn(talk)
    turn(talk)
    assert caplog.text.count("agent 99.0.0 is published") == 1


def test_a_newer_agent_is_put_where_a_person_said(start: Callable[..., Talk], server: Reported, tmp_path: Path) -> None:
    server.publish("99.0.0", b"#!/bin/sh\n")
    place = tmp_path / "program"
    place.write_bytes(b"old")
    turn(start(update_to=place))
    assert place.read_bytes() == b"#!/bin/sh\n"
    assert place.stat().st_mode & 0o777 == 0o755


def test_what_is_collected_is_what_is_sent(talk: Talk, server: Reported) -> None:
    turn(talk)
    sent = server.reports[0]
    assert sent.keys() >= {"collected_at", "agent_version", "host", "cpu", "memory", "disks", "network"}
    assert sent["agent_version"] == collect.agent_version()
    assert talking.HEARTBEAT_S == 60
