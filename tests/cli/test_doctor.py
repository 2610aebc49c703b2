"""`asset-ledger doctor`: everything it finds is really made wrong first. It says what to do, changes nothing, is quick."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import time_machine

from asset_ledger.credentials.encrypted_file import KEY_VARIABLE, EncryptedFile, generate_key
from asset_ledger.pipeline.doctor import installation
from asset_ledger.store.database import connect, ensure_database
from tests.cli.conftest import Cli
from tests.plain_owner import plainly_owned
from tests.postgres import drop_database
from tests.redis_server import RedisServer

SECRET = "hunter2-of-the-probe"


class Examined:
    """What the doctor said, by what was looked at."""

    def __init__(self, document: dict[str, Any], code: int, out: str) -> None:
        self.code, self.out = code, out
        self.findings = {each["check"]: each for each in document["findings"]}

    def status(self, check: str) -> str:
        return str(self.findings[check]["status"])

    def said(self, check: str) -> str:
        return f"{self.findings[check]['said']} {self.findings[check]['next_step']}"


Doctor = Callable[..., Examined]


@pytest.fixture
def doctor(cli: Cli, project: Path, dagsters: str) -> Doctor:
    """Ask the doctor and return its findings. Everything that is not in order says why and what to do."""

    def ask(*arguments: str) -> Examined:
        done = cli("doctor", "--json", *arguments)
        document = json.loads(done.out)
        problems = [each for each in document["findings"] if each["status"] == "problem"]
        assert (done.code, document["problems"]) == (int(bool(problems)), len(problems)), done.err
        assert all(each["next_step"] for each in document["findings"] if each["status"] in ("problem", "warning"))
        assert SECRET not in done.out + done.err
        return Examined(document, done.code, done.out)

    return ask


@pytest.fixture
def dagsters(project: Path) -> Iterator[str]:
    """Dagster's own database, with the tables that its webserver makes at its first start."""
    url = os.environ["ASSET_LEDGER_DATABASE_URL"] + "_dagster"
    ensure_database(url)
    with connect(url) as db:
        # as dagster-postgres makes them
        db.execute(
            """
            CREATE TABLE daemon_heartbeats (id bigserial PRIMARY KEY, daemon_type varchar(255) UNIQUE NOT NULL,
                daemon_id varchar(255), timestamp timestamp NOT NULL, body text);
            CREATE TABLE concurrency_limits (id bigserial PRIMARY KEY, concurrency_key text UNIQUE NOT NULL,
                "limit" integer NOT NULL, using_default_limit boolean DEFAULT false);
            CREATE TABLE runs (id bigserial PRIMARY KEY, run_id varchar(255), pipeline_name text, status varchar(63),
                create_timestamp timestamp DEFAULT (now() AT TIME ZONE 'UTC'), start_time float,
                update_timestamp timestamp DEFAULT (now() AT TIME ZONE 'UTC'))
            """
        )
        db.execute("INSERT INTO daemon_heartbeats (daemon_type, timestamp) VALUES ('SENSOR', now() AT TIME ZONE 'UTC')")
        db.execute("""INSERT INTO concurrency_limits (concurrency_key, "limit") VALUES ('ssh', 4), ('import', 2)""")
    yield url
    drop_database(url)


