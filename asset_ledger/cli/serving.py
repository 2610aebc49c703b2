"""What `asset-ledger up` keeps running, and ends: Dagster's webserver and daemon with their runs, the HTTP service."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from asset_ledger.cli.dagster_run import PROJECT, prepare
from asset_ledger.cli.main_job import Say
from asset_ledger.cli.stopping import end_with_parent
from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.store.embedded.server import EmbeddedServer

STOP_S = 20.0
RUNS_NICENESS = 5
"""Of the daemon and of the runs it starts: who asks the service for a state does not wait while another is read."""


class Servers:
    """What is started one after the other, watched together, and stopped with this object's context."""

    def __init__(self, ledger: Ledger, console: Console, say: Say, *, host: str, port: int, api_port: int) -> None:
        self._ledger, self._console, self._say = ledger, console, say
        self._host, self._port, self._api_port = host, port, api_port
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._logs = ledger.settings.home / "logs"

    def __enter__(self) -> Servers:
        """Return it, with nothing started yet."""
        self._environment = prepare(self._ledger)
        self._logs.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop whatever runs."""
        _stop(self._children)

    def start_service(self) -> None:
        """Start the HTTP service, and say where it is; where it cannot serve, `watch` says so."""
        serve = [sys.executable, "-m", "asset_ledger.cli.main", "serve"]
        self._start("service", [*serve, "--host", self._host, "--port", f"{self._api_port}"])
        if _serves(self._children["service"], self._host, self._api_port):
            self._say(
                f"the HTTP service is at [bold]http://{self._host}:{self._api_port}[/bold]{_first_steps(self._ledger)}"
            )

    def start_dagster(self, stays: str | None) -> None:
        """Start Dagster's webserver and daemon, and say where the UI is.

        `stays` names the database that goes on running when all of it is stopped, if one does.
        """
        scripts = Path(sys.executable).parent
        workspace = ["-w", str(PROJECT / "workspace.yaml")]
        self._start(
            "webserver", [str(scripts / "dagster-webserver"), *workspace, "-h", self._host, "-p", f"{self._port}"]
        )
        self._start("daemon", [str(scripts / "dagster-daemon"), "run", *workspace])
        if _serves(self._children["webserver"], self._host, self._port):
            self._say(
                f"the Dagster UI is at [bold]http://{self._host}:{self._port}[/bold]; logs are in {self._logs}. "
                f"Ctrl-C stops {f'it; {stays} goes on running' if stays else 'everything'}."
            )

    def watch(self, server: EmbeddedServer | None) -> None:
        """Go on until somebody asks to stop or one of Dagster's two ends; start the database again if it ends."""
        try:
            while True:
                time.sleep(1)
                self._look()
                if server is not None and not server.running():
                    self._say("the database had ended; starting it again")
                    server.start()
                    (self._ledger.settings.home / "up.postgres").write_text(f"{server.pid()}\n")
        except KeyboardInterrupt:
            self._say("stopping")

    def _start(self, name: str, command: list[str]) -> None:
        with (self._logs / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(  # noqa: S603 - the commands above
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # a group of its own: Ctrl-C is ours to hand on
                start_new_session=True,
                preexec_fn=_begin_daemon if name == "daemon" else end_with_parent,  # noqa: PLW1509
            )

    def _look(self) -> None:
        for name, child in list(self._children.items()):
            if child.poll() is not None:
                tail = (self._logs / f"{name}.log").read_text(errors="replace")[-1500:]
                self._console.print(f"[red]the {name} ended with exit code {child.returncode}[/red]; its last words:")
                self._console.print(escape(tail))
                if name != "service":
                    raise typer.Exit(1)
                self._say("everything else goes on without it")
                _stop({name: self._children.pop(name)})


def yield_to_others() -> None:
    """Make this process, and what it starts, give way to others."""
    os.nice(RUNS_NICENESS)
    # Linux may weigh sessions against each other first, and processes within one only then
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(f"{RUNS_NICENESS}")


def _begin_daemon() -> None:
    if end_with_parent is not None:
        end_with_parent()
    yield_to_others()


def _first_steps(ledger: Ledger) -> str:
    """Return what to do first where nobody could log in to the service yet; else nothing."""
    from asset_ledger.store.access.people import tenants

    with ledger.connect() as connection:
        if tenants(connection):
            return ""
    return (
        "; for Terraform's states, make a tenant and a user:\n"
        "          asset-ledger tenants add NAME\n"
        "          asset-ledger users add USER --role admin"
    )


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


def free_port(host: str, first: int) -> int:
    """Return the first free port from `first` on. Raises PermanentError(CONFIG_INVALID) if fifty are taken."""
    for port in range(first, first + 50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise PermanentError(CONFIG_INVALID, f"no port from {first} to {first + 49} is free", target="--port")
