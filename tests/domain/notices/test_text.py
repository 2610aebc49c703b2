"""The words of a notice: short, whole, the same for the same, and without any secret."""

from __future__ import annotations

import random
import time as time_of
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from asset_ledger.domain.notices.digest import Digest, clean, digest_of, merged
from asset_ledger.domain.notices.receivers import Quiet, Receiver, parted
from asset_ledger.domain.notices.redaction import redacted
from asset_ledger.domain.notices.sending import APART, next_message, refused_itself, why_late
from asset_ledger.domain.notices.text import MOST_BYTES, MOST_LINES, Message, compose
from asset_ledger.domain.notices.troubles import KINDS, SEVERITIES, Entry
from asset_ledger.domain.secrecy import REDACTED

NOW = datetime(2026, 11, 20, 1, 14, tzinfo=UTC)
RUN = "3f6a1c2e-9a54-4c1e-8f0e-0f6a5a1d2b3c"
URL = "https://dagster.example.com"
QUICK = [Phase.explicit, Phase.reuse, Phase.generate]  # to make an example smaller takes minutes


def entry(code: str = "SSH_TIMEOUT", **said: object) -> Entry:
    told: dict[str, object] = {
        "news": "new",
        "kind": "failed_target",
        "source": "probe",
        "place": "probe",
        "severity": "warning",
        "count": 40,
        "fresh": 40,
        "shown": ("db-数据库_01", "web-02", "web-03"),
        "since": NOW,
        "message": "no answer within 10 s",
        "advice": "Check the address and the firewall",
        "command": f"asset-ledger runs show {RUN[:8]} --failed",
        **said,
    }
    return Entry(code=code, **told)  # type: ignore[arg-type]


def digest(*entries: Entry, at: datetime = NOW, run: str = RUN, known: int = 0) -> Digest:
    return Digest("probe collect of 2026-11-20", run, "failure", at, entries, known, "team:infrastructure")


def told(*digests: Digest, late: str = "") -> Message:
    return compose(digests, dagster_url=URL, message="0a1b2c3d-and-on", why_late=late)


def test_a_notice_reads_like_this() -> None:
    failed = entry(
        "DATABASE_UNAVAILABLE", kind="failed_run", place="probe_chain", severity="critical", count=1, fresh=1, shown=()
    )
    over = entry("SSH_AUTH_FAILED", news="well", since=NOW - timedelta(days=2))
    message = told(digest(entry(), failed, over, known=2))
    assert message.title == "[asset_ledger] probe collect of 2026-11-20: 1 run failed, 40 targets failed, 1 well again"
    assert message.severity == "critical"
    assert message.body == (
        "**probe collect of 2026-11-20**, failure, 2026-11-20 09:14 Asia/Shanghai, for team:infrastructure\n"
        "\n"
        "- CRITICAL probe_chain `DATABASE_UNAVAILABLE`: run failed. no answer within 10 s. Check the address and the firewall.\n"
        "- WARNING probe `SSH_TIMEOUT`: 40 targets failed: `db-数据库_01`, `web-02`, `web-03` and 37 more."
        " no answer within 10 s. Check the address and the firewall.\n"
        "- well again: probe `SSH_AUTH_FAILED` (target failed, since 2026-11-18 09:14)\n"
        "- 2 known troubles go on, not told again\n"
        "\n"
        "More: `asset-ledger runs show 3f6a1c2e --failed`\n"
        f"https://dagster.example.com/runs/{RUN}\n"
        "notice 0a1b2c3d"
    )


def test_what_has_no_room_is_a_number_and_a_command() -> None:
    message = told(digest(*(entry(f"CODE_{number:02}") for number in range(60))))
    shown = message.body.count("`CODE_")
    assert f"- and {60 - shown} more: `asset-ledger runs show 3f6a1c2e --failed`" in message.body
    assert shown >= 5
    assert len(f"{message.title}\r\n{message.body}".encode()) <= MOST_BYTES + 2
    assert message.body.count("\n") < MOST_LINES
    assert message.body.endswith("notice 0a1b2c3d")