@pytest.fixture
def whole(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with nothing wrong."""
    (project / "home").mkdir(exist_ok=True)
    (project / "inbox").mkdir()
    monkeypatch.setenv("PROBE_USERNAME", "ledger")
    monkeypatch.setenv("PROBE_PASSWORD", SECRET)
    return project


def url_with(**changed: Any) -> str:
    parts = urlsplit(os.environ["ASSET_LEDGER_DATABASE_URL"])
    host = f"{changed.get('user', parts.username)}:{changed.get('password', parts.password)}@127.0.0.1"
    return urlunsplit(
        parts._replace(netloc=f"{host}:{changed.get('port', parts.port)}", path=changed.get("path", parts.path))
    )


def test_an_installation_in_order_has_no_problem_and_is_looked_at_quickly(
    doctor: Doctor, whole: Path, cli: Cli
) -> None:
    found = doctor()
    assert found.code == 0, found.out
    assert {each["status"] for each in found.findings.values()} <= {"ok", "warning"}, found.out
    assert not [
        check for check, each in found.findings.items() if each["status"] == "warning" and not check.startswith("port")
    ]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "asset_ledger.cli.main", "doctor", "--all"], check=False, capture_output=True, text=True
    )
    took = time.monotonic() - began
    assert done.returncode == 0, done.stdout + done.stderr
    assert "row-level security" in done.stdout
    print(f"{took:.1f} s")
    assert took < 3 * float(os.environ.get("ASSET_LEDGER_TEST_PATIENCE", "2"))


def test_a_first_installation_is_told_its_first_steps_and_nothing_is_started(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASSET_LEDGER_DATABASE_URL")
    done = cli("doctor", "--json")
    found = Examined(json.loads(done.out), done.code, done.out)
    assert found.code == 1
    assert "`asset-ledger db start`" in found.said("database")
    assert "the first `asset-ledger up` makes it" in found.said("home")
    assert not (project / "home").exists()


def test_the_text_names_what_is_wrong_with_its_next_step(cli: Cli, dagsters: str, whole: Path) -> None:
    (whole / "sources.yaml").write_text("sources: [{name: office, platform: telepathy}]")
    done = cli("doctor")
    assert done.code == 1
    assert "telepathy" in done.out
    assert "1 problem" in done.out
    assert "row-level security" not in done.out


def test_wrong_settings_and_files_are_problems(doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole / "iac.yaml").write_text("mappings: [{source: nobody}]")
    (whole / "sources.yaml").write_text("sources: []")
    (whole / "notices.yaml").write_text("receivers: [{name: ops}]")
    found = doctor()
    assert found.status("notices.yaml") == "problem"
    (whole / "notices.yaml").write_text("receivers: [{name: ops, credential_ref: 'env:OPS', sources: [gone]}]")
    assert doctor().status("notices.yaml") == "warning"
    assert found.status("iac.yaml") == "problem"
    assert found.status("sources.yaml") == "warning"
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", f"postgresql://u:{SECRET}%@db/x")
    assert doctor().status("settings") == "problem"


def test_a_home_that_cannot_be_written_is_a_problem(
    doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole / "file").write_text("")
    monkeypatch.setenv("ASSET_LEDGER_HOME", str(whole / "file"))
    assert "cannot be written" in doctor().said("home")


def test_a_server_that_does_not_answer_is_said_within_seconds_and_without_its_password(
    doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as silent:  # takes connections, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", url_with(port=silent.getsockname()[1], password=SECRET))
        began = time.monotonic()
        found = doctor()
        assert time.monotonic() - began < 5  # two seconds, once, and what the machine is doing besides
    assert found.status("database") == "problem"
    assert found.status("Dagster") == "skipped"


def test_a_wrong_password_is_said_without_it(doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", url_with(password=SECRET))
    assert "password authentication failed" in doctor().said("database")


def test_a_database_that_is_not_there_is_to_be_made_or_its_name_to_be_mended(
    doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", url_with(path="/nosuch"))
    found = doctor()
    assert 'database "nosuch" does not exist' in found.said("database")
    assert "`asset-ledger db migrate` makes it" in found.said("database")
    assert "password" not in found.said("database")


def test_another_schema_is_a_problem_and_is_left_as_it_is(doctor: Doctor, whole: Path) -> None:
    url = os.environ["ASSET_LEDGER_DATABASE_URL"]
    with connect(url) as db:
        db.execute("UPDATE public.alembic_version SET version_num = '0001'")
        older = doctor()
        db.execute("UPDATE public.alembic_version SET version_num = '9999'")
        newer = doctor()
        assert db.execute("SELECT version_num FROM public.alembic_version").fetchone() == ("9999",)
    assert "asset-ledger db migrate" in older.said("schema")
    assert "newer release" in newer.said("schema")


def test_dagsters_database_in_another_time_zone_is_a_problem(doctor: Doctor, whole: Path, dagsters: str) -> None:
    with connect(dagsters) as db:
        db.execute(f"ALTER DATABASE {urlsplit(dagsters).path[1:]} SET timezone TO 'Asia/Shanghai'")
    assert "Asia/Shanghai" in doctor().said("Dagster's time zone")


def test_clocks_that_differ_are_seen(doctor: Doctor, whole: Path) -> None:
    with time_machine.travel(datetime.now(UTC) - timedelta(minutes=3), tick=True):
        found = doctor()
    assert found.status("clock") == "problem"
    assert re.search(r"18\d\.\d s before", found.said("clock"))
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=20), tick=True):
        assert doctor().status("clock") == "warning"


def test_tables_of_tenants_that_are_not_guarded_are_a_problem(doctor: Doctor, whole: Path) -> None:
    with connect(os.environ["ASSET_LEDGER_DATABASE_URL"]) as db:
        db.execute("ALTER TABLE iac.states DISABLE ROW LEVEL SECURITY")
        db.execute("ALTER TABLE agent.clients NO FORCE ROW LEVEL SECURITY")
        db.execute("ALTER TABLE audit.audit_logs OWNER TO asset_ledger_service")
        found = doctor()
    assert "iac.states" in found.said("row-level security")
    assert "agent.clients (for its owner)" in found.said("row-level security")
    assert "ownership of audit.audit_logs" in found.said("service role")


def test_a_login_that_is_not_the_owners_is_a_problem(
    doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plainly_owned() as (mine, name, root), connect(root) as db:
        monkeypatch.setenv("ASSET_LEDGER_DAGSTER_DATABASE_URL", os.environ["ASSET_LEDGER_DATABASE_URL"] + "_dagster")
        monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", mine)
        assert doctor().code == 0
        db.execute("ALTER TABLE ledger.assets OWNER TO CURRENT_USER")
        assert "ledger.assets" in doctor().said("owner")
        db.execute(f"REVOKE USAGE ON SCHEMA ledger FROM {name}; ALTER SCHEMA ledger OWNER TO CURRENT_USER")
        assert "does not tell: permission denied" in doctor().said("held absences")


def test_a_month_whose_partition_is_gone_is_a_problem(doctor: Doctor, whole: Path, filled: str) -> None:
    with connect(os.environ["ASSET_LEDGER_DATABASE_URL"]) as db:
        assert doctor().status("partitions") == "ok"
        db.execute("DROP TABLE ledger.asset_daily_specs_y2026m01")
    assert "asset_daily_specs_y2026m01" in doctor().said("partitions")


def test_readings_that_wait_for_a_person_and_days_that_were_left_are_warnings(
    doctor: Doctor, whole: Path, filled: str
) -> None:
    with connect(os.environ["ASSET_LEDGER_DATABASE_URL"]) as db:
        db.execute("UPDATE ledger.inventories SET status = 'raw' WHERE collected_date = '2026-01-11'")
    found = doctor()
    assert found.status("unfinished days") == "warning"
    assert "office (1 days)" in found.said("unfinished days")


def test_marts_that_are_behind_are_a_warning(doctor: Doctor, whole: Path, filled: str) -> None:
    with connect(os.environ["ASSET_LEDGER_DATABASE_URL"]) as db:
        db.execute("CREATE SCHEMA IF NOT EXISTS marts")
        assert "none has been built yet" in doctor().said("marts")
        db.execute("CREATE TABLE marts.daily_specs AS SELECT '2026-01-10'::date AS collected_date")
        assert "end on 2026-01-10" in doctor().said("marts")
        db.execute("INSERT INTO marts.daily_specs VALUES ('2026-01-11')")
        assert doctor().status("marts") == "ok"


def test_a_wrong_key_is_found_before_anything_is_written_with_it(
    doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = generate_key()
    EncryptedFile(whole / "home" / "credentials.json", {KEY_VARIABLE: key}).set("probe", {"password": SECRET})
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert "is not set" in doctor().said("credentials")
    monkeypatch.setenv(KEY_VARIABLE, generate_key())
    assert "1 of 1 entries do not open" in doctor().said("credentials")
    monkeypatch.setenv(KEY_VARIABLE, "no key at all")
    found = doctor()
    assert found.status("credentials") == "problem"
    assert "no key at all" not in found.out
    monkeypatch.setenv(KEY_VARIABLE, f"{generate_key()},{key}")
    assert doctor().status("credentials") == "ok"
    (whole / "home" / "credentials.json").chmod(0o644)
    assert "chmod 600" in doctor().said("credentials: file mode")
    (whole / "home" / "credentials.json").write_text("{")
    assert doctor().status("credentials") == "problem"


def test_a_credential_that_a_source_names_and_nobody_has_is_a_problem(
    doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PROBE_USERNAME", "PROBE_PASSWORD"):
        monkeypatch.delenv(name)
    said = doctor().said("credential references")
    assert "the default credentials of probe (CREDENTIAL_NOT_FOUND)" in said
    assert "machines that name their own are read" in said
    assert "cannot be read" not in said
    (whole / "sources.yaml").write_text(
        "sources: [{name: lab, platform: pve, endpoint: 'https://pve.example.com:8006', credential_ref: 'env:LAB'}]"
    )
    said = doctor().said("credential references")
    assert "credentials of lab (CREDENTIAL_NOT_FOUND) cannot be had, so these sources cannot be read" in said
    assert "default" not in said


def test_a_receiver_whose_address_nobody_has_is_a_problem(
    doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = "receivers' credentials"
    assert check not in doctor().findings
    (whole / "notices.yaml").write_text(
        "receivers: [{name: operators, credential_ref: 'env:OPERATORS'}, {name: night, credential_ref: 'env:NIGHT'},"
        " {name: down, credential_ref: 'env:DOWN'}, {name: far, credential_ref: 'vault:kv/far'}]"
    )
    monkeypatch.setenv("OPERATORS_URL", f"json://ledger:{SECRET}@127.0.0.1:1/")
    monkeypatch.setenv("DOWN_PASSWORD", SECRET)  # a credential, and no address
    found = doctor()
    assert found.status("notices.yaml") == "ok"
    assert found.status(check) == "problem"
    assert "night (CREDENTIAL_NOT_FOUND), down (CREDENTIAL_UNREADABLE) cannot be had" in found.said(check)
    for name in ("NIGHT_URL", "DOWN_URL"):
        monkeypatch.setenv(name, f"json://ledger:{SECRET}@127.0.0.1:1/")
    found = doctor()
    assert (found.status(check), found.code) == ("ok", 0)
    assert "3 of 4 looked up" in found.said(check)


def test_files_that_nobody_takes_from_an_inbox_are_a_problem(doctor: Doctor, whole: Path) -> None:
    inbox = whole / "inbox"
    old = time.time() - 9 * 86400
    for number in range(5):
        (inbox / f"hosts_{number}.csv").write_text("mgmt_ip\n10.0.0.1\n")
        os.utime(inbox / f"hosts_{number}.csv", (old, old))
    (inbox / "notes.pdf").write_text("nobody takes it")
    assert doctor().status("inbox of office") == "ok", "a copy brings the time of its original"
    with time_machine.travel(datetime.now(UTC) + timedelta(days=3, hours=1), tick=True):
        found = doctor()
    assert found.status("inbox of office") == "problem"
    assert re.search(
        r"5 files wait in .*/inbox for longer than a day, .*Z \(3 d\): hosts_", found.said("inbox of office")
    )
    assert "the sensor office_inbox is on" in found.said("inbox of office")
    assert "inbox of old_office" not in found.findings


def test_an_inbox_that_went_away_is_a_problem_and_one_that_was_never_made_a_warning(
    doctor: Doctor, whole: Path, filled: str
) -> None:
    shutil.move(whole / "inbox", whole / "elsewhere")
    (whole / "sources.yaml").write_text(
        "sources: [{name: office, platform: import, inbox: inbox}, {name: new, platform: import, inbox: new}]"
    )
    found = doctor()
    assert (found.status("inbox of office"), found.status("inbox of new")) == ("problem", "warning")
    assert f"{whole / 'inbox'} is not there" in found.said("inbox of office")


def test_an_inbox_of_which_nothing_can_be_taken_is_a_problem(doctor: Doctor, whole: Path) -> None:
    (whole / "inbox" / "archive").symlink_to(whole / "gone")
    found = doctor()
    assert found.status("inbox of office") == "problem"
    assert "inbox/archive cannot be read and written" in found.said("inbox of office")


def test_the_ring_of_keys_is_tried_against_what_the_ledger_is_encrypted_with(
    doctor: Doctor, whole: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("tenants", "add", "acme").code == 0
    assert doctor().status("state keys") == "ok"
    kept = whole / "home" / "state_keys"
    kept.chmod(0o640)
    assert "mode 0640" in doctor().said("state keys: file mode")
    right = kept.read_text()
    kept.unlink()
    assert "no backup of the database has it" in doctor().said("state keys")
    monkeypatch.setenv("ASSET_LEDGER_STATE_KEYS", right.partition(":")[0] + ":" + "A" * 43 + "=")
    assert "STATE_KEY_UNREADABLE" in doctor().said("state keys")
    assert right.partition(":")[2].strip() not in doctor().out


@pytest.mark.needs("redis-server")
def test_a_redis_that_is_gone_or_asks_for_a_password_is_a_problem(
    doctor: Doctor, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = RedisServer(tmp_path, password=SECRET)
    server.start()
    try:
        monkeypatch.setenv("ASSET_LEDGER_REDIS_URL", server.url)
        monkeypatch.setenv("ASSET_LEDGER_AGENT_BINARIES", str(whole / "shared"))
        assert doctor().status("Redis") == "ok"
        monkeypatch.setenv("ASSET_LEDGER_REDIS_URL", server.url.replace(SECRET, "another"))
        assert "password" in doctor().said("Redis").lower()
        monkeypatch.setenv("ASSET_LEDGER_REDIS_URL", server.url)
        server.kill()
        assert doctor().status("Redis") == "problem"
        monkeypatch.delenv("ASSET_LEDGER_AGENT_BINARIES")
        assert "one folder that all of them see" in doctor().said("agent binaries")
    finally:
        server.kill()


CELERY = Path(__file__).parents[2] / "deploy" / "celery"


@pytest.fixture
def broker(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """An installation whose runs Celery does: the shipped file of Dagster's, and a Redis that wants a password."""
    server = RedisServer(tmp_path, password=SECRET)
    server.start()
    monkeypatch.setenv("ASSET_LEDGER_DAGSTER_CONFIG", str(CELERY / "dagster.yaml"))
    monkeypatch.setenv("ASSET_LEDGER_CELERY_BROKER", server.url)
    monkeypatch.setenv("ASSET_LEDGER_CELERY_BACKEND", server.url.removesuffix("0") + "1")
    yield server
    server.kill()


@pytest.mark.needs("redis-server")
def test_a_queue_that_is_gone_or_drops_what_waits_is_a_problem(
    doctor: Doctor, broker: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = doctor()
    assert (found.status("Celery broker"), found.status("Celery backend")) == ("ok", "ok")
    with monkeypatch.context() as other:  # what only Celery is told, and its own words for TLS
        other.setenv("ASSET_LEDGER_CELERY_BROKER", f"{broker.url}?visibility_timeout=60")
        over_tls = broker.url.replace("redis://", "rediss://")
        other.setenv("ASSET_LEDGER_CELERY_BACKEND", f"{over_tls}?ssl_cert_reqs=CERT_REQUIRED")
        found = doctor()
        assert (found.status("Celery broker"), found.status("Celery backend")) == ("ok", "problem")
        assert "Timeout connecting" in found.said("Celery backend"), "it was asked, and speaks no TLS"
    with broker.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert doctor().status("Celery broker") == "warning"
        client.config_set("maxmemory", 64 << 20)
    found = doctor()
    assert found.status("Celery broker") == "problem"
    assert "from 64 MiB on it drops keys" in found.said("Celery broker")
    assert "maxmemory-policy noeviction" in found.said("Celery broker")
    with monkeypatch.context() as other:
        other.setenv("ASSET_LEDGER_CELERY_BROKER", broker.url.replace(SECRET, "another"))
        assert "does not take the password" in doctor().said("Celery broker")
    with monkeypatch.context() as other:
        other.delenv("ASSET_LEDGER_CELERY_BROKER")
        assert "set ASSET_LEDGER_CELERY_BROKER where everything is started" in doctor().said("Celery")
    broker.kill()
    found = doctor()
    assert found.status("Celery broker") == "problem"
    assert found.status("Celery workers") == "skipped"


@pytest.mark.needs("redis-server")
def test_workers_are_counted_and_asked_when_they_acknowledge_a_run(
    doctor: Doctor, broker: RedisServer, whole: Path
) -> None:
    found = doctor()
    assert found.status("Celery workers") == "problem"
    assert "none answers, so every run is given up after 300 s" in found.said("Celery workers")
    assert "asset-ledger-worker@1" in found.said("Celery workers")

    late = whole / "late.yaml"
    late.write_text((CELERY / "worker.yaml").read_text().replace("task_acks_late: false", "task_acks_late: true"))
    (whole / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    for file, processes, workers, delivery in (
        (CELERY / "worker.yaml", 2, "warning", "ok"),
        (late, 8, "ok", "problem"),
    ):
        log = whole / "worker.log"
        with log.open("wb") as out:
            worker = subprocess.Popen(
                [sys.executable, CELERY / "worker.py", "-n", "one", "-y", file, "--", "-c", str(processes)],
                env=os.environ | {"DAGSTER_HOME": str(whole)},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            end = time.monotonic() + 60
            while "ready." not in log.read_text():
                assert worker.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.1)
            found = doctor()
        finally:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        assert (found.status("Celery workers"), found.status("Celery delivery")) == (workers, delivery), found.out
        assert f"{processes} processes" in found.said("Celery workers")
        assert "visibility_timeout 3600 s, max_runtime_seconds 14400" in found.said("Celery delivery")


def test_where_celery_does_no_run_nobody_is_asked(doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [check for check in doctor().findings if "Celery" in check]
    monkeypatch.setenv("ASSET_LEDGER_DAGSTER_CONFIG", str(CELERY.parent / "dagster.yaml"))
    assert not [check for check in doctor().findings if "Celery" in check]
    monkeypatch.setenv("ASSET_LEDGER_DAGSTER_CONFIG", str(whole / "none.yaml"))
    assert "none.yaml cannot be read: FileNotFoundError" in doctor().said("Dagster's file")


def test_a_daemon_that_stopped_is_a_problem(doctor: Doctor, whole: Path, dagsters: str) -> None:
    with connect(dagsters) as db:
        db.execute("UPDATE daemon_heartbeats SET timestamp = timestamp - interval '6 minutes'")
        assert "nothing is read by itself" in doctor().said("daemon")
        db.execute(
            "INSERT INTO daemon_heartbeats (daemon_type, timestamp) VALUES ('SCHEDULER', now() AT TIME ZONE 'UTC')"
        )
        assert "SENSOR" in doctor().said("daemon")
        db.execute("TRUNCATE daemon_heartbeats")
        assert "never run" in doctor().said("daemon")
        db.execute("DROP TABLE runs")
    assert "nothing has ever run" in doctor().said("Dagster")


def test_pools_without_a_limit_or_with_none_left_are_seen(doctor: Doctor, whole: Path, dagsters: str) -> None:
    with connect(dagsters) as db:
        db.execute("""UPDATE concurrency_limits SET "limit" = 0 WHERE concurrency_key = 'ssh'""")
        assert "ssh is 0" in doctor().said("pools")
        db.execute("DELETE FROM concurrency_limits WHERE concurrency_key = 'ssh'")
        assert doctor().status("pools") == "warning"


def test_runs_that_hang_are_named(doctor: Doctor, whole: Path, dagsters: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(dagsters) as db:
        db.execute(
            "INSERT INTO runs (run_id, pipeline_name, status, start_time) VALUES"
            " ('aaaaaaaa-1', 'office_collect', 'STARTED', extract(epoch FROM now()) - 60)"
        )
        assert "1 under way" in doctor().said("runs")
        db.execute("UPDATE runs SET start_time = start_time - 5 * 3600")
        assert "office_collect aaaaaaaa (started since" in doctor().said("runs")
        (whole / "dagster.yaml").write_text("run_monitoring: {enabled: true, max_runtime_seconds: 21600}")
        monkeypatch.setenv("ASSET_LEDGER_DAGSTER_CONFIG", str(whole / "dagster.yaml"))
        assert "1 under way" in doctor().said("runs")
        (whole / "dagster.yaml").write_text("run_monitoring: {enabled: true, max_runtime_seconds: 3600}")
        db.execute("UPDATE runs SET start_time = start_time + 3 * 3600")
        assert "(started since" in doctor().said("runs")
        (whole / "dagster.yaml").write_text("run_monitoring: {max_runtime_seconds: 3600, enabled: false}")
        assert doctor().status("runs") == "ok", "nothing ends it then, and four hours are usual"
        db.execute("UPDATE runs SET status = 'QUEUED', update_timestamp = update_timestamp - interval '2 hours'")
        assert "(queued since" in doctor().said("runs")
        db.execute("UPDATE runs SET status = 'SUCCESS'")
        assert doctor().status("runs") == "ok"


def test_binaries_that_cannot_be_kept_or_are_gone_are_a_problem(
    doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    (whole / "taken").write_text("")
    monkeypatch.setenv("ASSET_LEDGER_AGENT_BINARIES", str(whole / "taken"))
    assert "cannot be written" in doctor().said("agent binaries")
    monkeypatch.delenv("ASSET_LEDGER_AGENT_BINARIES")
    assert cli("tenants", "add", "acme").code == 0
    with connect(os.environ["ASSET_LEDGER_DATABASE_URL"]) as db:
        db.execute(
            "INSERT INTO agent.agent_versions (tenant_id, version, binaries)"
            """ SELECT id, '1.0', '{"linux-amd64": {}}' FROM agent.tenants"""
        )
    assert "1 versions of the agent are published" in doctor().said("agent binaries")


def test_a_port_that_another_has_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (found,) = installation.ports({"service": port}, installation.listening(), up=False)
    assert (found.check, found.status) == (f"port {port}", "warning")


def test_the_ports_of_the_service_and_of_the_ui_are_looked_at(doctor: Doctor) -> None:
    assert {"port 8300", "port 3000"} <= doctor().findings.keys()


def certificate(path: Path, begins: timedelta, ends: timedelta) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ledger.example.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .sign(key, hashes.SHA256())
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


def test_a_certificate_that_ends_is_seen_in_time(doctor: Doctor, whole: Path) -> None:
    day = timedelta(days=1)
    pem = whole / "service.pem"

    def of(begins: timedelta, ends: timedelta) -> str:
        return doctor("--certificate", str(certificate(pem, begins, ends))).status("certificate")

    assert of(-day, 90 * day) == "ok"
    assert of(-day, 20 * day) == "warning"
    assert of(-9 * day, -day) == "problem"
    assert of(day, 90 * day) == "problem"
    pem.write_text("-----BEGIN CERTIFICATE-----")
    assert doctor("--certificate", str(pem)).status("certificate") == "problem"
    assert doctor("--certificate", str(whole / "gone.pem")).status("certificate") == "problem"


def test_a_backup_that_is_missing_or_old_is_a_problem(
    doctor: Doctor, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = whole / "backups"
    monkeypatch.setenv("ASSET_LEDGER_BACKUPS", str(kept))
    assert "is not there" in doctor().said("backup")
    made = kept / "base" / "20261101T000000Z"
    made.mkdir(parents=True)
    assert "no finished backup" in doctor().said("backup")
    # what is being made, or was when its making was killed
    unfinished = kept / "base" / ".20261102T000000Z.part"
    unfinished.mkdir()
    (unfinished / "backup_manifest").write_text("{}")
    assert "no finished backup" in doctor().said("backup")
    (made / "backup_manifest").write_text("{}")
    found = doctor()
    assert found.status("backup") == "ok"
    # the server of the tests archives nothing
    assert "archive_mode is off" in found.said("WAL archive")
    old = time.time() - 27 * 3600
    os.utime(made / "backup_manifest", (old, old))
    assert doctor().status("backup") == "problem"
    assert doctor("--backup-hours", "30").status("backup") == "ok"


@pytest.mark.needs("root")
def test_a_disk_that_is_nearly_full_is_a_problem(doctor: Doctor, whole: Path) -> None:
    home = whole / "home"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(home)], check=False, capture_output=True
    )
    if done.returncode:
        assert os.environ.get("CI") != "true", done.stderr
        pytest.skip("this machine lets nobody mount")
    try:
        assert doctor().status("disk") == "ok"
        (home / "much").write_bytes(b"\0" * (59 << 20))
        assert doctor().status("disk") == "warning"
        (home / "more").write_bytes(b"\0" * (3 << 20))
        assert doctor().status("disk") == "problem"
    finally:
        subprocess.run(["umount", str(home)], check=True)


def test_another_release_of_a_package_than_the_locked_one_is_a_problem(tmp_path: Path) -> None:
    """The lock is beside the program, which tests do not change: here is a copy with two lines of its own."""
    from asset_ledger.pipeline.doctor.examine import LOCK
    from asset_ledger.pipeline.doctor.installation import dependencies

    mine = tmp_path / "requirements.lock"
    shutil.copyfile(LOCK, mine)
    assert dependencies(mine).status == "ok"
    with mine.open("a") as lock:
        lock.write(
            "psycopg==3.0.0 \\\n    --hash=sha256:00\nno-such-package==1.0\nother==1 ; sys_platform == 'win32'\n"
        )
    found = dependencies(mine)
    assert found.status == "problem"
    assert "no-such-package 1.0" in found.said
    assert "locked is 3.0.0" in found.said
    assert "other" not in found.said
    assert dependencies(tmp_path / "none.lock").status == "skipped"
