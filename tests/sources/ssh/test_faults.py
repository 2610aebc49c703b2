"""Every way a host fails, made by a real sshd or a bare socket: one record each, with its own code, and in time."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asset_ledger.domain.inventory import AssetRecord, Caution, TargetFailure
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.ssh import PLATFORM
from asset_ledger.sources.ssh.collector import script
from tests.conftest import program
from tests.patience import FOREVER_S, PATIENCE_S, soon
from tests.sshd import Daemon, Prober, StartDaemon, free_port, make_key, probe_user, target

pytestmark = pytest.mark.needs("sshd")


def failure(raw: RawRecord) -> TargetFailure:
    items = [item for item in PLATFORM.parse(raw, {}) if not isinstance(item, Caution)]
    assert len(items) == 1
    assert isinstance(items[0], TargetFailure), items[0]
    assert items[0].mgmt_ip == raw.target
    return items[0]


def code(raw: RawRecord) -> str:
    return failure(raw).code.code


def read(raw: RawRecord) -> AssetRecord:
    [item] = [item for item in PLATFORM.parse(raw, {}) if not isinstance(item, Caution)]
    assert isinstance(item, AssetRecord), item
    return item


@contextmanager
def server(address: str, talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve one address with `talk`, a function of the accepted socket, and give its port."""
    ended = threading.Event()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, 0))
        listener.listen(16)
        listener.settimeout(0.1)

        def serve() -> None:
            while not ended.is_set():
                try:
                    peer, _ = listener.accept()
                except TimeoutError:
                    continue
                with peer:
                    try:
                        talk(peer)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def wait_for_close(peer: socket.socket) -> None:
    peer.settimeout(FOREVER_S)
    while peer.recv(4096):
        pass


# --- the network ---------------------------------------------------------------------------------------------


def test_a_closed_port_is_refused(prober: Prober, sshd: Daemon) -> None:
    prober.login(sshd)
    [raw] = prober.probe(target("127.0.4.1", free_port()))
    assert code(raw) == "SSH_REFUSED"
    assert [step["step"] for step in raw.document["steps"]] == ["tcp"]
    assert raw.body == b""


