"""A cheap SSH host: it answers `sh -s NONCE` with made-up sections, so that a load test measures the client.

One listener on 0.0.0.0 is every 127.x.y.z address, each one more "host". It costs 2-4 ms CPU a probe where
a real sshd costs 40. Run by `ssh_probe`: `python -m benchmarks.ssh_double HOST_KEY AUTHORIZED_KEYS` prints its port.
A third argument is how many seconds a host thinks before it answers.
"""

from __future__ import annotations

import asyncio
import sys

import asyncssh

SECTIONS = {
    "uname": "Linux\n5.14.0-427.el9.x86_64\nx86_64",
    "hostname": "app-01",
    "cpu": "4",
    "mem": "MemTotal:        3825412 kB",
    "lsblk": "sda  disk 53687091200  0  0\nsr0  rom   1073741312  1  0\nzram0 disk          0  0  0",
    "sysblock": "sda|104857600|0|d|-|naa.600000000000000000000000000000a1\nsr0|2097151|1|d|-|-",
    "ip": "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN qlen 1000\n"
    "    inet 127.0.0.1/8 scope host lo\n"
    "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP qlen 1000\n"
    "    link/ether 00:50:56:00:00:2a brd ff:ff:ff:ff:ff:ff\n"
    "    inet 192.0.2.10/24 brd 192.0.2.255 scope global eth0\n",
    "route": "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0",
    "os": 'file=/etc/os-release\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n'
    'PRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"',
    "machineid": "4f1c6a0e3b7d4c5e9a8b7c6d5e4f3a2b",
    "dmi": "sys_vendor=VMware, Inc.\nproduct_name=VMware7,1",
    "virt": "detect=vmware\ncpu=hypervisor",
}


THINKS_S = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0


def answer(nonce: str) -> str:
    """Return the whole marked output of a made-up host."""
    end = {"end": str(len(SECTIONS) + 1)}
    return "".join(f"\n@@{nonce}:{k}@@\n{v}\n\n@@{nonce}:rc=0@@\n" for k, v in (SECTIONS | end).items())


async def session(process: asyncssh.SSHServerProcess[str]) -> None:
    words = (process.command or "").split()
    if words[:2] != ["sh", "-s"] or len(words) != 3:
        process.exit(64)
        return
    await process.stdin.read()
    await asyncio.sleep(THINKS_S)
    process.stdout.write(answer(words[2]))
    process.exit(0)


async def main(host_key: str, authorized_keys: str) -> None:
    listener = await asyncssh.listen(
        "0.0.0.0",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=authorized_keys,
        process_factory=session,
        compression_algs=["none"],
        gss_host=None,
        login_timeout=120,
        backlog=1024,
    )
    print(listener.get_port(), flush=True)
    await listener.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
