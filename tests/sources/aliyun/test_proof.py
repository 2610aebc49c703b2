"""When a reading is whole: every condition for itself, and that no altered list ever passes for a whole one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, LedgerError
from asset_ledger.domain.inventory import Proof
from asset_ledger.sources.aliyun import errors
from asset_ledger.sources.aliyun.errors import DRY_RUN_PASSED
from asset_ledger.sources.aliyun.parse import parse
from asset_ledger.sources.aliyun.proof import Evidence, LookUp, Seen, Step, digest_of, prove, read_evidence, written
from asset_ledger.sources.aliyun.raw import Answer, Line, dumped, line, plain_line, record
from tests.doubles.aliyun import AliyunDouble
from tests.sources.aliyun.live import complete, read

QUICK = settings(max_examples=150, deadline=None)


def listed(*regions: str) -> Answer:
    return Answer("DescribeRegions", {}, 200, {"Regions": {"Region": [{"RegionId": one} for one in regions]}})


def chain(*pages: tuple[str, ...]) -> tuple[Step, ...]:
    tokens = ["", *(f"token-{number}" for number in range(1, len(pages))), ""]
    return tuple(Step(tokens[at], tokens[at + 1], ids, f"R-{at}") for at, ids in enumerate(pages))


def seen(region: str, *pages: tuple[str, ...], **said: Any) -> Seen:
    ids = [one for ids in pages for one in ids]
    given = {"dry_run": (400, DRY_RUN_PASSED), "steps": chain(*pages), "instances": len(ids), "digest": digest_of(ids)}
    return Seen(region, **{**given, **said})


def whole() -> Evidence:
    regions = listed("cn-beijing", "cn-hangzhou", "eu-central-1")
    return Evidence(
        regions,
        regions,
        frozenset({"eu-central-1"}),
        (seen("cn-hangzhou", ("i-1", "i-2"), ("i-3",), ("i-4",)), seen("cn-beijing", ())),
    )


def against(evidence: Evidence) -> str:
    verdict = prove(evidence)
    assert not verdict.proof.complete
    return "; ".join(verdict.proof.missing)


def test_a_whole_reading_is_whole_and_says_what_was_counted() -> None:
    proof = prove(whole()).proof
    assert proof.missing == ()
    assert proof.counts["instances"] == 4
    assert proof.counts["instances_by_region"] == {"cn-hangzhou": 4}
    assert proof.counts["pages"] == 4
    assert proof.counts["dry_run_passed"] == 2
    assert proof.counts["regions"] == {"before": 3, "after": 3}


def test_an_empty_account_is_whole_where_dry_run_passed_everywhere() -> None:
    regions = listed("cn-beijing")
    assert prove(Evidence(regions, regions, frozenset(), (seen("cn-beijing", ()),))).proof.complete


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"before": None}, "before the reading"),
        ({"after": None}, "after the reading"),
        ({"after": Answer("DescribeRegions", {}, 503, None, "ServiceUnavailable", "busy")}, "ServiceUnavailable"),
        (
            {"after": listed("cn-beijing", "cn-hangzhou", "eu-central-1", "na-south-1")},
            "opened while reading: na-south",
        ),
        ({"after": listed("cn-hangzhou", "eu-central-1")}, "closed while reading: cn-beijing"),
        ({"before": listed()}, "no region"),
        ({"before": listed("cn-beijing", "cn-beijing")}, "twice"),
        ({"excluded": frozenset()}, "eu-central-1 was not read"),
        ({"excluded": frozenset({"cn-beijing", "cn-hangzhou", "eu-central-1"})}, "leaves no region"),
        ({"seen": whole().seen[:1]}, "cn-beijing was not read"),
        ({"seen": (*whole().seen, whole().seen[1])}, "cn-beijing was read twice"),
        ({"seen": (*whole().seen, seen("us-west-1", ()))}, "us-west-1"),
        ({"look_up": LookUp(3, 3, ("i-9",))}, "1 instance that the ledger knows exist"),
    ],
    ids=lambda each: each if isinstance(each, str) else next(iter(each)),
)
def test_each_condition_stands_against_it_alone(change: dict[str, Any], says: str) -> None:
    assert says in against(replace(whole(), **change))


@pytest.mark.parametrize(
    ("region", "says"),
    [
        (seen("cn-hangzhou", ("i-1",), dry_run=None), "was not asked"),
        (seen("cn-hangzhou", ("i-1",), dry_run=(403, "Forbidden.RAM")), "may not list"),
        (seen("cn-hangzhou", ("i-1",), dry_run=(200, "")), "may not list"),
        (seen("cn-hangzhou", ("i-1",), dry_run=(503, "ServiceUnavailable")), "ServiceUnavailable"),
        (seen("cn-hangzhou", ("i-1",), error="ALIYUN_NETWORK_ERROR", message="cut"), "cut"),
        (seen("cn-hangzhou", steps=()), "no page"),
        (seen("cn-hangzhou", ("i-1",), steps=(Step("", "t", ("i-1",)),)), "last page"),
        (seen("cn-hangzhou", ("i-1",), steps=(Step("t", "", ("i-1",)),)), "first page"),
        (seen("cn-hangzhou", steps=(Step("", "t", ()), Step("u", "", ()))), "does not follow"),
        (seen("cn-hangzhou", steps=(Step("", "", ()), Step("", "", ()))), "does not follow"),
        (seen("cn-hangzhou", steps=(Step("", "t", ()), Step("t", "t", ()), Step("t", "", ()))), "came twice"),
        (seen("cn-hangzhou", ("i-1", "i-1")), "more than once: i-1"),
        (seen("cn-hangzhou", ("i-1", "i-2"), instances=3), "not the one that was received"),
        (seen("cn-hangzhou", ("i-1", "i-2"), instances=None), "not the one that was received"),
        (seen("cn-hangzhou", ("i-1", "i-2"), digest=digest_of(["i-1", "i-3"])), "not the one that was received"),
    ],
    ids=lambda each: str(each)[-60:],
)
def test_each_fault_of_a_region_stands_against_it(region: Seen, says: str) -> None:
    assert says in against(replace(whole(), seen=(region, whole().seen[1])))


def test_an_instance_in_two_regions_is_one_too_many() -> None:
    assert "i-4" in against(replace(whole(), seen=(whole().seen[0], seen("cn-beijing", ("i-4",)))))


def test_a_region_that_is_left_out_may_come_and_go() -> None:
    assert prove(replace(whole(), after=listed("cn-beijing", "cn-hangzhou"))).proof.complete


def test_the_code_is_that_of_the_one_cause() -> None:
    def code(*regions: Seen) -> Any:
        return prove(replace(whole(), seen=regions)).code

    beijing, denied = whole().seen[1], seen("cn-hangzhou", (), dry_run=(403, "Forbidden.RAM"))
    cut = seen("cn-hangzhou", (), error="ALIYUN_NETWORK_ERROR", message="cut")
    assert code(denied, beijing) is errors.PERMISSION_DENIED
    assert code(cut, beijing) is errors.NETWORK_ERROR
    assert code(cut, seen("cn-beijing", (), error="ALIYUN_RATE_LIMIT", message="slow")) is INVENTORY_INCOMPLETE
    assert code(beijing) is INVENTORY_INCOMPLETE


def kept(evidence: Evidence) -> list[Line]:
    """Return the lines of a last record with this evidence."""
    lines = []
    for when, answer in (("before", evidence.before), ("after", evidence.after)):
        if answer is not None:
            made = line(answer)
            mark = f'{{"when":"{when}",'.encode()
            lines.append(Line(mark + made.kept[1:], mark + made.received[1:]))
    return [*lines, *(plain_line(written(one)) for one in evidence.seen)]


def last_record(lines: list[Line], excluded: frozenset[str]) -> Any:
    from datetime import UTC, datetime

    document = {"part": "account", "exclude_regions": sorted(excluded), "tls_verify": True}
    return record("account", document, lines, datetime(2026, 11, 1, tzinfo=UTC))


def test_evidence_is_read_as_it_was_written() -> None:
    again = read_evidence(last_record(kept(whole()), whole().excluded))
    assert again == whole()
    assert prove(again) == prove(whole())


REGIONS = st.sets(st.sampled_from(["cn-beijing", "cn-hangzhou", "cn-shanghai", "eu-central-1"]), min_size=1)


@st.composite
def readings(draw: st.DrawFn) -> Evidence:
    """Any whole reading: regions, pages of any length, empty ones too."""
    regions = sorted(draw(REGIONS))
    numbers = iter(range(10_000))
    found = []
    for region in regions:
        sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
        found.append(seen(region, *[tuple(f"i-{next(numbers)}" for _ in range(size)) for size in sizes]))
    return Evidence(listed(*regions), listed(*reversed(regions)), frozenset(), tuple(found))


@QUICK
@given(readings())
def test_every_whole_reading_is_whole(evidence: Evidence) -> None:
    assert prove(evidence).proof.missing == ()


@QUICK
@given(readings(), st.data())
def test_no_altered_list_is_whole(evidence: Evidence, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(evidence.seen) - 1))
    region = evidence.seen[at]
    steps = list(region.steps)
    where = data.draw(st.integers(0, len(steps) - 1))
    step = steps[where]
    match data.draw(
        st.sampled_from(["drop page", "double page", "drop id", "double id", "other id", "token", "asked", "swap"])
    ):
        case "drop page":
            del steps[where]
        case "double page":
            steps.insert(where, step)
        case "drop id" if step.ids:
            steps[where] = replace(step, ids=step.ids[1:])
        case "double id" if step.ids:
            steps[where] = replace(step, ids=(*step.ids, step.ids[0]))
        case "other id" if step.ids:
            steps[where] = replace(step, ids=(*step.ids[1:], "i-another"))
        case "token":
            steps[where] = replace(step, named=data.draw(st.sampled_from(["", "x", "token-1"])))
        case "asked":
            steps[where] = replace(step, asked=data.draw(st.sampled_from(["", "x", "token-1"])))
        case _:
            other = data.draw(st.integers(0, len(steps) - 1))
            steps[where], steps[other] = steps[other], steps[where]
    if tuple(steps) != region.steps:
        altered = replace(region, steps=tuple(steps))
        every = (*evidence.seen[:at], altered, *evidence.seen[at + 1 :])
        assert not prove(replace(evidence, seen=every)).proof.complete


@QUICK
@given(readings(), st.data())
def test_no_altered_region_is_whole(evidence: Evidence, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(evidence.seen) - 1))
    every = list(evidence.seen)
    match data.draw(st.sampled_from(["drop", "double", "error", "dry run", "rename", "list"])):
        case "drop":
            del every[at]
        case "double":
            every.append(every[at])
        case "error":
            every[at] = replace(every[at], error="ALIYUN_PARSE_ERROR")
        case "dry run":
            every[at] = replace(
                every[at], dry_run=data.draw(st.sampled_from([None, (200, ""), (403, "Forbidden.RAM")]))
            )
        case "rename":
            every[at] = replace(every[at], region="us-west-1")
        case _:
            evidence = replace(evidence, after=listed(*[one.region for one in every], "us-west-1"))
    assert not prove(replace(evidence, seen=tuple(every))).proof.complete


@QUICK
@given(readings(), st.data())
def test_a_record_that_was_damaged_is_refused_or_not_whole(evidence: Evidence, data: st.DataObject) -> None:
    lines = [json.loads(one.kept) for one in kept(evidence)]
    at = data.draw(st.integers(0, len(lines) - 1))
    match data.draw(st.sampled_from(["drop", "double", "drop key", "odd value", "cut"])):
        case "drop":
            del lines[at]
        case "double":
            lines.insert(at, lines[at])
        case "drop key":
            lines[at].pop(data.draw(st.sampled_from(sorted(lines[at].keys() - {"query", "message", "status"}))))
        case "odd value":
            key = data.draw(st.sampled_from(sorted(lines[at].keys() - {"message", "query", "action", "status"})))
            lines[at][key] = data.draw(st.sampled_from([None, 7, "", [], {}, "x"]))
        case _:
            lines = lines[: data.draw(st.integers(0, len(lines) - 1))]
    if [dumped(one) for one in lines] == [one.kept for one in kept(evidence)]:
        return
    raw = last_record([plain_line(one) for one in lines], frozenset())
    try:
        [proof] = [item for item in parse(raw, {}) if isinstance(item, Proof)]
    except LedgerError as refused:
        code, whole_still = refused.code, False
    else:
        code, whole_still = errors.PARSE_ERROR, proof.complete
    assert code is errors.PARSE_ERROR
    assert not whole_still


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"kind": "drop_token"}, "that the ledger knows exist"),
        ({"kind": "no_rows"}, "that the ledger knows exist"),
        ({"kind": "no_token"}, "NextToken"),
        ({"kind": "repeat"}, "more than once"),
        ({"kind": "repeat_token", "where": {"NextToken": "?*"}}, "names the token"),
    ],
    ids=str,
)
def test_pages_that_look_like_success_do_not_pass(fault: dict[str, Any], says: str) -> None:
    with AliyunDouble() as aliyun:
        known = [aliyun.cloud.create(f"i-{number:04d}", disk_gib=40).id for number in range(250)]
        assert len(complete(read(aliyun, known=known)).assets) == 250
        # a page of the list; what is asked for by its id is answered as it is
        where = {"MaxResults": "100", "InstanceIds": "", **fault.pop("where", {})}
        aliyun.faults.add("DescribeInstances", times=None, where=where, **fault)
        found = read(aliyun, known=known)
        assert found.error is not None
        assert says in found.error.message
        assert not found.proof.complete
