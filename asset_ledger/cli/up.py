"""`asset-ledger up`: everything on one machine. Starts what is needed, does the main job, serves the UI until Ctrl-C.

What it started it stops. What it finds running (a database of one's own, a server started before) it leaves alone.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from asset_ledger.cli.dagster_run import PROJECT, RunRequest, RunResult, prepare, run
from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.pipeline.inbox import by_day, is_settled, waiting
from asset_ledger.pipeline.ledger import Ledger, platform_of
from asset_ledger.settings import Settings
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import ensure_database, migrate, public
from asset_ledger.store.overview import unfinished_days
from asset_ledger.store.server import EmbeddedServer

STOP_S = 20.0
Say = Callable[[str], None]
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(
    once: Annotated[bool, typer.Option("--once", help="Do the main job, print the ledger, stop, exit.")] = False,
    port: Annotated[int, typer.Option(help="Port of the Dagster UI; the next free one if it is taken.")] = 3000,
    host: Annotated[str, typer.Option(help="Address the UI listens on. It has no login: keep it local.")] = "127.0.0.1",
) -> None:
    """Start everything on this machine: database, main job, Dagster UI and daemon, until Ctrl-C."""
    console = Console(highlight=False, soft_wrap=True)
    settings = Settings.load()
    with ExitStack() as stack:
        stack.enter_context(_only_one(settings))
        stack.enter_context(_interruptible())
        started = time.monotonic()

        def say(text: str) -> None:
            console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {text}")

        first_time = _seed_sources(settings, say)
        server = _start_database(settings, stack, say)
        ledger = Ledger(settings)
        if first_time:
            _seed_inbox(ledger, say)
        ensure_database(ledger.url)
        if migrate(ledger.url):
            say("the ledger's schema is brought to this release")
        results = _main_job(ledger, say)
        _show(ledger, console)
        failed = [result for result in results if not result.success]
        if once:
            raise typer.Exit(1 if failed else 0)
        free = _free_port(host, port)
        if free != port:
            say(f"port {port} is taken")
        _serve(ledger, server, console, say, host=host, port=free)


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Keep a second `up` of the same home out. A killed one gives the lock back by itself."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise PermanentError(
                CONFIG_INVALID,
                f"`asset-ledger up` is running on it already, as process {lock.read().strip()}; stop that one, "
                "or set ASSET_LEDGER_HOME to another folder for a second installation",
                target=str(settings.home),
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let every signal that asks to stop end in the same way: by unwinding, so that what was started is stopped."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _seed_sources(settings: Settings, say: Say) -> bool:
    if settings.sources_file.exists():
        return False
    example = PROJECT / "sources.example.yaml"
    if not example.exists():
        raise PermanentError(CONFIG_INVALID, "there is no such file", target=str(settings.sources_file))
    settings.sources_file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(example, settings.sources_file)
    say(f"made {settings.sources_file.name} from {example.name}")
    return True


def _seed_inbox(ledger: Ledger, say: Say) -> None:
    """Give a first start something to read: the example files, into the first inbox, if that is empty."""
    for source in ledger.sources:
        inbox = getattr(source, "inbox", None)
        if isinstance(inbox, Path) and not inbox.exists():
            inbox.mkdir(parents=True)
            examples = sorted(path for path in (ledger.settings.examples / "inbox").iterdir() if path.is_file())
            for path in examples:
                # the day a file was written stays with it, so that nobody takes it for one still being written
                shutil.copy2(path, inbox / path.name)
            say(f"put {len(examples)} example files into {inbox.name}/")
            return


def _start_database(settings: Settings, stack: ExitStack, say: Say) -> EmbeddedServer | None:
    if settings.database_url is not None:
        say(f"using the database {public(settings.database_url)}")
        return None
    server = EmbeddedServer(settings.home)
    # names the server that an `up` started, so that one that was killed leaves it to the next
    ours = settings.home / "up.postgres"
    if server.start():
        ours.write_text(f"{server.pid()}\n")
        say("started the embedded PostgreSQL")
    elif ours.exists() and ours.read_text().strip() == str(server.pid()):
        say("took over the embedded PostgreSQL of an `up` that was killed")
    else:
        say("the embedded PostgreSQL is running already; it will be left running")
        return server
    stack.callback(ours.unlink, missing_ok=True)
    stack.callback(server.stop)
    return server


def _main_job(ledger: Ledger, say: Say) -> list[RunResult]:
    """Take in what waits in the inboxes, read every live source for today, and join the two."""
    now = datetime.now(UTC)
    with ledger.connect() as connection:
        unfinished = unfinished_days(connection)
    requests: list[RunRequest] = []
    for source in ledger.sources:
        # a run that was killed left raw behind; whoever comes next derives it
        days = set(unfinished.get(source.name, ()))
        if platform_of(source).accept is not None:
            days |= _days_of_files(source, now)
        elif platform_of(source).open is not None:
            days.add(collected_date(now))
        requests += _runs(source, sorted(days))
    requests.append(RunRequest("ledger_links"))
    say("running the main job: " + ", ".join(_name(request) for request in requests))
    results = run(ledger, requests)
    for request, result in zip(requests, results, strict=True):
        if not result.success:
            say(f"[red]{_name(request)} failed[/red]: {escape(result.error or '')}")
    say(f"{sum(result.success for result in results)} of {len(results)} runs succeeded")
    return results


def _days_of_files(source: SourceConfig, now: datetime) -> set[date]:
    """Return the days of the files that wait in the inbox and are whole."""
    inbox = getattr(source, "inbox", None)
    if not isinstance(inbox, Path):
        return set()
    return {day for file, day in by_day(waiting(inbox), now) if isinstance(day, date) and is_settled(file)}


def _runs(source: SourceConfig, days: Sequence[date]) -> list[RunRequest]:
    """Return a run for each stretch of days."""
    requests: list[RunRequest] = []
    stretch: list[date] = []
    for day in days:
        if stretch and day != stretch[-1] + timedelta(days=1):
            requests.append(_stretch(source, stretch))
            stretch = []
        stretch.append(day)
    return [*requests, _stretch(source, stretch)] if stretch else requests


def _stretch(source: SourceConfig, days: list[date]) -> RunRequest:
    job = f"{source.name}_collect"
    if len(days) == 1:
        return RunRequest(job, partition=days[0].isoformat())
    return RunRequest(job, partition_range=(days[0].isoformat(), days[-1].isoformat()))


def _name(request: RunRequest) -> str:
    days = request.partition or (" to ".join(request.partition_range) if request.partition_range else "")
    return f"{request.job} {days}".strip()


def _show(ledger: Ledger, console: Console) -> None:
    from asset_ledger.cli.overview import print_overview

    with ledger.connect() as connection:
        print_overview(connection, console)


def _serve(ledger: Ledger, server: EmbeddedServer | None, console: Console, say: Say, *, host: str, port: int) -> None:
    """Run webserver and daemon until somebody asks to stop or one of them ends."""
    environment = prepare(ledger)
    logs = ledger.settings.home / "logs"
    logs.mkdir(exist_ok=True)
    scripts = Path(sys.executable).parent
    workspace = str(PROJECT / "workspace.yaml")
    commands = {
        "webserver": [str(scripts / "dagster-webserver"), "-w", workspace, "-h", host, "-p", str(port)],
        "daemon": [str(scripts / "dagster-daemon"), "run", "-w", workspace],
    }
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            with (logs / f"{name}.log").open("ab") as log:
                children[name] = subprocess.Popen(  # noqa: S603 - the commands above
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # a group of its own: Ctrl-C is ours to hand on
                    start_new_session=True,
                    preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
                )
        if _serves(children["webserver"], host, port):
            say(f"the Dagster UI is at [bold]http://{host}:{port}[/bold]; logs are in {logs}. Ctrl-C stops everything.")
        while True:
            time.sleep(1)
            for name, child in children.items():
                if child.poll() is not None:
                    tail = (logs / f"{name}.log").read_text(errors="replace")[-1500:]
                    console.print(f"[red]the {name} ended with exit code {child.returncode}[/red]; its last words:")
                    console.print(escape(tail))
                    raise typer.Exit(1)
            if server is not None and not server.running():
                say("the database had ended; starting it again")
                server.start()
                (ledger.settings.home / "up.postgres").write_text(f"{server.pid()}\n")
    except KeyboardInterrupt:
        say("stopping")
    finally:
        _stop(children)


def _stop(children: dict[str, subprocess.Popen[bytes]]) -> None:
    """Ask every child to end, and after it what it started; kill the slow. A second Ctrl-C kills at once."""
    for child in children.values():
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
    deadline = time.monotonic() + STOP_S
    try:
        for child in children.values():
            child.wait(max(0.1, deadline - time.monotonic()))
            # the daemon does not wait for the runs it started: they are told to end, so that they can say so
            _signal_group(child, signal.SIGTERM)
        while any(_signal_group(child, 0) for child in children.values()) and time.monotonic() < deadline:
            time.sleep(0.1)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass
    finally:
        for child in children.values():
            _signal_group(child, signal.SIGKILL)
            child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to a child and all it started; return False if none of them is left."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return False
    return True


def _end_with_parent() -> None:
    """Ask Linux to end this child when `up` is killed without a chance to stop it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _serves(child: subprocess.Popen[bytes], host: str, port: int) -> bool:
    """Wait until somebody may open the UI; False if the webserver ends instead, or takes minutes."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and child.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((host, port)) == 0:
                return True
        time.sleep(0.2)
    return False


def _free_port(host: str, first: int) -> int:
    for port in range(first, first + 50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise PermanentError(CONFIG_INVALID, f"no port from {first} to {first + 49} is free", target="--port")
