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


def serve(
    ledger: Ledger,
    server: EmbeddedServer | None,
    console: Console,
    say: Say,
    *,
    host: str,
    port: int,
    api_port: int,
    stays: str | None = None,
) -> None:
    """Run webserver, daemon and HTTP service until somebody asks to stop or one of Dagster's two ends.

    `stays` names the database that goes on running then, if one does.
    """
    environment = prepare(ledger)
    logs = ledger.settings.home / "logs"
    logs.mkdir(exist_ok=True)
    scripts = Path(sys.executable).parent
    workspace = str(PROJECT / "workspace.yaml")
    commands = {
        "webserver": [str(scripts / "dagster-webserver"), "-w", workspace, "-h", host, "-p", str(port)],
        "daemon": [str(scripts / "dagster-daemon"), "run", "-w", workspace],
        "service": [sys.executable, "-m", "asset_ledger.cli.main", "serve", "--host", host, "--port", str(api_port)],
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
                    preexec_fn=_begin_daemon if name == "daemon" else end_with_parent,  # noqa: PLW1509
                )
        if _serves(children["service"], host, api_port):
            say(f"the HTTP service is at [bold]http://{host}:{api_port}[/bold]{_first_steps(ledger)}")
        if _serves(children["webserver"], host, port):
            say(
                f"the Dagster UI is at [bold]http://{host}:{port}[/bold]; logs are in {logs}. "
                f"Ctrl-C stops {f'it; {stays} goes on running' if stays else 'everything'}."
            )
        while True:
            time.sleep(1)
            for name, child in children.items():
                if child.poll() is not None:
                    tail = (logs / f"{name}.log").read_text(errors="replace")[-1500:]
                    console.print(f"[red]the {name} ended with exit code {child.returncode}[/red]; its last words:")
                    console.print(escape(tail))
                    if name != "service":
                        raise typer.Exit(1)
                    say("everything else goes on without it")
                    _stop({name: children.pop(name)})
                    break
            if server is not None and not server.running():
                say("the database had ended; starting it again")
                server.start()
                (ledger.settings.home / "up.postgres").write_text(f"{server.pid()}\n")
    except KeyboardInterrupt:
        say("stopping")
    finally:
        _stop(children)


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
