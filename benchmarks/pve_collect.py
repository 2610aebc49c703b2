"""What reading a big cluster of Proxmox VE costs, against bare requests, against Ansible's inventory and json.loads.

The cluster is the double of the tests, a process of its own that answers every request 20 ms late: 2,000 guests on 16
nodes. One collect is recorded first; its requests are what the bare client sends, its raw is what is parsed.
Run: `python -m benchmarks pve_collect`. Ansible's part takes most of the time, and is left out without the package.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from asset_ledger.sources.pve.nodes import WAITING_FOR_AGENTS, WORKERS_A_NODE
from benchmarks.measuring import Measured, run_client
from benchmarks.pve_clients import REQUESTS, SOURCE
from benchmarks.table import Row

GUESTS, NODES, AGENTS, LATENCY_S = 2_000, 16, 0.5, 0.02
NODES_AT_ONCE = 5
"""What `max_parallel_nodes` is where a source does not say."""
ROUNDS = 5
BARE_LIMIT = 1.3
ANSIBLE_LIMIT = 5.0
PARSE_LIMIT = 5.0
TIMEOUT_S = 1_800
CLIENTS = "benchmarks.pve_clients"
TOKEN = ("agent@pve", "asset", "55555555-5555-4555-8555-555555555555")
"""User, token and secret of the double's account that may see every guest and ask its agent."""

_GUEST = r"/nodes/[^/]+/(?:qemu|lxc)/\d+"
PROOF = {
    "version": r"/version",
    "members": r"/cluster/status",
    "nodes": r"/nodes",
    "lists of all guests": r"/cluster/resources",
    "lists of a node's guests": r"/nodes/[^/]+/(?:qemu|lxc)",
    "rights": r"/access/(?:permissions|acl|roles)",
    "ids": r"/cluster/nextid",
}
"""What is asked for the proof of completeness, in words and as paths. The lists of a node give details, too."""
DETAILS = {
    "node status and network": r"/nodes/[^/]+/(?:status|network)",
    "configs": rf"{_GUEST}/config",
    "agents": rf"{_GUEST}/agent/network-get-interfaces",
    "container interfaces": rf"{_GUEST}/interfaces",
}


# --- the double --------------------------------------------------------------------------------------------------


