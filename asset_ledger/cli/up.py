"""`asset-ledger up`: everything on one machine. Starts what is needed, serves and does the main job, until Ctrl-C.

What it started it stops. What it finds running (a database of one's own, a server started before) it leaves alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from asset_ledger.cli.dagster_run import PROJECT
from asset_ledger.cli.main_job import Say, run_main_job
from asset_ledger.cli.serving import Servers, free_port
from asset_ledger.cli.stopping import interruptible
from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.settings import Settings
from asset_ledger.store.database import ensure_database, migrate, public
from asset_ledger.store.embedded.server import EmbeddedServer


def up(
    once: Annotated[bool, typer.Option("--once", help="Do the main job, print the ledger, stop, exit.")] = False,
    port: Annotated[int, typer.Option(help="Port of the Dagster UI; the next free one if it is taken.")] = 3000,
    api_port: Annotated[int, typer.Option(help="Port of the HTTP service; the next free one if it is taken.")] = 8300,
    host: Annotated[
        str, typer.Option(help="Address both listen on. The UI has no login: keep it local.")
    ] = "127.0.0.1",
) -> None:
    """Start everything on this machine: database, HTTP service, main job, Dagster UI and daemon, until Ctrl-C."""
    console = Console(highlight=False, soft_wrap=True)
    settings = Settings.load()
    with ExitStack() as stack:
        stack.enter_context(_only_one(settings))
        stack.enter_context(interruptible())
        started = time.monotonic()

        def say(text: str) -> None:
            console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {text}")

        ledger = Ledger(settings)
        # what is wrong in the files is said before anything is started, and nothing is put anywhere before the
        # database answers: the next start is then a first one still
        example = _example_sources(settings)
        if example is None:
            _ = ledger.sources, ledger.iac_rules
        server, stays = _start_database(settings, stack, say)
        ensure_database(ledger.url)
        if migrate(ledger.url):
            say("the ledger's schema is brought to this release")
        if example is not None:
            _seed_sources(settings, example, say)
            _seed_inbox(ledger, say)
        if once:
            raise typer.Exit(0 if _main_job(ledger, console, say) else 1)
        ports = _free_ports(host, port, api_port, say)
        with Servers(ledger, console, say, host=host, port=ports[0], api_port=ports[1]) as servers:
            # agents and Terraform do not wait for sources that are read one after the other, and may be away
            servers.start_service()
            _main_job(ledger, console, say)
            servers.start_dagster(stays)
            servers.watch(server)


def _main_job(ledger: Ledger, console: Console, say: Say) -> bool:
    """Do the main job, show the ledger, and say whether all of it succeeded."""
    results = run_main_job(ledger, say)
    _show(ledger, console)
    return all(result.success for result in results)


def _free_ports(host: str, port: int, api_port: int, say: Say) -> tuple[int, int]:
    """Return the ports of the UI and of the HTTP service: those asked for, or the next free ones."""
    free = free_port(host, port)
    if free != port:
        say(f"port {port} is taken")
    api = free_port(host, api_port)
    if api != api_port:
        say(f"port {api_port} is taken")
    return free, api


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


def _example_sources(settings: Settings) -> Path | None:
    """Return the file that sources.yaml is to be made from; None where there is a sources.yaml."""
    if settings.sources_file.exists():
        return None
    example = PROJECT / "sources.example.yaml"
    if not example.exists():
        raise PermanentError(CONFIG_INVALID, "there is no such file", target=str(settings.sources_file))
    return example


def _seed_sources(settings: Settings, example: Path, say: Say) -> None:
    settings.sources_file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(example, settings.sources_file)
    say(f"made {settings.sources_file.name} from {example.name}")


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


def _start_database(settings: Settings, stack: ExitStack, say: Say) -> tuple[EmbeddedServer | None, str | None]:
    """Return the embedded server, if that is used, and the name of a database that outlives this command."""
    if settings.database_url is not None:
        say(f"using the database {public(settings.database_url)}")
        return None, "the database"
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
        return server, "the embedded PostgreSQL"
    stack.callback(ours.unlink, missing_ok=True)
    stack.callback(server.stop)
    return server, None


def _show(ledger: Ledger, console: Console) -> None:
    from asset_ledger.cli.overview import print_overview

    with ledger.connect() as connection:
        print_overview(connection, console)
