"""`asset-ledger db`: the database itself. Which one it is, say the settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.screen import note, print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from asset_ledger.settings import Settings
    from asset_ledger.store.embedded.server import EmbeddedServer

app = typer.Typer(help="The ledger's database: start, stop, status, URL, schema.", no_args_is_help=True)


@app.command()
def migrate(
    lock_wait: Annotated[
        float,
        typer.Option(
            "--lock-wait", metavar="SECONDS", min=0.1, help="For how long it tries to get tables that others hold."
        ),
    ] = 20.0,
) -> None:
    """Bring the schema to this release. Every command does so by itself when it opens the ledger."""
    from asset_ledger.cli.opening import open_ledger
    from asset_ledger.store.database import connect, current_revision

    ledger = open_ledger(lock_wait_s=lock_wait)
    with connect(ledger.url) as connection:
        say(f"the schema is at revision {current_revision(connection)}")


@app.command()
def url(
    dagster: Annotated[bool, typer.Option("--dagster", help="Of Dagster's own database.")] = False,
    with_password: Annotated[bool, typer.Option("--with-password", help="A secret then stands on the screen.")] = False,
) -> None:
    """Print the database's URL, without its password."""
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.settings import Settings
    from asset_ledger.store.database import public

    ledger = Ledger(Settings.load())
    found = ledger.dagster_url if dagster else ledger.url
    typer.echo(found if with_password else public(found))


@app.command()
def start() -> None:
    """Start the embedded PostgreSQL and leave it running."""
    server = _embedded(_settings())
    say("started the embedded PostgreSQL" if server.start() else "the embedded PostgreSQL is running already")


@app.command()
def stop() -> None:
    """Stop the embedded PostgreSQL, ending its connections."""
    server = _embedded(_settings())
    was_running = server.pid() is not None
    server.stop()
    say("stopped the embedded PostgreSQL" if was_running else "the embedded PostgreSQL was not running")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say which database it is, whether it answers, and which schema it has. Exit code 1 if it does not answer."""
    settings = _settings()
    facts: dict[str, Any] = {"server": "embedded" if settings.database_url is None else "configured"}
    if settings.database_url is None:
        from asset_ledger.store.embedded.server import EmbeddedServer

        server = EmbeddedServer(settings.home)
        facts |= {"home": str(settings.home), "pid": server.pid()}
    facts |= _answer(settings)
    if as_json:
        print_json(facts)
    else:
        print_facts({name.replace("_", " "): value for name, value in facts.items()})
        if not facts["answers"] and settings.database_url is None:
            say("`asset-ledger db start` starts it")
    if not facts["answers"]:
        raise typer.Exit(1)


@app.command()
def digests(
    mark: Annotated[
        str | None,
        typer.Option("--mark", metavar="NAME", help="Make that instant a restore point. Writers wait for it."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="FILE", help="Compare with what --json said before; keys are tried, too."),
    ] = None,
    bodies: Annotated[bool, typer.Option("--bodies", help="Of every byte of raw readings as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Digest every table of the ledger at one instant, to tell whether a restored one is the same.

    The schema is left as it is. Exit code 1 where a table differs, or where what is encrypted does not open.
    """
    import json

    from asset_ledger.domain.errors import RESTORE_DIFFERS, PermanentError
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.pipeline.sealed import open_sealed
    from asset_ledger.store.digests import differing
    from asset_ledger.store.digests import digests as digested

    ledger = Ledger(_settings())
    expected: dict[str, str] | None = None if against is None else json.loads(against.read_text())
    found = digested(ledger.url, mark=mark, bodies=bodies)
    if as_json:
        print_json(found)
    elif expected is None:
        print_table(["table!", "rows>", "digest!"], [[name, *text.split(" rows, ")] for name, text in found.items()])
    if expected is None:
        return
    different = differing(expected, found)
    if different:
        told = "; ".join(f"{name}: {expected.get(name)} before, {found.get(name)} here" for name in different)
        raise PermanentError(RESTORE_DIFFERS, f"{len(different)} of {len(found)} tables differ: {told}")
    note(f"{len(found)} tables are the same, {sum(int(text.split()[0]) for text in found.values()):,} rows")
    note(open_sealed(ledger))


def _answer(settings: Settings) -> dict[str, Any]:
    from asset_ledger.domain.errors import LedgerError
    from asset_ledger.pipeline.ledger import Ledger
    from asset_ledger.store.database import connect, current_revision, head_revision, public

    facts: dict[str, Any] = {"answers": False}
    try:
        found = Ledger(settings).url
        facts["url"] = public(found)
        with connect(found) as connection:
            version = connection.info.server_version
            facts |= {
                "answers": True,
                "postgresql": f"{version // 10000}.{version % 10000}",
                "schema": current_revision(connection),
                "schema_of_this_release": head_revision(),
            }
    except LedgerError as error:
        facts["problem"] = error.message
    return facts


def _settings() -> Settings:
    from asset_ledger.settings import Settings

    return Settings.load()


def _embedded(settings: Settings) -> EmbeddedServer:
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
    from asset_ledger.store.database import public
    from asset_ledger.store.embedded.server import EmbeddedServer

    if settings.database_url is not None:
        raise PermanentError(
            CONFIG_INVALID,
            f"it names a server of your own, {public(settings.database_url)}, which this command does not run",
            target="ASSET_LEDGER_DATABASE_URL",
        )
    return EmbeddedServer(settings.home)
