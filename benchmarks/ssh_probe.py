"""What a host probe costs the machine that runs it, against a bare paramiko client and against Ansible.

Client CPU is compared, not hosts per second: on one machine the server's own cost (35-45 ms a probe for a
real sshd) decides the rate. All traffic stays on 127.0.0.0/8. Run: `python -m benchmarks.ssh_probe` (2-3 minutes).
"""

from __future__ import annotations

import json
import os
import pwd
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from asset_ledger.domain.inventory import AssetRecord
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.ssh import PLATFORM
from asset_ledger.sources.ssh.collector import SshCollector, script
from asset_ledger.sources.ssh.config import SshConfig
from benchmarks.table import Row, print_table

BARE_LIMIT = 1.5
ANSIBLE_LIMIT = 25.0
CONNECT_TIMEOUT_S = 5.0
THREADS = 32


class OneKey:
    """The credential of every host of the benchmark."""

    def __init__(self, user: str, key: str) -> None:
        self._fields = {"username": user, "private_key": key}

    def resolve(self, reference: str) -> Mapping[str, str]:  # noqa: ARG002
        return self._fields


def addresses(count: int) -> list[str]:
    return [f"127.1.{n // 250}.{n % 250 + 1}" for n in range(count)]


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# --- the clients: each runs in a process of its own and prints what it cost --------------------------------------


def client_ours(folder: Path, user: str, targets: list[tuple[str, int]]) -> None:
    config = SshConfig(name="bench", platform="ssh", known_hosts=folder / "known_hosts", parallel=THREADS)
    wanted = [ProbeTarget(a, a, None, "ssh", port, "env:KEY") for a, port in targets]
    keys = OneKey(user, (folder / "client").read_text())
    list(SshCollector(config, keys).collect(ReadOrder(targets=tuple(wanted[:1]))))  # imports and the first key exchange
    before, began = cpu_s(), time.monotonic()
    read: list[AssetRecord] = []
    codes: dict[str, int] = {}
    raws = []
    for raw in SshCollector(config, keys).collect(ReadOrder(targets=tuple(wanted))):
        raws.append(raw)
    spent, wall = cpu_s() - before, time.monotonic() - began
    for raw in raws:
        for item in PLATFORM.parse(raw, {}):
            if isinstance(item, AssetRecord):
                read.append(item)
            else:
                name = item.code.code if hasattr(item, "code") else type(item).__name__
                codes[name] = codes.get(name, 0) + 1
    print(json.dumps({"cpu_s": spent, "wall_s": wall, "read": len(read), "failed": codes}))


def client_bare(folder: Path, user: str, targets: list[tuple[str, int]]) -> None:
    """What one writes first: an SSHClient a host, the same script, nothing verified, nothing bounded."""
    import paramiko

    key = paramiko.Ed25519Key.from_private_key_file(str(folder / "client"))
    text = script()

    def probe(place: tuple[str, int]) -> int:
        with paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            client.connect(
                place[0], place[1], user, pkey=key, allow_agent=False, look_for_keys=False, timeout=5, banner_timeout=15
            )
            stdin, stdout, _ = client.exec_command("sh -s 0123456789abcdef")
            stdin.write(text)
            stdin.channel.shutdown_write()
            return b"0123456789abcdef:end@@" in stdout.read()

    probe(targets[0])
    before, began = cpu_s(), time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        read = sum(pool.map(probe, targets))
    print(json.dumps({"cpu_s": cpu_s() - before, "wall_s": time.monotonic() - began, "read": read, "failed": {}}))


