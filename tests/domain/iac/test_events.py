"""What happened from one version of a state to the next; replayed, it gives the last version again."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac.events import event_id
from asset_ledger.domain.iac.exact_json import DEEPEST
from asset_ledger.domain.iac.patches import applied, made, same, value_hash, without_noise
from tests.domain.iac.json_values import objects
from tests.domain.iac.states import History, actions, block, instance, read


def vm(name: str, native: str, *, at: dict[str, Any] | None = None, key: Any = None, **attributes: Any) -> Any:
    """One machine, named by its id."""
    told = {} if key is None else {"index_key": key}
    return block(
        "aws_instance", name, instance({"id": native, "arn": f"arn:{native}", **attributes}, **told, **(at or {}))
    )


def test_a_new_resource_is_created_whatever_command_made_it() -> None:
    outcome = History().then(vm("a", "i-1", size=1), operation="OperationTypeInvalid")  # `terraform import` says so
    (event,) = outcome.events
    assert (event.action, event.place, event.before_hash) == ("create", ("aws_instance.a", ""), value_hash({}))
    assert (
        applied({}, event.patch) == {"id": "i-1", "arn": "arn:i-1", "size": 1} == outcome.attributes[event.stable_uid]
    )


def test_a_change_is_an_update_of_what_changed() -> None:
    history = History()
    first = history.then(vm("a", "i-1", size=1))
    (event,) = history.then(vm("a", "i-1", size=2)).events
    assert (event.action, event.patch) == ("update", [{"op": "replace", "path": "/size", "value": 2}])
    assert event.before_hash == first.events[0].after_hash


def test_a_resource_that_left_the_state_is_deleted_and_after_state_rm_forgotten() -> None:
    for operation, action in ((None, "delete"), ("OperationTypeApply", "delete"), ("state-rm", "forget")):
        history = History()
        history.then(vm("a", "i-1"))
        outcome = history.then(operation=operation)
        assert actions(outcome) == [(action, "aws_instance.a")]
        assert outcome.ended == {outcome.events[0].stable_uid}
        assert outcome.events[0].after_hash == value_hash({})


def test_the_same_object_elsewhere_moved() -> None:
    history = History()
    history.then(vm("a", "i-1"))
    uid = history.uid("aws_instance.a")
    outcome = history.then(vm("b", "i-1"), operation="state-mv")
    (event,) = outcome.events
    assert (event.action, event.place, event.previous, event.patch) == (
        "moved",
        ("aws_instance.b", ""),
        ("aws_instance.a", ""),
        [],
    )
    assert event.stable_uid == uid == history.uid("aws_instance.b")
    assert outcome.ended == frozenset()


def test_what_moved_and_changed_did_both() -> None:
    history = History()
    history.then(vm("a", "i-1", size=1))
    assert actions(history.then(vm("b", "i-1", size=2))) == [("moved", "aws_instance.b"), ("update", "aws_instance.b")]


def test_count_becomes_for_each_with_moved_blocks_and_nothing_is_lost() -> None:
    history = History()
    history.then(*(vm("a", f"i-{each}", key=each) for each in range(3)))
    outcome = history.then(*(vm("a", f"i-{each}", key=f"k{each}") for each in range(3)))
    assert actions(outcome) == [("moved", f'aws_instance.a["k{each}"]') for each in range(3)]


def test_two_that_changed_places_both_moved() -> None:
    history = History()
    history.then(vm("a", "i-1"), vm("b", "i-2"))
    assert actions(history.then(vm("a", "i-2"), vm("b", "i-1"))) == [
        ("moved", "aws_instance.a"),
        ("moved", "aws_instance.b"),
    ]


def test_terraform_data_moves_by_its_id() -> None:
    def data(name: str, native: str) -> Any:
        return block(
            "terraform_data", name, instance({"id": native}), provider='provider["terraform.io/builtin/terraform"]'
        )

    history = History()
    history.then(data("a", "u-1"))
    assert actions(history.then(data("b", "u-1"))) == [("moved", "terraform_data.b")]
    assert [event.action for event in history.then(data("b", "u-2")).events] == ["replace", "replace"]


def test_another_object_at_the_same_address_replaced_the_one_before() -> None:
    history = History()
    history.then(vm("a", "i-1", size=1))
    old = history.uid("aws_instance.a")
    outcome = history.then(vm("a", "i-2", size=1))
    ended, begun = outcome.events
    assert (ended.action, begun.action) == ("replace", "replace")
    assert (ended.stable_uid, begun.stable_uid) == (old, history.uid("aws_instance.a"))
    assert ended.after_hash == begun.before_hash == value_hash({})
    assert outcome.ended == {old}


def test_the_end_of_what_was_replaced_is_told_before_what_replaced_it() -> None:
    history = History()
    history.then(vm("a", "i-0"))
    for number in range(1, 20):
        outcome = history.then(vm("a", f"i-{number}"))
        assert [event.stable_uid in outcome.ended for event in outcome.events] == [True, False]


def test_the_same_name_given_to_another_object_is_a_replacement() -> None:
    def bucket(native: str) -> Any:
        return block("aws_s3_bucket", "a", instance({"id": native, "arn": "arn:aws:s3:::b"}))

    history = History()
    history.then(bucket("one"))
    (event,) = history.then(bucket("two")).events
    assert (event.action, [each["path"] for each in event.patch]) == ("replace", ["/id"])


def test_create_before_destroy_in_two_versions_is_deposed_created_deleted() -> None:
    history = History()
    history.then(vm("a", "i-1"))
    old = history.uid("aws_instance.a")
    both = block(
        "aws_instance",
        "a",
        instance({"id": "i-2", "arn": "arn:i-2"}),
        instance({"id": "i-1", "arn": "arn:i-1"}, deposed="deadbeef"),
    )
    outcome = history.then(both)
    assert [(event.action, event.place) for event in outcome.events] == [
        ("deposed", ("aws_instance.a", "deadbeef")),
        ("create", ("aws_instance.a", "")),
    ]
    assert history.uid("aws_instance.a", "deadbeef") == old
    (event,) = history.then(vm("a", "i-2")).events
    assert (event.action, event.stable_uid, event.place) == ("delete", old, ("aws_instance.a", "deadbeef"))


def test_another_type_at_the_same_name_is_no_replacement() -> None:
    history = History()
    history.then(vm("a", "i-1"))
    outcome = history.then(block("aws_spot_instance_request", "a", instance({"id": "sir-1"})))
    assert actions(outcome) == [("delete", "aws_instance.a"), ("create", "aws_spot_instance_request.a")]


def test_taint_and_untaint_change_nothing_else() -> None:
    history = History()
    history.then(vm("a", "i-1"))
    for status, action in (({"status": "tainted"}, "taint"), ({}, "untaint")):
        (event,) = history.then(vm("a", "i-1", at=status)).events
        assert (event.action, event.patch, event.previous) == (action, [], None)


@pytest.mark.parametrize(
    "later",
    [
        {"sensitive_attributes": [[{"type": "get_attr", "value": "b"}], [{"type": "get_attr", "value": "a"}]]},
        {"identity_schema_version": 0},
        {"identity_schema_version": 1, "identity": {"id": "x"}},
        {"private": "eyJzZWNyZXQiOiAxfQ=="},
        {"schema_version": 7},
        {"dependencies": []},
        {"create_before_destroy": True},
        {"attributes": {"id": "i-1", "tags_all": {}, "groups": ["y", "x"], "extra": None}},
    ],
)
def test_noise_is_no_event(later: dict[str, Any]) -> None:
    told = {
        "attributes": {"id": "i-1", "tags_all": None, "groups": ["x", "y"]},
        "sensitive_attributes": [[{"type": "get_attr", "value": "a"}], [{"type": "get_attr", "value": "b"}]],
        "dependencies": ["aws_vpc.v"],
    }
    history = History()
    history.then(block("aws_instance", "a", told))
    assert history.then(block("aws_instance", "a", told | later)).events == ()


def test_order_outputs_serial_lineage_and_hosts_are_no_events() -> None:
    history = History()
    history.seen(read(vm("a", "i-1"), vm("b", "i-2"), serial=5).resources)
    later = read(
        vm("b", "i-2") | {"provider": 'provider["registry.opentofu.org/hashicorp/aws"]'},
        vm("a", "i-1"),
        serial=2,
        lineage="another",
        outputs={"x": {"value": 1, "type": "number"}},
    )
    assert history.seen(later.resources).events == ()


def test_a_real_change_beside_noise_is_told_alone() -> None:
    history = History()
    history.then(vm("a", "i-1", tags_all=None, groups=["x", "y"], size=1))
    (event,) = history.then(vm("a", "i-1", tags_all={}, groups=["y", "x"], size=2)).events
    assert [each["path"] for each in event.patch] == ["/size"]


def test_state_mv_that_drops_dependencies_tells_only_the_move_and_what_is_asked_for_edges_again() -> None:
    def other(*needs: str) -> Any:
        return block("aws_eip", "e", instance({"id": "eip-1"}, dependencies=list(needs)))

    history = History()
    history.then(vm("a", "i-1"), other("aws_instance.a"))
    before = history.standing[("aws_eip.e", "")][1]
    assert actions(history.then(vm("b", "i-1"), other(), operation="state-mv")) == [("moved", "aws_instance.b")]
    assert history.standing[("aws_eip.e", "")][1] != before
    assert history.then(vm("b", "i-1"), other("aws_instance.b")).events == ()


def test_destroy_leaves_an_empty_state_and_says_so_of_each() -> None:
    history = History()
    history.then(vm("a", "i-1"), vm("b", "i-2"))
    assert actions(history.then()) == [("delete", "aws_instance.a"), ("delete", "aws_instance.b")]
    assert history.attributes == {}


def test_of_a_version_that_could_not_be_read_whole_nobody_is_gone() -> None:
    history = History()
    history.then(vm("a", "i-1"), vm("b", "i-2"))
    found = read(vm("a", "i-1", size=2), "garbage")
    assert found.skipped
    outcome = history.seen(found.resources, complete=False)
    assert actions(outcome) == [("update", "aws_instance.a")]
    assert outcome.ended == frozenset()


def nested(core: Any, levels: int) -> Any:
    for step in range(levels):
        core = [core] if step % 2 else {"a": core}
    return core


def test_attributes_as_deep_as_any_document_may_be_go_all_the_way() -> None:
    history = History()
    levels = DEEPEST - 6  # the document, its resources, one, its instances, one, its attributes
    text = json.dumps(nested("planted=1 password=planted", 250))
    for core in ("one", "two", "password=planted", 10**30, text, json.dumps(nested(text, 250))):
        outcome = history.then(vm("a", "i-1", deep=nested(core, levels)))
        assert len(outcome.events) == 1
        assert "password=planted" not in repr(outcome)
    assert len(history.then().events) == 1


def test_what_makes_room_is_told_before_what_takes_it() -> None:
    history = History()
    history.then(vm("a", "i-1"), vm("b", "i-2"), vm("c", "i-3"))
    outcome = history.then(vm("a", "i-2"), vm("b", "i-4"), vm("d", "i-5"))
    assert actions(outcome) == [
        ("delete", "aws_instance.a"),
        ("delete", "aws_instance.c"),
        ("moved", "aws_instance.a"),
        ("create", "aws_instance.b"),
        ("create", "aws_instance.d"),
    ]


def test_the_id_of_an_event_is_the_same_again_and_nobody_else_s() -> None:
    ids = {event_id(state, version, number) for state in ("a", "b") for version in (1, 2) for number in (1, 2)}
    assert len(ids) == 8
    assert event_id("a", 1, 1) in ids


resources = st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.booleans(), objects)
versions = st.lists(
    st.lists(resources, max_size=4, unique_by=(lambda one: one[0], lambda one: one[1])), min_size=1, max_size=5
)


@settings(deadline=None)
@given(versions, st.randoms(use_true_random=False))
def test_events_replayed_from_nothing_give_the_last_version_modulo_noise(told: Any, chance: random.Random) -> None:
    history = History()
    standing: dict[uuid.UUID, Any] = {}
    places: dict[uuid.UUID, Any] = {}
    for version in told:
        blocks = [
            block(
                "aws_instance",
                name,
                instance(
                    {**attributes, "id": f"i-{number}", "arn": f"arn:{number}"},
                    **({"status": "tainted"} if tainted else {}),
                ),
            )
            for name, number, tainted, attributes in version
        ]
        chance.shuffle(blocks)
        outcome = history.then(*blocks)
        for event in outcome.events:
            before = standing.get(event.stable_uid, {})
            if event.after_hash:
                assert value_hash(before) == event.before_hash
                standing[event.stable_uid] = applied(before, event.patch)
                assert value_hash(standing[event.stable_uid]) == event.after_hash
            places[event.stable_uid] = event.place
        for uid in outcome.ended:
            del standing[uid], places[uid]
    assert standing.keys() == history.redacted().keys()
    assert places == {one.stable_uid: place for place, (one, _, _) in history.standing.items()}
    for uid, attributes in history.redacted().items():
        assert made(standing[uid], without_noise(standing[uid], attributes)) == []
        assert same(standing[uid], history.attributes[uid])
    # nothing happened since
    assert history.seen([one for _, _, one in history.standing.values()]).events == ()
