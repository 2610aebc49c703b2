"""A report as a document of the ledger: which address manages the machine, what identifies it, what is not the same."""

from __future__ import annotations

import json

import pytest

from asset_ledger.domain.inventory import AssetRecord, Caution, TargetFailure
from asset_ledger.domain.normalized import validate
from asset_ledger.sources.agent.accept import record
from asset_ledger.sources.agent.config import AgentConfig
from tests.agents.payloads import MACHINES, camel, collected, lower, payload
from tests.sources.agent.made import CLIENT, delivered, document_of, items_of, raw_of

TWO = ["192.0.2.10/24", "198.51.100.10/24"]


@pytest.mark.parametrize(
    ("said", "peer", "address"),
    [
        ({"addresses": TWO, "management_ip": "198.51.100.10"}, "192.0.2.10", "198.51.100.10"),
        # a name for it that it does not have is none: then where it spoke from
        ({"addresses": TWO, "management_ip": "203.0.113.9"}, "192.0.2.10", "192.0.2.10"),
        # behind a gateway there is only what it has, where that is one
        ({"addresses": ["192.0.2.10/24"]}, "203.0.113.1", "192.0.2.10"),
        ({"addresses": ["192.0.2.10/24", "2001:db8::10/64"]}, None, "192.0.2.10"),
        ({"addresses": ["2001:db8::10/64"]}, "::ffff:203.0.113.1", "2001:db8::10"),
        ({"addresses": ["192.0.2.10/24"]}, "::ffff:192.0.2.10", "192.0.2.10"),
        ({"addresses": TWO}, "203.0.113.1", None),
        ({"addresses": ["169.254.3.4/16"]}, "169.254.3.4", None),
        ({"addresses": TWO, "management_ip": "127.0.0.1"}, "127.0.0.1", None),
    ],
)
def test_a_machine_is_managed_by_an_address_that_it_has(
    said: dict[str, object], peer: str | None, address: str | None
) -> None:
    found = items_of(payload(**said), peer=peer)
    assert isinstance(found[0], AssetRecord)
    identity, unknown = found[0].document["identity"], found[0].document["unknown"]
    assert identity.get("mgmt_ip") == address
    assert ("identity.mgmt_ip" in unknown) == (address is None)
    cautions = [one.code.code for one in found if isinstance(one, Caution)]
    assert cautions == ([] if address else ["AGENT_NO_MANAGEMENT_ADDRESS"])


def test_memory_and_file_systems_are_told_apart_from_the_hardware() -> None:
    document = document_of("sles")
    assert "disk_total_bytes" not in document["hardware"]
    assert "file systems" in document["unknown"]["hardware.disk_total_bytes"]
    within = document["custom_fields"]["agent"]
    assert within["filesystem_total_bytes"] == 52_425_397_248
    assert within["memory_seen_by_os_bytes"] == document["hardware"]["memory_bytes"]


def test_a_mac_tells_physical_cores_and_no_logical_ones() -> None:
    document = document_of("darwin")
    assert "cpu_count" not in document["hardware"]
    assert "10 physical cores" in document["unknown"]["hardware.cpu_count"]
    assert document["custom_fields"]["agent"]["physical_cores"] == 10


def test_a_host_id_may_be_the_firmwares_and_is_spelled_both_ways() -> None:
    uuids = [one["value"] for one in document_of()["identifiers"] if one["kind"] == "smbios_uuid"]
    assert uuids == ["4c4c4544-0042-3510-8051-b7c04f4e3932", "44454c4c-4200-1035-8051-b7c04f4e3932"]
    assert "machine_uuid" not in document_of()["identity"], "nobody says that it is the firmware's"


def test_in_a_container_the_hosts_uuid_is_not_the_machines() -> None:
    document = document_of(virtualization_system="docker", virtualization_role="guest")
    assert "smbios_uuid" not in {one["kind"] for one in document["identifiers"]}
    assert document["asset_type"] == "vm"