def test_a_host_that_drops_packets_is_a_timeout(prober: Prober, sshd: Daemon) -> None:
    """A full accept queue: the kernel drops further SYNs, as a firewall would."""
    prober.login(sshd)
    with socket.socket() as listener:
        listener.bind(("127.0.4.2", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.4.2", port))
            waiting.append(filler)
        began = time.monotonic()
        with soon():
            [raw] = prober.probe(target("127.0.4.2", port), connect_timeout_s=0.6)
        spent = time.monotonic() - began
        for filler in waiting:
            filler.close()
    assert code(raw) == "SSH_TIMEOUT"
    assert spent > 0.5


def test_a_name_that_does_not_resolve_is_a_dns_failure(prober: Prober, sshd: Daemon) -> None:
    prober.login(sshd)
    [raw] = prober.probe(target(None, 22))
    assert raw.document["error"]["code"] == "SSH_DNS"


def test_a_silent_server_is_a_banner_timeout(prober: Prober, sshd: Daemon) -> None:
    prober.login(sshd)
    with server("127.0.4.3", wait_for_close) as port, soon():
        [raw] = prober.probe(target("127.0.4.3", port), handshake_timeout_s=0.5, deadline_s=FOREVER_S)
    assert code(raw) == "SSH_BANNER_TIMEOUT"


def test_a_server_that_hangs_after_its_banner_is_a_handshake_timeout(prober: Prober, sshd: Daemon) -> None:
    def talk(peer: socket.socket) -> None:
        peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        wait_for_close(peer)

    prober.login(sshd)
    with server("127.0.4.4", talk) as port, soon():
        [raw] = prober.probe(target("127.0.4.4", port), handshake_timeout_s=0.5, deadline_s=FOREVER_S)
    assert code(raw) == "SSH_HANDSHAKE_TIMEOUT"
    assert raw.document["remote_version"] == "SSH-2.0-OpenSSH_9.2"


def test_one_byte_at_a_time_does_not_stretch_the_deadline(prober: Prober, sshd: Daemon) -> None:
    def talk(peer: socket.socket) -> None:
        for byte in b"SSH-2.0-" + b"x" * 200:
            peer.sendall(bytes([byte]))
            time.sleep(0.3)  # a minute in all

    prober.login(sshd)
    with server("127.0.4.5", talk) as port, soon():
        [raw] = prober.probe(target("127.0.4.5", port), deadline_s=1, handshake_timeout_s=FOREVER_S)
    assert code(raw) == "SSH_DEADLINE"


def test_a_reset_connection_is_tried_once_more_and_then_lost(prober: Prober, sshd: Daemon) -> None:
    def talk(peer: socket.socket) -> None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    prober.login(sshd)
    with server("127.0.4.6", talk) as port:
        [raw] = prober.probe(target("127.0.4.6", port))
    assert code(raw) == "SSH_CONNECTION_LOST"
    assert failure(raw).code.retryable
    assert raw.document["attempts"] == 2


def test_a_web_server_on_the_port_is_no_ssh(prober: Prober, sshd: Daemon) -> None:
    def talk(peer: socket.socket) -> None:
        peer.recv(100)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 120)

    prober.login(sshd)
    with server("127.0.4.7", talk) as port:
        [raw] = prober.probe(target("127.0.4.7", port))
    assert code(raw) == "SSH_UNEXPECTED_OUTPUT"


def test_one_dead_host_does_not_keep_the_others(prober: Prober, sshd: Daemon) -> None:
    prober.login(sshd)
    prober.knows(sshd, "127.0.1.2", "127.0.1.3")
    with server("127.0.4.8", wait_for_close) as silent:
        raws = prober.probe(
            target("127.0.4.8", silent),
            target("127.0.1.2", sshd.port),
            target("127.0.4.9", 1),
            target("127.0.1.3", sshd.port),
            parallel=2,
            handshake_timeout_s=1.5,
        )
    codes = {raw.target: (raw.document["error"] or {}).get("code") for raw in raws}
    assert codes == {
        "127.0.4.8": "SSH_BANNER_TIMEOUT",
        "127.0.1.2": None,
        "127.0.4.9": "SSH_REFUSED",
        "127.0.1.3": None,
    }
    assert raws[-1].target == "127.0.4.8"


def test_a_stopped_run_does_not_wait_for_a_hanging_host(prober: Prober, sshd: Daemon) -> None:
    prober.login(sshd)
    prober.knows(sshd, "127.0.1.2")
    with server("127.0.4.10", wait_for_close) as silent:
        targets = [target("127.0.1.2", sshd.port), target("127.0.4.10", silent)]
        stream = prober.collector(parallel=2, handshake_timeout_s=FOREVER_S, deadline_s=FOREVER_S).collect(
            ReadOrder(targets=tuple(targets))
        )
        assert next(stream).target == "127.0.1.2"
        with soon():
            stream.close()


# --- trust ---------------------------------------------------------------------------------------------------


def test_an_unknown_host_key_is_refused_before_any_login(prober: Prober, sshd: Daemon) -> None:
    prober.login(sshd)
    raw = prober.one(sshd)
    assert code(raw) == "SSH_HOST_KEY_UNKNOWN"
    assert "auth" not in [step["step"] for step in raw.document["steps"]]
    assert not prober.known_hosts.exists()


def test_a_changed_host_key_is_refused_before_any_login(prober: Prober, sshd: Daemon, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()[:2]
    prober.known_hosts.write_text(f"[127.0.1.1]:{sshd.port} {' '.join(other)}\n")
    prober.login(sshd)
    for policy in ("verify", "accept_first"):
        raw = prober.one(sshd, host_keys=policy)
        assert code(raw) == "SSH_HOST_KEY_MISMATCH"
        assert "auth" not in [step["step"] for step in raw.document["steps"]]
    assert len(prober.known_hosts.read_text().splitlines()) == 1


def test_a_first_key_is_recorded_where_the_source_says_so_and_every_run_warns(
    prober: Prober, start_daemon: StartDaemon
) -> None:
    daemon = start_daemon()
    prober.login(daemon)
    raw = prober.one(daemon, host_keys="accept_first")
    assert prober.known_hosts.read_text() == daemon.known("127.0.1.1")
    assert prober.known_hosts.stat().st_mode & 0o777 == 0o600
    assert raw.document["host_key_policy"] == "accept_first"
    items = list(PLATFORM.parse(raw, {}))
    assert isinstance(items[0], AssetRecord)
    assert isinstance(items[1], Caution)
    assert "first sight" in items[1].message
    again = list(PLATFORM.parse(prober.one(daemon, host_keys="accept_first"), {}))
    assert [type(item) for item in again] == [AssetRecord, Caution]
    # then the host changes: same address, another key
    daemon.process.terminate()
    daemon.process.wait(60)
    for suffix in ("", ".pub"):
        (daemon.folder / f"hk_ed25519{suffix}").unlink()
    changed = start_daemon(folder=daemon.folder, port=daemon.port)
    raw = prober.one(changed, host_keys="accept_first")
    assert code(raw) == "SSH_HOST_KEY_MISMATCH"


def test_a_second_key_type_of_a_known_host_is_not_a_changed_key(prober: Prober, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(host_keys=("ed25519", "ecdsa", "rsa"))
    prober.login(daemon)
    for number, kind in enumerate(("ed25519", "ecdsa", "rsa"), start=1):
        prober.knows(daemon, f"127.0.1.{number}", key=f"hk_{kind}")
        raw = prober.one(daemon, f"127.0.1.{number}")
        assert raw.document["error"] is None, kind


def test_hashed_and_revoked_lines_count(prober: Prober, sshd: Daemon) -> None:
    prober.login(sshd)
    prober.knows(sshd, "127.0.1.1")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(prober.known_hosts)], check=True, capture_output=True)
    assert "127.0.1.1" not in prober.known_hosts.read_text()
    assert prober.one(sshd).document["error"] is None
    with prober.known_hosts.open("a") as file:
        file.write(f"@revoked * {sshd.public()}\n")
    assert code(prober.one(sshd)) == "SSH_HOST_KEY_MISMATCH"


# --- login ---------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_an_auth_failure(prober: Prober, sshd: Daemon, tmp_path: Path) -> None:
    prober.knows(sshd, "127.0.1.1")
    prober.keyring.fields["env:PROBE"] = {
        "username": sshd.user,
        "private_key": make_key(tmp_path / "wrong").read_text(),
    }
    raw = prober.one(sshd)
    assert code(raw) == "SSH_AUTH_FAILED"
    assert raw.document["host_key_fingerprint"]


def test_a_password_where_only_keys_are_taken_is_an_auth_failure(prober: Prober, sshd: Daemon) -> None:
    prober.knows(sshd, "127.0.1.1")
    prober.keyring.fields["env:PROBE"] = {"username": sshd.user, "password": "hunter2"}
    raw = prober.one(sshd)
    assert code(raw) == "SSH_AUTH_FAILED"
    assert "publickey" in failure(raw).message
    assert "hunter2" not in repr(raw)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (None, "CREDENTIAL_NOT_FOUND"),
        ({"password": "x"}, "SSH_CREDENTIAL_INVALID"),
        ({"username": "u"}, "SSH_CREDENTIAL_INVALID"),
        ({"username": "u", "private_key": "-----BEGIN nonsense"}, "SSH_CREDENTIAL_INVALID"),
    ],
)
def test_a_bad_credential_fails_its_targets_without_a_connection(
    prober: Prober, sshd: Daemon, fields: dict[str, str] | None, expected: str
) -> None:
    if fields is not None:
        prober.keyring.fields["env:PROBE"] = fields
    raw = prober.one(sshd)
    assert code(raw) == expected
    assert raw.document["steps"] == []
    health = prober.collector().healthcheck(ReadOrder(targets=(target("127.0.1.1", sshd.port),)))
    assert not health.ok
    assert any(expected in problem for problem in health.problems)


