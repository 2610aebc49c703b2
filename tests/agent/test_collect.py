"""What is read of this machine: what the service takes, in a stable order, and nothing made up where nothing is read."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from asset_ledger.agent import collect
from asset_ledger.agent.collect import body_of, writable
from asset_ledger.domain.agents.inventory import digest, inventory
from asset_ledger.domain.agents.payload import loads, read
from tests.agents.payloads import payload

PROJECT = Path(__file__).parents[2]


def test_what_is_collected_is_what_the_service_reads() -> None:
    document = collect.collect(now=time.time(), management_ip="192.0.2.7")
    report = read(loads(body_of(document, spooled=True)))
    assert report.hostname
    assert report.os == "linux"
    assert sum(cpu.cores or 0 for cpu in report.cpus) == psutil.cpu_count()
    assert report.memory_total == psutil.virtual_memory().total
    assert any(nic.name == "lo" for nic in report.nics)
    assert all(disk.total for disk in report.disks)
    assert report.collected_at is not None
    assert abs(report.collected_at.timestamp() - time.time()) < 60
    assert (report.management_ip, report.spooled) == ("192.0.2.7", True)
    assert inventory(report).memory_total == report.memory_total
    assert len(body_of(document, spooled=False)) < 1 << 20


def test_two_readings_of_one_machine_are_one_inventory_in_one_order() -> None:
    first, second = (collect.collect(now=time.time()) for _ in range(2))
    assert digest(inventory(read(first))) == digest(inventory(read(second)))
    for block, name in (("network", "name"), ("disks", "mountpoint"), ("cpu", "cpu")):
        assert [each[name] for each in first[block]] == [each[name] for each in second[block]]
    assert list(first["host"]) == list(second["host"])


def test_the_shape_is_the_one_that_the_seed_shows() -> None:
    mine, shown = collect.collect(now=time.time()), payload()
    assert set(mine) >= {"host", "cpu", "memory", "disks", "network"}
    assert set(mine["host"]) >= set(shown["host"]) - {"host_id", "virtualization_system", "virtualization_role"}
    for block in ("cpu", "disks"):
        assert set(mine[block][0]) >= {"cpu", "model_name", "cores"} if block == "cpu" else {"device", "total", "opts"}
    assert set(mine["memory"]) >= {"total", "available", "used", "used_percent", "free"}
    assert set(mine["network"][0]) >= {"name", "mtu", "hardwareaddr", "flags", "addrs"}


def test_how_busy_the_cpus_are_is_said_from_the_second_reading_on() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            """if True:
            from asset_ledger.agent.collect import collect
            print('cpu_usage_percent' in collect(now=1.0), 'cpu_usage_percent' in collect(now=2.0))""",
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False True\n"


def test_what_may_not_be_read_is_left_out_and_no_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    document = collect.collect(now=time.time())
    report = read(document)
    assert report.memory_total is None
    assert report.boot_time is None
    assert report.uptime_s is None
    assert "swap" not in document
    assert report.hostname
    inventory(report)


@pytest.mark.needs("root")
def test_a_plain_user_collects_as_well() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            """if True:
            import json, os
            from asset_ledger.agent.collect import collect
            collect(now=1.0)  # where Python lies in root's home, that user can load no more of it
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
            print(json.dumps(collect(now=1.0)))""",
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    report = read(json.loads(done.stdout))
    assert digest(inventory(report)) == digest(inventory(read(collect.collect(now=time.time()))))


HARDENED = """\
27 1 254:0 / / ro,relatime shared:1 - ext4 /dev/vda1 rw,discard
28 27 254:16 / /srv/with\\040space ro,relatime - xfs /dev/vdb rw
29 27 11:0 / /media/cdrom ro,nosuid - iso9660 /dev/sr0 ro
30 27 0:31 / /run rw,nosuid - tmpfs tmpfs rw,size=1k
nonsense
"""


def test_a_service_that_sees_everything_read_only_asks_the_file_system_itself() -> None:
    assert writable(HARDENED) == {"/": True, "/srv/with space": True, "/media/cdrom": False, "/run": True}


def test_a_hostname_that_is_no_text_is_still_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "host\udcff")
    assert read(loads(body_of(collect.collect(now=1.0), spooled=False))).hostname == "host?"


@pytest.mark.needs("root")
def test_what_is_read_only_for_this_process_alone_is_reported_as_it_is() -> None:
    collecting = """if True:
        import json, psutil
        from asset_ledger.agent.collect import collect
        seen = [part.opts.split(",")[0] for part in psutil.disk_partitions() if part.mountpoint == "/"]
        print(json.dumps([seen, [disk["opts"] for disk in collect(now=1.0)["disks"] if disk["mountpoint"] == "/"]]))"""
    # as systemd's ProtectSystem=strict does
    remounting = 'mount -o remount,bind,ro / && exec "$0" -B -c "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", remounting, sys.executable, collecting],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    (seen,), (reported,) = json.loads(done.stdout)
    assert seen == "ro"
    assert "rw" in reported
    assert "ro" not in reported
