"""Hypothesis strategies of reports, in the seed's spelling, for the tests of this folder."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.agents.payloads import MACHINES

sizes = st.none() | st.integers(0, (1 << 64) - 1)
percents = st.none() | st.floats(0, 100)
words = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
macs = st.sampled_from(
    [
        "",
        "00:15:5d:01:02:03",
        "00-15-5D-01-02-04",
        "00:00:00:00:00:00",
        "00:00:00:00:00:00:00:e0",
        "ff:ff:ff:ff:ff:ff",
        "x",
    ]
)
addresses = st.one_of(
    st.ip_addresses().map(lambda ip: f"{ip}/{32 if ip.version == 4 else 64}"),
    st.ip_addresses(v=4).map(lambda ip: f"{ip}/24"),
    st.sampled_from(["", "x", "127.0.0.1/8", "fe80::1/64", "192.0.2.1"]),
)


def _object(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries({}, optional=fields)


hosts = _object(
    hostname=words,
    uptime=sizes,
    boot_time=sizes,
    procs=sizes,
    os=st.sampled_from(["linux", "windows", "darwin", "Linux"]),
    platform=words,
    platform_family=words,
    platform_version=words,
    kernel_version=words,
    kernel_arch=words,
    virtualization_system=words,
    virtualization_role=words,
    host_id=words,
    something_else=words,
)
cpus = _object(
    cpu=st.integers(0, 9),
    cores=st.integers(0, 300),
    model_name=words,
    vendor_id=words,
    mhz=st.floats(0, 9000),
    physical_id=words,
)
memories = _object(total=sizes, available=sizes, used=sizes, used_percent=percents, free=sizes)
disks = _object(
    device=st.sampled_from(
        [
            "/dev/sda1",
            "/dev/sdb1",
            "/dev/disk3s1",
            "/dev/disk3s5",
            "/dev/loop1",
            "rpool/a",
            "rpool/b",
            "C:",
            "nas:/x",
            "",
        ]
    ),
    mountpoint=st.sampled_from(["/", "/home", "C:", "/etc/hosts", ""]),
    fstype=st.sampled_from(
        ["ext4", "xfs", "btrfs", "apfs", "zfs", "NTFS", "tmpfs", "squashfs", "nfs4", "fuse.sshfs", "fuseblk", "UDF", ""]
    ),
    opts=st.sampled_from([["rw"], ["ro"], "rw,relatime", "ro", None]),
    total=sizes,
    used=sizes,
    free=sizes,
    used_percent=percents,
)
nics = _object(
    index=st.integers(0, 99),
    mtu=st.sampled_from([-1, 1500, 65536, (1 << 32) - 1]),
    name=st.sampled_from(["eth0", "ens18", "docker0", "veth1", "lo", "Ethernet0", "isatap.{1}", "utun3"]),
    hardwareaddr=macs,
    flags=st.lists(st.sampled_from(["up", "loopback", "pointtopoint"]), max_size=2),
    addrs=st.none() | st.lists(_object(addr=addresses, temporary=st.booleans()), max_size=4),
)
shaped = _object(
    cpu=st.none() | st.lists(cpus, max_size=4),
    memory=st.none() | memories,
    swap=st.none() | memories,
    disks=st.none() | st.lists(disks, max_size=6),
    network=st.none() | st.lists(nics, max_size=5),
    collected_at=st.none() | st.datetimes().map(lambda at: f"{at.isoformat()}Z") | st.integers(0, 4_000_000_000),
    agent_version=words,
    management_ip=st.none() | st.ip_addresses().map(str),
    spooled=st.none() | st.booleans(),
    cpu_usage_percent=percents,
).flatmap(lambda rest: hosts.map(lambda host: {"host": host, **rest}))
"""Reports of the right shape, whatever stands in them: hosts, disks and interfaces as no machine has them."""

recorded = st.sampled_from(sorted(MACHINES)).map(lambda name: MACHINES[name]())
reports = shaped | recorded
