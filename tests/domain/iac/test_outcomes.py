"""What becomes of predictions: told by who stood where before and after a run, by events, and by what is there now."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac.agreement import Comparing, UntoldError
from asset_ledger.domain.iac.outcomes import Happened, Judged, Run, judged
from asset_ledger.domain.iac.patches import made
from asset_ledger.domain.iac.plans import UNKNOWN, PredictedEvent
from asset_ledger.domain.iac.redaction import token
from tests.domain.iac.json_values import objects, values
from tests.domain.iac.states import KEY
from tests.patience import calls_of, no_minutes

OLD, NEW, OTHER = (uuid.UUID(int=number) for number in (1, 2, 3))
WEB, LAN = ("aws_instance.web", ""), ("aws_instance.lan", "")


def predicted(
    action: Any,
    before: Any = None,
    after: Any = None,
    *,
    at: tuple[str, str] = WEB,
    previous: str | None = None,
) -> PredictedEvent:
    patch = made(before or {}, after or {})
    return PredictedEvent(at[0], at[1], "hashicorp/aws", "aws_instance", action, None, patch, previous, after)


def did(action: str, uid: uuid.UUID, at: tuple[str, str] = WEB, version: int = 2, sequence: int = 1) -> Happened:
    return Happened(version, sequence, uid, action, at)


def run(
    *happened: Happened,
    before: Mapping[tuple[str, str], uuid.UUID] | None = None,
    after: Mapping[tuple[str, str], uuid.UUID] | None = None,
    there: Mapping[str, Any] | None = None,
    tainted: bool = False,
) -> Run:
    return Run(before or {}, after or {}, happened, lambda _: there, [WEB] if tainted else [])


def only(event: PredictedEvent, over: Run) -> Judged:
    (found,) = judged([event], over)
    return found


CREATE = predicted("create", None, {"size": 1, "id": UNKNOWN})


def test_what_was_to_be_created_and_is_there_came_as_predicted() -> None:
    event = did("create", NEW)
    found = only(CREATE, run(event, after={WEB: NEW}, there={"size": 1, "id": "i-1", "more": 3}))
    assert found == Judged("as_predicted", NEW, event)


@pytest.mark.parametrize(
    ("over", "outcome"),
    [
        (run(), "not_done"),
        (run(did("create", NEW), after={WEB: NEW}, there={"size": 2, "id": "i-1"}), "otherwise"),
        (run(did("create", NEW), after={WEB: NEW}, there={"size": 1}, tainted=True), "otherwise"),
        (run(did("create", NEW), did("delete", NEW, version=3)), "otherwise"),
        (run(before={WEB: OLD}, after={WEB: OLD}, there={"size": 1}), "not_done"),
        (run(did("replace", NEW), before={WEB: OLD}, after={WEB: NEW}, there={"size": 1}), "as_predicted"),
    ],
)
def test_a_creation_is_done_otherwise_or_not_at_all(over: Run, outcome: str) -> None:
    assert only(CREATE, over).outcome == outcome


UPDATE = predicted("update", {"size": 1}, {"size": 2})
STAYS: dict[str, Any] = {"before": {WEB: OLD}, "after": {WEB: OLD}}


@pytest.mark.parametrize(
    ("over", "outcome"),
    [
        (run(did("update", OLD), there={"size": 2}, **STAYS), "as_predicted"),
        # it had drifted, the state never knew, and the apply put it back: no event, and done all the same
        (run(there={"size": 2}, **STAYS), "as_predicted"),
        (run(there={"size": 1}, **STAYS), "not_done"),
        (run(did("update", OLD), there={"size": 3}, **STAYS), "otherwise"),
        (run(did("delete", OLD), before={WEB: OLD}), "otherwise"),
        (run(did("replace", NEW), before={WEB: OLD}, after={WEB: NEW}, there={"size": 2}), "otherwise"),
        (run(did("replace", OLD), there={"size": 2}, **STAYS), "otherwise"),
        # versions before were not read, so nobody knows who stood there
        (run(did("update", OLD), after={WEB: OLD}, there={"size": 2}), "as_predicted"),
    ],
)
def test_an_update_is_done_otherwise_or_not_at_all(over: Run, outcome: str) -> None:
    assert only(UPDATE, over).outcome == outcome


def test_an_update_of_nothing_but_a_secret_is_done_only_where_something_happened() -> None:
    event = predicted("update", {"password": token("a", KEY)}, {"password": token("b", KEY)})
    assert only(event, run(there={"password": token("a", KEY)}, **STAYS)).outcome == "not_done"
    done = run(did("update", OLD), there={"password": token("b", KEY)}, **STAYS)
    assert only(event, done).outcome == "as_predicted"


def test_an_update_that_moves_is_told_of_who_stood_where_it_was() -> None:
    event = predicted("update", {"size": 1}, {"size": 2}, previous=LAN[0])
    moved = (did("moved", OLD), did("update", OLD, sequence=2))
    found = only(event, run(*moved, before={LAN: OLD}, after={WEB: OLD}, there={"size": 2}))
    assert found == Judged("as_predicted", OLD, moved[1])
    another = run(did("create", NEW), before={LAN: OLD}, after={WEB: NEW, LAN: OLD}, there={"size": 2})
    assert only(event, another).outcome == "otherwise"


@pytest.mark.parametrize("action", ["delete", "forget"])
def test_what_was_to_go_is_gone_or_is_not(action: str) -> None:
    event = predicted(action, {"size": 1})
    gone = did("delete", OLD)
    assert only(event, run(gone, before={WEB: OLD})) == Judged("as_predicted", OLD, gone)
    assert only(event, run(**STAYS)).outcome == "not_done"
    assert only(event, run(did("update", OLD), **STAYS)).outcome == "otherwise"
    assert only(event, run(did("moved", OLD, LAN), before={WEB: OLD}, after={LAN: OLD})).outcome == "otherwise"
    assert only(event, run()).outcome == "not_done", "it was not there"


def test_a_deposed_object_goes_by_itself() -> None:
    place = (WEB[0], "deadbeef")
    event = predicted("delete", {"size": 1}, at=place)
    over = run(did("delete", OTHER, place), before={WEB: OLD, place: OTHER}, after={WEB: OLD})
    assert only(event, over) == Judged("as_predicted", OTHER, over.happened[0])


REPLACE = predicted("replace", {"size": 1}, {"size": 2, "id": UNKNOWN})


@pytest.mark.parametrize(
    ("over", "outcome"),
    [
        (run(did("replace", OLD), did("replace", NEW, sequence=2), before={WEB: OLD}, after={WEB: NEW}, there={"size": 2}), "as_predicted"),
        # in a long apply one version lies between the two halves
        (run(did("delete", OLD), did("create", NEW, version=3), before={WEB: OLD}, after={WEB: NEW}, there={"size": 2}), "as_predicted"),
        # a machine that has its number again
        (run(did("replace", OLD), there={"size": 2}, **STAYS), "as_predicted"),
        (run(did("delete", OLD), did("create", OLD, version=3), there={"size": 2}, **STAYS), "as_predicted"),
        (run(did("update", OLD), there={"size": 2}, **STAYS), "otherwise"),
        (run(there={"size": 1}, **STAYS), "not_done"),
        (run(did("delete", OLD), before={WEB: OLD}), "otherwise"),
        # the new one stands, the old one could not be deleted
        (run(did("deposed", OLD, (WEB[0], "d")), did("create", NEW, sequence=2), before={WEB: OLD}, after={WEB: NEW, (WEB[0], "d"): OLD}, there={"size": 2}), "otherwise"),
    ],
)  # fmt: skip
def test_a_replacement_is_one_by_whichever_way_it_came_about(over: Run, outcome: str) -> None:
    assert only(REPLACE, over).outcome == outcome


def test_of_a_replacement_the_event_is_that_of_the_new_one() -> None:
    halves = (did("replace", OLD), did("replace", NEW, sequence=2))
    found = only(REPLACE, run(*halves, before={WEB: OLD}, after={WEB: NEW}, there={"size": 2}))
    assert (found.event, found.stable_uid) == (halves[1], NEW)


def test_a_move_is_done_where_the_same_object_stands_elsewhere() -> None:
    event = predicted("moved", {"a": 1}, {"a": 1}, previous=LAN[0])
    moved = did("moved", OLD)
    assert only(event, run(moved, before={LAN: OLD}, after={WEB: OLD})) == Judged("as_predicted", OLD, moved)
    assert only(event, run(before={LAN: OLD}, after={LAN: OLD})).outcome == "not_done"


def test_an_import_is_done_where_the_object_is_there_as_it_was_to_be() -> None:
    event = predicted("import", {"size": 1}, {"size": 2})
    assert only(event, run(did("create", NEW), after={WEB: NEW}, there={"size": 2})).outcome == "as_predicted"
    assert only(event, run()).outcome == "not_done"


def test_drift_is_no_prediction() -> None:
    over = run(did("update", OLD), there={"size": 2}, **STAYS)
    assert only(predicted("drift", {"size": 1}, {"size": 2}), over) == Judged(None, OLD, None)


@pytest.mark.parametrize(
    ("planned", "found"),
    [
        ({"a": None}, {"a": ""}),
        ({"a": []}, {}),
        ({"a": "x"}, {"a": {"value": "x", "type": "string"}}),
        ({"a": {"value": 1, "type": 2}}, {"a": {"value": 1, "type": 2}}),
        ({"a": {"value": 1, "type": 2}}, {"a": {"value": {"value": 1, "type": 2}, "type": ["object", {}]}}),
        ({"a": UNKNOWN, "b": [1, UNKNOWN]}, {"a": [5], "b": [1, 2]}),
        ({"a": [{"x": 1, "y": UNKNOWN}, {"x": 2}]}, {"a": [{"x": 2}, {"x": 1, "y": 3}]}),
        ({"a": '{"b": 1, "c": [2]}'}, {"a": '{"c":[2],"b":1.0}'}),
        ({"a": token("x", KEY)}, {"a": "x"}),
        ({"a": "x"}, {"a": f"y {token('x', KEY)}"}),
        ({"a": {"b": 1}}, {"a": token({"b": 1}, KEY), "more": 1}),
        (UNKNOWN, {"a": 1}),
    ],
)
def test_what_means_the_same_agrees(planned: Any, found: Any) -> None:
    assert Comparing().agrees(planned, found)


@pytest.mark.parametrize(
    ("planned", "found"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({"a": True}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}),
        ({"a": [1, 2]}, {"a": [1, 2, 2]}),
        ({"a": [1, 1, 2]}, {"a": [1, 2, 2]}),
        ({"a": '{"b":1}'}, {"a": '{"b":2}'}),
        ({"a": "{"}, {"a": "{}"}),
        ({"a": "x"}, {"a": {"value": "y", "type": "string"}}),
        (None, {"a": 1}),
    ],
)
def test_what_does_not_mean_the_same_does_not(planned: Any, found: Any) -> None:
    assert not Comparing().agrees(planned, found)


@pytest.mark.parametrize(
    ("planned", "found"),
    [
        ({"a": [[1, UNKNOWN], [2, 3]]}, {"a": [[3, 2], [9, 1]]}),
        ({"a": [1, 1.0, "", {"b": None}]}, {"a": [None, {}, 1.0, 1]}),
        ({"a": [{"x": 1, "y": UNKNOWN}, {"x": 1, "y": 2}]}, {"a": [{"x": 1, "y": 2}, {"x": 1, "y": 3}]}),
        ({"a": [{"x": 1, "y": 2}, {"x": 2}]}, {"a": [{"x": 2}, {"x": 1, "y": token("z", KEY)}]}),
        ({"a": [{"x": UNKNOWN, "y": 1}, {"x": 5, "y": UNKNOWN}]}, {"a": [{"x": token("u", KEY), "y": token("v", KEY)}, {"x": 9, "y": 1}]}),
        ({"a": [*range(100), UNKNOWN]}, {"a": [*reversed(range(100)), "x"]}),
        ({"a": ['{"b": [1, 2]}', "x"]}, {"a": ["x", '{"b":[1,2]}']}),
        ({"a": 10**400}, {"a": 10**400}),
    ],
)  # fmt: skip
def test_elements_agree_with_those_that_stand_elsewhere(planned: Any, found: Any) -> None:
    assert Comparing().agrees(planned, found)


@pytest.mark.parametrize(
    ("planned", "found"),
    [
        ({"a": [1, UNKNOWN]}, {"a": [2, 3]}),
        ({"a": [{"x": 1, "y": UNKNOWN}, {"x": 1, "y": 2}]}, {"a": [{"x": 1, "y": 4}, {"x": 1, "y": 3}]}),
        ({"a": [True, UNKNOWN]}, {"a": ["x", 1, 2]}),
        ({"a": [True, 0]}, {"a": [0, 1]}),
        ({"a": '{"b":[1,2]}'}, {"a": '{"b":[2,1]}'}),
        ({"a": '{"b":null}'}, {"a": "{}"}),
        ({"a": {"b": "1"}}, {"a": {"b": 1}}),
        ({"a": [[]]}, {"a": []}),
        ({"a": 10**400}, {"a": 10**400 + 1}),
    ],
)
def test_elements_that_stand_nowhere_do_not_agree(planned: Any, found: Any) -> None:
    assert not Comparing().agrees(planned, found)


def test_a_list_of_many_lists_is_compared_without_trying_each_with_each() -> None:
    def work(many: int) -> int:
        # the last of each is what tells them apart, and every one stands at the other end
        planned = [[*map(str, range(63)), f"m{number}"] for number in range(many)]
        found = [list(reversed(each)) for each in reversed(planned)]
        return calls_of(lambda: Comparing(most_tried=0).agrees({"a": planned}, {"a": found}))

    assert work(64) < 8 * work(16), "four times as many are not sixteen times the work"


def test_documents_within_a_list_are_read_once_each() -> None:
    planned = [json.dumps({"a": [*range(200)], "n": number}) for number in range(64)]
    found = [each.replace(" ", "") for each in reversed(planned)]
    assert Comparing(most_tried=0).agrees({"a": planned}, {"a": found})
    unsure = Comparing(most_tried=64 * 64)
    assert unsure.agrees({"a": [*planned, UNKNOWN]}, {"a": ["x", *found]})


def test_what_would_take_too_long_to_tell_is_not_told() -> None:
    planned = [[UNKNOWN, *map(str, range(60)), number] for number in range(2000)]
    found = [["x", *map(str, range(60)), number] for number in reversed(range(2000))]
    event = predicted("create", None, {"a": planned})
    with no_minutes(), pytest.raises(UntoldError):
        judged([event], run(did("create", NEW), after={WEB: NEW}, there={"a": found}))


@settings(deadline=None)
@given(values)
def test_whatever_a_plan_says_agrees_with_itself(value: Any) -> None:
    assert Comparing(most_tried=0).agrees({"a": value}, {"a": value})
    assert Comparing(most_tried=0).agrees({"a": value}, {"a": json.loads(json.dumps(value))})


@settings(deadline=None)
@given(objects, st.randoms(use_true_random=False))
def test_what_a_plan_knew_whole_agrees_with_itself_in_any_order(value: dict[str, Any], shuffled: random.Random) -> None:
    def anew(each: Any, depth: int = 0) -> Any:
        if isinstance(each, dict):
            return {name: anew(inner, depth) for name, inner in each.items()}
        if isinstance(each, list):
            inner = [anew(one, depth + 1) for one in each]
            if depth < 2:
                shuffled.shuffle(inner)
            return inner
        return each

    found = anew(value)
    # a value beside its type is unfolded: only the outermost names can be such
    assert all(Comparing().agrees({name: value[name]}, {name: found[name]}) for name in value)


@settings(deadline=None)
@given(objects, values)
def test_nothing_that_is_compared_surprises_anybody(planned: dict[str, Any], found: Any) -> None:
    assert Comparing().agrees(planned, dict.fromkeys(planned, found)) in (True, False)
