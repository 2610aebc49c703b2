"""Serve a vCenter in a process of its own, for benchmarks: `python -m tests.doubles.vcenter --clusters 4 --vms 250`.

Prints one line of JSON (endpoint, ca_file, username, password, …) and serves until standard input closes. The simulator
answers by itself; with --proxy the double stands before it (a release, pages), with --rendered it is the double alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import Any

from tests.doubles.vcenter import RELEASES, VcenterDouble, VcSim


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.doubles.vcenter")
    for name, usual in (
        ("datacenters", 1),
        ("clusters", 4),
        ("hosts", 8),
        ("lone-hosts", 0),
        ("vms", 250),
        ("datastores", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--esx", action="store_true", help="one ESXi host in place of a vCenter")
    parser.add_argument("--proxy", action="store_true", help="put the double before the simulator")
    parser.add_argument("--release", choices=RELEASES, default="8.0.3", help="with --proxy or --rendered")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds a call, with --proxy or --rendered")
    parser.add_argument("--rendered", action="store_true", help="no simulator: machines that the double makes up")
    said = parser.parse_args()
    shape = {
        name: getattr(said, name) for name in ("datacenters", "clusters", "hosts", "lone_hosts", "vms", "datastores")
    }
    with contextlib.ExitStack() as stack:
        line: dict[str, Any]
        if said.rendered:
            from tests.doubles.vcenter.estate import estate

            vc = stack.enter_context(VcenterDouble(release=said.release, esxi=said.esx))
            vc.show(**estate(clusters=said.clusters, hosts=said.hosts, vms=said.clusters * said.vms))
            line = _told(vc)
        else:
            if said.esx:
                shape = {"esx": True, "vms": said.vms}
            sim = stack.enter_context(VcSim(tls=not said.proxy, **shape))
            vc = None
            line = {
                "endpoint": sim.endpoint,
                "ca_file": str(sim.ca_file),
                "fingerprint": sim.fingerprint,
                "username": sim.username,
                "password": sim.password,
                "pid": sim.pid,
            }
            if said.proxy:
                vc = stack.enter_context(VcenterDouble(sim, release=said.release))
                line |= _told(vc)
        if vc is not None:
            vc.latency = said.latency
        print(json.dumps(line), flush=True)
        sys.stdin.buffer.read()


def _told(vc: VcenterDouble) -> dict[str, Any]:
    return {
        "endpoint": vc.endpoint,
        "ca_file": str(vc.ca_file),
        "fingerprint": vc.fingerprint,
        "username": vc.username,
        "password": vc.password,
    }


if __name__ == "__main__":
    main()
