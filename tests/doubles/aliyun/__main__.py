"""Serve a cloud in a process of its own, for benchmarks: `python -m tests.doubles.aliyun --regions 30 --instances 400`.

Prints one line of JSON (endpoints, CA, access key, sizes) and serves until standard input closes or SIGTERM comes.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys

from tests.doubles.aliyun import AliyunDouble, estate, generated


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.doubles.aliyun")
    parser.add_argument("--regions", type=int, help="generate so many regions in place of the sample estate")
    parser.add_argument("--instances", type=int, default=100, help="of each region")
    parser.add_argument("--disks", type=int, default=2, help="of each instance")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds a call")
    parser.add_argument("--per-minute", type=int, help="calls of an API that a region takes in a minute")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--plain", action="store_true", help="HTTP in place of HTTPS, for clients that cannot be told a CA"
    )
    said = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    cloud = estate() if said.regions is None else generated(said.regions, said.instances, disks=said.disks)
    for kind, rows in (("instance", cloud.instances), ("disk", cloud.disks)):
        for row_id in rows:
            cloud.told(kind, row_id)  # rendered before anybody measures
    with AliyunDouble(cloud, port=said.port, tls=not said.plain) as aliyun:
        aliyun.latency = said.latency
        if said.per_minute is not None:
            aliyun.limits.add(calls=said.per_minute)
        line = {
            "endpoint": aliyun.endpoint,
            "sts_endpoint": aliyun.sts_endpoint,
            "metadata_endpoint": aliyun.metadata_endpoint,
            "ca_file": str(aliyun.ca_file),
            "fingerprint": aliyun.fingerprint,
            **aliyun.credential,
            "regions": len(cloud.regions),
            "instances": len(cloud.instances),
            "disks": len(cloud.disks),
        }
        print(json.dumps(line), flush=True)
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
