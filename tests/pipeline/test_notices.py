"""From a run to a message in somebody's group: looked at once, kept while the receiver is away, sent once."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from psycopg import DataError

from asset_ledger.domain.errors import CONFIG_INVALID, CREDENTIAL_UNREADABLE, NOTICE_RUN_UNKNOWN, PermanentError
from asset_ledger.domain.notices.receivers import Notices, Quiet, Receiver
from asset_ledger.domain.notices.run import CheckSaid, RunFacts, StepFailed
from asset_ledger.pipeline import notices as telling
from asset_ledger.pipeline.notices import Outcome, deliver, due, look_at_run, put_back
from asset_ledger.pipeline.notices_file import load
from asset_ledger.pipeline.notices_shown import of_run, of_what_waits
from asset_ledger.store import notices as store
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.partitions import ensure_months
from tests.doubles.robots import DINGTALK, WECOM, Answer, Robots
from tests.pipeline.telling_hooks import closed, opened

NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)  # 09:00 in Shanghai
NIGHT = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
MORNING = datetime(2026, 11, 21, 0, 0, 5, tzinfo=UTC)
QUIET = Quiet(time(22), time(8), "Asia/Shanghai")
GROUP = Receiver("group", "env:GROUP")
URL = "https://dagster.example.com"


class Credentials:
    """The addresses of a test's receivers."""

    def __init__(self, **urls: str) -> None:
        self.urls = urls

    def resolve(self, reference: str) -> dict[str, str]:
        return {"url": self.urls[reference.removeprefix("env:").lower()]}


@pytest.fixture(scope="module")
def shared() -> Iterator[Robots]:
    with Robots() as robots:
        yield robots


@pytest.fixture
def robots(shared: Robots, monkeypatch: pytest.MonkeyPatch) -> Robots:
    for said in shared.said.values():
        said.clear()
    for times in shared._times.values():
        times.clear()
    shared.fault = lambda _host: None
    for name, value in shared.environment().items():
        monkeypatch.setenv(name, value)
    return shared


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        ensure_months(connection, [datetime.now(UTC).date()])
        connection.execute(
            "INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)"
            " VALUES ('pve_lab', 'pve', 'pve', 'platform', 'default', 1, 1)"
        )
        yield connection


def facts(run: str = "run-1", status: str = "success", at: datetime = NOW, **said: object) -> RunFacts:
    told = {
        "job": "pve_lab_collect",
        "mode": "collect",
        "source": "pve_lab",
        "scope": "all",
        "day": "2026-11-20",
        **said,
    }
    return RunFacts(
        run, status=status, owner="ops@example.com", started_at=at - timedelta(minutes=1), ended_at=at, **told
    )  # type: ignore[arg-type]


def failed(
    code: str = "PVE_AUTH_FAILED", category: str = "auth", message: str = "the token is refused"
) -> dict[str, object]:
    return {"status": "failure", "failed": (StepFailed("pve_lab_chain", code, category, message),)}


def target(db: Connection, run: str, name: str, status: str = "failed", mode: str = "collect") -> None:
    db.execute(
        "INSERT INTO ledger.sync_target_records (collected_date, run_id, source_id, scope, mode, target, started_at,"
        " duration_ms, status, error_code, message, advice, effect)"
        " SELECT current_date, %s, id, 'all', %s, %s, now(), 1, %s, %s, 'it said no', 'Look there', '' FROM ledger.sources",
        [run, mode, name, status, "SSH_TIMEOUT" if status == "failed" else None],
    )


def look(db: Connection, notices: Notices, one: RunFacts, now: datetime | None = None) -> bool:
    return look_at_run(db, notices, one, now=now or one.ended_at)


def send(db: Connection, notices: Notices, robots: Robots, now: datetime) -> Outcome:
    return deliver(db, notices, Credentials(group=robots.wecom, ding=robots.dingtalk), clock=lambda: now)


def heard(robots: Robots) -> list[str]:
    return [said["text"]["content"] for said in robots.said[WECOM]]


ONE = Notices((GROUP,), URL)


