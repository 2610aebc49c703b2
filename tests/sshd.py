"""A private sshd on loopback, a credential store in memory, and one way to run a probe against them.

As root the daemon serves users that are made only where they are missing; without root it serves
the user who runs the tests. Every 127.x.y.z address is one more host of the same daemon.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asset_ledger.domain.errors import CREDENTIAL_NOT_FOUND, PermanentError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.ssh.collector import SshCollector
from asset_ledger.sources.ssh.config import SshConfig

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


def free_port() -> int:
    """Return a port that is free on every loopback address right now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def make_key(path: Path, kind: str = "ed25519", *options: str) -> Path:
    """Write a fresh key pair and return the private key's path."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path), *options], check=True)
    return path


@dataclass
class Keyring:
    """Credentials in memory, in place of the credential store."""

    fields: dict[str, dict[str, str]] = field(default_factory=dict)

    def resolve(self, reference: str) -> Mapping[str, str]:
        if reference not in self.fields:
            raise PermanentError(CREDENTIAL_NOT_FOUND, "no such credential", target=reference)
        return self.fields[reference]


@dataclass
class Daemon:
    """A running sshd: where it listens, its keys, and who may log in."""

    folder: Path
    port: int
    user: str
    process: subprocess.Popen[bytes]

    @property
    def client_key(self) -> str:
        return (self.folder / "client").read_text()

    def public(self, name: str = "hk_ed25519") -> str:
        return " ".join((self.folder / f"{name}.pub").read_text().split()[:2])

    def known(self, address: str, key: str = "hk_ed25519") -> str:
        return f"[{address}]:{self.port} {self.public(key)}\n"

    def log(self) -> str:
        return (self.folder / "sshd.log").read_text()


def current_user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def probe_user(name: str = "probe", shell: str = "/bin/sh") -> str:
    """Return a user to log in as: made if missing and we are root, else the current one."""
    if os.geteuid() != 0:
        return current_user()
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        # a password of `*`: useradd's `!` counts as a locked account without PAM
        subprocess.run(["useradd", "-m", "-s", shell, name], check=True)
        subprocess.run(["usermod", "-p", "*", name], check=True)
    else:
        if found.pw_shell != shell:
            subprocess.run(["usermod", "-s", shell, name], check=True)
    return name


StartDaemon = Callable[..., Daemon]


def _start(
    folder: Path, *, user: str, extra: str = "", host_keys: tuple[str, ...] = ("ed25519",), port: int = 0
) -> Daemon:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for kind in host_keys:
        if not (folder / f"hk_{kind}").exists():
            make_key(folder / f"hk_{kind}", kind)
    if not (folder / "client").exists():
        make_key(folder / "client")
        shutil.copy(folder / "client.pub", folder / "authorized_keys")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = port or free_port()
    given = {line.split()[0].lower() for line in extra.splitlines() if line.strip()}
    defaults = "\n".join(
        line
        for line in (
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin " + ("yes" if user == "root" else "no"),
            "MaxStartups 500",
            "UseDNS no",
        )
        if line.split()[0].lower() not in given
    )
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 0.0.0.0\n"
        + "".join(f"HostKey {folder}/hk_{kind}\n" for kind in host_keys)
        + f"PidFile {folder}/sshd.pid\nAuthorizedKeysFile {folder}/authorized_keys\n{defaults}\n{extra}\n"
    )
    subprocess.run([SSHD, "-t", "-f", str(config)], check=True)
    process = subprocess.Popen([SSHD, "-D", "-f", str(config), "-E", str(folder / "sshd.log")])
    for _ in range(100):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                break
        if process.poll() is not None:
            raise RuntimeError((folder / "sshd.log").read_text())
        time.sleep(0.05)
    return Daemon(folder, port, user, process)


@pytest.fixture(scope="session")
def start_daemon() -> Iterator[StartDaemon]:
    """Start further daemons with settings of their own; all end with the session.

    Their folders are not pytest's: sshd reads authorized_keys as the user who logs in, and pytest's are root's alone.
    """
    running: list[Daemon] = []
    folders: list[Path] = []

    def start(**options: object) -> Daemon:
        user = str(options.pop("user", "") or probe_user())
        folder = options.pop("folder", None)
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="sshd-"))
            folders.append(folder)
        daemon = _start(folder, user=user, **options)  # type: ignore[arg-type]
        running.append(daemon)
        return daemon

    yield start
    for daemon in running:
        daemon.process.terminate()
        daemon.process.wait(60)
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def sshd(start_daemon: StartDaemon) -> Daemon:
    """The plain daemon that most tests share."""
    return start_daemon()


@dataclass
class Prober:
    """Runs collectors with a known_hosts file and a keyring of its own."""

    known_hosts: Path
    keyring: Keyring = field(default_factory=Keyring)

    def knows(self, daemon: Daemon, *addresses: str, key: str = "hk_ed25519") -> None:
        with self.known_hosts.open("a") as file:
            file.writelines(daemon.known(address, key) for address in addresses)

    def login(self, daemon: Daemon, user: str = "", reference: str = "env:PROBE") -> None:
        self.keyring.fields[reference] = {"username": user or daemon.user, "private_key": daemon.client_key}

    def collector(self, **settings: object) -> SshCollector:
        config = SshConfig.model_validate(
            {"name": "probes", "platform": "ssh", "known_hosts": self.known_hosts, "connect_timeout_s": 2, **settings}
        )
        return SshCollector(config, self.keyring)

    def probe(self, *targets: ProbeTarget, **settings: object) -> list[RawRecord]:
        return list(self.collector(**settings).collect(ReadOrder(targets=tuple(targets))))

    def one(self, daemon: Daemon, address: str = "127.0.1.1", **settings: object) -> RawRecord:
        [raw] = self.probe(target(address, daemon.port), **settings)
        return raw


def target(address: str | None, port: int | None, reference: str | None = "env:PROBE") -> ProbeTarget:
    return ProbeTarget(f"asset-{address}", address, None, "ssh", port, reference)


@pytest.fixture
def prober(tmp_path: Path) -> Prober:
    return Prober(tmp_path / "known_hosts")