def test_what_has_no_room_is_listed_by_the_command_it_comes_with() -> None:
    checks = [entry(f"CHECK_{number:02}", kind="failed_check", command="") for number in range(20)]
    over = [entry(f"OVER_{number:02}", news="well") for number in range(20)]
    body = told(digest(entry(severity="error"), *checks, *over)).body
    left = 20 - body.count("`CHECK_")
    # the run's targets are not what is left, and what is over no command lists
    assert f"- and {left} more: `asset-ledger notices troubles`; 20 more are over\n" in body
    assert "More: `asset-ledger runs show 3f6a1c2e --failed`" in body
    shown = told(digest(*over)).body.count("- well again")
    assert f"- and {20 - shown} more that are over\n" in told(digest(*over)).body
    both = told(digest(*(entry(f"A_{one}") for one in range(9))), digest(*checks, run="run-2")).body
    assert "more: `asset-ledger notices troubles`" in both


def test_a_long_message_does_not_cut_off_the_next_step() -> None:
    source = "s" * 40
    step = (
        f"See why: `asset-ledger runs list --source {source} --failed`; try: `asset-ledger sources check {source}`. Then "
        f"read it: `asset-ledger sources collect {source} --mode collect_inventory`. If nothing was tried, its schedule "
        "is off or the daemon is not running."
    )
    long = clean(entry("day_fresh", kind="failed_check", place=f"{source}/raw_inventory day_fresh", command="",
                       message="it is as it is " * 30, advice=step))  # fmt: skip
    for digests in ([digest(long)], [digest(long), digest(entry(), run="run-2")]):
        body = told(*digests).body
        assert step.replace("`", "'") in body
        assert "check failed. it is as it is it is as it is" in body
        assert "is not running.\n" in body


def test_the_longest_entry_has_its_line() -> None:
    wide = clean(
        entry(
            "数" * 99, place="据" * 200, source="库" * 99, shown=("表" * 99,) * 3, message="读" * 999, advice="看" * 999
        )
    )
    body = told(digest(wide)).body
    assert "- WARNING 据" in body
    assert "看" in body
    assert "more" not in body.split("\n")[2][:20]


def test_several_digests_are_one_message_and_what_came_and_went_is_said_so() -> None:
    first = digest(entry(), entry("PVE_DENIED"), run="run-1")
    second = digest(entry(news="more", count=42, fresh=2, shown=("web-77",)), entry("PVE_DENIED", news="well"),
                    at=NOW + timedelta(hours=3), run="run-2")  # fmt: skip
    message = told(second, first, late="kept in the quiet hours")
    lines = message.body.split("\n")
    assert lines[0].startswith(
        "**2 notices** of 2026-11-20 09:14 to 2026-11-20 12:14 Asia/Shanghai, kept in the quiet hours"
    )
    assert "- WARNING probe `SSH_TIMEOUT`: 42 targets failed" in message.body
    assert "- came and went: 1 trouble: `PVE_DENIED` probe" in message.body
    assert f"{URL}/runs/run-1\n{URL}/runs/run-2" in message.body


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
entries = st.builds(
    Entry,
    news=st.sampled_from(["new", "more", "still", "well"]),
    kind=st.sampled_from(KINDS),
    source=names,
    place=names,
    code=names,
    severity=st.sampled_from(SEVERITIES),
    count=st.integers(1, 10**6),
    fresh=st.integers(0, 10**6),
    shown=st.lists(names, max_size=3).map(tuple),
    since=st.sampled_from([NOW, NOW + timedelta(hours=1)]),
    message=st.text(max_size=12).map(lambda text: text * 30),
    advice=st.just("Do it"),
    command=st.sampled_from(["", "asset-ledger absences show 1"]),
    owner=names,
)
digests = st.builds(
    Digest,
    title=names,
    run_id=st.uuids().map(str),
    status=st.sampled_from(["success", "failure"]),
    at=st.sampled_from([NOW, NOW + timedelta(hours=1)]),
    entries=st.lists(entries.map(clean), min_size=1, max_size=8).map(tuple),
    known=st.integers(0, 9),
    owner=names,
)


