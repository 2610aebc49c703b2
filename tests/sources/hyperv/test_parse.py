"""From a node's answers to documents: every field, every reason, and whatever shapes PowerShell has for a value."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain import normalized
from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution, UnchangedRecord
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.hyperv import errors
from asset_ledger.sources.hyperv.answers import read_answer
from asset_ledger.sources.hyperv.parse import parse
from asset_ledger.sources.hyperv.states import NAMES, power_of, state_label
from asset_ledger.sources.hyperv.values import flag, guid, node_name, rows, whole
from tests.sources.hyperv import kept


def items_of(raw: RawRecord) -> list[Any]:
    found = list(parse(raw, {}))
    for item in found:
        if isinstance(item, AssetRecord):
            normalized.validate(item.document, target=item.locator)
    return found


def documents(*items: dict[str, Any], **changed: Any) -> dict[str, dict[str, Any]]:
    """Return the documents of one node's machines by their names' numbers."""
    raw = kept.node(kept.answer("hv1", items, **changed))
    return {i.external_id: i.document for i in items_of(raw) if isinstance(i, AssetRecord) and i.external_kind == "vm"}


def one(number: int = 1, **changed: Any) -> dict[str, Any]:
    return documents(kept.vm(number, **changed))[kept.vm_id(number)]


def host_of(**changed: Any) -> dict[str, Any]:
    raw = kept.node(kept.answer("hv1", [], host=kept.host("hv1", **changed)))
    document: dict[str, Any] = items_of(raw)[0].document
    return document


def kinds(document: dict[str, Any], kind: str) -> list[str]:
    return [entry["value"] for entry in document["identifiers"] if entry["kind"] == kind]


def test_a_machine_is_told_whole() -> None:
    document = documents(kept.vm(1, dynamic=True, mem_max=8589934592), cluster=kept.cluster())[kept.vm_id(1)]
    assert document["identity"] == {
        "cloud_native_id": kept.vm_id(1),
        "hostname": "app01",
        "machine_uuid": "a1b2c3d4-e5f6-4789-abcd-000000000001",
        "mgmt_ip": "192.0.2.2",
        "serial_number": "6093-1857-4416-2029-0001-5312-72",
        "generation": {"created": "2025-03-04T08:15:30Z", "uuid": "a1b2c3d4-e5f6-4789-abcd-000000000001"},
    }
    assert document["hardware"] == {"cpu_count": 4, "memory_bytes": 4294967296, "disk_total_bytes": 136365211648}
    assert document["os"] == {"family": "windows", "name": "Windows Server 2019 Standard", "version": "10.0.17763"}
    assert document["runtime"] == {"power_state": "running", "virtualization": "hyperv"}
    assert document["relations"] == [{"kind": "runs_on", "external_kind": "host", "external_id": "hv1"}]
    assert document["custom_fields"] == {
        "cluster": "hvclu",
        "generation": "2",
        "configuration_version": "9.0",
        "dynamic_memory": True,
        "memory_maximum_bytes": 8589934592,
        "clustered": True,
        "switches": ["Tenant"],
        "vlans": [120],
        "guest_hostname": "app01.example.com",
    }
    assert document["network"]["mac_addresses"] == ["00:15:5d:00:00:01"]
    assert document["network"]["ip_addresses"] == ["192.0.2.2", "fe80::215:5dff:fe00:1"]
    assert kinds(document, "ip") == ["192.0.2.2"]
    assert kinds(document, "hyperv_guid") == [kept.vm_id(1)]


def test_a_guests_uuid_is_told_once_as_it_is_told() -> None:
    assert kinds(one(), "smbios_uuid") == ["a1b2c3d4-e5f6-4789-abcd-000000000001"]
    assert kinds(one(bios_guid="A1B2C3D4-E5F6-4789-ABCD-000000000001"), "smbios_uuid") == kinds(one(), "smbios_uuid")


@pytest.mark.parametrize("told", ["{00000000-0000-0000-0000-000000000000}", "nonsense", None, "", 7, ["x"]])
def test_a_uuid_that_is_none_is_unknown(told: Any) -> None:
    document = one(bios_guid=told)
    assert "machine_uuid" not in document["identity"]
    assert "generation" not in document["identity"]
    assert "identity.machine_uuid" in document["unknown"]
    assert kinds(document, "smbios_uuid") == []


@pytest.mark.parametrize("state", sorted(NAMES))
def test_every_state_is_a_power_by_its_name_and_below_32783_by_its_number(state: int) -> None:
    by_name, by_number = one(state=state, state_name=NAMES[state]), one(state=state, state_name=None)
    assert by_name["runtime"] == by_number["runtime"]
    assert by_name["runtime"]["power_state"] == power_of(state, "") != "unknown"
    assert by_name["custom_fields"].get("state", "") == by_number["custom_fields"].get("state", "")


@pytest.mark.parametrize(
    ("number", "name", "power", "label"),
    [
        (2, "Running", "running", ""),
        (3, "Off", "stopped", ""),
        (6, "Saved", "suspended", "saved"),
        (9, "Paused", "paused", "paused"),
        (10, "Starting", "running", "starting"),
        (32779, "FastSaved", "suspended", "fast saved"),
        # the same number, by releases
        (32783, "RunningCritical", "running", "running, critical"),
        (32783, "Hibernated", "suspended", "hibernated"),
        (32784, "OffCritical", "stopped", "off, critical"),
        (32785, "StoppingCritical", "running", "stopping, critical"),
        (32785, "RunningCritical", "running", "running, critical"),
        (32786, "SavedCritical", "suspended", "saved, critical"),
        (32786, "OffCritical", "stopped", "off, critical"),
        (32796, "FastSavingCritical", "running", "fast saving, critical"),
        # what no document says of, or no release has yet
        (32784, "ComponentServicing", "unknown", "ComponentServicing"),
        (1, "Other", "unknown", "Other"),
        (32797, "32797", "unknown", "state 32797"),
        (32783, "", "unknown", "state 32783"),
        (99, "", "unknown", "state 99"),
        (None, "", "unknown", ""),
    ],
)
def test_states_are_what_their_names_say(number: int | None, name: str, power: str, label: str) -> None:
    assert (power_of(number, name), state_label(number, name)) == (power, label)


def test_a_number_that_means_another_state_in_each_release_is_none_without_its_name() -> None:
    document = one(state=32784, state_name=None)
    assert document["runtime"]["power_state"] == "unknown"
    assert "state 32784 is not the same in every release" in document["unknown"]["runtime.power_state"]
    assert document["custom_fields"]["state"] == "state 32784"
    assert "documented nowhere" in one(state=32784, state_name="ComponentServicing")["unknown"]["runtime.power_state"]


def test_a_machine_has_the_serial_number_that_its_guest_shows() -> None:
    document = one()
    assert document["identity"]["serial_number"] == "6093-1857-4416-2029-0001-5312-72"
    assert kinds(document, "serial") == ["6093-1857-4416-2029-0001-5312-72"]
    for told in (None, "", "None", "0000000"):
        document = one(serial=told)
        assert "serial_number" not in document["identity"]
        assert kinds(document, "serial") == []
        assert ("placeholder" in document["unknown"]["identity.serial_number"]) is bool(told)
    refused = one(serial=None, errors=[kept.DENIED | {"where": "bios"}])
    assert refused["unknown"]["identity.serial_number"].startswith("HYPERV_PERMISSION_DENIED")


def test_of_a_stopped_machine_addresses_and_system_are_unknown_and_never_empty() -> None:
    nics = [kept.vm(1)["nics"][0] | {"ips": []}]
    document = one(state=3, nics=nics, guest=dict.fromkeys(kept.vm(1)["guest"]), mem_assigned=0)
    assert "ip_addresses" not in document["network"]
    for path in ("network.ip_addresses", "identity.mgmt_ip", "os.family", "os.version", "custom_fields.guest_hostname"):
        assert document["unknown"][path].startswith(
            "HYPERV_INTEGRATION_SERVICES_UNAVAILABLE: the virtual machine does not run"
        )
    assert document["hardware"]["memory_bytes"] == 4294967296


def test_a_guest_without_integration_services_says_so() -> None:
    document = one(nics=[kept.vm(1)["nics"][0] | {"ips": ""}], guest=dict.fromkeys(kept.vm(1)["guest"]))
    assert document["unknown"]["network.ip_addresses"].endswith("its integration services tell no address")
    assert document["unknown"]["os.family"].endswith("its integration services tell nothing of its system")


def test_a_linux_guest_tells_its_distribution_and_its_kernel() -> None:
    guest = {
        "os_name": "Ubuntu",
        "os_version": "5.15.0",
        "os_major": "22",
        "os_build": "5.15.0-91-generic",
        "os_platform": None,
    }
    document = one(guest=guest | {"fqdn": "app01"})
    assert document["os"] == {"family": "linux", "name": "Ubuntu", "version": "22", "kernel": "5.15.0-91-generic"}
    assert one(guest=guest | {"os_name": "FreeBSD"})["os"]["family"] == "freebsd"
    assert "of no family" in one(guest=guest | {"os_name": "TempleOS"})["unknown"]["os.family"]


def test_a_disk_without_a_size_makes_the_sum_unknown_and_never_smaller() -> None:
    disk = kept.vm(1)["disks"][0]
    denied = kept.DENIED | {"where": "vhd"}
    for other, code in (
        (disk | {"number": 3, "path": "Disk 3 40.00 GB Bus 0 Lun 1 Target 0", "size": None}, "HYPERV_DISK_UNKNOWN"),
        (disk | {"error": denied, "size": None}, "HYPERV_DISK_UNKNOWN"),
        (disk | {"path": None, "size": None}, "HYPERV_DISK_UNKNOWN"),
        (disk | {"path": "D:\\b.vhdx", "size": None}, "HYPERV_PARSE_ERROR"),
        (disk | {"path": "D:\\b.vhdx", "size": -1}, "HYPERV_PARSE_ERROR"),
        ("D:\\b.vhdx", "HYPERV_PARSE_ERROR"),
    ):
        for disks in ([disk, other], [other, disk]):
            document = one(disks=disks)
            assert "disk_total_bytes" not in document["hardware"]
            assert document["unknown"]["hardware.disk_total_bytes"].startswith(code), other


def test_disks_are_summed_once_a_file() -> None:
    disk = kept.vm(1)["disks"][0]
    upper = disk | {"path": disk["path"].upper()}
    other = disk | {"path": "S:\\shared.vhds", "size": 1, "shared": None}
    document = one(disks=[disk, upper, other])
    assert document["hardware"]["disk_total_bytes"] == disk["size"] + 1
    assert document["custom_fields"]["shared_disks"] == 1
    assert "it has no disk" in one(disks=[])["unknown"]["hardware.disk_total_bytes"]


def test_an_adapter_that_was_never_started_has_no_mac() -> None:
    nics = [kept.vm(1)["nics"][0] | {"mac": "000000000000"}]
    assert one(nics=nics)["network"]["mac_addresses"] == []
    assert kinds(one(nics=nics), "mac") == []


def test_one_address_that_is_none_makes_all_unknown() -> None:
    nics = [kept.vm(1)["nics"][0] | {"ips": ["192.0.2.2", "not an address"]}]
    document = one(nics=nics)
    assert "ip_addresses" not in document["network"]
    assert document["unknown"]["network.ip_addresses"].startswith("HYPERV_PARSE_ERROR")


def test_loopback_is_no_address_and_link_local_identifies_nobody() -> None:
    nics = [kept.vm(1)["nics"][0] | {"ips": ["127.0.0.1", "::1", "0.0.0.0", "169.254.1.2", "fe80::1"]}]
    document = one(nics=nics)
    assert document["network"]["ip_addresses"] == ["169.254.1.2", "fe80::1"]
    assert kinds(document, "ip") == []
    assert document["unknown"]["identity.mgmt_ip"].endswith("none of its addresses is its own")


@pytest.mark.parametrize(
    ("where", "field", "paths"),
    [
        ("nics", "nics", ["network.mac_addresses", "network.ip_addresses", "custom_fields.switches"]),
        ("disks", "disks", ["hardware.disk_total_bytes"]),
        ("guest", "guest", ["os.family", "os.version", "custom_fields.guest_hostname"]),
        ("bios", "bios_guid", ["identity.machine_uuid"]),
        ("vm", "vcpu", ["hardware.cpu_count"]),
    ],
)
def test_what_the_script_could_not_read_of_a_machine_is_unknown_with_its_reason(
    where: str, field: str, paths: list[str]
) -> None:
    for error, code in ((kept.ERROR, errors.SCRIPT_FAILED), (kept.DENIED, errors.PERMISSION_DENIED)):
        bad = [kept.vm(number, **{field: None}, errors=[error | {"where": where}]) for number in (1, 2)]
        found = items_of(kept.node(kept.answer("hv1", [*bad, kept.vm(3)])))
        records = {i.external_id: i for i in found if isinstance(i, AssetRecord)}
        assert len(records) == 4
        for path in paths:
            assert records[kept.vm_id(1)].document["unknown"][path].startswith(code.code)
            assert path not in records[kept.vm_id(3)].document["unknown"]
        (caution,) = [i for i in found if isinstance(i, Caution)]
        assert caution.code is code
        assert caution.message.endswith(", of app01, app02")


def test_disks_that_failed_are_told_once_for_all() -> None:
    error = kept.ERROR | {"where": "vhd", "id": "OperationFailed,Microsoft.Vhd.PowerShell.Cmdlets.GetVhd"}
    bad = [kept.vm(n, disks=[kept.vm(n)["disks"][0] | {"size": None, "error": error}]) for n in range(1, 16)]
    (caution,) = [i for i in items_of(kept.node(kept.answer("hv1", bad))) if isinstance(i, Caution)]
    assert caution.code is errors.DISK_UNKNOWN
    assert "(OperationFailed), of app01," in caution.message
    assert caution.message.endswith("and 5 more")


@pytest.mark.parametrize(
    ("mode", "state", "replication_state", "asset"),
    [
        (2, 3, 4, False),
        (4, 3, 1, False),
        (2, 3, None, False),
        (2, 2, 4, True),
        (4, 9, 6, True),
        (2, 3, 5, True),
        (2, 3, 6, True),
        (2, 3, 7, True),
        (3, 2, 6, False),
        (1, 3, 4, True),
        (0, 3, 0, True),
    ],
)
def test_a_replica_that_runs_or_was_failed_over_is_a_machine(
    mode: int, state: int, replication_state: int | None, asset: bool
) -> None:
    told = kept.vm(1, replication_mode=mode, state=state, replication_state=replication_state)
    assert bool(documents(told)) is asset
    cautions = [item for item in parse(kept.survey(kept.standalone(told)), {}) if isinstance(item, Caution)]
    failed_over = asset and mode in (2, 4)
    assert [(item.code, item.locator) for item in cautions] == [(errors.FAILED_OVER, "app01")] * failed_over


def test_a_replica_is_no_asset_and_neither_is_what_another_node_has() -> None:
    told = [kept.vm(1), *(kept.vm(mode, replication_mode=mode, state=3) for mode in (2, 3, 4))]
    told += [kept.vm(5, replication_mode=1), kept.vm(6)]
    raw = kept.node(kept.answer("hv1", told), elsewhere={kept.vm_id(6): "hv2"})
    assert [i.external_id for i in items_of(raw)] == ["hv1", kept.vm_id(1), kept.vm_id(5)]


def test_of_several_answers_of_a_node_the_last_that_has_a_machine_counts() -> None:
    first = kept.answer("hv1", [kept.vm(1, state=2), kept.vm(2)])
    second = kept.answer("hv1", [kept.vm(1, state=3)])
    found = {i.external_id: i for i in items_of(kept.node(first, second)) if isinstance(i, AssetRecord)}
    assert set(found) == {"hv1", kept.vm_id(1), kept.vm_id(2)}
    assert found[kept.vm_id(1)].document["runtime"]["power_state"] == "stopped"


def test_a_host_is_told_whole() -> None:
    answer = kept.answer("hv1", [], cluster=kept.cluster())
    record = items_of(kept.node(answer))[0]
    document = record.document
    assert (record.external_kind, record.external_id) == ("host", "hv1")
    assert document["asset_type"] == "physical"
    assert document["identity"]["hostname"] == "HV1.example.com"
    assert document["hardware"] == {
        "cpu_count": 64,
        "memory_bytes": 412316860416,
        "vendor": "Dell Inc.",
        "model": "PowerEdge R740",
    }
    assert document["os"]["family"] == "windows"
    assert document["custom_fields"]["cpu_sockets"] == 2
    assert document["relations"] == [{"kind": "member_of", "external_kind": "cluster", "external_id": "hvclu"}]
    assert len(kinds(document, "smbios_uuid")) == 1


def test_a_host_in_no_cluster_is_a_member_of_nothing_and_one_that_may_not_say_is_not() -> None:
    assert items_of(kept.node(kept.answer("hv1", [])))[0].document["relations"] == []
    denied = kept.cluster(name=None, error=kept.DENIED | {"where": "cluster"})
    document = items_of(kept.node(kept.answer("hv1", [], cluster=denied)))[0].document
    assert "relations" not in document
    assert document["unknown"]["relations"].startswith("HYPERV_PERMISSION_DENIED")


def test_a_host_is_managed_by_the_address_it_was_dialled_by() -> None:
    answer = kept.answer("hv1", [], host=kept.host("hv1", ips=["198.51.100.200", "198.51.100.7", "2001:db8::7"]))
    for address, managed in (
        ("198.51.100.7:5986", "198.51.100.7"),
        ("198.51.100.7", "198.51.100.7"),
        ("[2001:db8::7]:5986", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("hv1.example.com:5986", "198.51.100.200"),
    ):
        raw = kept.node(answer)
        raw = replace(raw, document={**raw.document, "address": address})
        assert items_of(raw)[0].document["identity"]["mgmt_ip"] == managed


def test_placeholders_of_firmware_are_no_identity() -> None:
    document = host_of(uuid="03000200-0400-0500-0006-000700080009", serial="To be filled by O.E.M.")
    assert "placeholder" in document["unknown"]["identity.serial_number"]
    assert "placeholder" in document["unknown"]["identity.machine_uuid"]
    assert "generation" not in document["identity"]


def test_what_is_known_is_only_seen_again_and_what_changes_hourly_is_no_change() -> None:
    first = items_of(kept.node(kept.answer("hv1", [kept.vm(1)])))
    known = {item.record_digest: item.external_id for item in first}
    later = kept.node(kept.answer("hv1", [kept.vm(1, mem_assigned=1)], at="2026-11-02T18:30:02Z"))
    assert all(isinstance(item, UnchangedRecord) for item in parse(later, known))
    other = list(parse(kept.node(kept.answer("hv2", [kept.vm(1)])), known))
    assert all(isinstance(item, AssetRecord) for item in other)
    changed = list(parse(kept.node(kept.answer("hv1", [kept.vm(1, vcpu=8)])), known))
    assert isinstance(changed[1], AssetRecord)


def test_a_fault_is_told_every_time() -> None:
    raw = kept.node(kept.answer("hv1", [kept.vm(1, vcpu="many")]))
    first = items_of(raw)
    known = {item.record_digest: item.external_id for item in first if isinstance(item, AssetRecord)}
    again = list(parse(raw, known))
    assert [type(item) for item in again] == [UnchangedRecord, UnchangedRecord, Caution]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"v": 2}, "version 1"),
        ({"v": None}, "version 1"),
        ({"ask": "everything"}, "what was asked"),
        ({"host": None}, "which computer"),
        ({"host": {"name": ""}}, "which computer"),
        ({"count": 3}, "counts 3 virtual machines and has 1"),
        ({"count": None}, "counts None virtual machines"),
        ({"items": None}, "counts 1 virtual machines and has 0"),
        ({"items": ["x"]}, "no list of objects"),
        ({"items": [{"name": "app01"}]}, "virtual machine 1 has no id"),
        ({"items": [{"id": "00000000-0000-0000-0000-000000000000"}]}, "has no id"),
        ({"items": [kept.vm(1), kept.vm(1)], "count": 2}, "two virtual machines with one id"),
        ({"second": {"ids": ["HV1"]}}, "something else than ids"),
        ({"cluster": "HVCLU"}, "of its cluster"),
        ({"cluster": kept.cluster({"": 0}, {})}, "list of nodes"),
        ({"cluster": kept.cluster({"hv1": 0}) | {"vms": [{"name": "x"}]}}, "has no id"),
    ],
)
def test_an_answer_that_could_hide_a_machine_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(PermanentError, match=said) as refused:
        kept.answer("hv1", [kept.vm(1)], **changed)
    assert refused.value.code is errors.PARSE_ERROR


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_an_answer_cut_anywhere_is_refused(part: float) -> None:
    raw = kept.node(kept.answer("hv1", [kept.vm(number) for number in range(1, 9)]))
    for body in (raw.body[: int(len(raw.body) * part)], raw.body[: int(len(raw.body) * part)] + b"\n"):
        with pytest.raises(PermanentError) as refused:
            list(parse(replace(raw, body=body), {}))
        assert refused.value.code is errors.PARSE_ERROR


def test_a_record_with_an_answer_less_or_of_another_host_is_refused() -> None:
    raw = kept.node(kept.answer("hv1", [kept.vm(1)]), kept.answer("hv1", [kept.vm(1)]))
    for damaged in (
        replace(raw, body=raw.body[: len(raw.body) // 2]),
        replace(raw, body=raw.body + b"{"),
        replace(raw, document={**raw.document, "node": "hv2"}),
        replace(raw, document={**raw.document, "elsewhere": None}),
        replace(raw, document={**raw.document, "part": "guests"}),
    ):
        with pytest.raises(PermanentError):
            list(parse(damaged, {}))


def test_a_secret_in_a_name_is_not_kept() -> None:
    raw = kept.node(kept.answer("hv1", [kept.vm(1, name="https://user:hunter2@example.com/")]))
    assert raw.redacted
    assert b"hunter2" not in raw.body
    assert items_of(raw)[1].document["identity"]["hostname"] == "[redacted]"
    plain = kept.node(kept.answer("hv1", [kept.vm(1)]))
    assert not plain.redacted


def test_chinese_names_and_halves_of_characters_are_taken() -> None:
    item = kept.vm(1, name="财务-数据库")
    text = kept.printed("hv1", [item]).replace("财务".encode(), b"\\ud83d\\u0000")
    found = items_of(kept.node(read_answer(text, "hv1")))
    assert found[1].document["identity"]["hostname"].endswith("-数据库")
    assert one(name="财务-数据库")["identity"]["hostname"] == "财务-数据库"


def test_windows_powershells_own_shapes_mean_the_same() -> None:
    plain = kept.vm(1)
    odd = plain | {
        "id": "{" + plain["id"].upper() + "}",
        "vcpu": "4",
        "mem_startup": 4294967296.0,
        "state": "2",
        "dynamic": "False",
        "nics": plain["nics"][0] | {"ips": {"value": plain["nics"][0]["ips"], "Count": 2}},
        "disks": {"value": plain["disks"], "Count": 1},
        "errors": None,
    }
    text = json.dumps(json.loads(kept.printed("hv1", [odd])) | {"items": odd, "count": "1"}).encode()
    raw = kept.node(read_answer(b"\xef\xbb\xbf" + text, "hv1"))
    (document,) = [i.document for i in items_of(raw) if isinstance(i, AssetRecord) and i.external_kind == "vm"]
    assert document == one()


STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["", "0", "16", "True", "{}", "äöü 虚拟机", "\x00", "9" * 30, "192.0.2.1", "::1%5"]),
    st.lists(
        st.one_of(st.none(), st.text(max_size=5), st.integers(), st.dictionaries(st.text(max_size=3), st.integers()))
    ),
    st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=5), st.integers(), st.none()), max_size=3),
)


def spoiled(data: st.DataObject, told: Any) -> Any:
    """Return an object in which one value, at any depth, is another."""
    if isinstance(told, dict) and told and data.draw(st.integers(0, 5)):
        key = data.draw(st.sampled_from(sorted(told)))
        if data.draw(st.integers(0, 9)) == 0:
            return {name: value for name, value in told.items() if name != key}
        return told | {key: spoiled(data, told[key])}
    if isinstance(told, list) and told and data.draw(st.integers(0, 5)):
        return [spoiled(data, told[0]), *told[1:]]
    return data.draw(STRANGE)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_one_machine_tells_the_others_stand_and_every_document_is_valid(data: st.DataObject) -> None:
    item = spoiled(data, kept.vm(1))
    item = item if isinstance(item, dict) else kept.vm(1)
    item["id"] = kept.vm_id(1)
    found = items_of(kept.node(kept.answer("hv1", [item, kept.vm(2)], second={"ids": []})))
    documents = {i.external_id: i.document for i in found if isinstance(i, AssetRecord)}
    assert documents[kept.vm_id(2)] == one(2)
    for document in documents.values():
        for fact in (
            "hardware.cpu_count",
            "hardware.memory_bytes",
            "hardware.disk_total_bytes",
            "os.family",
            "os.version",
        ):
            group, _, key = fact.partition(".")
            assert (key in document.get(group, {})) != (fact in document["unknown"]), fact


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_an_answer_tells_it_is_refused_by_name_or_gives_valid_documents(data: st.DataObject) -> None:
    told = spoiled(
        data, json.loads(kept.printed("hv1", [kept.vm(1)], "whole", cluster=kept.cluster({"hv1": 0}, {1: "hv1"})))
    )
    try:
        answer = read_answer(json.dumps(told).encode(), "hv1")
        raw = kept.node(answer)
    except PermanentError as refused:
        assert refused.code is errors.PARSE_ERROR  # noqa: PT017
        assert refused.target == "hv1"  # noqa: PT017
        return
    if answer.ok and answer.count is not None and answer.ask in ("whole", "own"):
        machines = [i for i in items_of(raw) if isinstance(i, AssetRecord) and i.external_kind == "vm"]
        assert (
            len(machines)
            == sum(not vm.replica for vm in answer.seen)
            == answer.count - sum(vm.replica for vm in answer.seen)
        )


@given(STRANGE)
def test_values_of_any_kind_are_something_or_nothing(told: Any) -> None:
    number = whole(told)
    assert number is None or 0 <= number < 1 << 63
    assert flag(told) in (None, True, False)
    assert isinstance(rows(told), list)
    assert isinstance(node_name(told), str)
    assert guid(told) is None


@given(st.uuids(), st.booleans(), st.booleans())
def test_an_id_is_one_however_it_is_spelled(told: Any, upper: bool, braces: bool) -> None:
    spelled = str(told).upper() if upper else str(told)
    found = guid(f" {{{spelled}}} " if braces else spelled)
    assert found == (str(told) if told.int else None)