def test_a_run_is_told_once_with_its_targets_its_link_and_its_owner(db: Connection, robots: Robots) -> None:
    target(db, "run-1", "db-数据库_01")
    target(db, "run-1", "web-02", "ok")
    assert look(db, ONE, facts(**failed())) is True
    assert look(db, ONE, facts(**failed())) is False
    assert send(db, ONE, robots, NOW).arrived == 1
    assert send(db, ONE, robots, NOW + timedelta(hours=1)).done == []
    (text,) = heard(robots)
    assert "1 run failed, 1 target failed" in text
    assert "`SSH_TIMEOUT`: 1 target failed: `db-数据库_01`. it said no. Look there." in text
    assert "for ops@example.com" in text
    assert f"{URL}/runs/run-1" in text


def test_a_run_that_went_well_says_nothing(db: Connection, robots: Robots) -> None:
    target(db, "run-1", "web-02", "ok")
    look(db, ONE, facts(checks=(CheckSaid("pve_lab/ledger_assets", "row_count", True, "warning", None, "fine"),)))
    assert due(db, ONE, now=NOW) == []
    assert send(db, ONE, robots, NOW).done == []


def test_it_is_told_when_it_is_well_again(db: Connection, robots: Robots) -> None:
    target(db, "run-1", "a")
    look(db, ONE, facts())
    send(db, ONE, robots, NOW)
    target(db, "run-2", "a")
    look(db, ONE, facts("run-2", at=NOW + timedelta(hours=1)))
    assert due(db, ONE, now=NOW + timedelta(hours=1)) == [], "the same is not told again"
    target(db, "run-3", "a", "ok")
    look(db, ONE, facts("run-3", at=NOW + timedelta(hours=2)))
    send(db, ONE, robots, NOW + timedelta(hours=2))
    assert len(heard(robots)) == 2
    assert "- well again: pve_lab `SSH_TIMEOUT` (target failed, since 2026-11-20 09:00)" in heard(robots)[1]
    assert store.list_troubles(db) == []


def test_a_replay_of_old_days_does_not_speak_of_today(db: Connection) -> None:
    target(db, "run-1", "a")
    look(db, ONE, facts())
    target(db, "run-2", "a", "ok", mode="replay")
    target(db, "run-2", "b", "failed", mode="replay")
    look(db, ONE, facts("run-2", at=NOW + timedelta(hours=1)))
    assert [(one["code"], one["failing"]) for one in store.list_troubles(db)] == [("SSH_TIMEOUT", 1)]


def test_findings_are_told_as_they_open_and_as_over_when_none_is_left(db: Connection, robots: Robots) -> None:
    ids = opened(db, NOW - timedelta(seconds=30), "drift", "orphan")
    look(db, ONE, facts(job="iac_findings", source="", mode="", scope="", day=""))
    send(db, ONE, robots, NOW)
    (text,) = heard(robots)
    assert "iac_findings: 2 findings" in text
    assert "pve_lab `DRIFT`: 1 finding: `web-01 proxmox_vm.web[0] cpu_cores" in text
    closed(db, NOW + timedelta(minutes=5), ids, "agrees")
    look(db, ONE, facts("run-2", at=NOW + timedelta(minutes=6), source=""))
    send(db, ONE, robots, NOW + timedelta(hours=1))
    assert heard(robots)[1].count("well again: pve_lab") == 2


def test_in_quiet_hours_it_is_kept_and_told_as_one_and_what_is_critical_at_once(db: Connection, robots: Robots) -> None:
    notices = Notices((replace(GROUP, quiet=QUIET),), URL)
    for number, told in enumerate(
        (failed(), failed("DATABASE_UNAVAILABLE", "storage"), failed("PVE_TIMEOUT", "network"))
    ):
        look(db, notices, facts(f"run-{number}", at=NIGHT + timedelta(minutes=number), **told))
    send(db, notices, robots, NIGHT + timedelta(minutes=5))
    (at_night,) = heard(robots)
    assert "DATABASE_UNAVAILABLE" in at_night
    assert "PVE_AUTH_FAILED" not in at_night
    assert send(db, notices, robots, MORNING - timedelta(seconds=10)).done == []
    assert send(db, notices, robots, MORNING).arrived == 1
    in_the_morning = heard(robots)[1]
    assert (
        "**2 notices** of 2026-11-20 23:00 to 2026-11-20 23:02 Asia/Shanghai, kept in the quiet hours" in in_the_morning
    )
    assert "PVE_AUTH_FAILED" in in_the_morning
    assert "PVE_TIMEOUT" in in_the_morning


