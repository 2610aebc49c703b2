"""The probe against a real sshd, and this machine without one: what comes back, and that nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from asset_ledger.domain.inventory import AssetRecord
from asset_ledger.domain.normalized import validate
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.ssh import PLATFORM
from asset_ledger.sources.ssh.client import Session
from asset_ledger.sources.ssh.collector import script
from asset_ledger.sources.ssh.sections import split
from tests.sshd import Daemon, Prober, StartDaemon, make_key, probe_user, target

needs_sshd = pytest.mark.needs("sshd")


def record(raw: RawRecord) -> AssetRecord:
    [item] = PLATFORM.parse(raw, {})
    assert isinstance(item, AssetRecord), item
    validate(item.document, target=raw.target)
    return item


@needs_sshd
def test_a_host_is_read_with_one_login_and_no_root(sshd: Daemon, prober: Prober) -> None:
    prober.knows(sshd, "127.0.1.1")
    prober.login(sshd)
    raw = prober.one(sshd)
    assert raw.document["error"] is None
    assert raw.target == "127.0.1.1"
    assert [step["step"] for step in raw.document["steps"]] == ["tcp", "handshake", "auth", "exec"]
    assert raw.document["exit_status"] == 0
    assert raw.document["host_key_fingerprint"].startswith("SHA256:")
    found = record(raw)
    assert found.external_id == "127.0.1.1"
    document = found.document
    assert document["identity"]["mgmt_ip"] == "127.0.1.1"
    assert document["hardware"]["cpu_count"] == os.cpu_count()
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert document["hardware"]["memory_bytes"] == total
    assert document["os"]["kernel"] == os.uname().release
    assert {"kind": "host_key", "value": raw.document["host_key_fingerprint"]} in document["identifiers"]
    assert all(not ip.startswith("127.") for ip in document["network"]["ip_addresses"])


@needs_sshd
def test_many_hosts_come_back_one_by_one_and_in_any_order(sshd: Daemon, prober: Prober) -> None:
    addresses = [f"127.0.2.{n}" for n in range(1, 25)]
    prober.knows(sshd, *addresses)
    prober.login(sshd)
    raws = prober.probe(*(target(address, sshd.port) for address in addresses), parallel=8)
    assert sorted(raw.target for raw in raws) == sorted(addresses)
    assert {raw.document["error"] for raw in raws} == {None}
    assert len({raw.document["nonce"] for raw in raws}) == len(addresses)


@needs_sshd
def test_one_address_never_sees_two_connections_at_once(
    sshd: Daemon, prober: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, alone, met = Session.run, threading.Lock(), []

    def watched(session: Session, *given: Any) -> None:
        free = alone.acquire(blocking=False)
        met.append(free)
        try:
            run(session, *given)
        finally:
            if free:
                alone.release()

    monkeypatch.setattr(Session, "run", watched)
    prober.knows(sshd, "127.0.1.9")
    prober.login(sshd)
    raws = prober.probe(*[target("127.0.1.9", sshd.port)] * 3, parallel=8)
    assert [raw.document["error"] for raw in raws] == [None] * 3
    assert met == [True] * 3


@needs_sshd
def test_a_consumer_that_stops_early_leaves_no_thread(sshd: Daemon, prober: Prober) -> None:
    addresses = [f"127.0.3.{n}" for n in range(1, 20)]
    prober.knows(sshd, *addresses)
    prober.login(sshd)
    before = threading.active_count()
    stream = prober.collector(parallel=4).collect(ReadOrder(targets=tuple(target(a, sshd.port) for a in addresses)))
    next(stream)
    stream.close()
    names = [thread.name for thread in threading.enumerate()]
    assert threading.active_count() <= before + 4, names  # paramiko's own end within a tenth of a second
    assert not [name for name in names if name.startswith("probe-")]


@needs_sshd
@pytest.mark.parametrize(
    ("kind", "form"),
    # ed25519 has no PEM form
    [("ed25519", "OpenSSH"), ("ed25519", "passphrase")]
    + [(kind, form) for kind in ("ecdsa", "rsa") for form in ("OpenSSH", "PEM", "passphrase")],
)
def test_every_common_form_of_private_key_logs_in(
    start_daemon: StartDaemon, prober: Prober, tmp_path: Path, kind: str, form: str
) -> None:
    daemon = _daemon_for_keys(start_daemon)
    key = make_key(tmp_path / "k", kind, *(["-m", "PEM"] if form == "PEM" else []))
    if form == "passphrase":
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", str(key)], check=True)
    (daemon.folder / "authorized_keys").write_text((tmp_path / "k.pub").read_text())
    prober.knows(daemon, "127.0.1.1")
    prober.keyring.fields["env:PROBE"] = {
        "username": daemon.user,
        "private_key": key.read_text(),
        **({"passphrase": "open sesame"} if form == "passphrase" else {}),
    }
    assert prober.one(daemon).document["error"] is None


_KEYS: list[Daemon] = []


def _daemon_for_keys(start_daemon: StartDaemon) -> Daemon:
    if not _KEYS:
        _KEYS.append(start_daemon())
    return _KEYS[0]


@needs_sshd
@pytest.mark.needs("root")
def test_a_password_logs_in_where_the_host_takes_one(start_daemon: StartDaemon, prober: Prober) -> None:
    user = probe_user()
    daemon = start_daemon(user=user, extra="PasswordAuthentication yes")
    prober.knows(daemon, "127.0.1.1")
    subprocess.run(["chpasswd"], input=f"{user}:correct horse\n".encode(), check=True)
    try:
        prober.keyring.fields["env:PROBE"] = {"username": user, "password": "correct horse"}
        assert prober.one(daemon).document["error"] is None
        prober.keyring.fields["env:PROBE"] = {"username": user, "password": "wrong horse"}
        raw = prober.one(daemon)
    finally:
        subprocess.run(["usermod", "-p", "*", user], check=True)
    assert raw.document["error"]["code"] == "SSH_AUTH_FAILED"
    assert "horse" not in repr(raw)


def test_this_machine_is_read_without_ssh(prober: Prober) -> None:
    [raw] = prober.probe(this_machine=True)
    assert raw.document["transport"] == "local"
    assert raw.document["target"]["asset_id"] is None
    found = record(raw)
    assert found.external_id.startswith("local:")
    assert found.document["hardware"]["cpu_count"] == os.cpu_count()
    assert "access" not in found.document


def test_this_machine_is_not_read_twice_when_the_ledger_already_has_it(prober: Prober) -> None:
    known = ProbeTarget("a1", "192.0.2.7", "here", "local", None, None)
    [raw] = prober.probe(known, this_machine=True)
    assert record(raw).external_id == "192.0.2.7"


def test_a_probe_of_this_machine_needs_no_paramiko() -> None:
    code = (
        "import sys\n"
        "from asset_ledger.sources.platform import ReadOrder\n"
        "from asset_ledger.sources.ssh import PLATFORM\n"
        "c = PLATFORM.open(PLATFORM.config(name='p', platform='ssh', this_machine=True), None)\n"
        "assert next(c.collect(ReadOrder())).document['error'] is None\n"
        "assert 'paramiko' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


SHELLS = [
    pytest.param(["dash"], marks=pytest.mark.skipif(not Path("/bin/dash").exists(), reason="no dash")),
    pytest.param(["bash"], marks=pytest.mark.skipif(not Path("/bin/bash").exists(), reason="no bash")),
    pytest.param(["bash", "--posix"], marks=pytest.mark.skipif(not Path("/bin/bash").exists(), reason="no bash")),
    pytest.param(["busybox", "sh"], marks=pytest.mark.needs("busybox")),
    pytest.param(["ksh"], marks=pytest.mark.needs("ksh")),
]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_runs_unchanged_under_every_shell(shell: list[str], tmp_path: Path) -> None:
    nonce = "00112233445566aa"
    tmp_path.chmod(0o555)
    done = subprocess.run([*shell, "-s", nonce], input=script(), capture_output=True, cwd=tmp_path, check=True)
    sections = split(done.stdout, nonce)
    assert {"uname", "hostname", "cpu", "mem", "lsblk", "sysblock", "ip", "os", "machineid", "virt"} <= set(sections)
    assert sections["cpu"].text == str(os.cpu_count())
    assert done.stderr == b""
    assert list(tmp_path.iterdir()) == []


def test_the_script_writes_no_file_and_asks_for_no_rights() -> None:
    text = "\n".join(line for line in script().decode().splitlines() if not line.startswith("#"))
    assert text.replace("2>/dev/null", "").count(">") == 0
    words = set(text.replace(";", " ").replace("(", " ").split())
    assert not words & {"sudo", "su", "doas", "tee", "rm", "mv", "cp", "touch", "mkdir", "mktemp", "dd", "kill"}


@pytest.mark.needs("strace")
def test_the_script_opens_nothing_for_writing_and_no_socket_but_netlink(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=openat,open,creat,unlink,rename,mkdir,connect", "-o", str(trace),
         "sh", "-s", "00112233445566aa"],
        input=script(), capture_output=True, check=True,
    )  # fmt: skip
    calls = trace.read_text().splitlines()
    assert len(calls) > 50
    writes = [c for c in calls if ("O_WRONLY" in c or "O_RDWR" in c or "O_CREAT" in c) and '"/dev/' not in c]
    assert not [c for c in writes if "ENOENT" not in c], writes
    assert not [c for c in calls if "unlink(" in c or "rename(" in c or "mkdir(" in c or "creat(" in c]
