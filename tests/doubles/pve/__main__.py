"""Serve a scenario in a process of its own, for benchmarks: `python -m tests.doubles.pve cluster --version 8.4`.

Prints one line of JSON (endpoint, ca_file, fingerprint) and serves until standard input closes or SIGTERM comes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import signal
import sys
from collections.abc import Iterator

from tests.doubles.pve import VERSIONS, PveDouble, load
from tests.doubles.pve.generate import big_cluster


@contextlib.contextmanager
def _until_told() -> Iterator[None]:
    """Hold the block's end until standard input closes or a signal comes."""
    reading, writing = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(writing, b"."))
    yield
    with selectors.DefaultSelector() as waiting:
        waiting.register(reading, selectors.EVENT_READ)
        with contextlib.suppress(OSError):  # a file on standard input cannot be waited for: only signals end it then
            waiting.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in waiting.select()}
            if reading in ready or not os.read(sys.stdin.fileno(), 4096):
                return


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.doubles.pve")
    parser.add_argument("scenario", nargs="?", default="cluster")
    parser.add_argument("--version", choices=VERSIONS, default="8.4")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--agent-delay", type=float, default=0.0)
    parser.add_argument("--auth-delay", type=float, default=3.0)
    parser.add_argument("--guests", type=int, help="generate so many guests in place of the scenario's")
    parser.add_argument("--nodes", type=int, default=16)
    parser.add_argument("--agents", type=float, default=0.5, help="share of the machines whose agent answers")
    said = parser.parse_args()
    scenario = load(said.scenario)
    if said.guests is not None:
        scenario = big_cluster(scenario, guests=said.guests, nodes=said.nodes, agents=said.agents)
    with PveDouble(scenario, version=said.version, port=said.port) as pve, _until_told():
        pve.latency, pve.agent_delay, pve.auth_delay = said.latency, said.agent_delay, said.auth_delay
        line = {"endpoint": pve.endpoint, "ca_file": str(pve.ca_file), "fingerprint": pve.fingerprint}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