def test_a_receiver_that_is_away_loses_nothing_and_hears_the_very_same_with_the_rest_behind_it(
    db: Connection, robots: Robots
) -> None:
    look(db, ONE, facts(**failed()))
    robots.fault = lambda _host: Answer(503, "away")
    outcome = send(db, ONE, robots, NOW)
    (first,) = outcome.done
    assert first.answered.why == "answered 503"
    assert first.again_at is not None
    assert NOW + timedelta(seconds=40) < first.again_at < NOW + timedelta(seconds=80)
    look(db, ONE, facts("run-2", at=NOW + timedelta(seconds=10), **failed("PVE_TIMEOUT")))
    # what came meanwhile is not tried at a receiver that is away
    assert [one.number for one in send(db, ONE, robots, NOW + timedelta(seconds=30)).done] != [first.number]
    robots.fault = lambda _host: None
    later = NOW + timedelta(hours=1)
    send(db, ONE, robots, later)
    send(db, ONE, robots, later + timedelta(minutes=1))
    texts = heard(robots)
    assert sum("PVE_AUTH_FAILED" in text for text in texts) == 1
    assert sum("PVE_TIMEOUT" in text for text in texts) == 1
    assert any(f"notice {first.number}" in text for text in texts)
    assert {row["state"] for row in store.list_notices(db)} == {"sent"}


def test_what_a_receiver_refuses_for_a_day_is_given_up_and_stays_to_be_seen(db: Connection, robots: Robots) -> None:
    look(db, ONE, facts(**failed()))
    robots.fault = lambda _host: Answer(200, {"errcode": 93000, "errmsg": robots.wecom_key})
    assert send(db, ONE, robots, NOW).given_up == 0
    outcome = send(db, ONE, robots, NOW + timedelta(hours=25))
    assert outcome.given_up == 1
    (row,) = store.list_notices(db)
    assert (row["state"], row["attempts"]) == ("given up", 2)
    assert row["last_error"] == "answered with the code 93000: it knows no such key"
    robots.fault = lambda _host: None
    assert send(db, ONE, robots, NOW + timedelta(days=2)).done == []
    assert put_back(db, ONE, now=NOW + timedelta(days=2)) == 1
    assert send(db, ONE, robots, NOW + timedelta(days=2)).arrived == 1


def test_a_receiver_that_is_written_wrong_does_not_keep_the_others_from_hearing(db: Connection, robots: Robots) -> None:
    notices = Notices((Receiver("broken", "env:BROKEN"), GROUP), URL)
    look(db, notices, facts(**failed()))
    outcome = deliver(db, notices, Credentials(group=robots.wecom, broken=""), clock=lambda: NOW)
    assert outcome.unusable["broken"].code is CREDENTIAL_UNREADABLE
    assert outcome.arrived == 1
    assert len(heard(robots)) == 1


def test_one_message_that_meets_a_defect_does_not_keep_the_others_from_hearing(db: Connection, robots: Robots) -> None:
    notices = Notices((Receiver("ding", "env:DING"), GROUP), URL)
    look(db, notices, facts(**failed()))
    # as another release may have left it
    db.execute("UPDATE audit.notices SET digest = digest - 'entries' WHERE receiver = 'ding'")
    outcome = send(db, notices, robots, NOW)
    assert outcome.defects["ding"].startswith("KeyError in digest.py:")
    assert outcome.arrived == 1
    assert len(heard(robots)) == 1
    (row,) = store.list_notices(db, receiver="ding")
    assert (row["state"], row["attempts"]) == ("waits", 1)
    assert send(db, notices, robots, NOW + timedelta(hours=25)).given_up == 1


def test_a_run_that_cannot_be_looked_at_is_told_by_the_defects_type(db: Connection, robots: Robots) -> None:
    poisoned = facts(scope="hunter2\x00")  # no jsonb takes this
    with pytest.raises(DataError) as caught:
        look(db, ONE, poisoned)
    sure = facts(source="", scope="", mode="", day="")
    telling.note_defect(db, ONE, sure, caught.value, now=NOW)
    telling.note_defect(db, ONE, sure, caught.value, now=NOW)
    assert telling.not_looked_at(db, ["run-1"]) == set()
    assert send(db, ONE, robots, NOW).arrived == 1
    (text,) = heard(robots)
    assert "`NOT_LOOKED_AT`" in text
    assert type(caught.value).__name__ in text
    assert "hunter2" not in text
    look(db, ONE, facts("run-2", at=NOW + timedelta(hours=1)))
    assert store.list_troubles(db) == [], "the next run of the job could be looked at"


