"""An installation past one machine, on one: PostgreSQL, Redis, Dagster's daemon, Celery workers, and slow SSH hosts.

Everything is a process of its own, as in production; nothing is faked but the hosts. Used by the tests of this folder
and by the benchmark `workers`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from psycopg import sql

from asset_ledger.cli.dagster_run import prepare
from asset_ledger.domain.calendar import collected_date
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.settings import Settings
from asset_ledger.store.database import clock, connect, rows
from asset_ledger.store.marts import note_days_built

PROJECT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sys.executable).parent

TARGETS = """
INSERT INTO ledger.assets (id, zone, platform_type, hostname, mgmt_ip, protocol, port, credential_ref, created_at, updated_at)
SELECT gen_random_uuid(), 'default', 'unknown', 'host-' || n, ('127.' || 1 + n / 62500 || '.' || n / 250 %% 250 || '.' || 1 + n %% 250)::inet,
       'ssh', %(port)s, 'env:PROBE', now(), now()
FROM generate_series(0, %(count)s - 1) AS n
"""
# what the day says, without ids and moments
DAY = """
SELECT a.hostname, host(a.mgmt_ip) AS mgmt_ip, d.cpu_cores, d.memory_bytes, d.disk_total_bytes, d.os_family, d.unknown,
       md5(n.document::text) AS document,
       (SELECT array_agg(host(i.ip) ORDER BY i.ip) FROM ledger.asset_daily_ips i
        WHERE i.collected_date = d.collected_date AND i.asset_id = d.asset_id AND i.source_id = d.source_id) AS ips