@pytest.mark.parametrize(
    ("os", "family"),
    [("linux", "debian"), ("sles", "suse"), ("rocky", "rhel"), ("windows", "windows"), ("darwin", "darwin")],
)
def test_a_family_is_spelled_as_probes_spell_it(os: str, family: str) -> None:
    assert document_of(os)["os"]["family"] == family


def test_a_distribution_that_nobody_knows_is_linux() -> None:
    assert document_of(platform="nixos", platform_family="")["os"]["family"] == "linux"


def test_what_containers_make_is_not_the_machines() -> None:
    document = document_of("docker")
    assert document["network"]["ip_addresses"] == ["192.0.2.10", "2001:db8::5054:ff:fe12:3456"]
    assert [one["name"] for one in document["network"]["interfaces"]] == ["ens18"]
    assert "02:42:5c:11:22:33" not in json.dumps(document)


def test_what_a_machine_is_busy_with_makes_no_other_document() -> None:
    busy = document_of(uptime=9, procs=4000, cpu_usage_percent=99.0)
    assert busy == document_of()


@pytest.mark.parametrize("spelled", [camel, lower])
@pytest.mark.parametrize("os", list(MACHINES))
def test_every_spelling_of_gopsutil_gives_the_same_document(os: str, spelled: object) -> None:
    first, other = (items_of(each)[0] for each in (payload(os), spelled(payload(os))))  # type: ignore[operator]
    assert isinstance(first, AssetRecord)
    assert isinstance(other, AssetRecord)
    assert first.document == other.document
    assert first.record_digest != other.record_digest


def test_this_machine_as_psutil_reads_it_is_a_document() -> None:
    (found, *_) = items_of(collected())
    assert isinstance(found, AssetRecord)
    validate(found.document, target="this machine")
    assert found.document["hardware"]["cpu_count"] >= 1


@pytest.mark.parametrize("body", [b"", b"[]", b'{"cpu": []}', b"\xff", b'{"host": {"hostname": 7}}'])
def test_what_is_no_report_is_a_failure_of_its_client_alone(body: bytes) -> None:
    (found,) = items_of(body)
    assert isinstance(found, TargetFailure)
    assert (found.external_id, found.code.code, found.mgmt_ip) == (CLIENT, "AGENT_PAYLOAD_INVALID", None)
    assert found.message


def test_a_report_is_kept_as_it_was_received() -> None:
    came = delivered(json.dumps(payload(), indent=7).encode(), peer="192.0.2.10")
    raw = record(came)
    assert (raw.body, raw.sha256, raw.redacted) == (came.body, came.sha256, False)
    assert (raw.target, raw.observed_at, raw.document["peer"]) == (CLIENT, came.observed_at, "192.0.2.10")


def test_a_secret_in_a_report_is_not_kept_and_the_rest_is() -> None:
    document = payload(
        db_password="hunter2",
        proxy="http://user:hunter2@proxy:3128/",
        notes=[{"api_key": ["hunter2"], "text": "fine"}],
    )
    document["disks"].append({"device": "//nas/x", "fstype": "cifs", "opts": "rw,username=a,password=hunter2,vers=3"})
    raw = raw_of(document)
    assert raw.redacted
    assert b"hunter2" not in raw.body
    kept = json.loads(raw.body)
    assert kept["notes"] == [{"api_key": "[redacted]", "text": "fine"}]
    assert kept["disks"][-1]["opts"] == "rw,username=a,password=[redacted],vers=3"
    assert kept["host"] == document["host"]
    assert isinstance(items_of(document)[0], AssetRecord)


def test_what_is_no_json_and_holds_a_secret_is_not_kept() -> None:
    raw = raw_of(b"{ http://user:hunter2@proxy/ ")
    assert (raw.body, raw.redacted) == (b"", True)
    assert raw_of(b"{ nothing").body == b"{ nothing"


def test_a_source_names_a_tenant_as_tenants_are_named() -> None:
    assert AgentConfig(name="a", platform="agent", tenant="acme-1").tenant == "acme-1"
    with pytest.raises(ValueError, match="tenant"):
        AgentConfig(name="a", platform="agent", tenant="Acme")
