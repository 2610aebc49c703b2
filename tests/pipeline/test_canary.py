"""Secrets are planted wherever a secret can come in, everything is run for real, and everything that was written searched.

The runs are Dagster's, in a process of their own, over PostgreSQL; the hosts are a real sshd. Searched are every row
of both databases, every file of the installation, what the processes printed, and the server's log.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import pwd
import re
import secrets
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import xlsxwriter

from asset_ledger.cli.dagster_run import RunRequest, RunResult, run
from asset_ledger.credentials import EncryptedFile, generate_key
from asset_ledger.domain.calendar import collected_date
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.settings import Settings
from asset_ledger.store.database import connect, rows
from tests.pipeline.canaries import Canaries, everything_in, everything_under, server_log
from tests.postgres import drop_database
from tests.sshd import Daemon, StartDaemon, make_key

SOURCES = """
sources:
  - {name: office, platform: import, inbox: inbox}
  - {name: probe, platform: ssh, known_hosts: known_hosts, connect_timeout_s: 2}
"""
ADDRESSES = [f"127.0.7.{number}" for number in range(1, 7)]


def workbook(*table: list[str]) -> bytes:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    sheet = book.add_worksheet()
    for number, row in enumerate(table):
        sheet.write_row(number, 0, row)
    book.close()
    return out.getvalue()


@dataclass
class Installation:
    """One installation with planted secrets."""

    folder: Path
    ledger: Ledger
    canaries: Canaries
    results: list[RunResult] = field(default_factory=list)
    brought: set[Path] = field(default_factory=set)

    def run(self, *requests: RunRequest) -> None:
        self.results += run(self.ledger, requests)

    def rows(self, query: str) -> list[dict[str, Any]]:
        with connect(self.ledger.url) as connection:
            return rows(connection, query)


@pytest.fixture
def installation(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    for name, value in (("HOME", "home"), ("SOURCES", "sources.yaml")):
        monkeypatch.setenv(f"ASSET_LEDGER_{name}", str(tmp_path / value))
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", database_url)
    monkeypatch.delenv("ASSET_LEDGER_DAGSTER_DATABASE_URL", raising=False)
    (tmp_path / "sources.yaml").write_text(SOURCES)
    (tmp_path / "inbox").mkdir()
    found = Installation(tmp_path, Ledger(Settings.load()), Canaries())
    if password := urlsplit(database_url).password:
        found.canaries.watch("password of the database", password)
    yield found
    drop_database(found.ledger.dagster_url)


@pytest.fixture
def password_user() -> Iterator[str | None]:
    """A user that can log in with a password; only root can make one."""
    if os.geteuid() != 0:
        yield None
        return
    for user in pwd.getpwall():  # left by a session that was killed
        if re.fullmatch(r"canary\d+", user.pw_name) and not Path(f"/proc/{user.pw_name[6:]}").exists():
            subprocess.run(["userdel", user.pw_name], check=True)
    name = f"canary{os.getpid()}"
    subprocess.run(["useradd", "-M", "-s", "/bin/sh", name], check=True)
    yield name
    subprocess.run(["userdel", name], check=True)


def drop_files(at: Installation, port: int) -> None:
    """Put files into the inbox with a secret in every place where a spreadsheet may have one."""
    plant = at.canaries.plant

    def csv_text(*table: list[str]) -> str:
        return "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in table)

    def json_text(key: str, secret: str) -> str:
        return json.dumps({"team": {key: secret}})

    references = ["file:right", "env:WRONG", "file:stranger", "env:BROKEN", "file:mangled", "env:RIGHT"]
    hosts = [[f"192.0.2.{n}", f"host-{n}", "ssh", str(port), ref] for n, ref in enumerate(references, 1)]
    url = f"postgresql://app:{at.canaries.watch('URL in a cell', 'Cnryurl' + secrets.token_hex(8))}@db/app"
    dropped = {
        "hosts.csv": csv_text(["mgmt_ip", "hostname", "protocol", "port", "credential_ref"], *hosts).encode(),
        "secrets.csv": csv_text(
            ["mgmt_ip", "hostname", "cpu_cores", "root password", "credential_ref", "custom_fields", "custom.api_key"],
            ["192.0.2.20", "a", "4", plant("password column"), "", "", plant("custom column")],
            ["192.0.2.21", "b", "4", "", plant("credential_ref"), "", ""],
            ["192.0.2.22", "c", "4", "", "", json_text("db_password", plant("custom_fields")), ""],
            ["192.0.2.23", "d", "four", plant("password of a rejected row"), "", "", ""],
            [
                "192.0.2.24",
                "e",
                "4",
                "",
                plant("credential of a row that is shifted"),
                "",
                "",
                "",
                plant("a cell too many"),
            ],
            ["192.0.2.25", "f", "4", "", "", f'{{"dsn": "{url}"}}', ""],
        ).encode(),
        "book.xlsx": workbook(
            ["mgmt_ip", "hostname", "cpu_cores", "密码"],
            ["192.0.2.30", "g", "4", plant("workbook")],
            ["192.0.2.31", "h", "four", plant("rejected row of a workbook")],
        ),
        "refused.csv": csv_text(["hostname", "password"], ["x", plant("file that is refused as a whole")]).encode(),
    }
    for name, body in dropped.items():
        path = at.folder / "inbox" / name
        path.write_bytes(body)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    # what is refused as a whole is put aside as it came: it is the person's own file
    at.brought.add(at.folder / "inbox" / "rejected" / "refused.csv")


def store_credentials(
    at: Installation, monkeypatch: pytest.MonkeyPatch, daemon: Daemon, password_user: str | None
) -> None:
    """Put right and wrong credentials where references point."""
    canaries = at.canaries
    key = canaries.watch("key of the credential file", generate_key())
    monkeypatch.setenv("ASSET_LEDGER_CREDENTIALS_KEY", key)
    monkeypatch.setenv(
        "WRONG", f'{{"username": "{daemon.user}", "password": "{canaries.plant("wrong password")[:21]}"}}'
    )
    monkeypatch.setenv("BROKEN", '{"password": "' + canaries.plant("variable that is no JSON"))
    password = canaries.plant("right password")
    monkeypatch.setenv("RIGHT_USERNAME", password_user or daemon.user)
    monkeypatch.setenv("RIGHT_PASSWORD", password)
    if password_user:
        subprocess.run(["chpasswd"], input=f"{password_user}:{password}\n", text=True, check=True)
    passphrase = canaries.plant("passphrase")
    stranger = at.folder.parent / "stranger"
    make_key(stranger)
    subprocess.run(["ssh-keygen", "-q", "-p", "-f", str(stranger), "-P", "", "-N", passphrase], check=True)
    for name, text in (("right private key", daemon.client_key), ("private key of a stranger", stranger.read_text())):
        canaries.watch(name, text.splitlines()[2])  # a line of its body
    file = EncryptedFile(at.folder / "home" / "credentials.json", os.environ)
    file.set("right", {"username": daemon.user, "private_key": daemon.client_key})
    file.set("stranger", {"username": daemon.user, "private_key": stranger.read_text(), "passphrase": passphrase})
    mangled = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{canaries.plant('mangled private key')}\n-----END"
    file.set("mangled", {"username": daemon.user, "private_key": mangled})
    (at.folder / "known_hosts").write_text("".join(daemon.known(address) for address in ADDRESSES))


@pytest.mark.needs("sshd")
def test_no_secret_leaves_the_credential_store(
    installation: Installation,
    start_daemon: StartDaemon,
    password_user: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    daemon = start_daemon(extra="PasswordAuthentication yes")
    store_credentials(installation, monkeypatch, daemon, password_user)
    drop_files(installation, daemon.port)
    today = collected_date(datetime.now(UTC)).isoformat()

    installation.run(RunRequest("office_collect", partition=today))
    with connect(installation.ledger.url) as connection:  # no file may name a loopback address
        for number, address in enumerate(ADDRESSES, 1):
            connection.execute(
                "UPDATE ledger.assets SET mgmt_ip = %s WHERE mgmt_ip = %s", [address, f"192.0.2.{number}"]
            )
    installation.run(
        RunRequest("probe_healthcheck"),
        RunRequest("probe_detect"),
        RunRequest("probe_collect", partition=today),
        RunRequest("probe_collect", partition=today, config=_replay()),
        RunRequest("ledger_links"),
    )

    # everything did happen: without this the search would prove nothing
    assert [result.success for result in installation.results] == [True, False, True, True, True, True]
    probed = {
        row["target"]: row["error_code"] or row["status"]
        for row in installation.rows("SELECT * FROM ledger.sync_target_records WHERE target LIKE '127.0.7.%'")
    }
    right_password = probed.pop(ADDRESSES[5])
    assert right_password == ("ok" if password_user else "SSH_AUTH_FAILED") or right_password == "partial"
    assert probed.pop(ADDRESSES[0]) in ("ok", "partial")
    assert list(dict(sorted(probed.items())).values()) == [
        "SSH_AUTH_FAILED",
        "SSH_AUTH_FAILED",
        "CREDENTIAL_UNREADABLE",
        "SSH_CREDENTIAL_INVALID",
    ]
    taken = installation.rows(
        "SELECT target, redacted FROM ledger.asset_observations WHERE target NOT LIKE '127%' ORDER BY 1"
    )
    assert [(row["target"], row["redacted"]) for row in taken] == [
        ("book.xlsx", True),
        ("hosts.csv", False),
        ("secrets.csv", True),
    ]
    assert (installation.folder / "inbox" / "rejected" / "refused.csv.why.txt").is_file()

    printed = capfd.readouterr()
    written = [
        *everything_in(installation.ledger.url),
        *everything_in(installation.ledger.dagster_url),
        *everything_under(installation.folder, but=installation.brought),
        ("standard output", printed.out.encode()),
        ("standard error", printed.err.encode()),
        *((f"answer of {result.job}", repr(result).encode()) for result in installation.results),
        *server_log(),
    ]
    places = " ".join({where for where, _ in written})
    assert "table ledger.asset_observations" in places
    assert "table public.event_logs" in places
    found = {trace for where, content in written for trace in installation.canaries.traces(content, where)}
    assert found == set()


def _replay() -> dict[str, Any]:
    return {"ops": {"probe_chain": {"config": {"files": [], "replay": True}}}}


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_the_search_finds_a_canary_in_every_dress(before: str) -> None:
    canaries = Canaries()
    text = before + canaries.plant("here") + "after"
    plain = text.encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", plain)
    dressed = [
        plain,
        b"x" + base64.b64encode(plain),
        base64.urlsafe_b64encode(plain),
        plain.hex().encode(),
        text.encode("utf-16-le"),
        gzip.compress(plain),
        packed.getvalue(),
        gzip.compress(packed.getvalue()),
        repr(text).encode(),
    ]
    assert [canaries.traces(each, "there")[:1] == [] for each in dressed] == [False] * len(dressed)
    assert canaries.traces(b"Cnry is a word", "there") == []