@settings(max_examples=40, phases=QUICK)
@given(st.lists(digests, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_any_notice_fits_into_the_narrowest_service_and_is_the_same_in_any_order(
    some: list[Digest], chance: random.Random
) -> None:
    message = compose(some, dagster_url=URL, message=str(UUID(int=7)))
    assert len(f"{message.title}\r\n{message.body}".encode()) <= 2048
    assert message.body.count("\n") < MOST_LINES
    assert "notice 00000000" in message.body
    mixed = list(some)
    chance.shuffle(mixed)
    assert compose(mixed, dagster_url=URL, message=str(UUID(int=7))) == message


@settings(max_examples=40, phases=QUICK)
@given(st.lists(digests, min_size=1, max_size=3))
def test_each_trouble_of_several_digests_is_told_once(some: list[Digest]) -> None:
    told_now, passed = merged(some)
    keys = [one.key for one in (*told_now, *passed)]
    assert len(keys) == len(set(keys))
    assert set(keys) == {one.key for each in some for one in each.entries}


@given(digests)
def test_a_digest_comes_back_from_the_outbox_as_it_was(one: Digest) -> None:
    assert digest_of(one.as_json()) == one


SECRET = "Tr0ub4dor-and-3horses"


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f"login failed (Password: {SECRET})",
        f'{{"api_token": "{SECRET}", "a": 1}}',
        f"secret '{SECRET}' was refused",
        f"密码：{SECRET}",
        f"could not open postgresql://ledger:{SECRET}@db.example.com:5432/asset_ledger",
        f"GET https://oapi.dingtalk.com/robot/send?access_token={SECRET} failed",
        f"POST https://hooks.slack.com/services/T000/B000/{SECRET}",
        f"dingtalk://{SECRET}@0123456789abcdef/ is no address",
        f"slack://T000/B000/{SECRET}",
        f"mailtos://user:{SECRET}@mail.example.com?to=a",
        f"Authorization: Bearer {SECRET}",
        f"authorization=Basic {SECRET}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"url=password:{SECRET}",
        f"PVEAPIToken=root@pam!ledger={SECRET}",
        f"password {SECRET}",
        f"the password is {SECRET}",
        f"ssh ledger:{SECRET}@db.example.com",
        f"curl -u admin:{SECRET} x",
        f"curl --user=admin:{SECRET} x",
        f"口令 {SECRET}",
        f"密码是{SECRET}",
        f"a=b=c='d: password={SECRET}'",
        f"""a="b='c={"x=" * 300}password={SECRET}'\"""",
    ],
)
def test_a_secret_does_not_get_through(text: str) -> None:
    assert SECRET not in redacted(f"it failed: {text} and so on")
    assert SECRET not in redacted(text)
    assert "it failed" in redacted(f"it failed: {text}")


