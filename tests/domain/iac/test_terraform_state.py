"""Terraform states of format 4 and 3 as resources; what is not as Terraform writes it is told and costs no other."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac import terraform_state
from asset_ledger.domain.iac.addresses import Module
from asset_ledger.domain.iac.edges import terraform_edges
from asset_ledger.domain.iac.events import digest
from asset_ledger.domain.iac.exact_json import canonical, loads, storable
from asset_ledger.domain.iac.redaction import redacted
from asset_ledger.domain.iac.terraform_state import provider_of
from asset_ledger.domain.iac.uids import identities
from tests.domain.iac.json_values import values
from tests.domain.iac.states import KEY, NAMING, block, instance, only, read, state


def test_module_keys_and_instance_keys_make_the_address() -> None:
    found = read(
        block("aws_subnet", "a", instance({"id": "s0"}, index_key=0), module='module.app["eu/1"].module.b[2]'),
        block("aws_subnet", "b", instance({"id": "s1"}, index_key='say "x".y[0]')),
        block("aws_ami", "c", instance({"id": "ami"}), mode="data"),
    ).resources
    assert [each.address for each in found] == [
        'module.app["eu/1"].module.b[2].aws_subnet.a[0]',
        r'aws_subnet.b["say \"x\".y[0]"]',
        "data.aws_ami.c",
    ]
    assert [each.config for each in found] == [
        "module.app.module.b.aws_subnet.a",
        "aws_subnet.b",
        "data.aws_ami.c",
    ]
    assert found[0].modules == (Module("app", "eu/1"), Module("b", 2))
    assert [each.managed for each in found] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "provider"),
    [
        ('provider["registry.terraform.io/hashicorp/aws"]', ("hashicorp/aws", "")),
        ('provider["registry.opentofu.org/hashicorp/aws"].west', ("hashicorp/aws", "west")),
        ('module.x.module.y.provider["registry.terraform.io/Telmate/proxmox"].lab', ("telmate/proxmox", "lab")),
        ('provider["registry.terraform.io/-/aws"]', ("hashicorp/aws", "")),
        ('provider["terraform.io/builtin/terraform"]', ("builtin/terraform", "")),
        ("provider.aws", ("hashicorp/aws", "")),
        ("provider.aws.west", ("hashicorp/aws", "west")),
        ("module.x.provider.google-beta", ("hashicorp/google-beta", "")),
        ("module.x.provider.aws.west-2", ("hashicorp/aws", "west-2")),
        ("", ("", "")),
        ("aws", ("", "")),
    ],
)
def test_a_provider_is_named_without_its_host_in_every_form_that_states_have(text: str, provider: Any) -> None:
    assert provider_of(text) == provider


def test_a_deposed_object_stands_beside_the_one_that_replaced_it() -> None:
    found = read(block("aws_instance", "a", instance({"id": "new"}), instance({"id": "old"}, deposed="deadbeef")))
    assert [each.place for each in found.resources] == [("aws_instance.a", ""), ("aws_instance.a", "deadbeef")]


def test_tainted_is_a_status_and_nothing_else_is() -> None:
    found = read(
        block(
            "t", "a", instance({}, status="tainted", index_key=0), instance({}, index_key=1), instance({}, status="x")
        )
    )
    assert [each.tainted for each in found.resources] == [True, False, False]


@pytest.mark.parametrize(
    ("told", "attributes"),
    [
        ({"attributes": {"id": "a"}}, {"id": "a"}),
        ({"attributes_flat": {"id": "a", "tags.%": "0"}}, {"id": "a", "tags": {}}),
        ({"attributes": None, "attributes_flat": {"id": "a"}}, {"id": "a"}),
        (
            {"attributes_flat": {"tags.%": "1", "tags.a.b": "c", "env.#": "2", "env.1.name": "y", "env.0.name": "x"}},
            {"tags": {"a.b": "c"}, "env": [{"name": "x"}, {"name": "y"}]},
        ),
        ({"attributes_flat": {"a": "1", "a.b": "2", "l.#": "0"}}, {"a": "1", "a.b": "2", "l": []}),
        ({"attributes_flat": {"ids.#": "2", "ids.77": "x", "ids.5": "y"}}, {"ids": ["y", "x"]}),
        ({"attributes": None}, {}),
        ({}, {}),
    ],
)
def test_attributes_may_be_flat_or_missing(told: dict[str, Any], attributes: dict[str, Any]) -> None:
    assert only(block("t", "a", told)).attributes == attributes


def step(value: Any, kind: str = "get_attr") -> dict[str, Any]:
    return {"type": kind, "value": value}


def test_marked_paths_have_one_order_whatever_order_they_came_in() -> None:
    index = {"value": 1, "type": "number"}
    paths = [[step("b"), step(index, "index"), step("c")], [step("a")], [step("1")], [step({"value": 1}, "index")]]
    one = only(block("t", "a", instance({}, sensitive_attributes=paths)))
    other = only(block("t", "a", instance({}, sensitive_attributes=paths[::-1])))
    assert one.sensitive == other.sensitive
    assert set(one.sensitive) == {("b", 1, "c"), ("a",), ("1",), (1,)}


def test_a_place_in_a_list_and_the_same_text_as_a_name_have_one_order_too() -> None:
    paths = [[step(value)] for number in range(50) for value in (str(number), {"value": number})]
    one = only(block("t", "a", instance({}, sensitive_attributes=paths)))
    other = only(block("t", "a", instance({}, sensitive_attributes=paths[::-1])))
    assert one.sensitive == other.sensitive
    # and not the order of a set, which is another one in every process
    assert len({one.sensitive.index((number,)) < one.sensitive.index((str(number),)) for number in range(50)}) == 1


def test_a_step_that_names_no_place_marks_all_that_it_is_in() -> None:
    of_a_set = [[step("rules"), step({"value": {"port": 1}, "type": ["object"]}, "index"), step("key")]]
    assert only(block("t", "a", instance({}, sensitive_attributes=of_a_set))).sensitive == (("rules",),)


def test_private_is_nowhere_in_what_is_read() -> None:
    assert "cHJpdmF0ZQ" not in repr(read(block("t", "a", instance({"id": "i"}, private="cHJpdmF0ZQ=="))))


def test_no_attribute_is_in_the_repr_of_a_resource() -> None:
    assert "hunter2" not in repr(read(block("t", "a", instance({"password": "hunter2"}))))


def test_until_0_12_dependencies_were_those_of_the_configuration_of_the_module() -> None:
    depends_on = ["aws_vpc.a", "aws_subnet.b.0", "module.other"]
    found = only(block("t", "a", {"attributes": {}, "depends_on": depends_on}, module="module.x[0]"))
    assert found.dependencies == ("module.x.aws_vpc.a", "module.x.aws_subnet.b")


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        5,
        "text",
        [],
        {},
        {**block("t", "b"), "instances": None},
        {**block("t", "b"), "instances": {"a": 1}},
        block("t", "b", mode="other"),
        {**block("t", "b"), "type": 5},
        {**block("t", "b"), "name": None},
        block("t", "b", instance({}), module="module."),
        block("t", "b", instance({}), module=5),
        {**block("t", "b", instance({})), "mode": None},
        block("t", "b", instance({}), provider=["aws"]),
        block("t", "b", None),
        block("t", "b", "text"),
        block("t", "b", instance([])),
        block("t", "b", instance("text")),
        block("t", "b", instance({}, index_key=True)),
        block("t", "b", instance({}, index_key=1.5)),
        block("t", "b", instance({}, index_key=[1])),
        block("t", "b", instance({}, deposed=7)),
        block("t", "b", instance({}, dependencies=[{"a": 1}])),
        block("t", "b", instance({}, dependencies=7)),
        block("t", "b", instance({}, sensitive_attributes=7)),
        block("t", "b", instance({}, sensitive_attributes=[7])),
        block("t", "b", instance({}, sensitive_attributes=[["text"]])),
    ],
)
def test_what_is_not_as_terraform_writes_it_is_told_and_costs_no_other_resource(wrong: Any) -> None:
    found = read(block("t", "a", instance({"id": "1"})), wrong, block("t", "c", instance({"id": "2"})))
    assert [each.address for each in found.resources] == ["t.a", "t.c"]
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith("resources[1]")


def test_one_instance_that_cannot_be_read_costs_no_other_of_its_resource() -> None:
    found = read(block("t", "a", instance({}, index_key=0), "text", instance({}, index_key=2)))
    assert [each.address for each in found.resources] == ["t.a[0]", "t.a[2]"]
    assert found.skipped == (
        "resources[0].instances[1] is not as Terraform writes it: AttributeError 'str' object has no attribute 'get'",
    )


def test_of_two_objects_at_one_place_the_first_is_kept_and_the_other_told() -> None:
    found = read(block("t", "a", instance({"id": "1"}), instance({"id": "2"})))
    assert [each.attributes["id"] for each in found.resources] == ["1"]
    assert found.skipped == ("t.a is there twice",)


@pytest.mark.parametrize("resources", [5, "text", {"a": 1}])
def test_resources_that_are_no_list_are_told(resources: Any) -> None:
    found = terraform_state.read(state() | {"resources": resources})
    assert (found.resources, found.skipped) == ((), ("`resources` is no list",))


def test_texts_that_no_database_holds_are_made_fit() -> None:
    told = json.dumps(state(block("t\0", "a\ud800", instance({}, index_key="\0", deposed="\0")))).encode()
    (found,) = terraform_state.read(loads(told)).resources
    assert all(storable(text) == text for text in (found.address, found.config, found.type, found.deposed))


@pytest.mark.parametrize("version", [None, 1, 2, 5, "4"])
def test_other_formats_are_no_matter_of_this_reader(version: Any) -> None:
    with pytest.raises(ValueError, match="format"):
        terraform_state.read({"version": version})


def old_state() -> dict[str, Any]:
    return {
        "version": 3,
        "terraform_version": "0.11.14",
        "serial": 9,
        "lineage": "old",
        "modules": [
            {
                "path": ["root"],
                "resources": {
                    "aws_instance.web.0": {
                        "type": "aws_instance",
                        "depends_on": ["aws_subnet.a", "aws_subnet.b.*", "data.aws_ami.x", "module.net"],
                        "primary": {"id": "i-0", "attributes": {"id": "i-0", "tags.%": "0"}, "tainted": True},
                        "deposed": [{"id": "i-old", "attributes": {"id": "i-old"}}],
                        "provider": "provider.aws.west",
                    },
                    "data.aws_ami.x": {"primary": {"id": "ami-1", "attributes": {}}},
                    "aws_instance.2nd": {"primary": {"id": "i-2", "attributes": None}},
                },
            },
            {
                "path": ["root", "net"],
                "resources": {"aws_subnet.a": {"depends_on": ["aws_vpc.v"], "primary": {"id": "s"}}},
            },
        ],
    }


def test_a_state_of_format_3_is_read_the_same_way() -> None:
    found = terraform_state.read(old_state())
    assert (found.serial, found.lineage, found.tool_version, found.skipped) == (9, "old", "0.11.14", ())
    web, left, ami, second, subnet = found.resources
    assert web.place == ("aws_instance.web[0]", "")
    assert (web.provider, web.alias, web.tainted) == ("hashicorp/aws", "west", True)
    assert web.dependencies == ("aws_subnet.a", "aws_subnet.b", "data.aws_ami.x")
    assert left.place == ("aws_instance.web[0]", "00000001")
    assert (ami.address, ami.managed, ami.attributes) == ("data.aws_ami.x", False, {"id": "ami-1"})
    assert (second.address, second.provider, second.attributes) == ("aws_instance.2nd", "hashicorp/aws", {"id": "i-2"})
    assert (subnet.address, subnet.dependencies) == ("module.net.aws_subnet.a", ("module.net.aws_vpc.v",))
    assert subnet.modules == (Module("net"),)


@pytest.mark.parametrize(
    "wrong", [5, "text", ["x"], {"primary": 5}, {"primary": {"attributes": [1]}}, {"depends_on": 5}]
)
def test_garbage_in_format_3_is_told_and_costs_no_other(wrong: Any) -> None:
    document = old_state()
    document["modules"][0]["resources"]["aws_instance.wrong"] = wrong
    document["modules"][0]["resources"]["a.b.c.d"] = {}
    document["modules"] += [7, {"path": 5}, {"resources": 5}]
    found = terraform_state.read(document)
    assert len(found.resources) == 5
    assert len(found.skipped) == 5


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document but its version."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [
        found for step, inner in steps if step != "version" for found in [(*path, step), *places(inner, (*path, step))]
    ]


WHOLE = state(
    block(
        "aws_instance",
        "a",
        instance(
            {"id": "i", "tags": {"a": "b"}},
            index_key="k",
            dependencies=["aws_vpc.v"],
            status="tainted",
            deposed="00000001",
            sensitive_attributes=[[step("tags"), step({"value": 1}, "index")]],
        ),
        module="module.m[0]",
    ),
    block("aws_vpc", "v", {"attributes_flat": {"id": "v"}, "depends_on": ["a.b"]}),
)


@pytest.mark.parametrize("document", [WHOLE, old_state()], ids=["4", "3"])
@settings(deadline=None)
@given(st.data())
def test_garbage_anywhere_surprises_nobody_on_the_way_to_events_and_edges(document: Any, data: st.DataObject) -> None:
    document = copy.deepcopy(document)
    *path, last = data.draw(st.sampled_from(places(document)))
    inner = document
    for step_ in path:
        inner = inner[step_]
    inner[last] = data.draw(values)
    found = terraform_state.read(loads(json.dumps(document).encode()))
    for each in found.resources:
        digest(each, KEY)
        canonical(redacted(each, KEY))
    identities(found.resources, NAMING, {})
    terraform_edges(found.resources)
    assert all(storable(text) == text for text in found.skipped)
