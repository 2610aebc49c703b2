"""Events between the words of a record: nothing invented where a value is merely unknown, nothing missed where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.history import FIELDS, Event, Word, events, field_name

FIRST = date(2026, 11, 1)
texts = st.sampled_from(["a", "b", "c"])
numbers = st.integers(1, 3)
lists = st.lists(texts, max_size=3, unique=True)
ends = st.lists(
    st.tuples(st.sampled_from(["runs_on", "member_of"]), texts), max_size=3, unique=True
).map(lambda found: [{"kind": kind, "external_kind": "host", "external_id": end} for kind, end in found])  # fmt: skip
KNOWN: dict[str, st.SearchStrategy[Any]] = {
    "identity.hostname": texts,
    "hardware.cpu_count": numbers,
    "hardware.memory_bytes": numbers,
    "network.ip_addresses": lists,
    "tags": lists,
    "relations": ends,
}
truths = st.fixed_dictionaries(KNOWN)


def document(truth: dict[str, Any], known: set[str], *, with_reasons: bool = True) -> dict[str, Any]:
    """Return a document of what is known of a machine; the rest is absent, with or without a reason."""
    made: dict[str, Any] = {"schema": "normalized-v1", "kind": "vm", "identity": {}, "unknown": {}}
    for path, value in truth.items():
        group, _, name = path.partition(".")
        if path in known:
            if name:
                made.setdefault(group, {})[name] = value
            else:
                made[group] = value
        elif with_reasons:
            made["unknown"][path] = "NOT_REPORTED"
    return made


def words(documents: Sequence[dict[str, Any]]) -> list[Word]:
    days = [FIRST + timedelta(days=2 * number) for number in range(len(documents))]
    return [Word(day, day + timedelta(days=1), each) for day, each in zip(days, documents, strict=True)]


def told(*documents: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
    """Return what happened after the record appeared."""
    first, *found = list(events(words(documents)))
    assert (first.change, first.field, first.day) == ("appeared", "record", FIRST)
    return [(event.change, event.field, event.before, event.after) for event in found]


def whole(**groups: Any) -> dict[str, Any]:
    return {"schema": "normalized-v1", "kind": "vm", "identity": {"hostname": "web"}, "unknown": {}, **groups}


@given(truths, st.lists(st.tuples(st.sets(st.sampled_from(sorted(KNOWN))), st.booleans()), min_size=1, max_size=6))
def test_a_machine_that_never_changes_has_no_event_whatever_is_known_of_it_when(
    truth: dict[str, Any], readings: list[tuple[set[str], bool]]
) -> None:
    assert told(*(document(truth, known, with_reasons=reasons) for known, reasons in readings)) == []


@given(st.lists(st.tuples(truths, st.sets(st.sampled_from(sorted(KNOWN)))), min_size=1, max_size=6))
def test_events_lead_from_each_known_value_to_the_next(readings: list[tuple[dict[str, Any], set[str]]]) -> None:
    found = list(events(words([document(truth, known) for truth, known in readings])))
    for path in ("identity.hostname", "hardware.cpu_count", "hardware.memory_bytes"):
        values = [(number, truth[path]) for number, (truth, known) in enumerate(readings) if path in known]
        expected = [
            (FIRST + timedelta(days=2 * here), FIRST + timedelta(days=2 * there + 1), before, after)
            for (there, before), (here, after) in pairwise(values)
            if before != after
        ]
        of_field = [event for event in found if event.field == field_name(path)]
        assert [(event.day, event.since, event.before, event.after) for event in of_field] == expected
    for path in ("network.ip_addresses", "tags"):
        lists_told = [truth[path] for truth, known in readings if path in known]
        assert replayed(lists_told[:1], [event for event in found if event.field == FIELDS[path]]) == (
            set(lists_told[-1]) if lists_told else set()
        )


def replayed(first: list[list[str]], changes: list[Event]) -> set[str]:
    """Return what is there after changes: each adds what is not there or removes what is."""
    there = set(first[0]) if first else set()
    for event in changes:
        if event.change == "added":
            assert event.after not in there
            there.add(event.after)
        else:
            assert (event.change, event.before in there) == ("removed", True)
            there.discard(event.before)
    return there


@given(ends, ends)
def test_relations_that_differ_are_told_and_others_are_not(
    before: list[dict[str, str]], after: list[dict[str, str]]
) -> None:
    def of(relations: list[dict[str, str]]) -> set[tuple[str, str]]:
        return {(each["kind"], each["external_id"]) for each in relations}

    found = told(whole(relations=before), whole(relations=after))
    gone = {(field, was["external_id"]) for change, field, was, _ in found if change in ("moved", "removed")}
    came = {(field, now["external_id"]) for change, field, _, now in found if change in ("moved", "added")}
    assert (gone, came) == (of(before) - of(after), of(after) - of(before))


def test_a_value_that_was_unknown_for_a_while_is_compared_with_what_it_was_before() -> None:
    four, eight = whole(hardware={"cpu_count": 4}), whole(hardware={"cpu_count": 8})
    unknown = whole(unknown={"hardware.cpu_count": "PVE_NODE_DOWN"})
    assert told(four, unknown, four) == []
    (event,) = list(events(words([four, unknown, eight])))[1:]
    assert event == Event(FIRST + timedelta(days=4), FIRST + timedelta(days=1), "changed", "cpu_cores", 4, 8)


def test_a_guest_agent_that_stops_and_starts_removes_no_address() -> None:
    known = whole(network={"ip_addresses": ["10.0.0.1", "10.0.0.2"]})
    silent = whole(unknown={"network.ip_addresses": "PVE_AGENT_SILENT"})
    other = whole(network={"ip_addresses": ["10.0.0.3", "10.0.0.2"]})
    assert told(known, silent, known) == []
    assert told(known, silent, other) == [("removed", "ip", "10.0.0.1", None), ("added", "ip", None, "10.0.0.3")]


def test_a_machine_that_moves_is_told_once() -> None:
    def on(host: str) -> dict[str, Any]:
        return whole(relations=[{"kind": "runs_on", "external_kind": "host", "external_id": host}])

    assert told(on("esx-1"), on("esx-2")) == [
        (
            "moved",
            "runs_on",
            {"external_kind": "host", "external_id": "esx-1"},
            {"external_kind": "host", "external_id": "esx-2"},
        )
    ]
    assert told(on("esx-1"), whole(), on("esx-1")) == []  # one that did not tell where it runs did not move


def test_a_power_state_that_the_source_calls_unknown_is_no_state() -> None:
    def running(state: str) -> dict[str, Any]:
        return whole(runtime={"power_state": state})

    assert told(running("running"), running("unknown"), running("running")) == []
    assert told(running("running"), running("unknown"), running("stopped")) == [
        ("changed", "power_state", "running", "stopped")
    ]


def test_custom_fields_come_and_go_only_where_the_source_tells_them() -> None:
    two = whole(custom_fields={"owner": "li", "rack": "7"})
    one = whole(custom_fields={"rack": "8"})
    assert told(two, whole(), one) == [
        ("removed", "custom_fields.owner", "li", None),
        ("changed", "custom_fields.rack", "7", "8"),
    ]
    assert told(one, two)[0] == ("added", "custom_fields.owner", None, "li")
    assert told(two, whole(custom_fields={"rack": "7"}, unknown={"custom_fields.owner": "REDACTED"}), two) == []


def test_an_address_that_changes_on_an_interface_is_no_change_of_the_interface_too() -> None:
    def at(address: str, *names: str) -> dict[str, Any]:
        interfaces = [{"name": name, "ip_addresses": [address]} for name in names]
        return whole(network={"ip_addresses": [address], "interfaces": interfaces})

    assert told(at("10.0.0.1", "eth0"), at("10.0.0.2", "eth0")) == [
        ("removed", "ip", "10.0.0.1", None), ("added", "ip", None, "10.0.0.2"),
    ]  # fmt: skip
    assert told(at("10.0.0.1", "eth0"), at("10.0.0.1", "eth1")) == [
        ("removed", "interface", "eth0", None), ("added", "interface", None, "eth1"),
    ]  # fmt: skip


def test_the_order_of_a_list_and_who_may_be_matched_by_it_are_no_events() -> None:
    one = whole(tags=["a", "b"], identifiers=[{"kind": "ip", "value": "10.0.0.1"}])
    assert told(one, whole(tags=["b", "a"], identifiers=[])) == []


def test_no_word_is_no_event() -> None:
    assert list(events([])) == []
