"""What is news of a run: told once, counted after that, told again after a while or when it changes, and told as over."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.notices.news import Decided, decide
from asset_ledger.domain.notices.receivers import Receiver
from asset_ledger.domain.notices.run import (
    CheckSaid,
    Found,
    HeldReading,
    RunFacts,
    StepFailed,
    TargetSaid,
    facts_of,
    troubles_of,
)
from asset_ledger.domain.notices.run import looked_at as looked_of
from asset_ledger.domain.notices.ticking import Ticker, silent
from asset_ledger.domain.notices.troubles import Key, Looked, Standing, Trouble, mark

NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
DAY = timedelta(hours=24)


def trouble(
    *subjects: str, code: str = "SSH_TIMEOUT", place: str = "probe", kind: str = "failed_target", **said: object
) -> Trouble:
    told = {"severity": "warning", "message": "no answer", **said}
    return Trouble(kind, place.split(maxsplit=1)[0], place, code, subjects=subjects, **told)  # type: ignore[arg-type]


def stands(decided: Decided) -> dict[Key, Standing]:
    return {one.key: one for one in decided.standing if not one.closed}


def news(decided: Decided) -> list[tuple[str, str]]:
    return [(one.news, one.code) for one in decided.entries]


class Story:
    """Runs one after the other, an hour apart."""

    def __init__(self) -> None:
        self.standing: dict[Key, Standing] = {}
        self.now = NOW

    def run(self, *troubles: Trouble, looked: Sequence[Looked] = (), after: timedelta = timedelta(hours=1)) -> Decided:
        self.now += after
        decided = decide(troubles, looked, self.standing, now=self.now, again_after=DAY)
        for one in decided.standing:
            self.standing.pop(one.key, None)
        self.standing |= stands(decided)
        return decided


def saw(*targets: str, place: str = "probe") -> Looked:
    return Looked("failed_target", place, frozenset(map(mark, targets)))


def test_the_first_failure_is_told_and_the_same_is_not_told_again() -> None:
    story = Story()
    assert news(story.run(trouble("a", "b"))) == [("new", "SSH_TIMEOUT")]
    again = story.run(trouble("a", "b"))
    assert news(again) == []
    assert [(one.news, one.count) for one in again.known] == [("still", 2)]
    assert story.standing["failed_target", "probe", "SSH_TIMEOUT"].times == 2


def test_it_is_told_again_after_a_day_and_then_a_day_later() -> None:
    story = Story()
    story.run(trouble("a"))
    told = [news(story.run(trouble("a"), after=timedelta(hours=8))) for _ in range(7)]
    assert told == [[], [], [("still", "SSH_TIMEOUT")], [], [], [("still", "SSH_TIMEOUT")], []]


def test_what_joins_it_is_told_with_the_number_of_all_and_by_the_names_of_the_new() -> None:
    story = Story()
    story.run(trouble("a", "b"))
    (entry,) = story.run(trouble("a", "b", "c")).entries
    assert (entry.news, entry.count, entry.fresh, entry.shown) == ("more", 3, 1, ("c",))
    assert news(story.run(trouble("a", "c"))) == [], "that one of them got well is no news"


def test_another_code_is_another_trouble() -> None:
    story = Story()
    story.run(trouble("a"))
    assert news(story.run(trouble("a", code="SSH_AUTH_FAILED"))) == [("new", "SSH_AUTH_FAILED")]


def test_it_is_over_when_each_that_failed_was_seen_well() -> None:
    story = Story()
    story.run(trouble("a", "b"))
    assert news(story.run(looked=[saw("a", "x")])) == [], "b was not looked at: a shard, a probe of one machine"
    (over,) = story.run(looked=[saw("b")]).entries
    assert (over.news, over.count, over.since) == ("well", 2, NOW + timedelta(hours=1))
    assert story.standing == {}
    assert news(story.run(trouble("a"))) == [("new", "SSH_TIMEOUT")], "it begins anew"


def test_nothing_is_over_by_a_run_that_looked_elsewhere() -> None:
    story = Story()
    story.run(trouble("a", place="vc hosts"))
    assert news(story.run(looked=[saw("a", place="vc vms"), Looked("finding", "vc"), saw("a", place="vc_2")])) == []
    assert news(story.run(looked=[saw("a", place="vc")])) == [("well", "SSH_TIMEOUT")], (
        "the whole source has each scope"
    )


def test_what_got_worse_is_told() -> None:
    story = Story()
    story.run(trouble("probe", severity="warning"))
    assert news(story.run(trouble("probe", severity="error"))) == [("more", "SSH_TIMEOUT")]
    assert news(story.run(trouble("probe", severity="warning"))) == []


def test_a_finding_is_told_once_and_each_that_joins() -> None:
    story = Story()
    story.run(trouble("web 1", kind="finding", code="DRIFT"))
    assert news(story.run(trouble("web 1", kind="finding", code="DRIFT"), after=10 * DAY)) == []
    assert news(story.run(trouble("web 2", kind="finding", code="DRIFT"))) == [("more", "DRIFT")]
    assert news(story.run(looked=[Looked("finding", "probe", None, "MISSING")])) == []
    assert news(story.run(looked=[Looked("finding", "probe", None, "DRIFT")])) == [("well", "DRIFT")]


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
codes = st.sampled_from(["SSH_TIMEOUT", "SSH_AUTH_FAILED", "PVE_DENIED", None])
targets = st.lists(
    st.builds(
        TargetSaid,
        source=st.sampled_from(["probe", "pve"]),
        scope=st.sampled_from(["all", "hosts"]),
        target=names,
        status=st.sampled_from(["ok", "failed", "partial", "skipped"]),
        code=codes,
        message=st.none() | names,
        advice=st.none(),
    ),
    max_size=30,
)


def facts(status: str = "success", **said: object) -> RunFacts:
    told = {"job": "probe_collect", "mode": "collect", "source": "probe", "scope": "all", "day": "2026-11-20", **said}
    return RunFacts("3f6a1c2e-run", status=status, owner="team:infrastructure", started_at=NOW, ended_at=NOW, **told)  # type: ignore[arg-type]


@given(targets)
def test_every_failed_target_is_counted_exactly_once(said: list[TargetSaid]) -> None:
    decided = decide(troubles_of(facts(), said), looked_of(facts(), said), {}, now=NOW, again_after=DAY)
    last = {(one.place, one.target): one.status for one in said}
    assert sum(one.count for one in decided.entries) == sum(status == "failed" for status in last.values())
    assert sum(one.fresh for one in decided.entries) == sum(one.count for one in decided.entries)


@given(targets, st.randoms(use_true_random=False))
def test_the_order_of_troubles_does_not_matter(said: list[TargetSaid], chance: random.Random) -> None:
    troubles = troubles_of(facts(), said)
    mixed = list(troubles)
    chance.shuffle(mixed)
    assert decide(troubles, [], {}, now=NOW, again_after=DAY) == decide(mixed, [], {}, now=NOW, again_after=DAY)


@given(targets)
def test_the_same_once_more_is_no_news(said: list[TargetSaid]) -> None:
    troubles, looked = troubles_of(facts(), said), looked_of(facts(), said)
    first = decide(troubles, looked, {}, now=NOW, again_after=DAY)
    again = decide(troubles, looked, stands(first), now=NOW + timedelta(hours=1), again_after=DAY)
    assert again.entries == ()
    assert len(again.known) == len(first.entries)


@given(targets)
def test_when_all_are_well_all_is_over(said: list[TargetSaid]) -> None:
    first = decide(troubles_of(facts(), said), [], {}, now=NOW, again_after=DAY)
    well = [TargetSaid(one.source, one.scope, one.target, "ok", None, None, None) for one in said]
    over = decide(troubles_of(facts(), well), looked_of(facts(), well), stands(first), now=NOW, again_after=DAY)
    assert {one.key for one in over.entries} == {one.key for one in first.entries}
    assert all(one.news == "well" for one in over.entries)


def check(name: str, passed: bool, severity: str = "warning") -> CheckSaid:
    return CheckSaid("pve/ledger_assets", name, passed, severity, "2026-11-20", f"{name} says so")  # type: ignore[arg-type]


def test_failed_checks_are_told_by_their_severity_and_over_when_they_pass() -> None:
    said = facts(checks=(check("row_count", False, "error"), check("relations_present", False), check("fresh", True)))
    told = troubles_of(said)
    assert [(one.kind, one.code, one.severity, one.source) for one in told] == [
        ("failed_check", "row_count", "error", "pve"),
        ("failed_check", "relations_present", "warning", "pve"),
    ]
    first = decide(told, looked_of(said), {}, now=NOW, again_after=DAY)
    next_day = facts(checks=(check("row_count", True),))
    over = decide([], looked_of(next_day), stands(first), now=NOW, again_after=DAY)
    assert [(one.news, one.code) for one in over.entries] == [("well", "row_count")]


def test_a_check_that_says_what_failed_targets_say_is_not_told_twice() -> None:
    assert (
        troubles_of(facts(checks=(check("every_target_read", False), check("absences_within_threshold", False)))) == []
    )


def test_a_run_that_failed_is_told_by_its_step_and_is_over_when_that_step_succeeds_in_any_run() -> None:
    step = StepFailed("probe_chain", "DATABASE_UNAVAILABLE", "storage", "the server is gone")
    (told,) = troubles_of(facts("failure", failed=(step,)))
    assert (told.kind, told.place, told.code, told.severity) == (
        "failed_run",
        "probe_chain",
        "DATABASE_UNAVAILABLE",
        "critical",
    )
    first = decide([told], [], {}, now=NOW, again_after=DAY)
    other = facts("failure", succeeded=("probe_chain",), failed=(StepFailed("another", "X", "", ""),))
    over = decide([], looked_of(other), stands(first), now=NOW, again_after=DAY)
    assert news(over) == [("well", "DATABASE_UNAVAILABLE")]


def test_a_run_that_was_ended_by_others_is_told() -> None:
    (canceled,) = troubles_of(facts("canceled"))
    (died,) = troubles_of(facts("failure"))
    assert (canceled.kind, canceled.severity) == ("canceled_run", "warning")
    assert (died.kind, died.place, died.code) == ("failed_run", "probe_collect", "RUN_FAILED")


def test_of_a_replay_only_its_failure_is_told_and_nothing_is_over_by_it() -> None:
    said = [TargetSaid("probe", "all", "a", "failed", "SSH_TIMEOUT", None, None)]
    replay = facts("failure", mode="replay", failed=(StepFailed("probe_chain", "RAW_DAMAGED", "storage", "x"),))
    assert [one.kind for one in troubles_of(replay, said, [HeldReading(1, "probe", "all", 3)])] == ["failed_run"]
    well = [TargetSaid("probe", "all", "a", "ok", None, None, None)]
    story = Story()
    failed = StepFailed("probe_chain", "SSH_CREDENTIAL_INVALID", "auth", "x")
    story.run(*troubles_of(facts("failure", failed=(failed,)), said))
    again = story.run(looked=looked_of(facts(mode="replay", succeeded=("probe_chain",)), well))
    assert news(again) == [], "an old day that was derived again says nothing of a source that cannot be read"
    assert len(story.standing) == 2
    story.run(*troubles_of(replay))
    over = story.run(looked=looked_of(facts(mode="replay", succeeded=("probe_chain",))))
    assert news(over) == [("well", "RAW_DAMAGED")], "but of the replay that failed it does"


def test_a_shard_that_is_read_does_not_say_that_another_one_was() -> None:
    story = Story()
    unread = TargetSaid("probe", "all", "probe", "failed", "SSH_KNOWN_HOSTS", None, None)
    read = TargetSaid("probe", "all", "a", "ok", None, None, None)
    failed = {"failed": (StepFailed("probe_chain", "SSH_KNOWN_HOSTS", "config", "x"),)}
    story.run(*troubles_of(facts("failure", shard="2/4", **failed), [unread]))
    well = {"succeeded": ("probe_chain",)}
    assert news(story.run(looked=looked_of(facts(shard="3/4", **well), [read]))) == []
    fourth = facts("failure", shard="4/4", **failed)
    assert heard(story.run(*troubles_of(fourth, [unread]))) == [], "another part of one reading fails for one cause"
    assert ("well", "failed_run") not in _ends(story.run(looked=looked_of(facts(shard="2/4", **well), [read])))
    assert heard(story.run(looked=looked_of(facts(shard="4/4", **well), [read]))) == [
        ("well", "failed_run", "SSH_KNOWN_HOSTS")
    ]
    assert story.standing == {}


def test_a_shard_of_another_cut_ends_what_it_read_of_the_one_that_failed() -> None:
    story = Story()
    story.run(*troubles_of(facts("failure", shard="1/2", failed=(StepFailed("probe_chain", "X", "config", "x"),))))
    assert _ends(story.run(looked=looked_of(facts(shard="1/4", succeeded=("probe_chain",))))) == []
    over = story.run(looked=looked_of(facts(shard="3/4", succeeded=("probe_chain",))))
    assert _ends(over) == [("well", "failed_run")]


UNREAD = TargetSaid("probe", "all", "probe", "failed", "SSH_KNOWN_HOSTS", None, None)
READ = TargetSaid("probe", "all", "a", "ok", None, None, None)


def unread_shards(*shards: str) -> Story:
    """A story in which these shards of a source could not be read."""
    story = Story()
    for shard in shards:
        story.run(*troubles_of(facts("failure", shard=shard), [UNREAD]))
    assert ("failed_target", "probe", "SSH_KNOWN_HOSTS") in story.standing
    return story


def read_in(story: Story, *shards: str, targets: Sequence[TargetSaid] = (READ,)) -> list[tuple[str, str]]:
    """Read shards (an empty one is all of the source), and return what of the source that was not read ends by it."""
    ended = []
    for shard in shards:
        ended += _ends(story.run(looked=looked_of(facts(shard=shard), targets)))
    return [one for one in ended if one[1] == "failed_target"]


def test_a_shard_that_could_not_be_read_is_over_when_the_whole_source_was() -> None:
    assert read_in(unread_shards("2/4", "3/8", "7/7"), "") == [("well", "failed_target")]


def test_a_shard_that_could_not_be_read_is_over_when_every_shard_of_another_cut_was() -> None:
    story = unread_shards("2/4")
    eighths = [f"{number}/8" for number in range(1, 9)]
    assert read_in(story, *eighths[:5]) == [], "2/4 is 2/8 and 6/8"
    assert read_in(story, *eighths[5:]) == [("well", "failed_target")]
    assert ("failed_target", "probe", "SSH_KNOWN_HOSTS") not in story.standing


def test_a_shard_is_read_by_a_run_that_ended_well_though_no_machine_in_it_answers_or_is_there() -> None:
    down = TargetSaid("probe", "all", "b", "failed", "SSH_TIMEOUT", None, None)
    for targets in ([], [down]):
        assert read_in(unread_shards("2/4"), "1/4", "3/4", "4/4", targets=targets) == []
        assert read_in(unread_shards("2/4"), "2/4", targets=targets) == [("well", "failed_target")]
    failed = looked_of(facts("failure", shard="2/4"), [UNREAD])
    assert news(unread_shards("2/4").run(looked=failed)) == [], "a run that failed read nothing"


def test_a_source_that_could_not_be_read_counts_once_in_however_many_shards() -> None:
    story = Story()
    first = story.run(*troubles_of(facts("failure", shard="1/2"), [UNREAD]))
    assert [(one.count, one.fresh) for one in first.entries] == [(1, 1), (1, 1)]
    (said,) = (one for one in first.entries if one.kind == "failed_target")
    assert said.shown == ("probe",)
    assert news(story.run(*troubles_of(facts("failure", shard="2/2"), [UNREAD]))) == []
    machine = TargetSaid("probe", "all", "a", "failed", "SSH_KNOWN_HOSTS", None, None)
    (more,) = story.run(*troubles_of(facts(shard="2/2"), [machine])).entries
    assert (more.news, more.count, more.fresh, more.shown) == ("more", 2, 1, ("a",))
    over = story.run(looked=looked_of(facts(), [READ]))
    assert [(one.kind, one.count) for one in over.entries] == [("failed_run", 1), ("failed_target", 2)]


def test_what_follows_from_a_source_that_cannot_be_read_is_told_once_only_machines_of_it_cannot() -> None:
    machine = TargetSaid("probe", "all", "b", "failed", "SSH_KNOWN_HOSTS", None, None)
    stale = CheckSaid("probe/raw_inventory", "day_fresh", False, "warning", None, "no day", "reading")
    watch = troubles_of(facts(source="", checks=(stale,)))
    story = Story()
    # without the run that failed, which would be a cause as well
    story.run(*(one for one in troubles_of(facts("failure", shard="2/4"), [UNREAD]) if one.kind == "failed_target"))
    assert heard(story.run(*watch)) == []
    story.run(*troubles_of(facts(shard="2/4"), [machine]), looked=looked_of(facts(shard="2/4"), [machine]))
    assert [one.kind for one in story.standing.values()] == ["failed_check", "failed_target"]
    assert heard(story.run(*watch)) == [("new", "failed_check", "day_fresh")]


def _ends(decided: Decided) -> list[tuple[str, str]]:
    return [(one.news, one.kind) for one in decided.entries if one.news == "well"]


ALL = Receiver("all", "env:ALL")
CHECKS = Receiver("checks", "env:CHECKS", kinds=("failed_check",))


def heard(decided: Decided, who: Receiver = ALL) -> list[tuple[str, str, str]]:
    return [(one.news, one.kind, one.code) for one in decided.entries if who.wants(one)]


def outage() -> tuple[list[Trouble], ...]:
    """A token is refused: the run fails, within the hour its reading is not whole, at the deadline its day is stale."""
    token = "PVE_AUTH_FAILED"
    run = facts("failure", source="pve", job="pve_collect", failed=(StepFailed("pve_chain", token, "auth", "refused"),))
    said = [TargetSaid("pve", "all", "pve", "failed", token, "refused", "Renew the token")]
    whole = CheckSaid("pve/raw_inventory", "last_reading_whole", False, "warning", None, "not whole", "reading")
    fresh = CheckSaid("pve/raw_inventory", "day_fresh", False, "warning", None, "no day", "reading")
    return (
        troubles_of(run, said),
        troubles_of(facts(source="", checks=(whole,))),
        troubles_of(facts(source="", checks=(whole, fresh))),
    )


def test_one_outage_is_told_once_and_then_that_it_lasts_once_a_day() -> None:
    story = Story()
    run, watch, deadline = outage()
    first = story.run(*run)
    assert heard(first) == [("new", "failed_run", "PVE_AUTH_FAILED")]
    second = story.run(*watch)
    assert heard(second) == []
    assert heard(second, CHECKS) == [("new", "failed_check", "last_reading_whole")], "it is not told of the run"
    third = story.run(*deadline)
    assert (heard(third), heard(third, CHECKS)) == ([], [])
    hours = [heard(story.run(*deadline)) for _ in range(45)]
    assert [one for one in hours if one] == [[("still", "failed_run", "PVE_AUTH_FAILED")]]
    assert hours[21], "a day after it was told, although no run tried since"


def test_what_is_over_is_told_to_those_who_were_told_of_it() -> None:
    story = Story()
    run, _, deadline = outage()
    story.run(*run)
    story.run(*deadline)
    well = facts(
        source="pve",
        job="pve_collect",
        succeeded=("pve_chain",),
        checks=tuple(
            CheckSaid("pve/raw_inventory", name, True, "warning", None, "")
            for name in ("last_reading_whole", "day_fresh")
        ),
    )
    over = story.run(looked=looked_of(well, [TargetSaid("pve", "all", "vm-1", "ok", None, None, None)]))
    assert heard(over) == [("well", "failed_run", "PVE_AUTH_FAILED")]
    assert heard(over, CHECKS) == [("well", "failed_check", "last_reading_whole")]
    assert story.standing == {}


def test_what_goes_on_when_its_cause_is_over_is_told_to_those_who_heard_of_the_cause_alone() -> None:
    story = Story()
    run, _, deadline = outage()
    story.run(*run)
    story.run(*deadline)
    ended = facts(source="pve", job="pve_collect", succeeded=("pve_chain",))
    story.run(looked=looked_of(ended, [TargetSaid("pve", "all", "vm-1", "ok", None, None, None)]))
    left = story.run(*deadline)
    assert heard(left) == [("new", "failed_check", "last_reading_whole")]
    assert heard(left, CHECKS) == []
    assert (
        story.standing["failed_check", "pve/raw_inventory last_reading_whole", "last_reading_whole"].told_at
        == story.now
    )


@pytest.mark.parametrize("follows", ["", "reading"])
def test_a_day_that_nobody_tried_to_read_is_told_whatever_else_is_wrong(follows: str) -> None:
    story = Story()
    other = troubles_of(facts("failure", source="pve_2", failed=(StepFailed("pve_2_chain", "X", "auth", ""),)))
    replay = troubles_of(
        facts("failure", mode="replay", failed=(StepFailed("pve_chain", "RAW_DAMAGED", "storage", ""),))
    )
    mine = outage()[0] if not follows else []
    story.run(*mine, *other, *replay, trouble("a", place="pve"))
    fresh = CheckSaid("pve/raw_inventory", "day_fresh", False, "warning", None, "no day", follows)  # type: ignore[arg-type]
    assert heard(story.run(*troubles_of(facts(source="", checks=(fresh,))))) == [("new", "failed_check", "day_fresh")]


def test_scopes_fail_apart() -> None:
    story = Story()
    step = StepFailed("vc_chain_hosts", "VCENTER_DENIED", "auth", "")
    story.run(*troubles_of(facts("failure", source="vc", job="vc_collect", failed=(step,))))
    said = tuple(
        CheckSaid(f"vc/raw_{scope}", "last_reading_whole", False, "warning", None, "", "reading")
        for scope in ("hosts", "vms")
    )
    decided = story.run(*troubles_of(facts(source="", checks=said)))
    assert [one.place for one in decided.entries if ALL.wants(one)] == ["vc/raw_vms last_reading_whole"]


def test_fewer_records_than_usual_are_told_where_nothing_else_says_why() -> None:
    story = Story()
    story.run(trouble("reading 7", kind="held_removal", code="ABSENCES_HELD", place="pve"))

    def size(follows: str) -> list[Trouble]:
        said = CheckSaid("pve/daily_specs", "row_count_usual", False, "warning", None, "", follows)  # type: ignore[arg-type]
        return troubles_of(facts(source="", checks=(said,)))

    assert heard(story.run(*size("fewer"))) == []
    alone = Story()
    alone.run(trouble("a", place="pve"))
    assert heard(alone.run(*size("fewer"))) == [("new", "failed_check", "row_count_usual")]


def test_held_removals_and_findings_are_told_with_the_command_that_shows_them() -> None:
    told = troubles_of(
        facts(), [], [HeldReading(17, "vc", "hosts", 214)], [Found("1a2b3c4d-x", "drift", "pve", "web 数据库")]
    )
    held, finding = told
    assert (held.place, held.severity, held.command) == ("vc hosts", "error", "asset-ledger absences show 17")
    assert "214 machines" in held.message
    assert (finding.code, finding.subjects) == ("DRIFT", ("web 数据库 1a2b3c4d",))


def test_facts_come_back_from_json_as_they_were_but_for_secrets() -> None:
    said = facts(
        "failure",
        succeeded=("a",),
        failed=(StepFailed("b", "X", "auth", "login with password=hunter2 refused"),),
        checks=(check("row_count", False),),
    )
    document = said.as_json()
    assert "hunter2" not in str(document)
    assert facts_of(document).as_json() == document
    assert facts_of(document).checks == said.checks


@pytest.mark.parametrize(
    ("ticker", "code"),
    [
        (Ticker("sensor", "inbox"), None),
        (Ticker("sensor", "inbox", stopped=True), "STOPPED"),
        (Ticker("schedule", "pve_daily", "pve", failed="DagsterError"), "TICK_FAILED"),
        (Ticker("sensor", "x", last_at=NOW - timedelta(minutes=11), every=timedelta(seconds=30)), "LATE"),
        (Ticker("sensor", "x", last_at=NOW - timedelta(minutes=9), every=timedelta(seconds=30)), None),
        (Ticker("sensor", "x", last_at=NOW - timedelta(minutes=11), every=timedelta(minutes=2)), None),
        (Ticker("daemon", "SCHEDULER", failed="no heartbeat"), "TICK_FAILED"),
    ],
)
def test_what_does_not_tick_is_told(ticker: Ticker, code: str | None) -> None:
    wrong, looked = silent([ticker], now=NOW, awake_since=NOW - timedelta(days=1))
    assert [one.code for one in wrong] == ([] if code is None else [code])
    assert [one.place for one in looked] == [f"{ticker.kind} {ticker.name}"]


def test_a_daemon_that_has_just_begun_is_not_late_with_everything() -> None:
    late = Ticker("sensor", "x", last_at=NOW - timedelta(days=3), every=timedelta(seconds=30))
    assert silent([late], now=NOW, awake_since=NOW - timedelta(minutes=2))[0] == []


def test_what_somebody_stopped_is_told_once() -> None:
    story = Story()
    stopped = trouble("sensor inbox", kind="silent", code="STOPPED", place="sensor inbox")
    assert news(story.run(stopped)) == [("new", "STOPPED")]
    assert news(story.run(stopped, after=9 * DAY)) == []
    assert news(story.run(looked=[Looked("silent", "sensor inbox")])) == [("well", "STOPPED")]
