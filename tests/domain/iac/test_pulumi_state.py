"""Exported Pulumi stacks and checkpoints as resources and edges; secrets are one mark, whatever is in them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac import pulumi_state
from asset_ledger.domain.iac.documents import recognised
from asset_ledger.domain.iac.events import digest
from asset_ledger.domain.iac.exact_json import canonical, loads, storable
from asset_ledger.domain.iac.pulumi_state import HIDDEN, SPECIAL
from asset_ledger.domain.iac.redaction import redacted
from asset_ledger.domain.iac.snapshot import Resource
from asset_ledger.domain.iac.uids import identities
from tests.domain.iac.json_values import objects, values
from tests.domain.iac.states import KEY, NAMING, History
from tests.patience import no_minutes

SECRET = "1b47061264138c4ac30d75fd1eb44270"
STACK = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"
PROVIDER = "urn:pulumi:dev::shop::pulumi:providers:aws::default_6_1"


def urn(name: str, type_: str = "aws:ec2/instance:Instance") -> str:
    return f"urn:pulumi:dev::shop::{type_}::{name}"


def resource(
    name: str, outputs: Any = None, /, *, type_: str = "aws:ec2/instance:Instance", **more: Any
) -> dict[str, Any]:
    told = {
        "urn": urn(name, type_),
        "type": type_,
        "custom": True,
        "id": f"id-{name}",
        "inputs": {},
        "outputs": outputs or {},
    }
    return told | {"parent": STACK, "provider": f"{PROVIDER}::some-uuid"} | more


def export(*resources: Any, version: int = 3) -> dict[str, Any]:
    manifest = {"time": "2026-01-01T00:00:00Z", "magic": "m", "version": "v3.142.0"}
    return {"version": version, "deployment": {"manifest": manifest, "resources": list(resources)}}


GROUPS = [
    {"urn": STACK, "type": "pulumi:pulumi:Stack", "custom": False},
    {
        "urn": PROVIDER,
        "type": "pulumi:providers:aws",
        "custom": True,
        "id": "some-uuid",
        "outputs": {"token": "planted"},
    },
    {"urn": urn("group", "my:index:Group"), "type": "my:index:Group", "custom": False},
]


def read(*resources: Any) -> tuple[Resource, ...]:
    found = pulumi_state.read(recognised(json.dumps(export(*resources)).encode()).document)
    assert found.skipped == ()
    return found.resources


def test_resources_are_read_and_what_only_groups_or_configures_is_none() -> None:
    (found,) = read(*GROUPS, resource("a", {"arn": "arn:a", "tags": {"x": "y"}}))
    assert (found.address, found.config, found.type) == (urn("a"), urn("a"), "aws:ec2/instance:Instance")
    assert (found.provider, found.alias, found.managed) == ("pulumi/aws", "", True)
    assert found.attributes == {"arn": "arn:a", "tags": {"x": "y"}, "id": "id-a"}


@pytest.mark.parametrize(
    "document",
    [
        export(resource("a")),
        export(resource("a"), version=4),
        export(resource("a"), version=1),
        {"version": 3, "checkpoint": {"stack": "dev", "latest": export(resource("a"))["deployment"]}},
        {"version": 1, "checkpoint": {"stack": "dev", "latest": export(resource("a"))["deployment"]}},
        {"stack": "dev", "config": {"x": 1}, "latest": export(resource("a"))["deployment"]},
    ],
)
def test_an_export_and_a_checkpoint_are_read_the_same(document: Any) -> None:
    known = recognised(json.dumps(document).encode())
    found = pulumi_state.read(known.document)
    assert [each.address for each in found.resources] == [urn("a")]
    assert (found.tool, found.tool_version, known.tool_version) == ("pulumi", "v3.142.0", "v3.142.0")
    assert pulumi_state.edges(known.document).edges == ()


def test_what_the_first_release_wrote_is_read_though_it_had_no_providers_and_no_properties() -> None:
    old = {"urn": urn("a"), "custom": True, "id": "i-1", "type": "aws:ec2/instance:Instance", "defaults": {"x": 1}}
    old |= {"inputs": {"ami": "x"}, "outputs": {"ami": "x"}, "dependencies": [urn("b")], "initErrors": None}
    document = {"stack": "dev", "latest": {"manifest": {"version": "v0.9"}, "resources": [old, resource("b")]}}
    known = recognised(json.dumps(document).encode())
    (found, _) = pulumi_state.read(known.document).resources
    assert (found.attributes, found.alias, found.managed) == ({"ami": "x", "id": "i-1"}, "", True)
    assert [edge.kind for edge in pulumi_state.edges(known.document).edges] == ["config"]


@given(objects, st.sampled_from(["export", "checkpoint", "old"]), st.booleans(), st.integers(0, 2))
def test_what_is_exported_of_a_document_has_its_deployment_byte_for_byte(
    deployment: dict[str, Any], kind: str, ascii_only: bool, indent: int
) -> None:
    text = json.dumps(deployment, ensure_ascii=ascii_only, indent=indent or None)
    text = text.encode("utf-8", "replace").decode()
    around = {
        "export": '{"version" : 3, "deployment":%s }\n',
        "checkpoint": '{"checkpoint": {"stack":"dev", "latest": %s, "config":{}}, "version": 3}',
        "old": '{"config":{}, "stack":"dev","latest": %s}',
    }[kind]
    body = (around.replace("%s", text)).encode()
    found = pulumi_state.exported(body)
    if kind == "export":
        assert found == body
    else:
        version = 3 if kind == "checkpoint" else 1
        assert found == f'{{"version":{version},"deployment":{text}}}'.encode()
    assert recognised(found).kind == "pulumi"


def test_of_a_name_that_is_told_twice_the_last_is_exported() -> None:
    body = b'{"version":3,"checkpoint":{"latest":{"a":1},"latest":{"a":2},"x":"\\"latest\\""},"checkpoint":{"latest":{"a":3}}}'
    assert pulumi_state.exported(body) == b'{"version":3,"deployment":{"a":3}}'


@pytest.mark.parametrize("place", range(6))
def test_a_checkpoint_whose_names_are_escaped_is_exported_too(place: int) -> None:
    body = b'{"stack":"dev","version":3,"checkpoint":{"latest":{"a":"\\u003cb\\u003e"}}}'
    for name in ("checkpoint", "latest"):
        escaped = f"{name[:place]}\\u{ord(name[place]):04X}{name[place + 1 :]}"
        body = body.replace(name.encode(), escaped.encode())
    assert recognised(body).kind == "pulumi"
    assert pulumi_state.exported(body) == b'{"version":3,"deployment":{"a":"\\u003cb\\u003e"}}'


def test_an_export_with_escaped_names_is_what_it_is() -> None:
    body = b'{"version":3,"d\\u0065ployment":{"l\\u0061test":{}}}'
    assert pulumi_state.exported(body) == body


def test_features_go_along_with_what_is_exported_of_a_checkpoint() -> None:
    body = b'{"version":4,"features":["x"],"checkpoint":{"latest":{}}}'
    assert pulumi_state.exported(body) == b'{"version":4,"features":["x"],"deployment":{}}'
    assert pulumi_state.exported(b'{"version":3,"checkpoint":{}}') == b'{"version":3,"deployment":null}'


@pytest.mark.parametrize(
    "document", [{"version": 3, "deployment": None}, {"version": 3, "checkpoint": {}}, {"version": 3, "deployment": {}}]
)
def test_a_stack_that_nothing_was_deployed_to_is_empty(document: Any) -> None:
    assert pulumi_state.read(document).resources == ()
    assert pulumi_state.edges(document).edges == ()


def test_external_resources_are_read_and_not_managed() -> None:
    assert [each.managed for each in read(resource("a", external=True), resource("b"))] == [False, True]


def test_those_that_wait_to_be_deleted_stand_beside_the_one_that_replaced_them() -> None:
    old = [resource("a", delete=True, id=f"old-{each}") for each in (1, 2)]
    assert [each.place for each in read(resource("a"), *old)] == [
        (urn("a"), ""),
        (urn("a"), "delete:old-1"),
        (urn("a"), "delete:old-2"),
    ]


def test_a_provider_configured_by_hand_is_an_alias() -> None:
    provider = "urn:pulumi:dev::shop::pulumi:providers:aws::west::uuid"
    assert [each.alias for each in read(resource("a", provider=provider), resource("b"))] == ["west", ""]


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        ({SPECIAL: SECRET, "ciphertext": "planted"}, HIDDEN),
        ({SPECIAL: SECRET, "plaintext": '"planted"'}, HIDDEN),
        ({SPECIAL: SECRET, "value": "planted"}, HIDDEN),
        ({SPECIAL: "a kind of tomorrow", "value": "planted"}, HIDDEN),
        ({SPECIAL: ["planted"]}, HIDDEN),
        ({SPECIAL: "5cf8f73096256a8f31e491e813e4eb8e", "urn": "urn:x", "id": "i"}, "urn:x"),
        ({SPECIAL: "c44067f5952c0a294b673a41bacd8c17", "hash": "sha", "text": "long"}, {"asset": "sha"}),
        ({SPECIAL: "c44067f5952c0a294b673a41bacd8c17", "path": "./a"}, {"asset": "./a"}),
        ({SPECIAL: "0def7320c3a5731c473e5ecbe6d01bc7", "hash": "sha"}, {"archive": "sha"}),
        ({SPECIAL: "803fd3297a5875dc03ca845dda5d2a98", "value": "AAEC"}, {"bytes": "AAEC"}),
        ({SPECIAL: "d0e6a833031e9bbcd3f4e8bde6ca49a4", "value": {"a": 1}}, {"output": {"a": 1}}),
        ({SPECIAL: "d0e6a833031e9bbcd3f4e8bde6ca49a4", "value": "planted", "secret": True}, HIDDEN),
        (
            {SPECIAL: "d0e6a833031e9bbcd3f4e8bde6ca49a4", "value": [{SPECIAL: SECRET, "value": "planted"}]},
            {"output": [HIDDEN]},
        ),
    ],
)
def test_special_objects_become_plain_and_secrets_one_mark(told: Any, plain: Any) -> None:
    (found,) = read(resource("a", {"x": told, "deep": [{"y": told}]}))
    assert found.attributes == {"id": "id-a", "x": plain, "deep": [{"y": plain}]}
    assert "planted" not in json.dumps(redacted(found, KEY))


def test_outputs_that_are_secret_as_a_whole_leave_the_id() -> None:
    (found,) = read(resource("a", {SPECIAL: SECRET, "ciphertext": "planted"}))
    assert found.attributes == {"id": "id-a"}


def test_outputs_that_the_program_marks_are_hidden() -> None:
    (found,) = read(resource("a", {"plain": "planted"}, additionalSecretOutputs=["plain"]))
    assert redacted(found, KEY)["plain"].startswith("redacted:")


def in_clear(value: Any) -> Any:
    """Return what of a value is not hidden."""
    if isinstance(value, dict):
        return {name: in_clear(inner) for name, inner in value.items() if not str(inner).startswith("redacted:")}
    if isinstance(value, list):
        return [in_clear(inner) for inner in value if not str(inner).startswith("redacted:")]
    return value


HELD = {SPECIAL: SECRET, "ciphertext": "x"}


@pytest.mark.parametrize(
    ("inputs", "outputs", "stays"),
    [
        ({"motd": HELD}, {"motd": "planted", "size": 5}, {"size": 5}),
        ({"x": {"y": HELD, "z": "a"}}, {"x": {"y": "planted", "z": "a"}}, {"x": {"z": "a"}}),
        ({"x": HELD}, {"x": {"y": ["planted"], "z": "planted"}}, {}),
        # one for the other: a provider may put a list in another order
        ({"x": [{"k": "a", "v": HELD}, {"k": "b"}]}, {"x": [{"k": "b"}, {"k": "a", "v": "planted"}]},
         {"x": [{"k": "b"}, {"k": "a"}]}),
        ({"x": [HELD, "a"]}, {"x": ["a", "planted"]}, {"x": []}),
        ({"x": [[{"v": HELD}], "b"]}, {"x": ["b", [{"v": "planted"}]]}, {"x": []}),
        # what is kept in another form holds it somewhere
        ({"x": {"y": HELD}}, {"x": '{"y": "planted"}'}, {}),
        ({"x": [{"y": HELD}]}, {"x": {"y": "planted"}}, {}),
        ({"x": {"y": HELD}}, {"x": [{"y": "planted"}, "b"]}, {}),
        ({"x": {SPECIAL: "a kind of tomorrow"}}, {"x": "planted"}, {}),
        ({"x": {SPECIAL: "d0e6a833031e9bbcd3f4e8bde6ca49a4", "value": [HELD]}}, {"x": ["planted"]}, {}),
        (HELD, {"x": "planted", "y": {"z": "planted"}}, {}),
        ({"x": {SPECIAL: "c44067f5952c0a294b673a41bacd8c17", "hash": "sha"}}, {"x": "a"}, {"x": "a"}),
        ({"x": {"y": "a"}, "z": HELD}, {"x": {"y": "a"}}, {"x": {"y": "a"}}),
    ],
)  # fmt: skip
def test_what_is_a_secret_where_it_goes_in_is_none_in_clear_where_it_comes_out(
    inputs: Any, outputs: Any, stays: Any
) -> None:
    (found,) = read(resource("a", outputs, inputs=inputs))
    shown = redacted(found, KEY)
    assert "planted" not in json.dumps(shown)
    assert shown["id"] == "id-a"
    del shown["id"]
    assert in_clear(shown) == stays


def test_a_secret_that_changed_shows_by_what_comes_out_and_one_that_is_hidden_already_stays_one_mark() -> None:
    shown = [
        redacted(read(resource("a", {"x": text, "y": HELD}, inputs={"x": HELD, "y": HELD}))[0], KEY) for text in "pq"
    ]
    assert shown[0]["x"] != shown[1]["x"]
    assert [each["y"] for each in shown] == [HIDDEN, HIDDEN]


def test_thousands_of_secrets_are_hidden_without_looking_through_all_of_them_for_each() -> None:
    names = [f"n{number}" for number in range(20_000)]
    rows = [dict.fromkeys(names, "planted"), *({"n0": "planted"} for _ in names)]
    outputs, inputs = dict.fromkeys(names, "planted"), dict.fromkeys(names, HELD)
    with no_minutes():
        (found,) = read(
            resource("a", {**outputs, "x": rows}, inputs={**inputs, "x": [inputs]}, additionalSecretOutputs=names)
        )
        shown = redacted(found, KEY)
    assert in_clear(shown) == {"x": [{}] * len(rows), "id": "id-a"}


def test_a_secret_that_was_encrypted_again_did_not_change() -> None:
    history = History()
    for text in ("one", "two"):
        outcome = history.seen(read(resource("a", {"x": {SPECIAL: SECRET, "ciphertext": text}})))
    assert outcome.events == ()


def edges(*resources: Any) -> list[tuple[str, str, str]]:
    found = pulumi_state.edges(export(*resources)).edges
    return [(each.source[0].rpartition("::")[2], each.target[0].rpartition("::")[2], each.kind) for each in found]


def test_edges_are_told_by_property_and_otherwise_by_what_is_known() -> None:
    more = {
        "propertyDependencies": {"subnet": [urn("b")], "none": [], "gone": [urn("gone")]},
        "dependencies": [urn("b"), urn("c")],
    }
    found = edges(*GROUPS, resource("a", **more, deletedWith=urn("d"), replaceWith=urn("e")), *map(resource, "bcde"))
    assert [each for each in found if each[0] == "a"] == [
        ("a", "b", "property"),
        ("a", "c", "config"),
        ("a", "d", "config"),
        ("a", "e", "config"),
        ("a", "default_6_1", "provider"),
        ("a", "shop-dev", "parent"),
    ]


def test_an_edge_of_one_that_waits_to_be_deleted_begins_at_it() -> None:
    told = export(resource("a", delete=True, id="old", dependencies=[urn("b")]), resource("a"), resource("b"))
    (edge,) = pulumi_state.edges(told).edges
    assert (edge.source, edge.target) == ((urn("a"), "delete:old"), (urn("b"), ""))


def test_a_name_may_hold_the_separator() -> None:
    provider = "urn:pulumi:dev::shop::pulumi:providers:aws::a::b"
    found = pulumi_state.edges(export(resource("a", provider=f"{provider}::uuid"), GROUPS[1] | {"urn": provider}))
    assert [(each.target[0], each.kind) for each in found.edges] == [(provider, "provider")]


@pytest.mark.parametrize(
    "wrong", [None, 5, "text", [], {}, {"urn": 5}, {"urn": "u"}, {"type": "t"}, resource("a", type=5)]
)
def test_what_is_no_resource_is_told_and_costs_no_other(wrong: Any) -> None:
    found = pulumi_state.read(export(wrong, resource("b")))
    assert [each.address for each in found.resources] == [urn("b")]
    assert found.skipped == ("resources[0] has no urn or no type",)


def test_of_two_objects_at_one_place_the_first_is_kept_and_the_other_told() -> None:
    found = pulumi_state.read(export(resource("a", {"x": 1}), resource("a", {"x": 2})))
    assert [each.attributes["x"] for each in found.resources] == [1]
    assert found.skipped == (f"{urn('a')} is there twice",)


def test_resources_that_are_no_list_are_told() -> None:
    assert pulumi_state.read({"version": 3, "deployment": {"resources": 5}}).skipped == ("`resources` is no list",)


WHOLE = resource(
    "a",
    {"x": {SPECIAL: SECRET, "value": 1}, "y": [1]},
    inputs={"y": [{SPECIAL: SECRET, "value": 1}]},
    dependencies=[urn("b")],
    propertyDependencies={"x": [urn("b")]},
    delete=True,
    deletedWith=urn("b"),
    additionalSecretOutputs=["y"],
    external=False,
)


@pytest.mark.parametrize("wrong", [None, 5, "text", [5], [None], {"a": 5}, {"a": [{}]}, True, [[]]])
@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_value_of_the_wrong_kind_surprises_nobody(name: str, wrong: Any) -> None:
    document = export(copy.deepcopy(WHOLE) | {name: wrong}, resource("b"))
    found = pulumi_state.read(document)
    assert urn("b") in [each.address for each in found.resources]
    identities(found.resources, NAMING, {})
    for each in found.resources:
        redacted(each, KEY)
    assert pulumi_state.edges(document).capped == ()


@settings(deadline=None)
@given(st.sampled_from(sorted(WHOLE)), values)
def test_garbage_anywhere_surprises_nobody(name: str, value: Any) -> None:
    document = export(copy.deepcopy(WHOLE) | {name: value}, resource("b"))
    document = loads(json.dumps(document).encode())
    found = pulumi_state.read(document)
    for each in found.resources:
        digest(each, KEY)
        canonical(redacted(each, KEY))
        assert all(
            storable(text) == text for text in (each.address, each.type, each.provider, each.alias, each.deposed)
        )
    identities(found.resources, NAMING, {})
    pulumi_state.edges(document)
