"""`asset-ledger db`: the database itself. Which one it is, say the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.screen import print_facts, print_json, say

if TYPE_CHECKING:
    from asset_ledger.settings import Settings
    from asset_ledger.store.embedded.server import EmbeddedServer

app = typer.Typer(help="The ledger's database: start, stop, status, URL, schema.", no_args_is_help=True)


@app.command()
def migrate() -> None:
    """Bring the schema to this release. Every command does so by itself when it opens the ledger."""
    from asset_ledger.cli.opening import open_ledger
    from asset_ledger.store.database import connect, current_revision

    ledger = open_ledger()
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