@contextmanager
def double(folder: Path) -> Iterator[dict[str, str]]:
    """Serve the cluster, write the source that reads it, and give endpoint and CA of the double."""
    size = ("--guests", GUESTS, "--nodes", NODES, "--agents", AGENTS, "--latency", LATENCY_S)
    command = [sys.executable, "-m", "tests.doubles.pve", "cluster", "--version", "8.4", *map(str, size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            place: dict[str, str] = json.loads(process.stdout.readline())
            user, token, secret = TOKEN
            config = {
                "name": "bench",
                "platform": "pve",
                "endpoint": place["endpoint"],
                "ca_file": place["ca_file"],
                "credential_ref": "env:PVE",
                "max_parallel_nodes": NODES_AT_ONCE,
            }
            credential = {"api_token_id": f"{user}!{token}", "api_token_secret": secret}
            (folder / SOURCE).write_text(json.dumps({"config": config, "credential": credential}))
            yield place
        finally:
            process.terminate()


# --- the requests ------------------------------------------------------------------------------------------------


def requests_made(folder: Path, told: Measured) -> Row:
    """Say what was asked, how often, and what for. Nothing is asked twice, and nothing that is for neither."""
    recorded, counted = json.loads((folder / REQUESTS).read_text()), _counted(folder)
    repeated = len(recorded) - len({(one["method"], one["url"], one["body"]) for one in recorded})
    if (told["guests"], told["nodes"], told["requests"]) != (GUESTS, NODES, len(recorded)):
        raise RuntimeError(f"{len(recorded)} requests were recorded of this reading: {told}")
    per_guest = counted["configs"] == GUESTS and counted["agents"] == told["agents_asked"] > 0
    return Row(
        f"requests of one collect of {GUESTS:,} guests on {NODES} nodes",
        f"{len(recorded):,}, {repeated} of them twice",
        f"for the proof {_in_words(counted, PROOF)}; for details {_in_words(counted, DETAILS)}; "
        f"for neither {counted['other']}",
        "none twice, none for neither",
        per_guest and not repeated and not counted["other"] and not told["agents_unavailable"],
    )


def _counted(folder: Path) -> Counter[str]:
    counted: Counter[str] = Counter()
    for one in json.loads((folder / REQUESTS).read_text()):
        path = one["url"].partition("?")[0].removeprefix("/api2/json")
        counted[next((name for name, of in {**PROOF, **DETAILS}.items() if re.fullmatch(of, path)), "other")] += 1
    return counted


def _in_words(counted: Counter[str], kinds: dict[str, str]) -> str:
    each = ", ".join(f"{name} {counted[name]:,}" for name in kinds)
    return f"{sum(counted[name] for name in kinds):,} ({each})"


def under_way(folder: Path) -> tuple[int, float]:
    """Return how many recorded requests were under way at once: at most, and on average."""
    recorded = json.loads((folder / REQUESTS).read_text())
    edges = sorted([(one["began"], 1) for one in recorded] + [(one["ended"], -1) for one in recorded])
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most, sum(one["ended"] - one["began"] for one in recorded) / (edges[-1][0] - edges[0][0])


# --- the measurements --------------------------------------------------------------------------------------------


def against_bare(folder: Path) -> Row:
    """Compare collecting with sending the very same requests from as many threads."""
    threads = NODES_AT_ONCE * WORKERS_A_NODE
    most, mean = under_way(folder)
    if most != threads:
        raise RuntimeError(f"{most} requests were under way at once, and {threads} threads are to be compared with")
    ours: list[Measured] = []
    bare: list[Measured] = []
    for _ in range(ROUNDS):  # in turns, so that a busy moment falls on both
        ours.append(run_client(CLIENTS, "ours", folder))
        bare.append(run_client(CLIENTS, "bare", folder, threads))
    if len({one["requests"] for one in ours + bare}) != 1:
        raise RuntimeError(f"not every client sent the same requests: {ours} {bare}")
    mine, theirs = (median(one["wall_s"] for one in found) for found in (ours, bare))
    return Row(
        f"collect, {NODES_AT_ONCE} nodes at a time, {WORKERS_A_NODE} requests each, "
        f"at most {WAITING_FOR_AGENTS} of all that wait for a guest",
        f"{mine:.2f} s, {_cpu(ours)} ({mine / theirs:.2f}x); of {most} at once {mean:.1f} on average",
        f"the same requests by `requests` from {threads} threads: {theirs:.2f} s, {_cpu(bare)}",
        f"at most {BARE_LIMIT}x",
        mine <= BARE_LIMIT * theirs,
    )


def _cpu(found: list[Measured]) -> str:
    return f"{median(one['cpu_s'] for one in found):.1f} s of CPU"


def against_ansible(folder: Path, place: dict[str, str]) -> Row:
    """Compare a listing of every guest with Ansible's, both as whole commands from start to end."""
    what = f"list of {GUESTS:,} guests with their facts, the whole command"
    try:
        release = version("ansible")
    except PackageNotFoundError:
        return Row(what, "not measured: the package `ansible` is missing", "`make bench` installs it", "stated", True)
    mine = [_listed(folder)]
    theirs = _inventory(folder, place)
    mine.append(_listed(folder))
    ratio = theirs / max(mine)
    return Row(
        what,
        f"{max(mine):.1f} s ({ratio:.0f}x faster)",
        f"`ansible-inventory --list` with community.proxmox of Ansible {release}, `want_facts`: {theirs:.0f} s",
        f"at least {ANSIBLE_LIMIT:g}x faster",
        ratio >= ANSIBLE_LIMIT,
    )


def _listed(folder: Path) -> float:
    began = time.monotonic()
    found = run_client(CLIENTS, "listing", folder, folder / "listing.json")
    took = time.monotonic() - began
    if found["read"] != GUESTS + NODES + 1:
        raise RuntimeError(f"{found['read']} machines were listed")
    return took


def _inventory(folder: Path, place: dict[str, str]) -> float:
    """Run Ansible's inventory over the double and return its wall time. Raises RuntimeError where it misses facts."""
    user, token, secret = TOKEN
    inventory = folder / "bench.proxmox.yml"
    said: dict[str, Any] = {
        "plugin": "community.proxmox.proxmox",
        "url": place["endpoint"],
        "user": user,
        "token_id": token,
        "token_secret": secret,
        "want_facts": True,
        "want_proxmox_nodes_ansible_host": True,
    }
    inventory.write_text(json.dumps(said))
    environment = os.environ | {
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_CONFIG": str(folder / "none.cfg"),
        "ANSIBLE_INVENTORY_ENABLED": "community.proxmox.proxmox",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1",
        "REQUESTS_CA_BUNDLE": place["ca_file"],
    }
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(inventory), "--list"]
    began = time.monotonic()
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=folder, timeout=TIMEOUT_S
    )
    took = time.monotonic() - began
    if done.returncode:
        raise RuntimeError((done.stdout[-1500:] + done.stderr[-1500:]).strip())
    hosts = json.loads(done.stdout)["_meta"]["hostvars"].values()
    configured = sum("proxmox_memory" in host for host in hosts)
    inside = sum(bool(host.get("proxmox_agent_interfaces") or host.get("proxmox_lxc_interfaces")) for host in hosts)
    counted = _counted(folder)
    if (configured, inside) != (counted["configs"], counted["agents"] + counted["container interfaces"]):
        raise RuntimeError(f"Ansible read the configs of {configured} guests and the interfaces of {inside}: {counted}")
    return took


def against_loads(folder: Path) -> Row:
    """Compare parsing the kept raw of one reading with loading its lines."""
    found = run_client(CLIENTS, "parse", folder)
    if (found["vm"], found["host"], found["cluster"]) != (GUESTS, NODES, 1):
        raise RuntimeError(f"not every machine was parsed: {found}")
    ratio = found["parsed_s"] / found["loaded_s"]
    return Row(
        f"parse and normalize {GUESTS:,} guests, {NODES} hosts and the proof from kept raw",
        f"{found['parsed_s'] * 1000:.0f} ms of CPU ({ratio:.1f}x)",
        f"`json.loads` of the same {found['lines']:,.0f} lines, {found['bytes'] / 1e6:.1f} MB: "
        f"{found['loaded_s'] * 1000:.0f} ms of CPU",
        f"at most {PARSE_LIMIT:g}x",
        ratio <= PARSE_LIMIT,
    )


def measure() -> list[Row]:
    """Return a row a comparison. Raises RuntimeError where a client did not read everything."""
    with tempfile.TemporaryDirectory(prefix="asset-ledger-bench-") as name:
        folder = Path(name)
        with double(folder) as place:
            told = run_client(CLIENTS, "record", folder)
            return [
                requests_made(folder, told),
                against_bare(folder),
                against_ansible(folder, place),
                against_loads(folder),
            ]
