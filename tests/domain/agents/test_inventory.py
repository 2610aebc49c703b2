"""What counts of a report: CPUs, file systems once each, addresses that last; and what the digest is of."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.agents.inventory import MEMORY_STEP, Inventory, digest, inventory, stable
from asset_ledger.domain.agents.payload import read
from tests.agents.payloads import GIB, MACHINES, camel, collected, disk, nic, payload
from tests.domain.agents.reports import reports


def of(document: dict[str, Any]) -> Inventory:
    return inventory(read(document))


def with_disks(*disks: dict[str, Any]) -> Inventory:
    return of(payload(disks=list(disks)))


def test_the_seeds_columns_of_a_linux_host() -> None:
    found = of(payload("linux"))
    assert found == Inventory(
        hostname="web-01", os="linux", platform="ubuntu", platform_version="22.04",
        kernel_version="5.15.0-58-generic", arch="x86_64", cpu_count=4, cpu_count_is="logical",
        cpu_model="Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", cpu_usage_percent=None,
        memory_total=16_376_053_760, memory_used=8_188_026_880, memory_free=4_094_013_440, memory_usage_percent=50.0,
        disk_total=28_282_011_648, disk_used=7_070_502_912, disk_free=21_211_508_736, disk_usage_percent=25.0,
        ip_addresses=("192.0.2.10", "2001:db8::5054:ff:fe12:3456"), mac_addresses=("52:54:00:12:34:56",),
        devices=(("/dev/mapper/ubuntu--vg-ubuntu--lv", 26_241_638_400), ("/dev/vda2", 2_040_373_248)),
        host_id="4c4c4544-0042-3510-8051-b7c04f4e3932",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "count", "what"),
    [("linux", 4, "logical"), ("windows", 8, "logical"), ("darwin", 10, "physical"), ("rocky", 64, "logical")],
)
def test_cpus_are_the_sum_of_cores_however_many_entries_there_are(machine: str, count: int, what: str) -> None:
    found = of(payload(machine))
    assert (found.cpu_count, found.cpu_count_is) == (count, what)


@pytest.mark.parametrize("cpu", [[], None, [{"model_name": "x"}], [{"cores": 0}], [{"cores": 4}, {}]])
def test_a_count_that_is_not_told_whole_is_unknown(cpu: Any) -> None:
    assert of(payload(cpu=cpu)).cpu_count is None


def test_the_processor_is_the_first_that_is_named_with_single_spaces() -> None:
    named = [
        {"cores": 1, "model_name": ""},
        {"cores": 1, "model_name": "Intel(R) Xeon(R) CPU           X5650  @ 2.67GHz"},
    ]
    assert of(payload(cpu=named)).cpu_model == "Intel(R) Xeon(R) CPU X5650 @ 2.67GHz"


def test_a_btrfs_of_nine_mounts_is_one_file_system() -> None:
    found = of(payload("sles"))
    assert len(payload("sles")["disks"]) == 9
    assert (found.disk_total, found.devices) == (52_425_397_248, (("/dev/sda2", 52_425_397_248),))


def test_a_dvd_is_no_disk_of_windows() -> None:
    assert of(payload("windows")).devices == (("C:", 136_365_207_552),)


def test_the_volumes_of_an_apfs_container_are_its_space_once() -> None:
    found = of(payload("darwin"))
    assert found.devices == (("/dev/disk3", 494_384_795_648),)
    assert found.disk_total == found.disk_used + found.disk_free == 494_384_795_648  # type: ignore[operator]


def test_snaps_overlays_shares_and_memory_are_no_disks() -> None:
    assert of(payload("docker")).devices == of(payload("linux")).devices


@pytest.mark.parametrize(
    "fstype",
    ["iso9660", "udf", "UDF", "CDFS", "cd9660", "squashfs", "erofs", "overlay", "tmpfs", "devtmpfs", "nfs", "nfs4", "NFS",
     "cifs", "smb3", "9p", "virtiofs", "fuse.sshfs", "fuse.glusterfs", "fuse", "autofs", "proc", "cgroup2", "ceph"],
)  # fmt: skip
def test_file_systems_that_are_no_disks(fstype: str) -> None:
    assert with_disks(disk("/dev/x", "/x", fstype, GIB)).disk_total is None


@pytest.mark.parametrize(
    "fstype",
    ["ext4", "xfs", "btrfs", "NTFS", "ReFS", "FAT32", "vfat", "ufs", "f2fs", "fuseblk", "hfs", "simfs", "jfs2"],
)
def test_file_systems_that_are(fstype: str) -> None:
    assert with_disks(disk("/dev/x", "/x", fstype, GIB)).disk_total == GIB


def test_what_is_mounted_to_be_read_only_is_no_disk_unless_it_is_elsewhere_mounted_to_be_written() -> None:
    assert with_disks(disk("/dev/sdb", "/media", "ext4", GIB, ["ro"])).disk_total is None
    assert (
        with_disks(disk("/dev/sdb", "/usr", "ext4", GIB, ["ro"]), disk("/dev/sdb", "/var", "ext4", GIB)).disk_total
        == GIB
    )


def test_bind_mounts_repeat_their_device() -> None:
    assert with_disks(disk("/dev/sdb", "/a", "xfs", GIB), disk("/dev/sdb", "/b", "xfs", GIB)).disk_total == GIB


def test_what_lies_in_a_file_or_in_memory_counts_only_as_the_root_of_a_container() -> None:
    loop = disk("/dev/loop3", "/mnt/image", "ext4", GIB)
    assert with_disks(loop, disk("/dev/zram1", "/z", "ext4", GIB)).disk_total is None
    assert with_disks({**loop, "mountpoint": "/"}).disk_total == GIB


def test_single_files_that_a_container_is_given_show_a_disk_of_its_host() -> None:
    files = [disk("/dev/vda1", name, "ext4", GIB) for name in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")]
    assert with_disks(disk("overlay", "/", "overlay", GIB), *files).disk_total is None


def test_a_drive_without_a_medium_and_what_has_no_size_are_no_disks() -> None:
    empty = {"device": "E:", "mountpoint": "E:", "fstype": ""}
    assert with_disks(empty, disk("none", "/x", "strange", 0), disk("C:", "C:", "NTFS", GIB)).devices == (("C:", GIB),)


def test_a_file_system_of_unknown_size_makes_the_sum_unknown_and_not_smaller() -> None:
    unread = {"device": "/dev/sdb", "mountpoint": "/b", "fstype": "ext4"}
    found = with_disks(unread, disk("/dev/sda", "/", "ext4", GIB))
    assert (found.disk_total, found.disk_used, found.disk_usage_percent) == (None, None, None)
    assert found.devices == (("/dev/sda", GIB), ("/dev/sdb", None))


def test_a_pool_of_zfs_is_one_and_its_size_is_not_stable() -> None:
    def pool(used_a: int, used_b: int) -> Inventory:
        free = 100 * GIB - used_a - used_b
        return with_disks(
            {
                "device": "tank/a",
                "mountpoint": "/a",
                "fstype": "zfs",
                "total": used_a + free,
                "used": used_a,
                "free": free,
            },
            {
                "device": "tank/b",
                "mountpoint": "/b",
                "fstype": "zfs",
                "total": used_b + free,
                "used": used_b,
                "free": free,
            },
        )

    one, other = pool(10 * GIB, 20 * GIB), pool(30 * GIB, 50 * GIB)
    assert one.disk_total == other.disk_total == 100 * GIB
    assert one.devices == (("tank", None),)
    assert digest(one) == digest(other)


def test_a_sum_that_no_column_holds_is_unknown() -> None:
    largest = (1 << 63) - 1
    assert with_disks(disk("/dev/a", "/a", "xfs", largest), disk("/dev/b", "/b", "xfs", largest)).disk_total is None


def test_how_full_disks_are_leaves_out_what_only_root_may_fill() -> None:
    reserved = {**disk("/dev/sda", "/", "ext4", 100), "used": 45, "free": 45}
    assert with_disks(reserved).disk_usage_percent == 50.0


def test_how_much_memory_is_used_is_reckoned_where_it_is_not_told() -> None:
    assert of(payload(memory={"total": 1000, "used": 333})).memory_usage_percent == 33.3
    assert of(payload(memory={"total": 0, "used": 0})).memory_usage_percent is None
    assert of(payload(memory={"total": 10, "used": 11})).memory_usage_percent is None


def test_macs_are_of_cards_also_of_those_without_addresses() -> None:
    assert of(payload("windows")).mac_addresses == ("00:15:5d:01:02:03", "00:15:5d:01:02:04")
    assert of(payload("rocky")).mac_addresses == ("3c:ec:ef:00:00:01",)


def test_addresses_of_containers_tunnels_and_temporary_ones_are_left_out() -> None:
    assert of(payload("docker")).ip_addresses == of(payload("linux")).ip_addresses
    assert of(payload("darwin")).ip_addresses == ("192.0.2.77",)
    assert of(payload("rocky")).ip_addresses == ("198.51.100.50",)


def busy(document: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Return a report of the same machine at another time of its work."""
    document = copy.deepcopy(document)
    for key in ("uptime", "procs", "boot_time", "host_id"):
        document["host"][key] = chance.randrange(1 << 40) if key != "host_id" else f"{chance.getrandbits(128):032x}"
    for cpu in document["cpu"]:
        cpu["mhz"] = chance.uniform(800, 4000)
    for key in ("available", "used", "free"):
        document["memory"][key] = chance.randrange(1 << 35)
    document["memory"]["used_percent"] = chance.uniform(0, 100)
    for mounted in document["disks"]:
        mounted["used"] = chance.randrange(1 << 35)
        mounted["free"] = chance.randrange(1 << 35)
        mounted["used_percent"] = chance.uniform(0, 100)
        mounted["inodes_used"] = chance.randrange(1 << 20)
    document["network"] += [
        nic(f"veth{chance.getrandbits(28):x}", "7a:01:02:03:04:05", "fe80::7801:2ff:fe03:405/64"),
        nic("docker0", "02:42:5c:11:22:33", f"172.{chance.randrange(17, 31)}.0.1/16"),
    ]
    drawn = ":".join(f"{chance.randrange(0x1000, 0xFFFF):x}" for _ in range(4))
    for card in document["network"]:
        if card["name"] == "en0":
            card["addrs"][-1] = {"addr": f"2001:db8:1:0:{drawn}/64"}
    for key in ("cpu", "disks", "network"):
        chance.shuffle(document[key])
    return document | {"load": {"load1": chance.random()}, "cpu_usage_percent": 3.5, "agent_version": "9.9.9"}


