"""Raw records of many systems to documents, and what may never come of a broken one. Pure: no sshd, no clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.inventory import AssetRecord, Caution, TargetFailure
from asset_ledger.domain.normalized import validate
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.ssh import PLATFORM
from asset_ledger.sources.ssh.sections import split, without_secrets

NONCE = "0123456789abcdef"
GIB = 1 << 30
FOLDER = Path(__file__).parents[2] / "fixtures" / "ssh"


def raw_of(body: bytes, *, here: bool = False, mgmt_ip: str | None = "192.0.2.10", **document: Any) -> RawRecord:
    asked = {"asset_id": None if here else "a1", "mgmt_ip": None if here else mgmt_ip}
    return RawRecord(
        target="local:x" if here else mgmt_ip or "x",
        media_type="text/x-probe-sections",
        body=body,
        sha256=sha256(body).digest(),
        document={"target": asked, "transport": "local" if here else "ssh", "nonce": NONCE, "error": None} | document,
        observed_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def fixture(name: str) -> bytes:
    return (FOLDER / f"{name}.txt").read_bytes()


def document(name: str, **options: Any) -> dict[str, Any]:
    [item] = PLATFORM.parse(raw_of(fixture(name), **options), {})
    assert isinstance(item, AssetRecord), item
    validate(item.document, target=name)
    return item.document


def identifiers(found: dict[str, Any], kind: str) -> set[str]:
    return {i["value"] for i in found["identifiers"] if i["kind"] == kind}


@pytest.mark.parametrize(
    ("name", "cpu", "memory_kib", "disk_bytes", "os"),
    [
        ("debian-12", 4, 8131040, 60 * GIB, ("debian", "Debian GNU/Linux 12 (bookworm)", "12")),
        ("rhel-9", 16, 65538240, 2 * 960197124096, ("rhel", "Red Hat Enterprise Linux 9.4 (Plow)", "9.4")),
        ("centos-7", 2, 3880172, 40 * GIB, ("rhel", "CentOS Linux 7 (Core)", "7")),
        ("centos-6", 1, 1018508, 20 * GIB, ("rhel", "CentOS release 6.10 (Final)", "6.10")),
        ("alpine-busybox", 2, 2019520, 8 * GIB, ("alpine", "Alpine Linux v3.20", "3.20.0")),
        ("sles-15", 8, 3698612, 100 * GIB, ("suse", "SUSE Linux Enterprise Server 15 SP5", "15.5")),
        ("sles-11", 2, 1922620, 16 * GIB, ("suse", "SUSE Linux Enterprise Server 11 (x86_64)", "11.4")),
        ("chinese-hostname", 8, 16266240, 40 * GIB, ("openeuler", "openEuler 22.03 (LTS-SP1) 华为", "22.03")),
        ("lxc-container", 2, 2097152, None, ("debian", "Debian GNU/Linux 12 (bookworm)", "12")),
    ],
)
def test_each_family_is_read_by_its_own_means(
    name: str, cpu: int, memory_kib: int, disk_bytes: int | None, os: tuple[str, str, str]
) -> None:
    found = document(name)
    assert found["hardware"]["cpu_count"] == cpu
    assert found["hardware"]["memory_bytes"] == memory_kib * 1024
    assert found["hardware"].get("disk_total_bytes") == disk_bytes
    assert (found["os"]["family"], found["os"]["name"], found["os"]["version"]) == os


def test_every_field_that_is_absent_has_its_reason() -> None:
    for path in FOLDER.glob("*.txt"):
        found = document(path.stem)
        for group, keys in {
            "identity": ("hostname", "mgmt_ip", "machine_uuid", "serial_number"),
            "hardware": ("cpu_count", "memory_bytes", "disk_total_bytes", "vendor", "model"),
            "os": ("family", "name", "version", "kernel"),
        }.items():
            for key in keys:
                assert (key in found[group]) != (f"{group}.{key}" in found["unknown"]), (path.stem, key)


def test_one_lun_by_four_paths_is_one_disk() -> None:
    found = document("multipath")
    # 1 TiB LUN once, the system disk, two disks whose wwid says nothing; no USB stick, no network block device
    assert found["hardware"]["disk_total_bytes"] == 1099511627776 + 240057409536 + 2 * 536870912000


def test_half_of_a_disk_list_is_no_sum() -> None:
    body = fixture("debian-12").replace(
        b"zram0 disk 4294967296  0  0\n\n@@0123456789abcdef:rc=0@@", b"\n@@0123456789abcdef:rc=1@@"
    )
    found = _parsed(body)
    assert "disk_total_bytes" not in found["hardware"]
    assert found["unknown"]["hardware.disk_total_bytes"] == "SSH_SECTION_FAILED: lsblk rc 1"
    assert found["hardware"]["cpu_count"] == 4


def _parsed(body: bytes, **options: Any) -> dict[str, Any]:
    [item] = PLATFORM.parse(raw_of(body, **options), {})
    assert isinstance(item, AssetRecord), item
    return item.document


def test_no_lsblk_and_no_kernel_list_says_so() -> None:
    found = document("solaris-ifconfig")
    assert found["unknown"]["hardware.disk_total_bytes"] == "SSH_SECTION_FAILED: lsblk rc 127"
    assert found["unknown"]["hardware.memory_bytes"] == "SSH_SECTION_FAILED: meminfo rc 2"
    assert found["hardware"]["cpu_count"] == 4
    assert found["os"] == {"family": "sunos", "kernel": "5.11"}
    assert identifiers(found, "mac") == {"00:50:56:00:00:3d"}
    assert identifiers(found, "ip") == {"192.0.2.61"}


def test_a_container_does_not_claim_its_hosts_disks_and_serial() -> None:
    found = document("lxc-container")
    assert found["unknown"]["hardware.disk_total_bytes"] == "SSH_CONTAINER: lxc shows its host's disks"
    assert "serial_number" not in found["identity"]
    assert "machine_uuid" not in found["identity"]
    assert not identifiers(found, "serial") | identifiers(found, "smbios_uuid")
    assert found["runtime"]["virtualization"] == "lxc"
    assert found["asset_type"] == "vm"
    assert identifiers(found, "ip") == {"192.0.2.101"}


@pytest.mark.parametrize(
    ("name", "virtualization", "asset_type"),
    [
        ("debian-12", "kvm", "vm"),
        ("rhel-9", "none", "physical"),
        ("sles-15", "microsoft", "vm"),
        ("alpine-busybox", "vm-other", "vm"),
        ("multipath", "none", "physical"),
        ("chinese-hostname", "kvm", "vm"),
        ("sles-11", None, None),
    ],
)
def test_physical_is_said_only_where_the_machine_shows_it(
    name: str, virtualization: str | None, asset_type: str | None
) -> None:
    found = document(name)
    assert found["runtime"].get("virtualization") == virtualization
    assert found.get("asset_type") == asset_type
    assert ("asset_type" in found["unknown"]) == (asset_type is None)


def test_addresses_are_all_kept_and_only_own_ones_identify() -> None:
    found = document("bridges-and-vips")
    kept = set(found["network"]["ip_addresses"])
    assert {"172.17.0.1", "192.168.122.1", "192.0.2.99", "192.0.2.98", "2001:db8::77", "203.0.113.99"} <= kept
    assert not {"127.0.0.1", "::1"} & kept
    # the /32 of a cloud, alone on its interface, is the machine's own
    assert identifiers(found, "ip") == {"192.0.2.10", "10.128.0.5"}
    assert identifiers(found, "mac") == {"52:54:00:00:00:01", "42:01:00:00:00:05"}
    assert {i["name"] for i in found["network"]["interfaces"]} >= {"docker0", "veth12ab", "eth0"}


def test_passing_ipv6_addresses_do_not_identify() -> None:
    assert identifiers(document("debian-12"), "ip") == {"192.0.2.10", "192.0.2.20", "2001:db8::a"}


def test_ifconfig_stands_in_for_ip() -> None:
    found = document("alpine-busybox")
    assert identifiers(found, "ip") == {"192.0.2.33"}
    assert set(found["network"]["ip_addresses"]) == {"192.0.2.33", "fe80::5054:ff:feab:cdef", "192.0.2.34"}


def test_no_tool_for_addresses_is_unknown_and_not_an_empty_list() -> None:
    found = document("sles-11")
    assert "network" not in found
    assert found["unknown"]["network.ip_addresses"] == "SSH_SECTION_FAILED: ip rc 127, ifconfig rc 127"


def test_a_point_to_point_address_is_the_near_end() -> None:
    found = document("centos-6")
    assert "10.8.0.6" in found["network"]["ip_addresses"]
    assert "10.8.0.5" not in found["network"]["ip_addresses"]
    assert identifiers(found, "ip") == {"203.0.113.5"}


def test_localhost_is_no_name() -> None:
    found = document("centos-7")
    assert "hostname" not in found["identity"]
    assert found["unknown"]["identity.hostname"] == "NOT_REPORTED: the machine calls itself localhost.localdomain"


def test_a_chinese_name_is_kept_as_it_is() -> None:
    assert document("chinese-hostname")["identity"]["hostname"] == "数据库-生产01"


def test_root_only_facts_are_taken_where_they_can_be_read() -> None:
    found = document("rhel-9")
    assert found["identity"]["machine_uuid"] == "4c4c4544-0033-4410-8051-b4c04f4a3733"
    assert identifiers(found, "serial") == {"3D3QJ73"}
    assert document("debian-12")["unknown"]["identity.machine_uuid"].startswith("NOT_REPORTED: readable by root only")


def test_this_machine_takes_its_address_from_its_default_route() -> None:
    [item] = PLATFORM.parse(raw_of(fixture("bridges-and-vips"), here=True), {})
    assert isinstance(item, AssetRecord)
    assert item.external_id == "local:4f1c6a0e3b7d4c5e9a8b7c6d5e4f3a2c"
    assert item.document["identity"]["mgmt_ip"] == "192.0.2.10"
    found = document("sles-11", here=True)
    assert "mgmt_ip" not in found["identity"]
    assert found["unknown"]["identity.mgmt_ip"]


def test_the_host_key_is_an_identifier() -> None:
    found = document("debian-12", host_key_fingerprint="SHA256:abc")
    assert identifiers(found, "host_key") == {"SHA256:abc"}


def test_an_unchanged_machine_has_one_digest_whatever_the_nonce() -> None:
    def digest(body: bytes, **options: Any) -> bytes:
        [item] = PLATFORM.parse(raw_of(body, **options), {})
        assert isinstance(item, AssetRecord)
        return item.record_digest

    other = "fedcba9876543210"
    first = digest(fixture("debian-12"))
    assert len(first) == 16
    assert digest(fixture("debian-12").replace(NONCE.encode(), other.encode()), nonce=other) == first
    assert digest(fixture("debian-12").replace(b"web-01", b"web-02")) != first
    assert digest(fixture("debian-12"), mgmt_ip="192.0.2.11") != first


def test_a_failed_target_is_a_failure_with_its_code_and_its_caution() -> None:
    raw = raw_of(
        b"",
        error={"code": "SSH_TIMEOUT", "message": "port 22: ETIMEDOUT"},
        cautions=[{"code": "SSH_HOST_KEY_UNVERIFIED", "message": "first sight"}],
    )
    failed, caution = PLATFORM.parse(raw, {})
    assert isinstance(failed, TargetFailure)
    assert (failed.external_id, failed.mgmt_ip, failed.code.code) == ("192.0.2.10", "192.0.2.10", "SSH_TIMEOUT")
    assert isinstance(caution, Caution)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"exit_status": 1, "output_head": "This account is currently not available."}, "SSH_SHELL_DENIED"),
        ({"exit_status": 0, "output_head": "This account is currently not available."}, "SSH_SHELL_DENIED"),
        ({"exit_status": 0, "output_head": "forced"}, "SSH_UNEXPECTED_OUTPUT"),
        ({"exit_status": 0}, "SSH_UNEXPECTED_OUTPUT"),
        ({"nonce": "short"}, "SSH_PARSE_FAILED"),
        ({"error": {"code": "NO_SUCH_CODE"}}, "SSH_PARSE_FAILED"),
    ],
)
def test_output_without_markers_is_named_for_what_it_is(document: dict[str, Any], expected: str) -> None:
    [item] = PLATFORM.parse(raw_of(b"", **document), {})
    assert isinstance(item, TargetFailure)
    assert item.code.code == expected


@pytest.mark.parametrize("name", ["debian-12", "alpine-busybox"])
def test_output_cut_anywhere_is_a_failure_and_never_a_shorter_record(name: str) -> None:
    whole = fixture(name)
    [complete] = PLATFORM.parse(raw_of(whole), {})
    assert isinstance(complete, AssetRecord)
    for length in range(len(whole)):
        [item] = PLATFORM.parse(raw_of(whole[:length]), {})
        if isinstance(item, AssetRecord):
            assert length == len(whole) - 1  # all but the last newline
            assert item.document == complete.document


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_hole_in_the_output_never_makes_a_shorter_list_of_sections(data: st.DataObject) -> None:
    whole = fixture("rhel-9")
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    [item] = PLATFORM.parse(raw_of(whole[:start] + whole[stop:]), {})
    if isinstance(item, AssetRecord):
        assert len(split(whole[:start] + whole[stop:], NONCE)) == len(split(whole, NONCE))


NAMES = [
    *("uname", "hostname", "cpu", "mem", "lsblk", "sysblock", "ip"),
    *("ifconfig", "route", "os", "machineid", "dmi", "virt"),
]
SPICE = [
    b"2: eth0: <UP> mtu 1\n",
    b"2: \x7f: <UP> mtu 1\n",
    b"inet 1.2.3.4/32 scope global eth0:x\n",
    b"file=/etc/os-release\nID='\n",
    b"file=/etc/issue\n\n",
    b"file=/etc/SuSE-release\nx\n",
    b"sda disk 9999999999999999999999 0 0\n",
    b"sda|99999999999999999999|0|d|-|x\n",
    b"MemTotal: 999999999999999 kB\n",
    b"eth0 00000000 0 0 0 0 9 00000000\n",
    b"detect=\x01\n",
]
SOUP = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([*NAMES, "end"]).map(lambda name: f"\n@@{NONCE}:{name}@@\n".encode()),
        st.integers(0, 300).map(lambda rc: f"\n@@{NONCE}:rc={rc}@@\n".encode()),
        st.sampled_from(SPICE),
    ),
    max_size=30,
)


@given(SOUP)
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_exactly_one_item(parts: list[bytes]) -> None:
    for here in (False, True):
        [item] = PLATFORM.parse(raw_of(b"".join(parts), here=here), {})
        assert isinstance(item, AssetRecord | TargetFailure)
        if isinstance(item, AssetRecord):
            validate(item.document, target="soup")


SPICED = st.one_of(st.text(max_size=120), st.lists(st.sampled_from(SPICE)).map(lambda s: b"".join(s).decode("latin-1")))


@given(st.lists(st.tuples(st.sampled_from(NAMES), SPICED, st.integers(0, 2))))
@settings(max_examples=200, deadline=None)
def test_any_whole_output_gives_a_valid_document_or_a_failure(sections: list[tuple[str, str, int]]) -> None:
    chosen = {name: (text, rc) for name, text, rc in sections}
    body = "".join(f"\n@@{NONCE}:{n}@@\n{text}\n@@{NONCE}:rc={rc}@@\n" for n, (text, rc) in chosen.items())
    body += f"\n@@{NONCE}:end@@\n{len(chosen) + 1}\n\n@@{NONCE}:rc=0@@\n"
    [item] = PLATFORM.parse(raw_of(body.encode("utf-8", "replace")), {})
    assert isinstance(item, AssetRecord)
    validate(item.document, target="made up")


KEYS = st.sampled_from(["target", "mgmt_ip", "error", "code", "message", "nonce", "cautions", "transport"])
JSON = st.recursive(
    st.none() | st.text(max_size=20) | st.integers(),
    lambda inner: st.dictionaries(KEYS, inner) | st.lists(inner, max_size=3),
)


@given(st.dictionaries(KEYS, JSON))
@settings(max_examples=150, deadline=None)
def test_any_document_gives_one_item_and_cautions(found: dict[str, Any]) -> None:
    items = list(PLATFORM.parse(replace(raw_of(fixture("debian-12")), document=found), {}))
    assert sum(isinstance(item, AssetRecord | TargetFailure) for item in items) == 1


def test_a_key_in_the_output_is_blotted_out_line_by_line() -> None:
    body = (
        f"@@{NONCE}:os@@\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n"
        "-----END OPENSSH PRIVATE KEY-----\nkept\n"
        f"-----BEGIN RSA PRIVATE KEY-----\nMIIC\n@@{NONCE}:rc=0@@\nLTAI0123456789abcdef\n"
    ).encode()
    cleaned, redacted = without_secrets(body)
    assert redacted
    assert b"b3BlbnNzaC1rZXk" not in cleaned
    assert b"MIIC" not in cleaned
    assert b"LTAI" not in cleaned
    assert b"kept" in cleaned
    assert f"@@{NONCE}:rc=0@@".encode() in cleaned
    assert without_secrets(fixture("debian-12")) == (fixture("debian-12"), False)
