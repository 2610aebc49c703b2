"""Many hosts behind one port, and the rows of every release."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.wsman import HostSpec, Result, WsmanDouble, windows
from tests.doubles.wsman.talking import ACCOUNTS, ADDRESS, DOMAIN_USER, Talk, one
from tests.patience import until

RELEASES = ("2003", "2008r2", "2012r2", "2016", "2019", "2022", "2025")


@pytest.mark.parametrize("tls", [False, True])
def test_32_hosts_answer_at_once_each_for_itself(tls: bool) -> None:
    with WsmanDouble(tls=tls) as double:
        double.latency = 0.02
        addresses = [f"127.0.9.{number}" for number in range(1, 33)]
        for address in addresses:
            name = f"H{address.rpartition('.')[2]}"
            shell = lambda _, name=name: Result(name)  # noqa: E731
            double.add(HostSpec(address, ACCOUNTS, windows(name=name), name=name, shell=shell))

        def read(address: str) -> tuple[str | None, str]:
            talk = Talk(double, address=address, user=DOMAIN_USER)
            name = talk.ask("SELECT Name FROM Win32_ComputerSystem")[0]["Name"][0]
            return name, talk.run("1")[0].decode()

        with ThreadPoolExecutor(32) as pool:
            told = list(pool.map(read, addresses))
        assert told == [(f"H{number}",) * 2 for number in range(1, 33)]
        assert double.requests.peak() > 16
        assert double.requests.connections() == 32
        assert all(double.shells(address) == [] for address in addresses)


def test_open_connections_are_counted() -> None:
    with one() as double:
        talk = Talk(double)
        talk.ask("SELECT * FROM Win32_BIOS")
        assert double.connections(ADDRESS) == 1
        talk.protocol.transport.close_session()
        until(lambda: double.connections(ADDRESS) == 0)


def test_a_process_of_its_own_serves_until_its_input_closes() -> None:
    command = [sys.executable, "-m", "tests.doubles.wsman", "--hosts", "3", "--release", "mixed", "--stdout", "said"]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        double: Any = type("Told", (), {"ca_file": line["ca_file"], "url": None})
        double.url = lambda address: f"https://{address}:{line['port']}/wsman"
        for number, address in enumerate(line["addresses"]):
            talk = Talk(double, "basic", address=address, user=line["username"], password=line["password"])
            assert talk.ask("SELECT Name FROM Win32_ComputerSystem") == [{"Name": [f"WIN{number:05}"]}]
            assert talk.run("1")[0] == b"said"
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def rows(release: Any, **said: Any) -> dict[str, list[dict[str, Any]]]:
    return windows(release=release, **said)["root/cimv2"]


def test_releases_tell_what_they_know() -> None:
    for release in RELEASES:
        told = rows(release, cpus=8, sockets=2, cores=4)
        system, processors = told["Win32_ComputerSystem"][0], told["Win32_Processor"]
        old = release == "2003"
        assert ("NumberOfLogicalProcessors" in system, "DNSHostName" in system) == (not old, not old)
        assert ("HypervisorPresent" in system) is (release not in {"2003", "2008r2"})
        assert (len(processors), system["NumberOfProcessors"]) == ((8, 8) if old else (2, 2))
        counted = [(row.get("NumberOfLogicalProcessors"), row.get("NumberOfCores")) for row in processors]
        assert set(counted) == {(None, None) if old else (4, 2)}
    assert rows("2008r2")["Win32_OperatingSystem"][0]["Version"] == "6.1.7601"


def test_sizes_are_cut_as_windows_cuts_them() -> None:
    told = rows("2012r2", disks=(50 << 30, 100 << 30), memory=8 << 30)
    assert told["Win32_DiskDrive"][0]["Size"] == 53_686_402_560
    volumes = {row["DeviceID"]: (row["DriveType"], row["Size"]) for row in told["Win32_LogicalDisk"]}
    assert volumes["C:"] == (3, 53_109_321_728)
    assert volumes["E:"] == (5, 4_694_728_704)
    assert told["Win32_ComputerSystem"][0]["TotalPhysicalMemory"] == (8 << 30) - 536_576


def test_captions_speak_the_language_and_numbers_do_not() -> None:
    told = {locale: rows("2019", locale=locale) for locale in ("en", "zh", "de")}
    systems = [rows["Win32_OperatingSystem"][0] for rows in told.values()]
    assert "标准版" in systems[1]["Caption"]
    assert {row["BuildNumber"] for row in systems} == {"17763"}
    assert len({rows["Win32_NetworkAdapterConfiguration"][1]["Description"] for rows in told.values()}) == 3


def test_adapters_have_many_addresses_or_none() -> None:
    told = rows("2022", name="X", ips=("10.0.0.1", ["10.0.1.1", "10.0.1.2", "fd00::1"]), macs=("00:15:5D:00:00:01",))
    enabled = [row for row in told["Win32_NetworkAdapterConfiguration"] if row["IPEnabled"]]
    assert enabled[0]["MACAddress"] == "00:15:5D:00:00:01"
    assert enabled[0]["IPAddress"][0] == "10.0.0.1"
    assert enabled[0]["IPAddress"][1].startswith("fe80::")
    assert enabled[1]["IPAddress"] == ["10.0.1.1", "10.0.1.2", "fd00::1"]
    assert enabled[0]["MACAddress"] != enabled[1]["MACAddress"]
    assert rows("2003")["Win32_NetworkAdapterConfiguration"][1]["IPAddress"] == ["10.20.0.11"]
