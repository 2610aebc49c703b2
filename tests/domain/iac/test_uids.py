"""Who a resource is: by its provider's name for it, whatever its address, its provider's host or its neighbours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.iac.redaction import token
from asset_ledger.domain.iac.snapshot import Place, Resource
from asset_ledger.domain.iac.uids import Identity, Naming, identities
from tests.domain.iac.states import KEY, NAMING, History, block, instance, only, read

ARM = "/subscriptions/S/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/VM"
LINK = "https://www.googleapis.com/compute/v1/projects/p/zones/z/instances/n"


def provider(name: str, host: str = "registry.terraform.io") -> str:
    return f'provider["{host}/{name}"]'


def resource(type_: str, name: str, attributes: dict[str, Any], **more: Any) -> Resource:
    return only(block(type_, "a", instance(attributes), provider=provider(name), **more))


def identity(told: Resource, naming: Naming = NAMING) -> Identity:
    return identities([told], naming, {})[told.place]


ARN = "arn:aws:ec2:eu-west-1:1:instance/i-1"
NAMES = [
    ("aws_instance", "hashicorp/aws", {"id": "i-1", "arn": ARN}, ARN, "i-1", ("vm", "i-1")),
    ("aws_route", "hashicorp/aws", {"id": "r-1"}, None, "r-1", None),
    ("alicloud_instance", "aliyun/alicloud", {"id": "i-b"}, None, "i-b", ("vm", "i-b")),
    ("alicloud_eip_association", "aliyun/alicloud", {"id": "a:b"}, None, "a:b", None),
    ("vsphere_virtual_machine", "hashicorp/vsphere", {"id": "u", "uuid": "u", "moid": "vm-1"}, None, "u", ("vm", "vm-1")),
    ("vsphere_virtual_machine", "hashicorp/vsphere", {"id": "u"}, None, "u", None),
    ("vsphere_compute_cluster", "hashicorp/vsphere", {"id": "domain-c8"}, None, None, None),
    ("proxmox_vm_qemu", "Telmate/proxmox", {"id": "n1/qemu/100", "vmid": None}, None, None, ("vm", "qemu/100")),
    ("proxmox_lxc", "Telmate/proxmox", {"id": "n1/lxc/101", "vmid": 101}, None, None, ("vm", "lxc/101")),
    ("proxmox_virtual_environment_vm", "bpg/proxmox", {"id": "100", "vm_id": 100}, None, None, ("vm", "qemu/100")),
    ("proxmox_virtual_environment_container", "bpg/proxmox", {"id": "7", "vm_id": 7}, None, None, ("vm", "lxc/7")),
    ("proxmox_virtual_environment_firewall_options", "bpg/proxmox", {"id": "fw", "vm_id": 7}, None, None, None),
    ("azurerm_linux_virtual_machine", "hashicorp/azurerm", {"id": ARM, "virtual_machine_id": "v"}, ARM.lower(), "v", None),
    ("google_compute_instance", "hashicorp/google", {"self_link": LINK, "id": "n", "instance_id": 7}, "google//projects/p/locations/z/instances/n", "7", None),
    ("google_container_cluster", "hashicorp/google", {"id": "projects/p/locations/z/clusters/c"}, "google//projects/p/locations/z/clusters/c", None, None),
    ("google_sql_database", "hashicorp/google", {"id": "bare"}, None, None, None),
    ("cloudflare_record", "cloudflare/cloudflare", {"id": "x"}, None, None, None),
    ("terraform_data", "builtin/terraform", {"id": "uuid-1"}, None, None, None),
    ("null_resource", "hashicorp/null", {"id": "123"}, None, None, None),
    ("random_password", "hashicorp/random", {"id": "none"}, None, None, None),
    ("local_file", "hashicorp/local", {"id": "sha1"}, None, token("sha1", KEY), None),
    ("aws_instance", "hashicorp/aws", {"id": None, "arn": None}, None, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "name", "attributes", "key", "incarnation", "machine"), NAMES)
def test_every_provider_names_its_resources_in_its_way(
    type_: str, name: str, attributes: dict[str, Any], key: str | None, incarnation: str | None, machine: Any
) -> None:
    named = identity(resource(type_, name, attributes)).named
    assert (named.native_key, named.incarnation, named.machine) == (key, incarnation, machine)


@pytest.mark.parametrize(("type_", "name", "attributes"), [row[:3] for row in NAMES])
def test_who_a_resource_is_hangs_on_neither_the_provider_s_host_nor_its_legacy_name(
    type_: str, name: str, attributes: dict[str, Any]
) -> None:
    uid = identity(resource(type_, name, attributes)).stable_uid
    moved = only(block(type_, "a", instance(attributes), provider=provider(name, "registry.opentofu.org")))
    assert identity(moved).stable_uid == uid
    if name.startswith("hashicorp/"):
        for text in (f"provider.{name[10:]}", provider(f"-/{name[10:]}")):
            assert identity(only(block(type_, "a", instance(attributes), provider=text))).stable_uid == uid


@pytest.mark.parametrize(
    ("type_", "name", "attributes"),
    [row[:3] for row in NAMES if row[2].get("id") not in (None, "none", "sha1")],
)
def test_another_address_is_the_same_resource(type_: str, name: str, attributes: dict[str, Any]) -> None:
    uid = identity(resource(type_, name, attributes)).stable_uid
    assert identity(resource(type_, name, attributes, module="module.x")).stable_uid == uid


def test_one_id_in_two_types_is_two_resources() -> None:
    one, other = (resource(type_, "hashicorp/aws", {"id": "ledger"}) for type_ in ("aws_iam_role", "aws_db_instance"))
    assert identity(one).stable_uid != identity(other).stable_uid


@pytest.mark.parametrize(("type_", "name", "attributes", "key", "incarnation", "machine"), NAMES)
def test_only_what_is_unique_anywhere_is_the_same_in_two_states(
    type_: str, name: str, attributes: dict[str, Any], key: str | None, incarnation: str | None, machine: Any
) -> None:
    one, other = (identity(resource(type_, name, attributes), Naming("tenant", each, key=KEY)) for each in ("s1", "s2"))
    assert (one.stable_uid == other.stable_uid) is (key is not None)
    assert one.named.native_key == key


def test_the_region_of_alicloud_is_told_by_its_zone() -> None:
    told = resource("alicloud_instance", "aliyun/alicloud", {"id": "i-b", "availability_zone": "cn-hangzhou-h"})
    assert identity(told, NAMING).named.native_key == "alicloud/cn-hangzhou/alicloud_instance/i-b"


def test_two_tenants_share_nobody() -> None:
    told = resource(*NAMES[0][:3])
    assert identity(told).stable_uid != identity(told, Naming("other", "state", key=KEY)).stable_uid


def test_casing_and_api_versions_are_no_difference() -> None:
    vm = resource("azurerm_virtual_machine", "hashicorp/azurerm", {"id": ARM})
    assert identity(vm) == identity(resource("azurerm_virtual_machine", "hashicorp/azurerm", {"id": ARM.upper()}))
    link = resource("google_compute_instance", "hashicorp/google", {"self_link": LINK})
    beta = LINK.replace("www.googleapis.com/compute/v1", "compute.googleapis.com/compute/beta")
    assert identity(link) == identity(resource("google_compute_instance", "hashicorp/google", {"self_link": beta}))


def test_pulumi_s_names_find_the_same_object() -> None:
    def pulumi(provider_: str, type_: str, attributes: dict[str, Any]) -> Identity:
        return identity(Resource(("urn", ""), "urn", f"pulumi/{provider_}", "", type_, True, attributes))

    aws = pulumi("aws", "aws:ec2/instance:Instance", {"id": "i-1", "arn": ARN}).named
    assert (aws.native_key, aws.machine) == (ARN, ("vm", "i-1"))
    gcp = pulumi("gcp", "gcp:compute/instance:Instance", {"selfLink": LINK, "instanceId": "7"}).named
    assert (gcp.native_key, gcp.incarnation) == ("google//projects/p/locations/z/instances/n", "7")
    assert pulumi("azure-native", "azure-native:compute:VirtualMachine", {"id": ARM}).named.native_key == ARM.lower()


@pytest.mark.parametrize("wrong", [5, True, [], {}, 1.5, "", "\0"])
@pytest.mark.parametrize(("type_", "name", "attributes"), [row[:3] for row in NAMES])
def test_attributes_that_are_no_names_surprise_nobody(
    type_: str, name: str, attributes: dict[str, Any], wrong: Any
) -> None:
    named = identity(resource(type_, name, dict.fromkeys([*attributes, "vm_id", "moid", "self_link"], wrong))).named
    assert "\0" not in repr(named)


def same_name(*keys: Any) -> Any:
    return block("aws_route", "a", *(instance({"id": "r", "n": each}, index_key=each) for each in keys))


def test_of_several_objects_of_one_name_those_that_stay_keep_who_they_are() -> None:
    history = History()
    history.then(same_name(0, 1, 2))
    before = {each: history.uid(f"aws_route.a[{each}]") for each in range(3)}
    assert len(set(before.values())) == 3
    outcome = history.then(same_name(1, 2))
    assert {each: history.uid(f"aws_route.a[{each}]") for each in (1, 2)} == {1: before[1], 2: before[2]}
    assert [event.stable_uid for event in outcome.events] == [before[0]]
    history.then(same_name(1, 2, 5))
    assert {each: history.uid(f"aws_route.a[{each}]") for each in (1, 2)} == {1: before[1], 2: before[2]}
    assert len({one.stable_uid for one, _, _ in history.standing.values()}) == 3


def test_of_several_objects_of_one_name_one_that_moved_is_found_again() -> None:
    history = History()
    history.then(same_name(0, 1))
    moved = history.uid("aws_route.a[1]")
    history.then(same_name(0), block("aws_route", "b", instance({"id": "r", "n": 1})))
    assert history.uid("aws_route.b") == moved


def test_who_stays_unasked_gives_nobody_its_id() -> None:
    first = same_name(0)
    history = History()
    history.then(first)
    staying = history.uid("aws_route.a[0]")
    fresh = only(block("aws_route", "b", instance({"id": "r"})))
    assert identities([fresh], NAMING, {}, [staying])[fresh.place].stable_uid != staying


def test_an_id_that_was_made_for_a_place_and_moved_on_is_not_made_there_again() -> None:
    history = History()
    for names in ("ab", "ac", "abc"):
        history.then(*(block("aws_route", name, instance({"id": "r"})) for name in names))
    assert len({history.uid(f"aws_route.{name}") for name in "abc"}) == 3


standing = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 2)), max_size=6, unique_by=lambda one: one[0])


@settings(deadline=None)
@given(st.lists(standing, min_size=2, max_size=5))
def test_whoever_need_not_be_asked_is_who_it_would_be_found_to_be(versions: list[list[tuple[str, int]]]) -> None:
    before: dict[Place, Identity] = {}
    for version in versions:
        resources = read(
            *(block("aws_route", name, instance({"id": f"r-{number}"})) for name, number in version)
        ).resources
        asked = identities(resources, NAMING, before)
        uids = [one.stable_uid for one in asked.values()]
        assert len(set(uids)) == len(uids)
        stay = {place for place in asked if place in before and before[place].name_digest == asked[place].name_digest}
        others = (each for each in resources if each.place not in stay)
        found = identities(others, NAMING, before, [before[place].stable_uid for place in stay])
        assert {**{place: before[place].stable_uid for place in stay}, **{place: one.stable_uid for place, one in found.items()}} == {
            place: one.stable_uid for place, one in asked.items()
        }  # fmt: skip
        before = asked


MARKED = [[{"type": "get_attr", "value": "id"}], [{"type": "get_attr", "value": "arn"}]]


@pytest.mark.parametrize(
    ("type_", "name", "attributes", "marks"),
    [
        ("aws_thing", "hashicorp/aws", {"id": "planted-id", "arn": "arn:planted"}, MARKED),
        ("aws_thing", "hashicorp/aws", {"id": "planted-id", "arn": "arn:aws:x"}, MARKED[:1]),
        ("aws_instance", "hashicorp/aws", {"id": "planted-id"}, MARKED[:1]),
        ("x_y", "cloudflare/cloudflare", {"id": "planted-id"}, MARKED),
        ("x_y", "cloudflare/cloudflare", {"id": "app --password=planted"}, []),
        ("local_sensitive_file", "hashicorp/local", {"id": "planted-hash"}, []),
        ("random_string", "hashicorp/random", {"id": "planted", "result": "planted"}, []),
    ],
)
def test_what_is_secret_is_no_name_in_clear_and_names_the_same_thing_all_the_same(
    type_: str, name: str, attributes: dict[str, Any], marks: list[Any]
) -> None:
    told = only(block(type_, "a", instance(attributes, sensitive_attributes=marks), provider=provider(name)))
    found = identity(told)
    named = found.named
    assert "planted" not in f"{named.native_key} {named.incarnation} {named.machine} {named.scope}"
    assert named.native_key is None or "redacted:" in f"{named.native_key} {named.incarnation}"
    # who it is does not hang on whether its client writes marks
    assert identity(resource(type_, name, attributes)).stable_uid == found.stable_uid


def test_nobody_without_the_key_of_the_tenant_can_try_names() -> None:
    told = resource("x_y", "cloudflare/cloudflare", {"id": "guessed"})
    other = identity(told, Naming("tenant", "state", key=KEY[::-1]))
    assert other.name_digest != identity(told).name_digest


def test_a_name_that_is_secret_since_is_no_other_object() -> None:
    history = History()
    history.then(block("aws_route", "a", instance({"id": "r", "n": 1})))
    outcome = history.then(block("aws_route", "a", instance({"id": "r", "n": 2}, sensitive_attributes=MARKED)))
    assert [event.action for event in outcome.events] == ["update"]
    outcome = history.then(block("aws_route", "a", instance({"id": "r", "n": 3})))
    assert [event.action for event in outcome.events] == ["update"]
