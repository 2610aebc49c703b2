"""A Kerberos realm of the tests' own, and doubles of Windows hosts that know it. Nothing of the system's is touched.

Needs the Debian packages krb5-kdc, krb5-admin-server, krb5-user and libkrb5-dev, and requirements-kerberos.lock. Without
them the tests are skipped with the reason; under CI they fail.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.doubles.wsman import WsmanDouble
from tests.sshd import free_port

REALM = "LAB.EXAMPLE.TEST"
ACCOUNT = f"ledger@{REALM}"
NAME = "win1.lab.example.test"
_ADMIN = "/usr/sbin:/usr/bin"
_KRB5 = """
[libdefaults]
 default_realm = {realm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
[realms]
 {realm} = {{
  kdc = 127.0.0.1:{port}
 }}
[domain_realm]
 .lab.example.test = {realm}
"""
_KDC = """
[kdcdefaults]
 kdc_listen = ""
 kdc_tcp_listen = 127.0.0.1:{port}
[realms]
 {realm} = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
  acl_file = {folder}/acl
  supported_enctypes = aes256-cts-hmac-sha1-96:normal
 }}
[logging]
 kdc = FILE:{folder}/kdc.log
"""


def lacking() -> str:
    """Return what is not installed, or "" where all is there."""
    programs = {
        "krb5kdc": "krb5-kdc",
        "kdb5_util": "krb5-kdc",
        "kadmin.local": "krb5-admin-server",
        "kinit": "krb5-user",
    }
    missing = {package for program, package in programs.items() if shutil.which(program, path=_ADMIN) is None}
    missing |= {
        f"{module} of requirements-kerberos.lock" for module in ("kerberos", "gssapi") if find_spec(module) is None
    }
    return ", ".join(sorted(missing))


@dataclass(frozen=True)
class Realm:
    """A running KDC with one account and the services of the hosts."""

    folder: Path
    environment: dict[str, str]

    @property
    def keytab(self) -> Path:
        return self.folder / "hosts.keytab"

    def run(self, *command: str) -> None:
        program = shutil.which(command[0], path=_ADMIN) or command[0]
        done = subprocess.run(
            [program, *command[1:]], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def get_ticket(self) -> None:
        """Log the account in, as a timer with a keytab would."""
        self.run("kinit", "-k", "-t", str(self.folder / "ledger.keytab"), ACCOUNT)

    def drop_tickets(self) -> None:
        (self.folder / "tickets").unlink(missing_ok=True)


@contextmanager
def _running(folder: Path) -> Iterator[Realm]:
    port = free_port()
    (folder / "krb5.conf").write_text(_KRB5.format(realm=REALM, port=port))
    (folder / "kdc.conf").write_text(_KDC.format(realm=REALM, port=port, folder=folder))
    realm = Realm(
        folder,
        os.environ
        | {
            "KRB5_CONFIG": str(folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{folder / 'tickets'}",
            "KRB5RCACHENAME": f"dfl:{folder / 'replays'}",
        },
    )
    realm.run("kdb5_util", "create", "-s", "-W", "-P", "of the tests alone")
    for name, keytab in ((ACCOUNT, "ledger.keytab"), (f"HTTP/{NAME}", "hosts.keytab")):
        realm.run("kadmin.local", "addprinc", "-randkey", name)
        realm.run("kadmin.local", "ktadd", "-k", str(folder / keytab), name)
    program = shutil.which("krb5kdc", path=_ADMIN)
    assert program is not None
    process = subprocess.Popen([program, "-n"], env=realm.environment, stdout=subprocess.DEVNULL)
    try:
        _until_it_listens(port)
        yield realm
    finally:
        process.terminate()
        process.wait(60)


def _until_it_listens(port: int) -> None:
    for _ in range(200):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the KDC does not listen")


@pytest.fixture(scope="session")
def running_realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    if why := lacking():
        if os.environ.get("CI") == "true":
            pytest.fail(f"needs {why}")
        pytest.skip(f"needs {why}")
    with _running(tmp_path_factory.mktemp("realm")) as realm:
        yield realm


@pytest.fixture
def realm(running_realm: Realm, monkeypatch: pytest.MonkeyPatch) -> Realm:
    """The realm, in which the tests' own process has a ticket."""
    for name in ("KRB5_CONFIG", "KRB5CCNAME", "KRB5RCACHENAME"):
        monkeypatch.setenv(name, running_realm.environment[name])
    running_realm.drop_tickets()
    running_realm.get_ticket()
    return running_realm


@pytest.fixture(params=[False, True], ids=["http", "https"])
def windows_hosts(request: pytest.FixtureRequest, realm: Realm) -> Iterator[WsmanDouble]:
    with WsmanDouble(tls=request.param, authentication=("kerberos",), keytab=realm.keytab) as double:
        yield double