@given(st.sampled_from(sorted(MACHINES)), st.randoms(use_true_random=False))
def test_the_digest_does_not_change_with_what_a_machine_is_busy_with(machine: str, chance: random.Random) -> None:
    document = payload(machine)
    assert digest(of(busy(document, chance))) == digest(of(document))


@pytest.mark.parametrize(
    "changes",
    [
        {"hostname": "other"}, {"platform": "debian"}, {"platform_version": "24.04"}, {"kernel_version": "6.8"},
        {"kernel_arch": "aarch64"}, {"cores": 8}, {"memory_total": 32 * GIB}, {"disk_total": 100 * GIB},
        {"addresses": ["192.0.2.11/24"]}, {"mac": "52:54:00:12:34:57"}, {"disks": []}, {"network": []},
        {"cpu": [{"cores": 4, "model_name": "another"}]}, {"os": "windows"},
    ],
)  # fmt: skip
def test_the_digest_changes_with_the_machine(changes: dict[str, Any]) -> None:
    document = payload("linux")
    kind = changes.pop("os", None)
    changed = payload("linux", **changes)
    if kind:
        changed["host"]["os"] = kind
    assert digest(of(changed)) != digest(of(document))


def test_the_digest_is_of_the_canonical_text_of_what_is_stable() -> None:
    found = of(payload("windows"))
    text = json.dumps(stable(found), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert digest(found) == hashlib.sha256(text.encode()).digest()


def test_what_a_kernel_keeps_for_itself_does_not_change_the_digest() -> None:
    one, other = of(payload(memory_total=16 * GIB)), of(payload(memory_total=16 * GIB - MEMORY_STEP // 4))
    assert one.memory_total != other.memory_total
    assert digest(one) == digest(other)


@given(reports)
def test_every_report_has_an_inventory_that_fits_the_columns(document: dict[str, Any]) -> None:
    found = of(document)
    assert found == of(camel(document))
    assert len(digest(found)) == 32
    for number in (
        found.disk_total,
        found.disk_used,
        found.disk_free,
        found.memory_total,
        found.memory_used,
        found.memory_free,
    ):
        assert number is None or 0 <= number < 1 << 63
    for share in (found.disk_usage_percent, found.memory_usage_percent, found.cpu_usage_percent):
        assert share is None or 0 <= share <= 100
    assert found.cpu_count is None or 0 < found.cpu_count < 1 << 31
    for texts in (found.ip_addresses, found.mac_addresses, found.devices):
        assert len(set(texts)) == len(texts)
    json.dumps(stable(found))


def test_this_machine_by_psutil_has_an_inventory() -> None:
    found = of(collected())
    assert found.cpu_count
    assert found.memory_total
    assert digest(found) == digest(of(collected()))