def test_a_second_login_step_is_an_auth_failure(prober: Prober, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(extra="PasswordAuthentication yes\nAuthenticationMethods publickey,password")
    prober.knows(daemon, "127.0.1.1")
    prober.login(daemon)
    raw = prober.one(daemon)
    assert code(raw) == "SSH_AUTH_FAILED"
    assert "password" in failure(raw).message


def test_a_host_with_sha1_signatures_only_is_named_legacy(prober: Prober, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(
        host_keys=("rsa",),
        extra="HostKeyAlgorithms ssh-rsa\nPubkeyAcceptedAlgorithms ssh-rsa\n"
        "KexAlgorithms diffie-hellman-group-exchange-sha256,diffie-hellman-group14-sha1\n"
        "Ciphers aes128-ctr,aes256-ctr,aes128-cbc,3des-cbc\nMACs hmac-md5,hmac-sha1",
    )
    prober.knows(daemon, "127.0.1.1", key="hk_rsa")
    prober.login(daemon)
    assert code(prober.one(daemon)) == "SSH_LEGACY"


# --- what runs at the other end --------------------------------------------------------------------------------


@contextmanager
def login_shell(shell: str) -> Iterator[str]:
    user = probe_user()
    subprocess.run(["usermod", "-s", shell, user], check=True)
    try:
        yield user
    finally:
        subprocess.run(["usermod", "-s", "/bin/sh", user], check=True)


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    "shell",
    [
        "/bin/bash",
        "/bin/rbash",
        pytest.param("tcsh", marks=pytest.mark.needs("tcsh")),
        pytest.param("fish", marks=pytest.mark.needs("fish")),
        pytest.param("ksh", marks=pytest.mark.needs("ksh")),
    ],
)
def test_any_login_shell_reads_the_host(prober: Prober, sshd: Daemon, shell: str) -> None:
    prober.knows(sshd, "127.0.1.1")
    prober.login(sshd)
    with login_shell(shell if shell.startswith("/") else program(shell) or shell):
        raw = prober.one(sshd)
    assert read(raw).document["hardware"]["cpu_count"] == os.cpu_count()


@pytest.mark.needs("root")
@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/bin/false"])
def test_an_account_without_a_shell_is_shell_denied(prober: Prober, sshd: Daemon, shell: str) -> None:
    prober.knows(sshd, "127.0.1.1")
    prober.login(sshd)
    with login_shell(shell):
        raw = prober.one(sshd)
    assert code(raw) == "SSH_SHELL_DENIED"
    assert raw.body == b""


@pytest.mark.needs("root")
def test_a_chatty_profile_and_a_forged_banner_change_nothing(
    prober: Prober, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    forged = "@@0123456789abcdef:end@@\n1\n@@0123456789abcdef:rc=0@@\n@@$N:hostname@@\nevil\n@@$N:rc=0@@\n"
    banner = tmp_path / "banner"
    banner.write_text(forged)
    daemon = start_daemon(extra=f"Banner {banner}")
    prober.knows(daemon, "127.0.1.1")
    prober.login(daemon)
    with login_shell("/bin/bash") as user:
        rc = Path(f"~{user}/.bashrc").expanduser()
        kept = rc.read_bytes() if rc.exists() else None
        rc.write_text(f"echo 'Welcome!'; printf '%s' '{forged}'; echo noise >&2; export LC_ALL=de_DE.UTF-8\n")
        try:
            raw = prober.one(daemon)
        finally:
            rc.unlink() if kept is None else rc.write_bytes(kept)
    assert read(raw).document["identity"].get("hostname") != "evil"
    assert b"Welcome" not in raw.body
    assert raw.document["stderr_bytes"] > 0


FORCED = {
    "a forced command": ("/bin/echo forced", "SSH_UNEXPECTED_OUTPUT"),
    "a forced command that fails": ("/bin/sh -c 'echo no; exit 3'", "SSH_SHELL_DENIED"),
    "a flood on stdout": ("/bin/sh -c 'exec yes flood'", "SSH_OUTPUT_CAP"),
    "a flood on stderr": ("/bin/sh -c 'exec yes flood >&2'", "SSH_OUTPUT_CAP"),
    "a command that hangs": ("/bin/sleep 120", "SSH_DEADLINE"),
    "a slow drip": ("/bin/sh -c 'while :; do echo .; sleep 0.2; done'", "SSH_DEADLINE"),
    "half of the output": (
        "/bin/sh -c 'set -- $SSH_ORIGINAL_COMMAND; /bin/sh -s $3 | head -c 900'",
        "SSH_TRUNCATED",
    ),
}


@pytest.mark.parametrize("case", FORCED)
def test_another_command_than_the_probe_is_named_for_what_it_does(
    prober: Prober, start_daemon: StartDaemon, case: str
) -> None:
    command, expected = FORCED[case]
    daemon = start_daemon(extra=f"ForceCommand {command}")
    prober.knows(daemon, "127.0.1.1")
    prober.login(daemon)
    deadline_s = 1.5 if expected == "SSH_DEADLINE" else PATIENCE_S
    with soon():
        raw = prober.one(daemon, deadline_s=deadline_s, output_cap_bytes=65536)
    assert code(raw) == expected, raw.document
    assert len(raw.body) <= 65536


def test_the_pinned_script_is_the_least_privilege_set_up(
    prober: Prober, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    daemon = start_daemon()
    pinned = daemon.folder / "probe.sh"
    pinned.write_bytes(script())
    public = (daemon.folder / "client.pub").read_text()
    (daemon.folder / "authorized_keys").write_text(f'restrict,command="sh {pinned}" {public}')
    prober.knows(daemon, "127.0.1.1")
    prober.login(daemon)
    assert read(prober.one(daemon)).external_id == "127.0.1.1"


def test_a_host_that_allows_one_session_is_read(prober: Prober, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(extra="MaxSessions 1")
    prober.knows(daemon, "127.0.1.1")
    prober.login(daemon)
    assert prober.one(daemon).document["error"] is None


def test_a_host_that_allows_no_session_is_shell_denied(prober: Prober, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(extra="MaxSessions 0")
    prober.knows(daemon, "127.0.1.1")
    prober.login(daemon)
    assert code(prober.one(daemon)) == "SSH_SHELL_DENIED"


def greeted(daemon: Daemon) -> socket.socket:
    """Return a connection that sshd has greeted: the one that asked whether it listens may hold the place a while."""
    for _ in range(100):
        made = socket.create_connection(("127.0.1.1", daemon.port))
        if made.recv(100).startswith(b"SSH-"):
            return made
        made.close()
        time.sleep(0.02)
    raise AssertionError(daemon.log())


def test_a_connection_dropped_by_max_startups_is_tried_once_more(prober: Prober, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(extra="MaxStartups 1:100:1\nLoginGraceTime 30")
    prober.knows(daemon, "127.0.1.1")
    prober.login(daemon)
    with greeted(daemon) as first:  # holds the only place of those who have not logged in
        threading.Timer(0.15, first.shutdown, (socket.SHUT_RDWR,)).start()
        raw = prober.one(daemon)
    assert raw.document["attempts"] == 2
    assert raw.document["error"] is None


@pytest.mark.needs("dropbear")
def test_a_second_implementation_is_read_alike(prober: Prober, sshd: Daemon, tmp_path: Path) -> None:
    key = tmp_path / "dropbear_key"
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", str(key)], check=True, capture_output=True)
    shown = subprocess.run(["dropbearkey", "-y", "-f", str(key)], check=True, capture_output=True, text=True).stdout
    public = next(line for line in shown.splitlines() if line.startswith("ssh-ed25519"))
    port = free_port()
    home = Path(f"~{sshd.user}").expanduser() / ".ssh"
    keys = home / "authorized_keys"
    kept = keys.read_bytes() if keys.exists() else None
    made = not home.exists()
    home.mkdir(mode=0o700, exist_ok=True)
    keys.write_bytes((kept or b"") + (sshd.folder / "client.pub").read_bytes())
    keys.chmod(0o600)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{sshd.user}:", str(home)], check=True)
    server_process = subprocess.Popen(
        [program("dropbear"), "-F", "-s", "-r", str(key), "-p", f"127.0.5.1:{port}", "-P", str(tmp_path / "pid")],
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(50):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.5.1", port)) == 0:
                    break
            time.sleep(0.05)
        prober.known_hosts.write_text(f"[127.0.5.1]:{port} {' '.join(public.split()[:2])}\n")
        prober.login(sshd)
        [raw] = prober.probe(target("127.0.5.1", port))
    finally:
        server_process.terminate()
        server_process.wait(60)
        keys.unlink() if kept is None else keys.write_bytes(kept)
        if made:
            home.rmdir()
    assert raw.document["error"] is None, raw.document
    assert raw.document["remote_version"].startswith("SSH-2.0-dropbear")