def test_a_message_that_is_refused_does_not_hold_up_those_after_it(db: Connection, robots: Robots) -> None:
    look(db, ONE, facts(**failed()))
    robots.fault = lambda _host: Answer(200, {"errcode": 40058, "errmsg": "invalid content"})
    now = NOW
    for _ in range(3):
        now += timedelta(hours=2)
        assert send(db, ONE, robots, now).arrived == 0
    look(db, ONE, facts("run-2", at=now, **failed("PVE_TIMEOUT")))
    robots.fault = lambda _host: None
    now += timedelta(hours=2)
    assert send(db, ONE, robots, now).arrived == 1
    assert "PVE_TIMEOUT" in heard(robots)[0]
    assert "PVE_AUTH_FAILED" not in heard(robots)[0]
    # it is tried behind that, and only it waits for its refusal
    robots.fault = lambda _host: Answer(200, {"errcode": 40058, "errmsg": "invalid content"})
    now += timedelta(minutes=1)
    look(db, ONE, facts("run-3", at=now - timedelta(seconds=30), **failed("PVE_OTHER")))
    db.execute("UPDATE audit.notices SET next_at = %s WHERE key = 'run-3'", [now + timedelta(seconds=10)])
    assert send(db, ONE, robots, now).arrived == 0
    robots.fault = lambda _host: None
    assert send(db, ONE, robots, now + timedelta(seconds=10)).arrived == 1
    assert "PVE_OTHER" in heard(robots)[1]


def test_a_receiver_that_is_added_is_told_once_of_what_is_open(db: Connection, robots: Robots) -> None:
    target(db, "run-1", "a")
    target(db, "run-1", "b")
    ids = opened(db, NOW - timedelta(seconds=30), "drift")
    look(db, ONE, facts(**failed(message="the token is refused, secret=hunter2")))
    send(db, ONE, robots, NOW)
    both = Notices((GROUP, Receiver("ding", "env:DING")), URL)
    later = NOW + timedelta(hours=2)
    for _ in range(2):  # the tick died before its cursor was kept
        telling.welcome(db, both, ["ding"], since=NOW, now=later)
    (row,) = store.list_notices(db, receiver="ding")
    assert row["digest"]["title"] == "open when this receiver was added"
    send(db, both, robots, later)
    (said,) = robots.said[DINGTALK]
    text = said["markdown"]["text"]
    assert "2 targets failed, still, since 2026-11-20 09:00: `a`, `b`. it said no. Look there." in text
    assert (
        "`PVE_AUTH_FAILED`: run failed, still, since 2026-11-20 09:00. the token is refused, secret=[redacted]" in text
    )
    assert "`DRIFT`: 1 finding, still" in text
    assert len(heard(robots)) == 1, "who heard of it already is not told again"
    # and what becomes of it is told to both
    target(db, "run-2", "a", "ok")
    target(db, "run-2", "b", "ok")
    closed(db, later, ids, "agrees")
    look(db, both, facts("run-2", at=later + timedelta(hours=1)))
    assert {one["receiver"] for one in store.list_notices(db, key="run-2")} == {"group", "ding"}
    assert telling.welcome(db, both, ["ding"], since=later, now=later) == 1, "the run is not well yet"


def test_a_receiver_that_is_added_is_told_of_what_it_asks_for_and_not_of_what_is_over(db: Connection) -> None:
    ids = opened(db, NOW - timedelta(seconds=30), "drift")
    look(db, ONE, facts(**failed()))
    closed(db, NOW + timedelta(minutes=1), ids, "agrees")
    findings = Notices((GROUP, Receiver("new", "env:DING", kinds=("finding",))), URL)
    assert telling.welcome(db, findings, ["new"], since=NOW, now=NOW) == 0
    elsewhere = Notices((GROUP, Receiver("new", "env:DING", sources=("other",))), URL)
    assert telling.welcome(db, elsewhere, ["new"], since=NOW, now=NOW) == 0
    assert telling.welcome(db, ONE, [], since=NOW, now=NOW) == 0
    at_night = Notices((GROUP, Receiver("new", "env:DING", quiet=QUIET)), URL)
    assert telling.welcome(db, at_night, ["new"], since=NOW, now=NIGHT) == 1
    assert due(db, at_night, now=NIGHT)[0].startswith("group")
    assert due(db, at_night, now=MORNING)[-1].startswith("new")


