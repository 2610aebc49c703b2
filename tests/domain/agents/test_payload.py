"""Reports in every spelling become the same fields, and what is no report is refused by name."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.agents.payload import Cpu, Disk, Nic, PayloadError, Report, loads, read
from tests.agents.payloads import MACHINES, camel, collected, lower, payload
from tests.domain.agents.reports import reports, shaped
from tests.domain.iac.json_values import values

# the example of the data model's own page
SEED = """{
    "host": {"hostname": "server-01", "uptime": 3600, "boot_time": 1234567890, "procs": 150, "os": "linux",
        "platform": "ubuntu", "platform_version": "22.04", "kernel_version": "5.15.0-58-generic",
        "kernel_arch": "x86_64"},
    "cpu": [{"cpu": 0, "model_name": "Intel(R) Xeon(R) CPU E5-2680 v4", "mhz": 2400.0, "cache_size": 35840,
        "cores": 14}],
    "memory": {"total": 34359738368, "available": 17179869184, "used": 17179869184, "used_percent": 50.0,
        "free": 17179869184},
    "disks": [{"device": "/dev/sda1", "mountpoint": "/", "fstype": "ext4", "total": 1099511627776,
        "used": 549755813888, "free": 549755813888, "used_percent": 50.0}],
    "network": [{"name": "eth0", "mtu": 1500, "hardwareaddr": "00:0a:95:9d:68:16",
        "flags": ["up", "broadcast", "multicast"], "addrs": [{"addr": "192.168.1.100/24"}]}]
}"""


def refusal(body: bytes) -> PayloadError | None:
    """Return what a body is refused with, or None for one that is read."""
    try:
        read(loads(body))
    except PayloadError as error:
        return error
    return None


def minimal(**more: Any) -> dict[str, Any]:
    return {"host": {}, **more}


def test_the_seeds_example_is_read_whole() -> None:
    assert read(loads(SEED.encode())) == Report(
        hostname="server-01", os="linux", platform="ubuntu", platform_family=None, platform_version="22.04",
        kernel_version="5.15.0-58-generic", arch="x86_64", virtualization_system=None, virtualization_role=None,
        host_id=None, boot_time=1234567890, uptime_s=3600, procs=150,
        cpus=(Cpu("Intel(R) Xeon(R) CPU E5-2680 v4", None, 14, 2400.0, None),), cpu_usage_percent=None,
        memory_total=34359738368, memory_used=17179869184, memory_free=17179869184, memory_available=17179869184,
        memory_used_percent=50.0,
        disks=(Disk("/dev/sda1", "/", "ext4", 1099511627776, 549755813888, 549755813888, read_only=False),),
        nics=(Nic("eth0", "00:0a:95:9d:68:16", ("up", "broadcast", "multicast"), ("192.168.1.100/24",), 1500),),
        collected_at=None, agent_version=None, management_ip=None, spooled=False,
    )  # fmt: skip


@given(reports)
def test_every_spelling_gives_the_same_report(document: dict[str, Any]) -> None:
    assert read(document) == read(camel(document)) == read(lower(document))


def test_the_major_versions_of_gopsutil_spell_the_same_host() -> None:
    v2 = {
        "host": {"hostid": "A"},
        "network": [{"name": "e", "hardwareaddr": "00:15:5d:01:02:03"}],
        "disks": [{"opts": "ro,nodev"}],
    }
    v4 = {
        "host": {"hostId": "A"},
        "network": [{"name": "e", "hardwareAddr": "00:15:5d:01:02:03"}],
        "disks": [{"opts": ["ro", "nodev"]}],
    }
    seed = {
        "host": {"host_id": "A"},
        "network": [{"name": "e", "hardware_addr": "00:15:5D:01:02:03"}],
        "disks": [{"opts": ["nodev", "ro"]}],
    }
    assert read(v2) == read(v4) == read(seed)
    assert read(v2).host_id == "A"
    assert read(v2).nics[0].mac == "00:15:5d:01:02:03"
    assert read(v2).disks[0].read_only


@given(reports)
def test_a_report_survives_being_sent(document: dict[str, Any]) -> None:
    assert read(loads(json.dumps(document).encode())) == read(document)


@given(
    values
    | st.fixed_dictionaries({"host": values, "cpu": values, "network": values, "disks": values, "memory": values})
)
def test_any_json_is_a_report_or_a_payload_error(value: Any) -> None:
    error = refusal(json.dumps(value).encode())
    assert error is None or str(error)


@given(st.data(), shaped, values)
def test_one_value_of_another_type_is_a_report_or_an_error_that_says_where(
    data: st.DataObject, document: dict[str, Any], value: Any
) -> None:
    def replaced(inner: Any) -> Any:
        """Put the value somewhere below."""
        if isinstance(inner, dict) and inner and data.draw(st.booleans()):
            key = data.draw(st.sampled_from(sorted(inner)))
            return {**inner, key: replaced(inner[key])}
        if isinstance(inner, list) and inner and data.draw(st.booleans()):
            return [replaced(inner[0]), *inner[1:]]
        return value

    broken = replaced(document)
    error = refusal(json.dumps(broken).encode())
    assert error is None or error.path or not isinstance(broken, dict)


@given(st.binary())
def test_any_bytes_are_json_or_a_payload_error(body: bytes) -> None:
    error = refusal(body)
    assert error is None or str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"3",
        b'{"host":',
        b'{"host":{}} x',
        b'{"a":NaN}',
        b'{"a":1e9999999999999999999}',
        b"\xff\xfe{}",
        b'{"a":' * 100_000,
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b"[" * 1_000_000,
    ],
)
def test_what_is_no_object_of_json_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        loads(body)


@pytest.mark.parametrize(
    ("document", "path", "says"),
    [
        ({}, "host", "is missing"),
        ({"host": None}, "host", "is missing"),
        ({"host": "web-01"}, "host", "a text, not an object"),
        ({"host": {"hostname": 1}}, "host.hostname", "a number, not a text"),
        ({"host": {"hostname": "x" * 256}}, "host.hostname", "256 characters, more than 255"),
        ({"host": {"uptime": -1}}, "host.uptime", "negative"),
        ({"host": {"uptime": 1.5}}, "host.uptime", "not a whole number"),
        ({"host": {"uptime": True}}, "host.uptime", "true or false, not a whole number"),
        ({"host": {"uptime": "3600"}}, "host.uptime", "a text, not a whole number"),
        (minimal(cpu={"cores": 1}), "cpu", "an object, not a list"),
        (minimal(cpu=[{"cores": 1}, 7]), "cpu[1]", "a number, not an object"),
        (minimal(cpu=[{"cores": 1 << 17}]), "cpu[0].cores", "more than any processor has"),
        (minimal(cpu=[{}] * 4097), "cpu", "4097 entries, more than 4096"),
        (minimal(memory={"total": 1 << 64}), "memory.total", "larger than 64 bits"),
        (minimal(disks=[{}, {"total": "1 GB"}]), "disks[1].total", "a text, not a whole number"),
        (minimal(disks=[{"opts": ["rw", 1]}]), "disks[0].opts[1]", "a number, not a text"),
        (minimal(network=[{"addrs": ["192.0.2.1"]}]), "network[0].addrs[0]", "a text, not an object"),
        (minimal(network=[{"addrs": [{}, {"addr": 4}]}]), "network[0].addrs[1].addr", "a number, not a text"),
        (minimal(network=[{"addrs": [{}] * 1025}]), "network[0].addrs", "1025 entries, more than 1024"),
        (minimal(network=[{"flags": ["up"] * 65}]), "network[0].flags", "65 entries"),
        (minimal(collected_at="yesterday"), "collected_at", "not an instant of RFC 3339"),
        (minimal(collected_at="2026-05-01T10:00:00"), "collected_at", "no time zone"),
        (minimal(collected_at="0001-01-01T00:00:00+14:00"), "collected_at", "not an instant"),
        (minimal(collected_at=1_780_000_000_000), "collected_at", "milliseconds?"),
        (minimal(collected_at=-1), "collected_at", "unix seconds"),
        (minimal(collected_at=True), "collected_at", "true or false, not a number"),
        (minimal(management_ip="web-01"), "management_ip", "not an IP address"),
        (minimal(spooled="yes"), "spooled", "a text, not true or false"),
        (minimal(agent_version="1" * 51), "agent_version", "51 characters"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(document: dict[str, Any], path: str, says: str) -> None:
    with pytest.raises(PayloadError) as caught:
        read(document)
    assert caught.value.path == path
    assert str(caught.value).startswith(path)
    assert says in str(caught.value)


def test_what_is_written_as_a_whole_number_with_a_point_is_one() -> None:
    assert read(minimal(memory={"total": 34359738368.0})).memory_total == 34359738368
    assert read(minimal(memory={"total": Decimal("34359738368.000")})).memory_total == 34359738368


def test_a_counter_that_ran_below_0_is_unknown_and_refuses_nothing() -> None:
    memory = {"total": 4096, "used": (1 << 64) - 4096, "free": 1 << 63, "used_percent": 4.5e17}
    report = read(minimal(memory=memory))
    assert (report.memory_total, report.memory_used, report.memory_free, report.memory_used_percent) == (
        4096,
        None,
        None,
        None,
    )


@pytest.mark.parametrize("exponent", ["1e999999999", "-1e999999999", "1e-999999999", "1.5e308", "1e400"])
def test_a_number_with_a_large_exponent_costs_nothing(exponent: str) -> None:
    for key in ("collected_at", "cpu_usage_percent"):
        body = f'{{"host":{{}},"cpu":[{{"mhz":{exponent}}}],"{key}":{exponent}}}'.encode()
        error = refusal(body)
        assert error is None or error.path == key
    told = read(loads(f'{{"host":{{}},"cpu":[{{"mhz":{exponent}}}]}}'.encode())).cpus[0].mhz
    assert told is None or math.isfinite(told)
    with pytest.raises(PayloadError, match=r"host\.uptime"):
        read(loads(f'{{"host":{{"uptime":{exponent}}}}}'.encode()))


@pytest.mark.parametrize(
    "spelled",
    [
        1_780_000_000,
        1_780_000_000.0,
        "2026-05-28T20:26:40Z",
        "2026-05-29T04:26:40+08:00",
        "2026-05-28T20:26:40.000000000Z",
    ],
)
def test_an_instant_is_rfc_3339_or_unix_seconds(spelled: Any) -> None:
    at = read(minimal(collectedAt=spelled)).collected_at
    assert at == datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)
    assert at.utcoffset() == timedelta(0)


@given(st.datetimes(min_value=datetime(1971, 1, 1), timezones=st.just(timezone(timedelta(hours=8)))))  # noqa: DTZ001
def test_an_instant_comes_back_to_the_microsecond(at: datetime) -> None:
    assert read(minimal(collected_at=at.isoformat())).collected_at == at


def test_a_spelling_that_says_nothing_hides_no_other() -> None:
    for host in ({"host_id": "A", "hostId": None}, {"hostId": None, "host_id": "A"}):
        assert read({"host": host}).host_id == "A"


def test_nothing_is_needed_but_a_host() -> None:
    report = read({"host": {}, "cpu": None, "disks": None, "network": None, "memory": None})
    assert (report.cpus, report.disks, report.nics, report.memory_total) == ((), (), (), None)


def test_an_interface_without_addresses_is_one() -> None:
    assert read(minimal(network=[{"name": "Ethernet1"}, {"name": "Ethernet2", "addrs": None}])).nics[1].addresses == ()


@pytest.mark.parametrize(
    "told",
    ["", "00:00:00:00:00:00", "00:00:00:00:00:00:00:e0", "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:4a:c5:21"],
)
def test_what_is_no_mac_of_a_card_is_none(told: str) -> None:
    assert read(minimal(network=[{"name": "x", "hardwareAddr": told}])).nics[0].mac is None


def test_text_is_as_the_database_can_hold_it() -> None:
    report = read(loads(b'{"host":{"hostname":" a\\u0000b ","platform":"\\ud800","os":"   "}}'))
    assert (report.hostname, report.platform, report.os) == ("a�b", "�", None)


def test_what_the_agent_says_of_an_address_is_kept_beside_it() -> None:
    addrs = [
        {"addr": "2001:db8::1/64", "temporary": True},
        {"addr": "2001:db8::2/64", "temporary": False},
        {"addr": "192.0.2.1/24"},
    ]
    nic = read(minimal(network=[{"name": "eth0", "addrs": addrs}])).nics[0]
    assert nic.addresses == ("2001:db8::1/64", "2001:db8::2/64", "192.0.2.1/24")
    assert (nic.temporary, nic.lasting) == ({"2001:db8::1/64"}, {"2001:db8::2/64"})


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_unknown_keys_disturb_nothing(machine: str) -> None:
    document = payload(machine)
    more = {**document, "swap": {"total": 1}, "docker": [1], "host": {**document["host"], "containers": [{}]}}
    assert read(more) == read(document)


def test_this_machine_by_psutil_is_a_report() -> None:
    report = read(loads(json.dumps(collected()).encode()))
    assert report.hostname
    assert report.memory_total
    assert report.cpus