@pytest.mark.parametrize("token", ["0123456789abcdef" * 4, "SECa1B2c3D4e5F6g7H8i9J0k1L2", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"])  # fmt: skip
def test_a_word_that_looks_drawn_by_chance_is_taken_out(token: str) -> None:
    assert token not in redacted(f"token {token} is not exist")


@pytest.mark.parametrize(
    "text",
    [
        "token lacks VM.Audit on /vms; grant PVEAuditor on / with propagate",
        "db-数据库_01.prod.example.com did not answer within 10 s",
        f"run {RUN} of pve_lab_collect",
        "the password is wrong or expired",
        "credential_ref: env:PVE_LAB",
        "0 of 3 readings: vms_without_host 10.0.0.1:8006",
        "module.app['eu'].proxmox_vm_qemu.web[0]",
        "password expired on 2026-11-20 for ops@example.com",
    ],
)
def test_what_people_need_is_left(text: str) -> None:
    assert redacted(text) == text


def test_of_an_address_scheme_and_host_are_left() -> None:
    assert (
        redacted("GET https://pve.example.com:8006/api2/json?x=1 failed") == "GET https://pve.example.com:8006/… failed"
    )


def test_no_data_is_an_order_to_a_service() -> None:
    assert redacted("<!channel> <img src=x> `x` [a](https://evil.example/x)") == (
        "‹!channel› ‹img src=x› 'x' [a] (https://evil.example/…"
    )


def test_the_word_behind_an_option_is_taken_out_whatever_it_is() -> None:
    assert redacted("mysqldump --password horses -h db") == f"mysqldump --password {REDACTED} -h db"


@pytest.mark.parametrize("order", ["@all", "@Everyone", "@here", "@channel", "@所有人"])
def test_nobody_is_called_by_what_a_stranger_wrote(order: str) -> None:
    assert order not in redacted(f"host {order} failed")
    assert order[1:] in redacted(f"host {order} failed")


@pytest.mark.parametrize(
    "piece",
    ["a=", "00:", "a:", 'a="', "a='", "a:'b\"", '"a" "', "a ", 'a "', "a:a@", "u:@", "-u a", "password ", "password=",
     "--password --", "口令", "@all", "a.", "a.-", "://", "eyJ", "a@b:", "[redacted", "password='\""],
)  # fmt: skip
def test_a_text_however_nested_is_cleaned_in_a_moment(piece: str) -> None:
    for times in (500, 5000):
        begun = time_of.process_time()
        clean(entry(message=piece * times, shown=(piece * times,), place=f"web {piece * times} 1"))
        assert time_of.process_time() - begun < 2


secrets = st.from_regex(r"[A-Za-z0-9_!@%^*+-]{8,40}", fullmatch=True).filter(
    lambda one: not one.startswith("[") and one not in REDACTED
)
around = st.text(st.sampled_from("abc 数据库 (),;"), max_size=20)


@given(
    secrets,
    around,
    around,
    st.sampled_from(
        ["password={}", "token: {}", '"secret": "{}"', "pwd='{}'", "https://u:{}@h.example/x", "Bearer {}", "wecombot://{}",
         "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={}", "passwd => {}", "private_key = {}"]
    ),
)  # fmt: skip
@example("aaaaaaaa", "", "", "token: {}")
@example("00000000", "a", "", '"secret": "{}"')
@settings(max_examples=60, phases=QUICK)
def test_no_secret_of_any_input_is_in_any_text(secret: str, before: str, after: str, form: str) -> None:
    leaky = f"{before} {form.format(secret)} {after}"
    one = clean(entry(code=leaky, message=leaky, advice=leaky, place=leaky, shown=(leaky, leaky), owner=leaky))
    message = told(digest(one))
    # what stood around it, or in our own words, may be the same by chance
    if secret not in f"{before} {after}" and secret not in told(digest(clean(entry()))).body:
        assert secret not in f"{message.title}{message.body}"


SHANGHAI = Quiet(time(22), time(8), "Asia/Shanghai")


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-11-20T13:59:59", None),  # 21:59:59 in Shanghai
        ("2026-11-20T14:00:00", "2026-11-21T00:00:00"),
        ("2026-11-20T15:59:59", "2026-11-21T00:00:00"),
        ("2026-11-20T16:00:00", "2026-11-21T00:00:00"),  # midnight there
        ("2026-11-20T23:59:59", "2026-11-21T00:00:00"),
        ("2026-11-21T00:00:00", None),
        ("2026-12-31T14:30:00", "2027-01-01T00:00:00"),
    ],
)
def test_quiet_hours_go_over_midnight(at: str, until: str | None) -> None:
    found = SHANGHAI.until(datetime.fromisoformat(at).replace(tzinfo=UTC))
    assert found == (None if until is None else datetime.fromisoformat(until).replace(tzinfo=UTC))


def test_quiet_hours_within_a_day_and_in_another_zone() -> None:
    noon = Quiet(time(12), time(13, 30), "Europe/Berlin")
    assert noon.until(datetime(2026, 7, 1, 10, 0, tzinfo=UTC)) == datetime(2026, 7, 1, 11, 30, tzinfo=UTC)
    assert noon.until(datetime(2026, 1, 1, 10, 0, tzinfo=UTC)) is None
    assert noon.until(datetime(2026, 1, 1, 11, 0, tzinfo=UTC)) == datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


@given(st.times(), st.times(), st.integers(0, 10**6).map(lambda minutes: NOW + timedelta(minutes=minutes)))
def test_quiet_ends_within_a_day_and_is_over_then(begins: time, ends: time, now: datetime) -> None:
    begins, ends = begins.replace(second=0, microsecond=0), ends.replace(second=0, microsecond=0)
    if begins == ends:
        return
    quiet = Quiet(begins, ends, "Asia/Shanghai")
    until = quiet.until(now)
    if until is not None:
        assert timedelta(0) < until - now <= timedelta(days=1)
        assert quiet.until(until) is None
        assert quiet.until(until - timedelta(microseconds=1)) is not None


