"""The embedded PostgreSQL server: a real one, made and run in the program's home folder.

Here: starting, stopping, and getting up again after a crash or a reboot. Not here: which binaries run
(`store.embedded.binaries`), how a cluster is made and tuned (`store.embedded.cluster`), and anything about what is in the
databases. The server is a daemon: it outlives the process that started it, and whoever started it stops
it. Called by the CLI, the launcher and the tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shlex
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from asset_ledger.domain.errors import (
    CONFIG_INVALID,
    DATABASE_UNAVAILABLE,
    PermanentError,
    RetryableError,
)
from asset_ledger.store.embedded import cluster, postmaster
from asset_ledger.store.embedded.binaries import (
    Account,
    Binaries,
    can_reach,
    choose_account,
    demand_trusted,
    find_binaries,
    reachable,
    run_as,
    shared_folder,
)
from asset_ledger.store.embedded.cluster import write_whole

__all__ = ["Binaries", "EmbeddedServer", "find_binaries"]

START_SECONDS = 120
STOP_SECONDS = 120
# pg_ctl hands its arguments to a shell within double quotes, where these mean something.
_NOT_IN_A_PATH = '"$`\\'
_LOG_LIMIT = 16 * 1024 * 1024
# Below the range that Linux and the BSDs hand to outgoing connections, so that the port stays free between starts.
_PORTS = range(15432, 32000)


class EmbeddedServer:
    """The PostgreSQL server of one home folder. Any number of processes may hold one and call it at once.

    Everything is in `<home>/postgres`; where the server's user cannot reach that, the cluster is in the shared
    folder (`binaries.shared_folder`), remembered in `<home>/postgres/location`.
    """

    def __init__(self, home: Path, settings: Mapping[str, str] | None = None) -> None:
        """`settings` are PostgreSQL settings to use in place of the built-in ones (tests switch fsync off)."""
        self._home = home.absolute()
        self._folder = self._home / "postgres"
        self._settings = dict(settings or {})

    def start(self) -> bool:
        """Make the cluster if there is none and start the server; True if this call started it.

        Returns when connections are accepted. Raises PermanentError or RetryableError with the end of the log, and
        PermanentError(CONFIG_INVALID) for a path that a shell would change, before anything is made.
        """
        self._demand_plain_path()
        with self._permission_errors():
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._lock():
                base = self._place()
                data = base / "data"
                if postmaster.alive(data) is not None and self._wait_until_ready(data):
                    return False
                account = choose_account(data)
                found = find_binaries()
                cluster.demand_same_major(data, found)
                binaries = reachable(found, account)
                if not data.exists():
                    password = cluster.keep_password(self._folder / "password")
                    cluster.create(base, password, binaries, account, sync=self._settings.get("fsync") != "off")
                postmaster.clear_remains(data, self.log_tail)
                cluster.write_configuration(base / "server.conf", self._settings)
                self._launch(base, binaries, account)
                return True

    def _demand_plain_path(self) -> None:
        for character in _NOT_IN_A_PATH:
            if character in str(self._home):
                raise PermanentError(
                    CONFIG_INVALID,
                    f"the embedded PostgreSQL cannot start in a folder with {character} in its path; "
                    "set ASSET_LEDGER_HOME to another folder, or ASSET_LEDGER_DATABASE_URL to a server of your own",
                    target=str(self._home),
                )

    def stop(self) -> None:
        """Stop the server, ending its connections, and wait until it is down. Not running: nothing to do."""
        if not self._folder.exists():
            return
        with self._permission_errors(), self._lock():
            data = self._base() / "data"
            pid = postmaster.alive(data)
            if pid is None:
                return
            os.kill(pid, signal.SIGINT)  # "fast": roll back what is open, checkpoint, end
            deadline = time.monotonic() + STOP_SECONDS
            while postmaster.alive(data) is not None:
                if time.monotonic() > deadline:
                    raise RetryableError(
                        DATABASE_UNAVAILABLE,
                        f"the server (pid {pid}) has not stopped after {STOP_SECONDS} s. Log: {self.log_tail()}",
                        target=str(self._home),
                    )
                time.sleep(0.02)

    def url(self, database: str) -> str:
        """Return the libpq URL of a database, password included. Read anew each time: the port may change."""
        with self._permission_errors():
            try:
                password = (self._folder / "password").read_text().strip()
                port = int((self._folder / "port").read_text())
            except (FileNotFoundError, ValueError) as error:
                raise RetryableError(
                    DATABASE_UNAVAILABLE, "the embedded server has never been started here", target=str(self._home)
                ) from error
        return f"postgresql://{cluster.USER}:{quote(password, safe='')}@127.0.0.1:{port}/{quote(database, safe='')}"

    def running(self) -> bool:
        """Say whether the server is up and accepts connections."""
        with self._permission_errors():
            data = self._base() / "data"
            return postmaster.alive(data) is not None and postmaster.status(data) == "ready"

    def pid(self) -> int | None:
        """Return the process id of the server, None where it is not running."""
        with self._permission_errors():
            return postmaster.alive(self._base() / "data")

    def log_tail(self, characters: int = 2000) -> str:
        """Return the end of the server's log, empty where there is none."""
        with self._permission_errors():
            return self._log_since(max(0, self._log_size() - characters))

    def _readable_log(self) -> str:
        with suppress(OSError):
            return self._log_since(max(0, self._log_size() - 1000)) or "empty"
        return "not readable"

    def _log_size(self) -> int:
        log = self._folder / "log"
        return log.stat().st_size if log.exists() else 0

    def _log_since(self, offset: int) -> str:
        try:
            with (self._folder / "log").open("rb") as log:
                log.seek(offset)
                return log.read().decode(errors="replace").strip()
        except FileNotFoundError:
            return ""

    @contextmanager
    def _permission_errors(self) -> Iterator[None]:
        """Turn what the file system refuses into an error that says where and why."""
        try:
            yield
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise PermanentError(
                DATABASE_UNAVAILABLE,
                f"{error.strerror}{where}. The folder must be writable, with space left, for the user who started the "
                f"embedded server first. End of the log: {self._readable_log()}",
                target=str(self._home),
            ) from error

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the home's lock: one start or stop at a time. The system frees it when the holder dies."""
        deadline = time.monotonic() + START_SECONDS + STOP_SECONDS
        with open(self._folder / "lock", "a", opener=_open_private) as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise RetryableError(
                            DATABASE_UNAVAILABLE,
                            "another process has been starting or stopping the server for minutes",
                            target=str(self._home),
                        ) from error
                    time.sleep(0.02)
            yield

    def _base(self) -> Path:
        """Return the folder that holds `data`."""
        location = self._folder / "location"
        return Path(location.read_text().strip()) if location.exists() else self._folder

    def _place(self) -> Path:
        """Return the folder that holds `data`, deciding at the first start where that is."""
        base = self._base()
        if base != self._folder:
            demand_trusted(base)
            return base
        if os.geteuid() != 0 or (self._folder / "data").exists():
            return base
        self._folder.chmod(0o711)  # our own folder; those above it are not ours to open
        if can_reach(choose_account(self._folder / "data"), self._folder):
            return base
        elsewhere = shared_folder() / f"cluster-{hashlib.sha256(os.fsencode(self._home)).hexdigest()[:16]}"
        elsewhere.mkdir(mode=0o711, exist_ok=True)
        demand_trusted(elsewhere)
        elsewhere.chmod(0o711)
        write_whole(self._folder / "location", f"{elsewhere}\n", 0o644)
        return elsewhere

    def _wait_until_ready(self, data: Path) -> bool:
        """Wait for a living postmaster to accept connections; False if it ends instead."""
        deadline = time.monotonic() + START_SECONDS
        while postmaster.alive(data) is not None:
            if postmaster.status(data) == "ready":
                return True
            if time.monotonic() > deadline:
                raise self._failed(f"not ready after {START_SECONDS} s; it may still be recovering: run again")
            time.sleep(0.02)
        return False

    def _launch(self, base: Path, binaries: Binaries, account: Account) -> None:
        """Start the postmaster and wait until it accepts connections; another port where ours has been taken."""
        log = self._folder / "log"
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_suffix(".old"))
        deadline = time.monotonic() + START_SECONDS
        while True:
            port = self._port()
            options = f"-c config_file={shlex.quote(str(base / 'server.conf'))} -c port={port}"
            before = self._log_size()
            with open(log, "ab", opener=_open_private) as sink:
                arguments = ("start", f"--timeout={START_SECONDS}", f"--pgdata={base / 'data'}", f"--options={options}")
                code, _ = run_as([binaries.bin / "pg_ctl", *arguments], account, output=sink.fileno())
            if code == 0:
                return
            told = self._log_since(before)
            taken = "could not create any TCP/IP sockets" in told
            if not (taken or "pre-existing shared memory block" in told) or time.monotonic() > deadline:
                raise self._failed("PostgreSQL does not start")
            if taken:
                (self._folder / "port").unlink(missing_ok=True)
            time.sleep(0.25)

    def _port(self) -> int:
        """Return the remembered port if it is free, else a free one, and remember it."""
        remembered = self._folder / "port"
        try:
            port = int(remembered.read_text())
        except (FileNotFoundError, ValueError):
            port = 0
        for _ in range(200):
            if port and _is_free(port):
                write_whole(remembered, f"{port}\n", 0o644)
                return port
            port = secrets.choice(_PORTS)
        raise self._failed(f"no free port between {_PORTS[0]} and {_PORTS[-1]}")

    def _failed(self, what: str) -> RetryableError:
        return RetryableError(
            DATABASE_UNAVAILABLE, f"{what}. End of the log: {self.log_tail()}", target=str(self._home)
        )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does: TIME_WAIT is no obstacle
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _open_private(path: str, flags: int) -> int:
    """Open for the starter alone, and never through a link: root may be starting in another user's home."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