def watched(name: str, passed: bool = False, follows: str = "reading") -> CheckSaid:
    return CheckSaid("pve_lab/raw_inventory", name, passed, "warning", None, f"{name} says so", follows)  # type: ignore[arg-type]


def test_one_outage_is_one_message_whoever_notices_it_later(db: Connection, robots: Robots) -> None:
    code = {"kinds": ("failed_check",)}
    notices = Notices((GROUP, Receiver("ding", "env:DING", **code)), URL)  # type: ignore[arg-type]
    source = {"job": "ledger_watch", "mode": "watch", "source": "", "scope": "", "day": ""}
    refused = StepFailed("pve_lab_chain", "SSH_TIMEOUT", "network", "no answer", "Look there")
    target(db, "run-1", "pve_lab")
    look(db, notices, facts(status="failure", failed=(refused,)))
    for hour, checks in enumerate((("last_reading_whole",), ("last_reading_whole", "day_fresh")), 1):
        at = NOW + timedelta(hours=hour)
        look(db, notices, facts(f"watch-{hour}", at=at, checks=tuple(map(watched, checks)), **source))
    later = NOW + timedelta(hours=3)
    send(db, notices, robots, later)
    (text,) = heard(robots)
    assert "run failed. no answer. Look there." in text
    assert "target" not in text
    assert "check" not in text
    (said,) = robots.said[DINGTALK]
    assert "last_reading_whole" in said["markdown"]["text"]
    assert "day_fresh" not in said["markdown"]["text"]
    why = [one.left_out for one in of_run(db, notices, (GROUP,), "watch-1", now=later)]
    named = "failed_check pve_lab/raw_inventory last_reading_whole last_reading_whole"
    assert why == [(f"{named}: it follows from what it is told of as failed_run",)]
    # a day later nobody tried again: that it lasts is told once
    at = NOW + timedelta(hours=25)
    look(db, notices, facts("watch-25", at=at, checks=(watched("day_fresh"),), **source))
    look(db, notices, facts("watch-26", at=at + timedelta(hours=1), checks=(watched("day_fresh"),), **source))
    send(db, notices, robots, at + timedelta(hours=1))
    assert len(heard(robots)) == 2
    assert "run failed, still, since 2026-11-20 09:00. day_fresh says so" in heard(robots)[1]
    target(db, "run-2", "vm", "ok")
    well = (watched("last_reading_whole", True), watched("day_fresh", True))
    look(db, notices, facts("run-2", at=at + timedelta(hours=2), succeeded=("pve_lab_chain",), checks=well))
    send(db, notices, robots, at + timedelta(hours=2))
    assert heard(robots)[2].count("well again:") == 1
    assert store.list_troubles(db) == []


def test_twenty_runs_in_a_minute_are_one_message(db: Connection, robots: Robots) -> None:
    for number in range(20):
        look(db, ONE, facts(f"run-{number}", at=NOW + timedelta(seconds=number), **failed(f"PVE_{number}")))
    assert len(send(db, ONE, robots, NOW + timedelta(seconds=30)).done) == 1
    assert "20 notices" in heard(robots)[0]
    look(db, ONE, facts("run-21", at=NOW + timedelta(seconds=31), **failed("PVE_21")))
    assert send(db, ONE, robots, NOW + timedelta(seconds=31)).done == [], "messages to one receiver are apart"


SENDER = """
    import sys
    from datetime import UTC, datetime
    from asset_ledger.domain.notices.receivers import Notices, Receiver
    from asset_ledger.pipeline.notices import deliver
    from asset_ledger.store.database import connect

    class Credentials:
        def resolve(self, reference):
            return {"url": sys.argv[2]}

    with connect(sys.argv[1]) as connection:
        notices = Notices((Receiver("group", "env:GROUP"),))
        print("ready", flush=True)
        sys.stdin.readline()
        print(deliver(connection, notices, Credentials(), clock=lambda: datetime.now(UTC)).arrived)
"""


def test_two_processes_that_send_at_once_send_once(db: Connection, database_url: str, robots: Robots) -> None:
    look(db, ONE, facts(at=datetime.now(UTC) - timedelta(minutes=1), **failed()))
    both = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SENDER), database_url, robots.wecom],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    assert sorted(one.communicate(timeout=60)[0].strip() for one in both) == ["0", "1"]
    assert len(heard(robots)) == 1