NIGHT = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
MORNING = datetime(2026, 11, 21, 0, 0, tzinfo=UTC)
OPS = Receiver("ops", "env:OPS", quiet=SHANGHAI)


def test_what_is_bad_enough_breaks_through_and_the_rest_is_kept() -> None:
    bad, other = entry("A", severity="critical"), entry("B", severity="error")
    assert parted(OPS, [bad, other], NIGHT) == ([bad], [other])
    assert parted(OPS, [bad, other], MORNING) == ([bad, other], [])
    never = replace(OPS, quiet=replace(SHANGHAI, breaks_through=None))
    assert parted(never, [bad, other], NIGHT) == ([], [bad, other])


@pytest.mark.parametrize(
    ("receiver", "why"),
    [
        (Receiver("x", "env:X"), None),
        (Receiver("x", "env:X", kinds=("finding",)), "it does not ask for failed_target"),
        (Receiver("x", "env:X", severity="error"), "warning is less than error"),
        (Receiver("x", "env:X", sources=("pve_*",)), "it does not ask for probe"),
        (Receiver("x", "env:X", sources=("pve_*", "prob?")), None),
    ],
)
def test_a_receiver_hears_what_it_asks_for(receiver: Receiver, why: str | None) -> None:
    assert receiver.why_not(entry()) == why
    assert receiver.wants(entry()) is (why is None)


class Waiting:
    """One digest that waits."""

    def __init__(
        self,
        severity: str,
        created: datetime,
        due: datetime | None = None,
        batch: UUID | None = None,
        attempts: int = 0,
    ) -> None:
        self.severity, self.created_at, self.next_at, self.batch = severity, created, due or created, batch
        self.attempts = attempts
        self.first_tried_at = None if batch is None else created


def test_a_message_that_is_refused_again_and_again_goes_behind_the_others() -> None:
    ops = Receiver("ops", "env:OPS")
    bad, worse = (Waiting("error", NIGHT, NIGHT, UUID(int=n), n) for n in (3, 4))
    once, new = Waiting("error", NIGHT, NIGHT, UUID(int=9), 2), Waiting("error", NIGHT)
    assert next_message([worse, bad, once, new], ops, MORNING) == [once]
    assert next_message([worse, bad, new], ops, MORNING) == [new]
    assert next_message([worse, bad], ops, MORNING) == [bad]
    assert next_message([worse], ops, MORNING) == [worse]


def test_a_message_is_refused_itself_where_its_receiver_took_another_meanwhile() -> None:
    tried = [Waiting("error", NIGHT, NIGHT, UUID(int=1), 1)]
    assert refused_itself(tried, NIGHT + timedelta(minutes=1))
    assert not refused_itself(tried, NIGHT - timedelta(minutes=1))
    assert not refused_itself(tried, None)
    assert not refused_itself([*tried, Waiting("error", NIGHT)], MORNING)


def test_all_that_is_due_goes_into_one_message_and_nothing_that_is_not() -> None:
    a, b = Waiting("error", NIGHT), Waiting("warning", NIGHT)
    later = Waiting("error", NIGHT, MORNING + timedelta(hours=1))
    assert next_message([a, b, later], OPS, MORNING) == [a, b]
    assert why_late([a, b], OPS, MORNING) == "kept in the quiet hours"
    assert next_message([a, b], OPS, NIGHT) == []
    critical = Waiting("critical", NIGHT)
    assert next_message([a, critical], OPS, NIGHT) == [critical]
    assert why_late([critical], OPS, MORNING) == "", "it waited for another reason"


def test_what_was_tried_goes_again_as_it_was() -> None:
    batch = uuid4()
    tried = [Waiting("error", MORNING, batch=batch), Waiting("warning", MORNING, batch=batch)]
    new = Waiting("critical", MORNING)
    assert next_message([*tried, new], OPS, MORNING) == tried
    assert next_message([*tried, new], OPS, NIGHT + timedelta(days=1)) == [new], (
        "in quiet hours what may be told goes on"
    )


def test_messages_to_one_receiver_are_apart() -> None:
    one = Waiting("error", MORNING)
    assert next_message([one], OPS, MORNING, last_at=MORNING - APART / 2) == []
    assert next_message([one], OPS, MORNING, last_at=MORNING - APART) == [one]
