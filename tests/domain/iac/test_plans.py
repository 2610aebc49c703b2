"""Plans as `terraform show -json` prints them: what would happen, and nothing secret of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac import plans
from asset_ledger.domain.iac.exact_json import canonical, storable
from asset_ledger.domain.iac.plans import UNKNOWN, NotAPlanError, Plan
from asset_ledger.domain.iac.redaction import token
from tests.domain.iac.json_values import values
from tests.domain.iac.states import KEY

KINDS = [
    (["create"], "create"),
    (["update"], "update"),
    (["delete"], "delete"),
    (["forget"], "forget"),
    (["delete", "create"], "replace"),
    (["create", "delete"], "replace"),
    (["create", "forget"], "replace"),
]


def change(actions: Any, before: Any = None, after: Any = None, /, *, of: Any = None, **more: Any) -> dict[str, Any]:
    """One entry of a plan; `of` goes into its `change`."""
    return {
        "address": "aws_instance.a",
        "mode": "managed",
        "type": "aws_instance",
        "name": "a",
        "provider_name": "registry.terraform.io/hashicorp/aws",
        "change": {"actions": actions, "before": before, "after": after, **(of or {})},
        **more,
    }


def read(*changes: Any, **more: Any) -> Plan:
    document = {"format_version": "1.2", "terraform_version": "1.15.5", "planned_values": {}, **more}
    return plans.read(document | ({"resource_changes": list(changes)} if changes else {}), KEY)


def only(*changes: Any, **more: Any) -> plans.PredictedEvent:
    plan = read(*changes, **more)
    assert plan.skipped == ()
    (event,) = plan.events
    return event


@pytest.mark.parametrize(("actions", "predicted"), KINDS)
def test_every_action_becomes_what_it_predicts(actions: list[str], predicted: str) -> None:
    event = only(change(actions, {"size": 1}, {"size": 2}, action_reason="why", deposed="deadbeef"))
    assert (event.action, event.reason, event.deposed, event.type) == (predicted, "why", "deadbeef", "aws_instance")
    assert event.patch == [{"op": "replace", "path": "/size", "value": 2}]


@pytest.mark.parametrize("actions", [["no-op"], ["read"]])
def test_what_changes_nothing_is_no_event(actions: list[str]) -> None:
    assert read(change(actions, {"a": 1}, {"a": 1})).events == ()


def test_data_sources_are_no_events() -> None:
    assert (
        read(change(["read"], None, {"a": 1}, mode="data"), change(["update"], {}, {"a": 1}, mode="data")).events == ()
    )


def test_a_pure_move_is_a_move_and_one_with_a_change_an_update_that_tells_where_from() -> None:
    moved = only(change(["no-op"], {"a": 1}, {"a": 1}, previous_address="aws_instance.old"))
    assert (moved.action, moved.previous_address, moved.patch) == ("moved", "aws_instance.old", [])
    updated = only(change(["update"], {"a": 1}, {"a": 2}, previous_address="aws_instance.old"))
    assert (updated.action, updated.previous_address) == ("update", "aws_instance.old")


@pytest.mark.parametrize(("action", "after", "changes"), [("no-op", 1, 0), ("update", 2, 1)])
def test_an_import_is_told_also_where_it_changes_something(action: str, after: int, changes: int) -> None:
    event = only(change([action], {"a": 1}, {"a": after}, of={"importing": {"id": "i-1"}}))
    assert (event.action, len(event.patch)) == ("import", changes)


def test_what_the_tool_found_changed_outside_is_drift() -> None:
    drift = [
        change(["update"], {"a": 1}, {"a": 2}),
        change(["delete"], {"a": 1}),
        change(["no-op"], previous_address="t.b"),
    ]
    plan = read(resource_drift=drift)
    assert [event.action for event in plan.events] == ["drift", "drift"]
    assert plan.events[0].patch == [{"op": "replace", "path": "/a", "value": 2}]


@pytest.mark.parametrize("errored", [True, False])
def test_a_plan_says_whether_it_came_to_its_end(errored: bool) -> None:
    plan = read(errored=errored)
    assert (plan.errored, plan.events, plan.format_version, plan.tool_version) == (errored, (), "1.2", "1.15.5")


def test_what_only_the_apply_will_tell_has_a_word() -> None:
    unknown = {"id": True, "tags": {"b": True}, "list": [{}, {"x": True}], "nothing": [], "none": {"x": False}}
    event = only(
        change(["create"], None, {"tags": {"a": 1}, "list": [{"y": 1}, {}], "none": {}}, of={"after_unknown": unknown})
    )
    assert {each["path"][1:]: each["value"] for each in event.patch} == {
        "id": UNKNOWN,
        "tags": {"a": 1, "b": UNKNOWN},
        "list": [{"y": 1}, {"x": UNKNOWN}],
        "none": {},
    }


def test_a_secret_that_is_not_known_yet_is_told_as_unknown() -> None:
    event = only(change(["create"], None, {}, of={"after_unknown": {"password": True}}))
    assert event.patch == [{"op": "add", "path": "/password", "value": UNKNOWN}]


def test_no_secret_of_a_plan_is_told() -> None:
    def secret(part: str) -> dict[str, Any]:
        return {
            "marked": f"planted-{part}",
            "list": [{"marked": f"planted-{part}"}, f"planted-{part}"],
            "password": f"planted-{part}",
            "url": f"https://bob:planted-{part}@example.org",
            "value": f"planted-{part}",
        }

    marks = {"marked": True, "list": [{"marked": True}, True], "other": {}}
    of = {"before_sensitive": marks, "after_sensitive": marks}
    changed = change(["update"], secret("a"), secret("b"), of=of) | {"type": "aws_ssm_parameter"}
    plan = read(changed, resource_drift=[changed], variables={"v": {"value": "planted"}}, prior_state={"x": "planted"})
    assert len(plan.events) == 2
    assert [len(event.patch) for event in plan.events] == [6, 6]
    assert "planted" not in repr(plan)


def test_a_marked_value_that_stays_is_no_change() -> None:
    marks = {"before_sensitive": {"a": True}, "after_sensitive": {"a": True}}
    assert only(change(["update"], {"a": 1, "b": 1}, {"a": 1, "b": 2}, of=marks)).patch == [
        {"op": "replace", "path": "/b", "value": 2}
    ]


def test_a_mark_on_all_of_it_hides_all_of_it() -> None:
    event = only(change(["create"], None, {"a": "planted"}, of={"after_sensitive": True}))
    assert event.patch == [{"op": "add", "path": "/a", "value": token("planted", KEY)}]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (None, "object"),
        ([], "object"),
        ({}, "format"),
        ({"format_version": 1}, "format"),
        ({"format_version": "2.0", "planned_values": {}}, "format"),
        ({"format_version": "1.0", "values": {"root_module": {}}}, "of a state"),
        ({"format_version": "1.0"}, "neither"),
        ({"version": 4, "resources": []}, "format"),
    ],
)
def test_what_is_no_plan_is_refused_and_told_what_to_send(document: Any, why: str) -> None:
    with pytest.raises(NotAPlanError, match=why):
        plans.read(document, KEY)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        5,
        "text",
        {},
        change(["explode"]),
        change([["create"]]),
        change(None),
        change(["create"], [1]),
        change(["create"], None, "text"),
        change(["create"]) | {"address": 5},
        change(["create"]) | {"address": f"t.a[{'9' * 5000}]"},
        change(["create"]) | {"type": None},
        change(["create"], deposed=5),
        change(["update"], previous_address=["x"]),
        change(["create"]) | {"change": 5},
    ],
)
def test_an_entry_that_is_not_as_terraform_writes_it_is_told_and_costs_no_other(wrong: Any) -> None:
    plan = read(wrong, change(["create"], None, {"a": 1}))
    assert len(plan.events) == len(plan.skipped) == 1
    assert plan.skipped[0].startswith("resource_changes[0]")


def test_changes_that_are_no_list_are_told() -> None:
    assert read(resource_changes=5).skipped == ("`resource_changes` is no list",)


WHOLE = change(
    ["update"],
    {"a": [{"b": 1}]},
    {"a": [{"b": 2}]},
    of={"after_unknown": {"a": [{"c": True}]}, "before_sensitive": {"a": [{"b": True}]}, "after_sensitive": {}},
    previous_address="t.b",
    deposed="x",
    action_reason="why",
)


@settings(deadline=None)
@given(st.sampled_from([*WHOLE, *(f"change.{name}" for name in WHOLE["change"])]), values)
def test_garbage_anywhere_surprises_nobody(name: str, value: Any) -> None:
    told = json.loads(json.dumps(WHOLE))
    inner, _, last = name.rpartition(".")
    (told["change"] if inner else told)[last] = value
    plan = read(told)
    canonical([event.patch for event in plan.events])
    texts = [text for event in plan.events for text in (event.address, event.type, event.provider, event.deposed)]
    assert all(storable(text) == text for text in (*texts, *plan.skipped))
