"""What counts as a change, of which type, and how it reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from asset_ledger.domain.agents.changes import Change, compare, differences, size
from asset_ledger.domain.agents.inventory import Inventory, digest, inventory
from asset_ledger.domain.agents.payload import read
from tests.agents.payloads import GIB, MACHINES, disk, payload
from tests.domain.agents.reports import reports

LINUX = payload("linux")
NO_CHANGE = Change(("periodic_snapshot",), "no change")


def of(document: dict[str, Any]) -> Inventory:
    return inventory(read(document))


def changed(**changes: Any) -> Change:
    return compare(of(LINUX), of(payload("linux", **changes)))


@pytest.mark.parametrize(
    ("changes", "types", "summary"),
    [
        ({"cores": 8}, ("hardware_change",), "4 → 8 CPUs"),
        ({"cores": 1}, ("hardware_change",), "4 → 1 CPU"),
        ({"memory_total": 32 * GIB}, ("hardware_change",), "memory 15.3 GiB → 32 GiB"),
        ({"disk_total": 100 * GIB}, ("hardware_change",), "disk /dev/mapper/ubuntu--vg-ubuntu--lv 24.4 GiB → 100 GiB"),
        (
            {"disks": [*LINUX["disks"], disk("/dev/vdb1", "/data", "xfs", 100 * GIB)]},
            ("hardware_change",),
            "disk /dev/vdb1 100 GiB added",
        ),
        ({"disks": LINUX["disks"][:1]}, ("hardware_change",), "disk /dev/vda2 1.9 GiB removed"),
        (
            {"disks": [*LINUX["disks"], disk("/dev/vdb1", "/a", "xfs", GIB), disk("/dev/vdc1", "/b", "xfs", 1536 << 30)]},
            ("hardware_change",),
            "disks /dev/vdb1 1 GiB, /dev/vdc1 1.5 TiB added",
        ),
        (
            {"addresses": ["192.0.2.11/24", "2001:db8::5054:ff:fe12:3456/64"]},
            ("network_change",),
            "address 192.0.2.10 → 192.0.2.11",
        ),
        ({"addresses": ["192.0.2.10/24"]}, ("network_change",), "address 2001:db8::5054:ff:fe12:3456 removed"),
        (
            {"addresses": ["192.0.2.10/24", "2001:db8::5054:ff:fe12:3456/64", "192.0.2.12/24", "192.0.2.13/24"]},
            ("network_change",),
            "addresses 192.0.2.12, 192.0.2.13 added",
        ),
        ({"mac": "52:54:00:aa:bb:cc"}, ("network_change",), "MAC 52:54:00:12:34:56 → 52:54:00:aa:bb:cc"),
        ({"kernel_version": "6.8.0"}, ("os_change",), "kernel 5.15.0-58-generic → 6.8.0"),
        (
            {"platform_version": "24.04", "kernel_version": "6.8.0"},
            ("os_change",),
            "version 22.04 → 24.04; kernel 5.15.0-58-generic → 6.8.0",
        ),
        ({"platform": "debian"}, ("os_change",), "platform ubuntu → debian"),
        ({"kernel_arch": "aarch64"}, ("os_change",), "architecture x86_64 → aarch64"),
        ({"hostname": "web-02"}, ("os_change",), "hostname web-01 → web-02"),
        (
            {"memory_total": 32 * GIB, "mac": "52:54:00:aa:bb:cc", "kernel_version": "6.8.0"},
            ("hardware_change", "network_change", "os_change"),
            "memory 15.3 GiB → 32 GiB; MAC 52:54:00:12:34:56 → 52:54:00:aa:bb:cc; kernel 5.15.0-58-generic → 6.8.0",
        ),
    ],
)  # fmt: skip
def test_a_change_has_its_types_and_reads_as_english(
    changes: dict[str, Any], types: tuple[str, ...], summary: str
) -> None:
    assert changed(**changes) == Change(types, summary)  # type: ignore[arg-type]


def test_another_processor_is_named() -> None:
    told = changed(cpu=[{"cores": 4, "model_name": "AMD EPYC 7543"}])
    assert told.summary == "CPU model Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz → AMD EPYC 7543"


def test_a_mac_counts_cores() -> None:
    assert compare(of(payload("darwin")), of(payload("darwin", cores=12))).summary == "10 → 12 cores"


@pytest.mark.parametrize(
    ("machine", "summary"),
    [
        ("sles", "first report: sles 12.5, 2 CPUs, memory 3.7 GiB, file systems 48.8 GiB, 198.51.100.20"),
        ("darwin", "first report: darwin 14.5, 10 cores, memory 32 GiB, file systems 460.4 GiB, 192.0.2.77"),
    ],
)
def test_the_first_report_says_what_the_machine_is(machine: str, summary: str) -> None:
    assert compare(None, of(payload(machine))) == Change(("periodic_snapshot",), summary)


def test_a_first_report_of_nothing_says_so() -> None:
    assert compare(None, of({"host": {}})).summary == "first report: nothing is known of the machine"


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_the_same_machine_has_not_changed(machine: str) -> None:
    assert compare(of(payload(machine)), of(payload(machine))) == NO_CHANGE


@given(reports)
def test_nothing_changes_against_itself(document: dict[str, Any]) -> None:
    found = of(document)
    assert compare(found, found) == NO_CHANGE
    assert differences(found, found) == ()


@given(reports, reports)
def test_equal_digests_mean_no_change_and_every_change_has_words(one: dict[str, Any], other: dict[str, Any]) -> None:
    before, after = of(one), of(other)
    change = compare(before, after)
    assert change.summary
    assert change.types == tuple(dict.fromkeys(change.types)) != ()
    assert ("periodic_snapshot" in change.types) == (change == NO_CHANGE)
    if digest(before) == digest(after):
        assert change == NO_CHANGE
    if change != NO_CHANGE:
        assert differences(before, after)


@given(reports, reports)
def test_a_change_and_its_undoing_are_of_the_same_types(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert compare(of(one), of(other)).types == compare(of(other), of(one)).types


@pytest.mark.parametrize("block", ["cpu", "memory", "disks", "network"])
def test_a_block_that_is_missing_has_not_been_taken_out(block: str) -> None:
    document = payload("linux", **{block: None})
    assert compare(of(LINUX), of(document)) == compare(of(document), of(LINUX)) == NO_CHANGE


def test_a_machine_that_lost_its_last_address_and_shows_its_cards_has_changed() -> None:
    assert changed(addresses=[]).types == ("network_change",)


@pytest.mark.parametrize("less", [4096, 30 << 20, 150 << 20])
def test_what_a_kernel_keeps_for_itself_is_noise(less: int) -> None:
    assert changed(memory_total=LINUX["memory"]["total"] - less) == NO_CHANGE


def test_a_few_megabytes_of_a_small_machine_are_noise() -> None:
    assert compare(of(payload(memory_total=512 << 20)), of(payload(memory_total=500 << 20))) == NO_CHANGE


@pytest.mark.parametrize(("before", "after"), [(1, 2), (64, 65), (512, 544), (4, 3)])
def test_what_somebody_adds_or_takes_is_none(before: int, after: int) -> None:
    told = compare(of(payload(memory_total=before * GIB)), of(payload(memory_total=after * GIB)))
    assert told.summary == f"memory {before} GiB → {after} GiB"


def test_sizes_are_told_apart() -> None:
    told = compare(of(payload(memory_total=2000 * GIB)), of(payload(memory_total=2021 * GIB)))
    assert told.summary == "memory 1.95 TiB → 1.97 TiB"


def test_disks_that_were_found_in_another_order_at_a_boot_have_not_changed() -> None:
    def booted(first: str, second: str) -> Inventory:
        return of(payload(disks=[disk(first, "/", "ext4", 50 * GIB), disk(second, "/data", "xfs", 100 * GIB)]))

    assert compare(booted("/dev/sda1", "/dev/sdb1"), booted("/dev/sdb1", "/dev/sda1")) == NO_CHANGE
    assert compare(booted("/dev/sda1", "/dev/sdb1"), booted("/dev/sda1", "/dev/sdc1")).summary == (
        "disk /dev/sdb1 100 GiB removed; disk /dev/sdc1 100 GiB added"
    )


def test_a_summary_names_a_few_of_many() -> None:
    told = changed(
        addresses=[*(f"198.51.100.{n}/24" for n in range(1, 31)), "192.0.2.10/24", "2001:db8::5054:ff:fe12:3456/64"]
    )
    assert told.summary.startswith("addresses 198.51.100.1, 198.51.100.2, ")
    assert told.summary.endswith("198.51.100.8 and 22 more added")


def test_differences_are_exact_and_of_any_two_reports() -> None:
    before = of(LINUX)
    after = replace(before, memory_total=16_376_053_761, host_id="another", cpu_usage_percent=50.0, disk_used=1)
    assert differences(before, after) == (
        ("memory_total", 16_376_053_760, 16_376_053_761),
        ("host_id", before.host_id, "another"),
    )
    (told,) = differences(before, of(payload("linux", addresses=["192.0.2.11/24"])))
    assert (told.field, told.before[0], told.after) == ("ip_addresses", "192.0.2.10", ("192.0.2.11",))


def test_thousands_of_addresses_are_compared_at_once() -> None:
    many = [f"10.{n >> 8 & 255}.{n & 255}.1/24" for n in range(1024)]
    network = [
        {"name": f"eth{n}", "addrs": [{"addr": text.replace("10.", f"{n + 11}.", 1)} for text in many]}
        for n in range(30)
    ]
    assert compare(of(LINUX), of(payload("linux", network=network))).types == ("network_change",)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (16 * GIB, "16 GiB"),
        (GIB - 1, "1 GiB"), (100 * GIB, "100 GiB"), (1536 << 30, "1.5 TiB"), ((1 << 63) - 1, "8 EiB"),
    ],
)  # fmt: skip
def test_sizes_read_as_people_say_them(count: int, text: str) -> None:
    assert size(count) == text