def test_a_sender_that_died_before_it_noted_that_it_was_taken_sends_the_same_again(
    db: Connection, robots: Robots, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(db, ONE, facts(**failed()))
    with monkeypatch.context() as dying:
        dying.setattr(store, "delivered", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("the server went")))
        with pytest.raises(ConnectionError):
            send(db, ONE, robots, NOW)
    look(db, ONE, facts("run-2", at=NOW + timedelta(seconds=1), **failed("PVE_TIMEOUT")))
    send(db, ONE, robots, NOW + timedelta(minutes=1))
    first, again = heard(robots)
    assert first == again


def test_a_secret_in_an_error_gets_nowhere(db: Connection, robots: Robots) -> None:
    secret = "Tr0ub4dor-and-3horses"
    message = f"POST https://x.example/robot?access_token={secret} failed, password={secret}"
    look(db, ONE, facts(**failed(message=message)))
    send(db, ONE, robots, NOW)
    kept = db.execute("SELECT string_agg(t::text, ' ') FROM audit.notice_runs t").fetchone()
    queued = db.execute("SELECT string_agg(t::text, ' ') FROM audit.notices t").fetchone()
    assert secret not in f"{kept} {queued} {heard(robots)}"
    assert robots.wecom_key not in f"{kept} {queued}"
    assert "[redacted]" in heard(robots)[0]


def test_each_receiver_hears_its_own(db: Connection, robots: Robots) -> None:
    notices = Notices((replace(GROUP, sources=("other_*",)), Receiver("ding", "env:DING", severity="error")), URL)
    look(db, notices, facts(**failed()))
    assert send(db, notices, robots, NOW).arrived == 1
    assert heard(robots) == []
    assert len(robots.said[DINGTALK]) == 1


def test_the_preview_is_the_text_that_is_sent_and_says_why_not(db: Connection, robots: Robots) -> None:
    notices = Notices(
        (GROUP, replace(GROUP, name="night", quiet=QUIET), replace(GROUP, name="deaf", kinds=("finding",))), URL
    )
    target(db, "run-1", "a")
    (group, _, deaf) = of_run(db, notices, notices.receivers, "run-1", now=NOW)
    assert "was not looked at yet" in group.state
    assert "`SSH_TIMEOUT`: 1 target failed: `a`" in group.body
    assert deaf.state == "would be told nothing of this run"
    assert deaf.left_out == ("failed_target pve_lab SSH_TIMEOUT: it does not ask for failed_target",)
    assert store.list_notices(db) == [], "nothing was written"
    look(db, notices, facts(at=NIGHT))
    waits = of_what_waits(db, notices, notices.receivers, now=NIGHT)
    assert [one.state for one in waits] == [
        "is sent next",
        "nothing is due, and it is quiet until 2026-11-21 08:00 Asia/Shanghai",
        "nothing is due",
    ]
    assert "warning does not break through" in waits[1].left_out[0]
    send(db, notices, robots, NIGHT)
    assert heard(robots) == [f"{waits[0].title}\r\n{waits[0].body}"]
    sent, kept, _ = of_run(db, notices, notices.receivers, "run-1", now=NIGHT)
    assert sent.state.startswith("sent at 2026-11-20 23:00 Asia/Shanghai as notice ")
    assert (sent.title, sent.body) == (waits[0].title, waits[0].body)
    assert kept.state == "waits for the end of quiet, 2026-11-21 08:00 Asia/Shanghai"
    target(db, "run-2", "a")
    look(db, notices, facts("run-2", at=NIGHT + timedelta(hours=1)))
    again = of_run(db, notices, (GROUP,), "run-2", now=NIGHT)[0]
    assert again.left_out == ("failed_target pve_lab SSH_TIMEOUT: told already, and nothing changed",)
    with pytest.raises(PermanentError) as caught:
        of_run(db, notices, notices.receivers, "no-such", now=NOW)
    assert caught.value.code is NOTICE_RUN_UNKNOWN


def test_what_waits_for_a_receiver_that_is_no_more_is_given_up_after_a_day(db: Connection, robots: Robots) -> None:
    look(db, ONE, facts(**failed()))
    nobody = Notices((), URL)
    assert deliver(db, nobody, Credentials(), clock=lambda: NOW + timedelta(hours=23)).given_up == 0
    assert deliver(db, nobody, Credentials(), clock=lambda: NOW + timedelta(hours=25)).given_up == 1
    assert store.list_notices(db)[0]["last_error"] == "notices.yaml has no such receiver"
    store.forget(db, [], now=NOW + timedelta(days=100))
    assert store.list_notices(db) == []
    assert store.saved_run(db, "run-1") is None


