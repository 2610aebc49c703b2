"""Serve hosts in a process of its own, for benchmarks: `python -m tests.doubles.wsman --hosts 200`.

Prints one line of JSON (port, CA, account, addresses) and serves until standard input closes or SIGTERM comes.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import signal
import sys
from typing import get_args

from tests.doubles.wsman import Account, HostSpec, Invocation, Result, WsmanDouble, windows
from tests.doubles.wsman.accounts import Principal
from tests.doubles.wsman.hosts import Release

USERNAME, PASSWORD = "ledger", "correct-horse"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.doubles.wsman")
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--plain", action="store_true", help="HTTP with sealed messages in place of HTTPS")
    parser.add_argument("--release", default="2019", choices=(*get_args(Release), "mixed"), help="of every host")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds an answer")
    parser.add_argument("--stdout", default="", help="what every command of a shell says")
    parser.add_argument("--prepare", action="append", default=[], help="a WQL query whose rows are written in advance")
    parser.add_argument("--first", default="127.1.0.1", help="the first host's address")
    parser.add_argument("--port", type=int, default=0)
    said = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    def shell(_: Invocation) -> Result:
        return Result(said.stdout)

    releases: tuple[Release, ...] = get_args(Release)[1:] if said.release == "mixed" else (said.release,)
    first = ipaddress.ip_address(said.first)
    with WsmanDouble(tls=not said.plain, port=said.port) as double:
        double.latency = said.latency
        double.requests.keeps = False
        asking = Principal(USERNAME, True, Account(PASSWORD))
        for number in range(said.hosts):
            name, release = f"WIN{number:05}", releases[number % len(releases)]
            ip = str(ipaddress.ip_address("10.64.0.10") + number)
            spec = HostSpec(
                address=str(first + number),
                accounts={USERNAME: PASSWORD},
                wmi=windows(release=release, name=name, ips=(ip,)),
                release=release,
                name=name,
                shell=shell,
            )
            host = double.add(spec)
            for query in said.prepare:
                host.rows("root/cimv2", query, asking)
            if not said.plain:
                double.identity_of(host)
        line = {
            "port": double.port,
            "ca_file": str(double.ca_file),
            "username": USERNAME,
            "password": PASSWORD,
            "addresses": list(double.hosts),
        }
        print(json.dumps(line), flush=True)
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
