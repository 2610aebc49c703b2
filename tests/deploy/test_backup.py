"""Backups that are really restored: base backup, archive, a point in time, the keys; and archives that do not work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from asset_ledger.domain.errors import RetryableError
from asset_ledger.pipeline.doctor.database import of_archive
from asset_ledger.store import doctor
from asset_ledger.store.access.people import add_tenant
from asset_ledger.store.database import connect, ensure_database, migrate
from asset_ledger.store.digests import digests
from asset_ledger.store.embedded.binaries import Account, choose_account, find_binaries
from asset_ledger.store.embedded.server import EmbeddedServer
from tests.conftest import program

PROJECT = Path(__file__).parents[2]
SCRIPTS = PROJECT / "deploy" / "backup"
SERVERS = ["wheel", pytest.param("debian", marks=pytest.mark.needs("postgresql-15"))]


class Installation:
    """A server with a WAL archive, the ledger in it, and the scripts run as the server's user."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
        self.folder, self.backups, self.home = folder, folder / "backups", folder / "home"
        if which == "debian":
            monkeypatch.setenv("ASSET_LEDGER_PG_BIN", str(Path(program("postgresql-15") or "").parent))
        else:
            monkeypatch.delenv("ASSET_LEDGER_PG_BIN", raising=False)
        monkeypatch.setenv("ASSET_LEDGER_BACKUPS", str(self.backups))
        self.bin = find_binaries().bin
        self.account: Account = choose_account(folder / "nothing")
        (self.backups / "wal").mkdir(parents=True)
        for each in (folder, self.backups, self.backups / "wal"):
            os.chown(each, self.account.uid, self.account.gid)
        self.server = EmbeddedServer(
            self.home,
            {
                "fsync": "off",
                "archive_mode": "on",
                "archive_command": f'ASSET_LEDGER_BACKUPS={self.backups} {SCRIPTS}/archive-wal.sh "%p" "%f"',
                "wal_keep_size": "0",
            },
        )
        self.server.start()
        self.url = self.server.url("asset_ledger")
        ensure_database(self.url)
        migrate(self.url)
        self.write("first")

    def write(self, name: str) -> None:
        """Commit something that a digest sees."""
        with connect(self.url) as db:
            db.execute(
                "INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)"
                " VALUES (%s, 'import', 'import', 'import', 'default', 1, 1)",
                [name],
            )

    def names(self, url: str) -> list[str]:
        with connect(url) as db:
            return [row[0] for row in db.execute("SELECT name FROM ledger.sources ORDER BY id")]

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        parts = urlsplit(self.url)
        libpq = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(parts.port),
            "PGUSER": str(parts.username),
            "PGPASSWORD": str(parts.password),
            "PGDATABASE": "asset_ledger",
        }
        ours = {
            "PG_BIN": str(self.bin),
            "ASSET_LEDGER_BACKUPS": str(self.backups),
            "ASSET_LEDGER_SCRATCH": str(self.folder),
            "ASSET_LEDGER": f"{sys.executable} -m asset_ledger.cli.main",
            "ASSET_LEDGER_HOME": str(self.folder / "keys"),
            "ASSET_LEDGER_ARCHIVE_WAIT_S": "20",
            "PG_USER": self.account.name,
            "PYTHONPATH": str(PROJECT),
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
        }
        return subprocess.run(
            [SCRIPTS / script, *arguments],
            cwd=self.folder,
            env=libpq | ours | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            # as its timer does; the others as root may, if that is who tests
            **(self.account.popen() if script == "base-backup.sh" else {}),
        )

    def base_backup(self, **environment: str) -> None:
        done = self.run("base-backup.sh", **environment)
        assert done.returncode == 0, done.stdout + done.stderr

    def kept(self) -> list[str]:
        return sorted(each.name for each in (self.backups / "base").iterdir())

    def archived(self) -> list[str]:
        return sorted(each.name for each in (self.backups / "wal").iterdir() if len(each.name) == 24)

    def wait_for_archive(self) -> None:
        with connect(self.url) as db:
            segment = db.execute("SELECT pg_walfile_name(pg_switch_wal() - 1)").fetchone()
        assert segment is not None
        end = time.monotonic() + 30
        while not (self.backups / "wal" / segment[0]).exists():
            assert time.monotonic() < end, self.server.log_tail()
            time.sleep(0.05)

    def data(self) -> Path:
        location = self.home / "postgres" / "location"
        return (Path(location.read_text().strip()) if location.exists() else self.home / "postgres") / "data"

    def destroy(self) -> None:
        """Stop the server and lose its data directory."""
        self.server.stop()
        shutil.rmtree(self.data())

    def restored(self, *arguments: str) -> None:
        """Restore into the place of the lost data directory, as one would, and start the server again."""
        done = self.run("restore.sh", "--into", str(self.data()), *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        self.server.start()
        with connect(self.url) as db:
            end = time.monotonic() + 30
            while db.execute("SELECT pg_is_in_recovery()").fetchone() != (False,):
                assert time.monotonic() < end, self.server.log_tail()
                time.sleep(0.05)


@pytest.fixture
def installation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    folder = Path(tempfile.mkdtemp(prefix="asset-ledger-backup-"))
    folder.chmod(0o711)
    made = Installation(folder, monkeypatch, getattr(request, "param", "wheel"))
    try:
        yield made
    finally:
        made.server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("installation", SERVERS, indirect=True)
def test_a_destroyed_ledger_comes_back_as_it_was_at_a_point_in_time(installation: Installation) -> None:
    installation.base_backup()
    installation.write("second")
    at_noon = digests(installation.url)
    noon = datetime.now(UTC)
    time.sleep(0.2)
    installation.write("a mistake")
    installation.wait_for_archive()
    last = digests(installation.url)
    assert at_noon != last

    installation.destroy()
    installation.restored()
    assert digests(installation.url) == last
    assert installation.names(installation.url) == ["first", "second", "a mistake"]

    installation.destroy()
    installation.restored("--time", noon.isoformat())
    assert installation.names(installation.url) == ["first", "second"]
    assert digests(installation.url) == at_noon
    # it takes writes again, and the next backup
    installation.write("third")
    installation.base_backup()


def test_a_restore_does_not_end_where_an_earlier_one_did(installation: Installation) -> None:
    installation.base_backup()
    noon = datetime.now(UTC)
    time.sleep(0.2)
    installation.write("a mistake")
    installation.wait_for_archive()
    installation.destroy()
    installation.restored("--time", noon.isoformat())
    time.sleep(1.1)  # a backup is called by its second
    installation.base_backup()
    installation.write("after the newest backup")
    installation.wait_for_archive()
    installation.destroy()
    installation.restored()
    assert installation.names(installation.url) == ["first", "after the newest backup"]


def test_a_rehearsal_compares_every_table_and_tries_the_keys_and_leaves_nothing(installation: Installation) -> None:
    from asset_ledger.credentials.key_ring import load_or_make

    keys = installation.folder / "keys"
    ring, _ = load_or_make(keys, {})
    with connect(installation.url) as db:
        add_tenant(db, "acme", ring)
    installation.base_backup()
    installation.write("after the backup")
    before = set(installation.folder.iterdir())
    done = installation.run("rehearse.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tables are the same" in done.stderr
    assert "the ring of keys opens it: 1 tenants" in done.stderr
    assert set(installation.folder.iterdir()) == before

    (keys / "state_keys").unlink()
    lost = installation.run("rehearse.sh")
    assert lost.returncode == 1
    assert "STATE_KEY_UNREADABLE" in lost.stderr
    assert "do not rely on these backups" in lost.stderr


def test_a_restored_ledger_that_differs_by_a_row_is_told(installation: Installation, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "asset_ledger.cli.main", "db", "digests", "--json"],
        env=os.environ | {"ASSET_LEDGER_DATABASE_URL": installation.url, "ASSET_LEDGER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    (tmp_path / "before.json").write_text(done.stdout)
    installation.write("one row more")
    again = subprocess.run(
        [sys.executable, "-m", "asset_ledger.cli.main", "db", "digests", "--against", tmp_path / "before.json"],
        env=os.environ | {"ASSET_LEDGER_DATABASE_URL": installation.url, "ASSET_LEDGER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1
    assert "RESTORE_DIFFERS" in again.stderr
    assert "ledger.sources: 1 rows" in again.stderr


def test_old_backups_and_the_wal_before_them_go_and_nothing_else(installation: Installation) -> None:
    for _ in range(3):
        installation.base_backup(ASSET_LEDGER_BACKUPS_KEEP="2")
        installation.write(f"at {time.monotonic()}")
        time.sleep(1.1)  # a backup is called by its second
    kept = installation.kept()
    assert len(kept) == 2
    label = (installation.backups / "base" / kept[0] / "backup_label").read_text()
    first = label.partition("(file ")[2].partition(")")[0]
    assert installation.archived()[0] == first
    done = installation.run(
        "restore.sh",
        "--into",
        str(installation.folder / "restored"),
        "--backup",
        str(installation.backups / "base" / kept[0]),
    )
    assert done.returncode == 0, done.stderr


def test_an_archive_that_does_not_work_is_noticed_and_nothing_is_let_go_of(installation: Installation) -> None:
    installation.base_backup()
    (installation.backups / "wal").rename(installation.folder / "away")
    installation.write("second")
    done = installation.run("base-backup.sh", ASSET_LEDGER_BACKUPS_KEEP="1", ASSET_LEDGER_ARCHIVE_WAIT_S="4")
    assert done.returncode == 1
    assert "the WAL archive does not work" in done.stderr
    assert "failed at" in done.stderr
    assert "next:" in done.stderr
    assert len(installation.kept()) == 2
    with doctor.look(installation.url) as db:
        found = of_archive(doctor.server(db), wanted=True)
    assert found is not None
    assert found.status == "problem"
    assert "is the backup disk mounted?" in installation.server.log_tail(6000)


def test_a_gap_in_the_archive_is_said_before_anything_is_copied(installation: Installation) -> None:
    installation.base_backup()
    for name in ("second", "third", "fourth"):
        installation.write(name)
        installation.wait_for_archive()
    gone = installation.archived()[-2]
    (installation.backups / "wal" / gone).unlink()
    into = installation.folder / "restored"
    done = installation.run("restore.sh", "--into", str(into))
    assert done.returncode == 1
    assert gone in done.stderr
    assert not into.exists()
    installation.destroy()
    installation.restored("--end-of-backup")
    assert installation.names(installation.url) == ["first"]


def test_a_time_takes_the_newest_backup_that_had_ended_by_then(installation: Installation) -> None:
    early = datetime.now(UTC)
    installation.base_backup()
    installation.write("second")
    noon = datetime.now(UTC)
    time.sleep(1.1)  # a backup is called by its second
    installation.write("a mistake")
    installation.base_backup()
    installation.write("later")
    installation.wait_for_archive()
    old, new = (installation.backups / "base" / name for name in installation.kept())
    into = installation.folder / "restored"

    too_early = installation.run("restore.sh", "--into", str(into), "--time", early.isoformat())
    assert too_early.returncode == 1
    assert f"no backup in {installation.backups}/base had ended by {early:%Y-%m-%d %H:%M:%S}" in too_early.stderr
    ended = datetime.fromtimestamp((old / "backup_manifest").stat().st_mtime, UTC)
    assert f"the oldest ended at {ended:%Y-%m-%d %H:%M:%S}+00" in too_early.stderr
    named = installation.run("restore.sh", "--into", str(into), "--time", noon.isoformat(), "--backup", str(new))
    assert named.returncode == 1
    assert f"{new} ended at" in named.stderr
    assert not into.exists()

    installation.destroy()
    installation.restored("--time", noon.isoformat())
    assert installation.names(installation.url) == ["first", "second"]


@pytest.mark.parametrize(
    "text", ["2030-13-45", "2026-02-30 10:00:00", "2026-11-22", "10:00", "yesterday", "2026-11-22 10:00 CST"]
)
def test_what_is_no_time_is_not_taken_for_one(tmp_path: Path, text: str) -> None:
    command = [SCRIPTS / "restore.sh", "--into", tmp_path / "restored", "--time", text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"'{text}' is no time" in done.stderr
    assert "next:  write it as" in done.stderr


def test_of_two_ends_none_is_taken(tmp_path: Path) -> None:
    command = [SCRIPTS / "restore.sh", "--into", tmp_path, "--time", "2026-11-22 09:30:00+00", "--end-of-backup"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "more than one end is named" in done.stderr


def test_a_time_without_a_zone_is_in_utc_whatever_the_zone_of_the_server(installation: Installation) -> None:
    with connect(installation.url) as db:
        db.execute("ALTER SYSTEM SET timezone = 'Asia/Tokyo'")
    installation.base_backup()
    installation.write("second")
    noon = datetime.now(UTC)
    time.sleep(0.2)
    installation.write("a mistake")
    installation.wait_for_archive()
    said = installation.run("restore.sh", "--into", str(installation.folder / "looked"), "--time", f"{noon:%F %T.%f}")
    assert f"--time names no zone, UTC counts: {noon:%F %T.%f}+00" in said.stdout
    zoned = noon.astimezone(timezone(timedelta(hours=5, minutes=30)))
    said = installation.run("restore.sh", "--into", str(installation.folder / "zoned"), "--time", f"{zoned:%F %T.%f%z}")
    assert "names no zone" not in said.stdout
    assert f"recovery_target_time = '{noon:%F %T.%f}+00'" in said.stdout
    installation.destroy()
    installation.restored("--time", f"{noon:%F %T.%f}")
    assert installation.names(installation.url) == ["first", "second"]


def test_a_time_that_the_archive_does_not_reach_is_said_before_anything_is_copied(installation: Installation) -> None:
    installation.base_backup()
    installation.wait_for_archive()
    time.sleep(0.2)
    into = installation.folder / "restored"
    done = installation.run("restore.sh", "--into", str(into), "--time", datetime.now(UTC).isoformat())
    assert done.returncode == 1
    assert "the archive ends before it" in done.stderr
    assert "leave --time out" in done.stderr
    assert not into.exists()


def test_a_time_with_no_commit_after_it_is_had_as_the_script_says(installation: Installation) -> None:
    with connect(installation.url) as db:
        db.execute("ALTER SYSTEM SET autovacuum = off")
        db.execute("SELECT pg_reload_conf()")
    installation.base_backup()
    installation.write("second")
    time.sleep(0.2)
    noon = datetime.now(UTC)
    installation.wait_for_archive()
    installation.destroy()
    done = installation.run("restore.sh", "--into", str(installation.data()), "--time", noon.isoformat())
    assert done.returncode == 0, done.stderr
    assert "take recovery_target_time out of" in done.stdout
    with pytest.raises(RetryableError):
        installation.server.start()
    assert "recovery ended before configured recovery target was reached" in installation.server.log_tail(6000)
    settings = installation.data() / "postgresql.auto.conf"
    lines = settings.read_text().splitlines(keepends=True)
    settings.write_text("".join(line for line in lines if not line.startswith("recovery_target_time ")))
    installation.server.start()
    assert installation.names(installation.url) == ["first", "second"]


def restored_once(installation: Installation) -> str:
    """Undo a mistake by a restore, work on along timeline 2 with a backup on it; return the backup of timeline 1, by its folder."""
    installation.base_backup()
    backup = installation.backups / "base" / installation.kept()[0]
    noon = datetime.now(UTC)
    time.sleep(1.1)  # a backup is called by its second
    installation.write("a mistake")
    installation.wait_for_archive()
    installation.write("another")
    installation.wait_for_archive()
    installation.destroy()
    installation.restored("--time", noon.isoformat())
    for name in ("second", "third", "fourth"):
        installation.write(name)
        installation.wait_for_archive()
    installation.base_backup()
    return str(backup)


def test_a_restore_follows_the_archive_over_a_change_of_timeline(installation: Installation) -> None:
    backup = restored_once(installation)
    installation.destroy()
    installation.restored("--backup", backup)
    assert installation.names(installation.url) == ["first", "second", "third", "fourth"]


def test_a_gap_behind_a_change_of_timeline_is_said_too(installation: Installation) -> None:
    backup = restored_once(installation)
    along = [name for name in installation.archived() if name.startswith("00000002")]
    into = installation.folder / "restored"
    # where timeline 2 begins recovery would go on along timeline 1, and without its history not learn of it
    assert f"00000001{along[0][8:]}" in installation.archived()
    for gone in (along[0], along[1], "00000002.history"):
        away = installation.folder / gone
        shutil.move(installation.backups / "wal" / gone, away)
        done = installation.run("restore.sh", "--into", str(into), "--backup", backup)
        assert done.returncode == 1, gone
        assert f"lacks {gone} " in done.stderr
        assert not into.exists()
        shutil.move(away, installation.backups / "wal" / gone)


def test_a_gap_before_a_change_of_timeline_is_said_too(installation: Installation) -> None:
    backup = restored_once(installation)
    label = (Path(backup) / "backup_label").read_text()
    first = label.partition("(file ")[2].partition(")")[0]
    (installation.backups / "wal" / first).unlink()
    done = installation.run("restore.sh", "--into", str(installation.folder / "restored"), "--backup", backup)
    assert done.returncode == 1
    assert f"lacks {first} " in done.stderr


def test_a_backup_that_a_restore_has_left_behind_is_not_taken(installation: Installation) -> None:
    installation.base_backup()
    noon = datetime.now(UTC)
    time.sleep(1.1)  # a backup is called by its second
    installation.write("a mistake")
    installation.base_backup()
    left = installation.backups / "base" / installation.kept()[-1]
    installation.destroy()
    installation.restored("--time", noon.isoformat())
    installation.write("second")
    installation.wait_for_archive()
    into = installation.folder / "restored"
    done = installation.run("restore.sh", "--into", str(into), "--backup", str(left))
    assert done.returncode == 1
    assert "an earlier restore left" in done.stderr
    assert not into.exists()


def test_a_damaged_backup_is_not_restored(installation: Installation) -> None:
    installation.base_backup()
    one = next((installation.backups / "base").glob("*/base/1/PG_VERSION"))
    one.write_text("99\n")
    done = installation.run("restore.sh", "--into", str(installation.folder / "restored"))
    assert done.returncode == 1
    assert "is damaged" in done.stderr


def test_a_folder_with_something_in_it_is_never_written_over(installation: Installation) -> None:
    installation.base_backup()
    done = installation.run("restore.sh", "--into", str(installation.folder))
    assert done.returncode == 1
    assert "is not empty" in done.stderr


def test_an_archive_takes_the_same_file_twice_and_no_other_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    for name, content in (("one", b"a" * 100), ("same", b"a" * 100), ("other", b"b" * 100)):
        (tmp_path / name).write_bytes(content)
    environment = os.environ | {"ASSET_LEDGER_BACKUPS": str(tmp_path)}

    def archive(name: str) -> subprocess.CompletedProcess[str]:
        command = [SCRIPTS / "archive-wal.sh", tmp_path / name, "0" * 24]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert archive("one").returncode == 0
    assert archive("same").returncode == 0
    refused = archive("other")
    assert refused.returncode == 1
    assert "two servers must not share an archive" in refused.stderr
    assert (tmp_path / "wal" / ("0" * 24)).read_bytes() == b"a" * 100
    assert list(tmp_path.glob("wal/.*")) == []