FROM ledger.asset_daily_specs d JOIN ledger.assets a ON a.id = d.asset_id
LEFT JOIN ledger.normalized_assets n ON n.id = d.normalized_id
ORDER BY a.mgmt_ip
"""


@dataclass
class Site:
    """One installation. Processes are started by name, in groups of their own, and all end with it."""

    folder: Path
    database_url: str
    redis_url: str
    port: int
    slots: int = 2
    patience_s: int = 60
    start_timeout_s: int = 60
    environment: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        return Ledger(Settings.load(self.environment))

    def prepare(self, count: int, *, parallel: int = 8, shards: int = 1) -> None:
        """Make files, environment and `count` ledger assets that are to be probed."""
        (self.folder / "sources.yaml").write_text(
            f"sources:\n  - {{name: probe, platform: ssh, known_hosts: known_hosts, parallel: {parallel}, "
            f"shards: {shards}, deadline_s: 30}}\n"
        )
        (self.folder / "dagster.yaml").write_text(yaml.safe_dump(self._dagster()))
        mine = {
            "ASSET_LEDGER_HOME": str(self.folder / "home"),
            "ASSET_LEDGER_SOURCES": str(self.folder / "sources.yaml"),
            "ASSET_LEDGER_DATABASE_URL": self.database_url,
            "ASSET_LEDGER_DAGSTER_CONFIG": str(self.folder / "dagster.yaml"),
            "ASSET_LEDGER_CELERY_BROKER": f"{self.redis_url.rsplit('/', 1)[0]}/0",
            "ASSET_LEDGER_CELERY_BACKEND": f"{self.redis_url.rsplit('/', 1)[0]}/1",
            "PROBE_USERNAME": "probe",
            "PROBE_PRIVATE_KEY": (self.folder / "client").read_text(),
            # a log that Python holds back until the process ends is of no use where it is killed
            "PYTHONUNBUFFERED": "1",
            "PATH": os.pathsep.join([str(SCRIPTS), os.environ.get("PATH", "")]),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ASSET_LEDGER_", "DAGSTER_"))}
        self.environment = kept | mine
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            self.environment = prepare(self.ledger)
        finally:
            os.environ.clear()
            os.environ.update(before)
        subprocess.run(
            [SCRIPTS / "dagster", "instance", "migrate"], env=self.environment, check=True, capture_output=True
        )
        with connect(self.database_url) as connection:
            source_row(connection, self.ledger.source("probe"))
            connection.execute(TARGETS, {"port": self.port, "count": count})
            # nor are the marts: they are said to be there
            today = collected_date(datetime.now(UTC))
            note_days_built(connection, (today, today), "none", clock(connection))
            addresses = [row["ip"] for row in rows(connection, "SELECT host(mgmt_ip) AS ip FROM ledger.assets")]
        public = " ".join((self.folder / "host.pub").read_text().split()[:2])
        (self.folder / "known_hosts").write_text("".join(f"[{ip}]:{self.port} {public}\n" for ip in addresses))

    def _dagster(self) -> dict[str, Any]:
        """Return the shipped configuration, with the patience of a test instead of production's."""
        found: dict[str, Any] = yaml.safe_load((PROJECT / "deploy" / "celery" / "dagster.yaml").read_text())
        found["concurrency"]["runs"]["max_concurrent_runs"] = self.slots
        # what follows a reading is not what is looked at here
        found["auto_materialize"] = {"enabled": False, "use_sensors": False}
        found["run_monitoring"] |= {"poll_interval_seconds": 5, "start_timeout_seconds": self.start_timeout_s}
        found["run_monitoring"]["max_runtime_seconds"] = self.patience_s
        return found

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a process under a name, in a group of its own; its words go to NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(SCRIPTS / command[0]), *command[1:]],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def start_daemon(self) -> None:
        self.start("daemon", "dagster-daemon", "run", "-w", str(PROJECT / "workspace.yaml"))
        self.wait(self._beats, "the daemon does not beat")

    def _beats(self) -> bool:
        with connect(self.ledger.dagster_url) as connection:
            found = rows(connection, "SELECT daemon_type FROM daemon_heartbeats")
        return {"QUEUED_RUN_COORDINATOR", "SENSOR", "MONITORING", "EVENT_LOG_CONSUMER"} <= {
            row["daemon_type"] for row in found
        }

    def start_worker(self, name: str, *, processes: int = 1) -> None:
        """Start a worker as the page says and wait until it takes messages."""
        self.start(
            name,
            *("python", str(PROJECT / "deploy" / "celery" / "worker.py"), "-n", name, "--", "-c", str(processes)),
        )
        self.wait(lambda: "ready." in self.log(name), f"{name} is not ready")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def kill(self, name: str) -> None:
        """Kill a process and all it started, at once."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `asset-ledger` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "asset_ledger.cli.main", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def submit(self, requests: list[dict[str, Any]]) -> None:
        """Put runs into the queue and wait until they are over."""
        subprocess.run(
            [sys.executable, "-m", "asset_ledger.submit"],
            input=json.dumps(requests),
            env=self.environment,
            text=True,
            capture_output=True,
            check=True,
        )

    def took(self, job: str) -> float:
        """Return the seconds from a job's first run being queued to the end of its last."""
        with connect(self.ledger.dagster_url) as connection:
            (found,) = rows(
                connection,
                sql.SQL(
                    "SELECT max(end_time) - min(extract(epoch FROM create_timestamp)) AS seconds FROM runs "
                    "WHERE pipeline_name = {}"
                ).format(sql.Literal(job)),
            )
        return float(found["seconds"])

    def query(self, statement: str) -> list[dict[str, Any]]:
        with connect(self.database_url) as connection:
            return rows(connection, statement)

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs that probe, in the order they were made; what the clock starts meanwhile is not among them."""
        with connect(self.ledger.dagster_url) as connection:
            return rows(
                connection,
                "SELECT run_id, status, partition, run_body::json -> 'tags' AS tags FROM runs "
                "WHERE pipeline_name = 'probe_collect' ORDER BY id",
            )

    def noted(self, run_id: str, text: str) -> bool:
        """Say whether Dagster noted something of a run."""
        with connect(self.ledger.dagster_url) as connection:
            found = connection.execute(
                "SELECT 1 FROM event_logs WHERE run_id = %s AND strpos(event, %s) > 0 LIMIT 1", [run_id, text]
            )
            return found.fetchone() is not None

    def runs_on(self, name: str) -> list[str]:
        """Return the runs that a worker's processes are at."""
        group = self.processes[name].pid
        found = []
        for run in self.runs():
            pid = run["tags"].get("asset_ledger/process", "0 0").split()[1]
            with suppress(ProcessLookupError):
                if run["status"] == "STARTED" and int(pid) and os.getpgid(int(pid)) == group:
                    found.append(run["run_id"])
        return found

    @staticmethod
    def wait(true: Callable[[], object], what: str, seconds: float = 120) -> None:
        """Wait until something is so. Raises AssertionError saying `what` is wrong after so many seconds."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, what
            time.sleep(0.2)

    def stop(self) -> None:
        """End every process, with all it started."""
        for process in self.processes.values():
            try:
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


@contextmanager
def hosts(folder: Path, thinks_s: float) -> Iterator[int]:
    """Run the hosts, which are slow to answer, and give their port."""
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "client.pub", folder / "authorized_keys")
    command = [sys.executable, "-m", "benchmarks.ssh_double", str(folder / "host"), str(folder / "authorized_keys")]
    with subprocess.Popen([*command, str(thinks_s)], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline() if process.stdout else "0")
        finally:
            process.terminate()


@contextmanager
def redis_on(folder: Path) -> Iterator[str]:
    """Run a Redis of one's own that keeps nothing, and give its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