def test_a_receiver_is_asked_for_by_its_name() -> None:
    assert telling.receiver_named(ONE, "group") is GROUP
    with pytest.raises(PermanentError, match="there are: group"):
        telling.receiver_named(ONE, "another")


FILE = """
dagster_url: https://dagster.example.com/
again_after_hours: 12
receivers:
  - name: group
    credential_ref: env:GROUP
    sources: [pve_*]
    kinds: [failed_run, held_removal]
    severity: error
    quiet_hours: {hours: "22:00-08:00", breaks_through: never}
  - name: mail
    credential_ref: file:mail
"""


def read(tmp_path: Path, text: str) -> Notices:
    (tmp_path / "notices.yaml").write_text(text)
    return load(tmp_path / "notices.yaml", ["pve_lab", "office"])


def test_a_glob_that_fits_no_source_any_more_is_a_warning_and_silences_nobody(db: Connection, tmp_path: Path) -> None:
    found = read(tmp_path, "receivers: [{name: a, credential_ref: 'env:A', sources: [gone, pve_*]}, {name: b, credential_ref: 'env:B'}]")  # fmt: skip
    assert [one.name for one in found.receivers] == ["a", "b"]
    ((name, words),) = found.warnings
    assert name == "a"
    assert "receivers[0].sources[0]: no source of" in words
    shown = of_what_waits(db, found, found.receivers, now=NOW)
    assert [one.left_out for one in shown] == [(f"notices.yaml: {words}",), ()]


def test_the_file_says_who_is_told_of_what(tmp_path: Path) -> None:
    assert read(tmp_path, FILE) == Notices(
        (
            Receiver(
                "group",
                "env:GROUP",
                ("pve_*",),
                ("failed_run", "held_removal"),
                "error",
                Quiet(time(22), time(8), "Asia/Shanghai", None),
            ),
            Receiver("mail", "file:mail"),
        ),
        "https://dagster.example.com",
        timedelta(hours=12),
    )
    assert read(tmp_path, "# nothing yet") == Notices()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("receivers: [{name: a, credential_ref: 'slack://T0/B0/hunter2'}]", "receivers[0].credential_ref: must be env:NAME"),
        ("receivers: [{name: a, credential_ref: 'env:A', url: 'slack://T0/B0/hunter2'}]", "receivers[0]: a secret or an address"),
        ("receivers: [{name: a, credential_ref: 'env:A', hunter2hunter2: 1}]", "receivers[0]: a secret or an address"),
        ("receivers: [{name: a, credential_ref: 'env:A', kind: finding}]", "receivers[0].kind: unknown field"),
        ("receivers: [{name: a, credential_ref: 'env:A', kinds: [nothing]}]", "receivers[0].kinds[0]: Input should be"),
        ("receivers: [{name: A B, credential_ref: 'env:A'}]", "receivers[0].name: String should match"),
        ("receivers: [{name: a, credential_ref: 'env:A'}, {name: a, credential_ref: 'env:B'}]", "receivers[1].name: receivers[0]"),
        ("receivers: [{name: a, credential_ref: 'env:A', quiet_hours: {hours: 22-8}}]", "receivers[0].quiet_hours.hours: must look like"),
        ("receivers: [{name: a, credential_ref: 'env:A', quiet_hours: {hours: '08:00-08:00'}}]", "are the same"),
        ("receivers: [{name: a, credential_ref: 'env:A', quiet_hours: {hours: '22:00-08:00', zone: Shanghai}}]", "is no time zone"),
        ("dagster_url: https://u:hunter2@x.example", "dagster_url: must look like https://dagster.example.com"),
        ("again_after_hours: 0", "again_after_hours: Input should be greater than 0"),
        ("receivers:\n  - name: a\n   credential_ref: x", "not valid YAML in line 3"),
        ("- a", "the file: must be a mapping"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_file_is_said_with_its_place_and_without_what_stands_there(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(PermanentError) as caught:
        read(tmp_path, text)
    assert caught.value.code is CONFIG_INVALID
    assert words in str(caught.value)
    assert "notices.yaml" in str(caught.value)
    assert "hunter2" not in str(caught.value)