def run_client(kind: str, folder: Path, user: str, targets: list[tuple[str, int]]) -> dict[str, float]:
    """Run one client in a fresh process. Raises RuntimeError if it read less than every live host."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ssh_probe", kind, str(folder), user],
        input=json.dumps(targets),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- the servers -------------------------------------------------------------------------------------------------


def make_keys(folder: Path) -> None:
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "client.pub", folder / "authorized_keys")


def write_known_hosts(folder: Path, port: int, hosts: list[str]) -> None:
    public = " ".join((folder / "host.pub").read_text().split()[:2])
    with (folder / "known_hosts").open("a") as file:
        file.writelines(f"[{host}]:{port} {public}\n" for host in hosts)


@contextmanager
def double(folder: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.ssh_double", str(folder / "host"), str(folder / "authorized_keys")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline() if process.stdout else "0")
        finally:
            process.terminate()


@contextmanager
def dead_hosts(count: int) -> Iterator[list[tuple[str, int]]]:
    """Give places that never answer: listeners with a full accept queue.

    The kernel then drops further SYNs, as a firewall or a machine that is off does; an address without a
    listener would be refused at once on loopback, and a silent listener would get past the connect timeout.
    """
    with ExitStack() as stack:
        places = []
        for n in range(count):
            listener = stack.enter_context(socket.socket())
            listener.bind((f"127.250.0.{n + 1}", 0))
            listener.listen(0)
            places.append(listener.getsockname())
            for _ in range(3):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(places[-1])
        yield places


@contextmanager
def real_sshd(folder: Path) -> Iterator[tuple[int, str]]:
    """Run OpenSSH's own daemon; give its port and whom it lets in: as root the user `probe`, else the current one.

    Not root itself: what root's login shell runs (version managers, completions) would be measured too.
    """
    user = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        user = "probe"
        if subprocess.run(["id", user], capture_output=True, check=False).returncode:
            subprocess.run(["useradd", "-m", "-s", "/bin/sh", user], check=True)
            subprocess.run(["usermod", "-p", "*", user], check=True)
        folder.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 0.0.0.0\nHostKey {folder}/host\nPidFile {folder}/sshd.pid\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin no\nMaxStartups 500\nUseDNS no\n"
        "Subsystem sftp internal-sftp\n"
    )
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    with subprocess.Popen([sshd, "-D", "-f", str(config), "-E", str(folder / "sshd.log")]) as process:
        try:
            for _ in range(100):
                with socket.socket() as attempt:
                    if attempt.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield port, user
        finally:
            process.terminate()


def ansible_cpu_s(folder: Path, port: int, user: str, hosts: list[str]) -> float:
    """Gather facts of the hosts with `ansible -m setup`; return the CPU of it and the children it waited for."""
    inventory = folder / "inventory.ini"
    inventory.write_text("[all]\n" + "\n".join(hosts) + "\n")
    environment = os.environ | {
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_CONFIG": str(folder / "none.cfg"),
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable,
        "ANSIBLE_SSH_ARGS": f"-o ControlMaster=auto -o ControlPersist=2s -o UserKnownHostsFile={folder}/known_hosts",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("ansible")), "all", "-i", str(inventory), "-m", "setup", "-f", "10"),
            *("-u", user, "--private-key", str(folder / "client"), "-e", f"ansible_port={port}"),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.stdout.count("| SUCCESS") != len(hosts):
        raise RuntimeError((done.stdout[-1500:] + done.stderr[-1500:]).strip())
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# --- the measurements --------------------------------------------------------------------------------------------


def against_bare(hosts: int = 400, rounds: int = 3) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_keys(folder)
        with double(folder) as port:
            write_known_hosts(folder, port, addresses(hosts))
            targets = [(address, port) for address in addresses(hosts)]
            ours: list[float] = []
            bare: list[float] = []
            for _ in range(rounds):  # in turns, so that a busy moment falls on both
                for kind, results in (("ours", ours), ("bare", bare)):
                    found = run_client(kind, folder, "probe", targets)
                    if found["read"] != hosts:
                        raise RuntimeError(f"{kind} read {found['read']} of {hosts} hosts: {found['failed']}")
                    results.append(found["cpu_s"] / hosts * 1000)
    mine, theirs = sorted(ours)[rounds // 2], sorted(bare)[rounds // 2]
    return [
        Row(
            f"client CPU of a probe, {hosts} hosts, {THREADS} at once",
            f"{mine:.1f} ms ({mine / theirs:.2f}x)",
            f"bare paramiko SSHClient {theirs:.1f} ms",
            f"at most {BARE_LIMIT}x",
            mine <= BARE_LIMIT * theirs,
        )
    ]


def against_ansible(few: int = 2, many: int = 14) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_keys(folder)
        with real_sshd(folder) as (port, user):
            write_known_hosts(folder, port, addresses(many * 10))
            small = ansible_cpu_s(folder, port, user, addresses(few))
            large = ansible_cpu_s(folder, port, user, addresses(many))
            theirs = (large - small) / (many - few) * 1000  # what a further host costs: start-up is not in it
            found = run_client("ours", folder, user, [(a, port) for a in addresses(many * 10)])
            if found["read"] != many * 10:
                raise RuntimeError(f"read {found['read']} of {many * 10} hosts: {found['failed']}")
            mine = found["cpu_s"] / (many * 10) * 1000
    return [
        Row(
            "client CPU of a further host, real sshd",
            f"{mine:.1f} ms ({theirs / mine:.0f}x less)",
            f"ansible -m setup {theirs:.0f} ms",
            f"at least {ANSIBLE_LIMIT:g}x less",
            theirs >= ANSIBLE_LIMIT * mine,
        )
    ]


def with_dead_hosts(hosts: int = 1000, dead: int = 50) -> list[Row]:
    with tempfile.TemporaryDirectory() as name, dead_hosts(dead) as graves:
        folder = Path(name)
        make_keys(folder)
        with double(folder) as port:
            live = [(address, port) for address in addresses(hosts - dead)]
            write_known_hosts(folder, port, addresses(hosts - dead))
            alone = run_client("ours", folder, "probe", live)
            mixed = list(live)
            for n, grave in enumerate(graves):
                mixed.insert(1 + n * (hosts // dead), grave)
            both = run_client("ours", folder, "probe", mixed)
    for found, failed in ((alone, {}), (both, {"SSH_TIMEOUT": dead})):
        if found["read"] != hosts - dead or found["failed"] != failed:
            raise RuntimeError(f"read {found['read']} of {hosts - dead} live hosts: {found['failed']}")
    limit = alone["wall_s"] + 2 * CONNECT_TIMEOUT_S
    return [
        Row(
            f"{hosts:,} hosts, {dead} of them dead, {THREADS} at once",
            f"{both['wall_s']:.1f} s",
            f"the {hosts - dead} live ones alone {alone['wall_s']:.1f} s",
            f"plus two connect timeouts of {CONNECT_TIMEOUT_S:g} s: {limit:.1f} s",
            both["wall_s"] <= limit,
        )
    ]


def measure() -> list[Row]:
    """Return a row a comparison. Raises RuntimeError where a client did not read every live host."""
    return [*against_bare(), *against_ansible(), *with_dead_hosts()]


def main() -> int:
    if len(sys.argv) > 1:
        client = {"ours": client_ours, "bare": client_bare}[sys.argv[1]]
        client(Path(sys.argv[2]), sys.argv[3], [(a, p) for a, p in json.load(sys.stdin)])
        return 0
    rows = measure()
    print_table(rows)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
