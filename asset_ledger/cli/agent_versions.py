"""`asset-ledger agents versions`: which agents a tenant publishes. Uploading is over HTTP, or from a file here.

Registered by `cli.agents`. The rules are those of the HTTP service's routes: a version and its binaries never change.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.opening import actor, connected, open_ledger
from asset_ledger.cli.screen import note, print_json, print_table, say, size
from asset_ledger.cli.tenant_named import Tenant, chosen

if TYPE_CHECKING:
    from uuid import UUID

    from asset_ledger.store.agents.binaries import Binaries
    from asset_ledger.store.agents.versions import VersionRow
    from asset_ledger.store.database import Connection

app = typer.Typer(help="Versions of the agent that a tenant publishes.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="VERSION", help="Such as 1.2.0.")]


@app.command("list")
def list_(tenant: Tenant = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the published versions, the highest first."""
    from dataclasses import asdict

    from asset_ledger.store.agents.versions import versions
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            found = versions(connection, row.id)
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        note("No version yet. Publish one: `asset-ledger agents versions add VERSION --binary PLATFORM=FILE`.")
    else:
        columns = ["version!", "", "released!", "needs!", "downloads>", "binaries", "what is new…"]
        print_table(
            columns,
            [
                [
                    each.version,
                    "withdrawn" if each.withdrawn_at else "latest" if each.is_latest else "",
                    each.release_date,
                    each.min_server_version,
                    each.download_count,
                    [f"{name} ({size(binary.size)})" for name, binary in sorted(each.binaries.items())],
                    (each.changelog or "").partition("\n")[0],
                ]
                for each in found
            ],
        )


@app.command()
def add(
    version: Name,
    binary: Annotated[
        list[str],
        typer.Option("--binary", metavar="PLATFORM=FILE", help="Such as linux-amd64=dist/agent; again for more."),
    ],
    changelog: Annotated[str | None, typer.Option("--changelog", help="What is new.")] = None,
    needs: Annotated[
        str | None, typer.Option("--min-server", metavar="VERSION", help="The oldest asset_ledger it works with.")
    ] = None,
    latest: Annotated[bool, typer.Option("--latest", help="Tell agents of it at once.")] = False,
    tenant: Tenant = None,
) -> None:
    """Publish a version, or more binaries of one. Its SHA-256 is what agents compare theirs with."""
    from asset_ledger.store.agents import versions
    from asset_ledger.store.agents.binaries import Binaries
    from asset_ledger.store.tenancy import as_tenant

    named = _version(version)
    files = [_binary(each) for each in binary]
    ledger = open_ledger()
    folder = Binaries(ledger.settings.agent_binaries)
    with connected(ledger) as connection:
        of = chosen(connection, tenant)
        with as_tenant(connection, of.id):
            versions.add(
                connection,
                of.id,
                named,
                changelog=changelog,
                min_server_version=_version(needs) if needs is not None else None,
            )
            _record(connection, of.id, "add", named)
        for platform, path in files:
            note(f"{platform}: SHA-256 {_publish(connection, of.id, folder, named, platform, path)}")
        if latest:
            _mark(connection, of.id, named, "latest")
    say(f"{named}: published{', and the latest' if latest else ''}")


@app.command()
def latest(version: Name, tenant: Tenant = None) -> None:
    """Make a version the one that agents are told of."""
    with connected() as connection:
        _mark(connection, chosen(connection, tenant).id, _version(version), "latest")
    say(f"{version}: the latest")


@app.command()
def withdraw(version: Name, tenant: Tenant = None) -> None:
    """Offer a version no more. Where it was the latest, there is none until you say which."""
    with connected() as connection:
        _mark(connection, chosen(connection, tenant).id, _version(version), "withdraw")
    say(f"{version}: withdrawn")


def _mark(connection: Connection, tenant_id: UUID, named: str, what: str) -> None:
    from asset_ledger.store.agents import versions
    from asset_ledger.store.tenancy import as_tenant

    with as_tenant(connection, tenant_id):
        row = _there(versions.version(connection, tenant_id, named, lock=True), named)
        if what == "withdraw":
            versions.withdraw(connection, tenant_id, row.id)
        else:
            _demand_open(row)
            if not row.binaries:
                raise _wrong("it has no binary yet: `asset-ledger agents versions add VERSION --binary …`", named)
            versions.set_latest(connection, tenant_id, row.id)
        _record(connection, tenant_id, what, named)


def _publish(connection: Connection, tenant_id: UUID, folder: Binaries, named: str, platform: str, path: Path) -> str:
    """Take a file in as a version's binary and return its SHA-256."""
    from asset_ledger.store.agents import versions
    from asset_ledger.store.tenancy import as_tenant

    with path.open("rb") as file, folder.coming() as coming:
        while chunk := file.read(1 << 20):
            coming.write(chunk)
        if not coming.size:
            raise _wrong("it is empty", str(path))
        with as_tenant(connection, tenant_id):
            row = _there(versions.version(connection, tenant_id, named, lock=True), named)
            _demand_open(row)
            before = row.binaries.get(platform)
            if before is not None and before.sha256 != coming.sha256:
                raise _wrong(f"it has another binary for {platform}, which never changes: take the next version", named)
            if before is None:
                made = versions.binary_of(tenant_id, row, platform, coming.size, coming.sha256)
                versions.set_binary(connection, tenant_id, row.id, platform, made)
                _record(connection, tenant_id, f"upload {platform}", named)
                coming.place(folder.at(made.path))
                folder.only(made.path)
        return coming.sha256


def _record(connection: Connection, tenant_id: UUID, what: str, named: str) -> None:
    from asset_ledger.store.access import audit

    entry = audit.Entry("agent_version.write", what, "success", actor(), details={"version": named, "what": what})
    audit.record(connection, tenant_id, entry)


def _there(row: VersionRow | None, named: str) -> VersionRow:
    if row is None:
        raise _wrong("there is no such version; see `asset-ledger agents versions list`", named)
    return row


def _demand_open(row: VersionRow) -> None:
    if row.withdrawn_at is not None:
        raise _wrong("it was withdrawn; publish another one", row.version)


def _version(text: str) -> str:
    from asset_ledger.domain.agents.versions import parse

    try:
        found = parse(text)
    except ValueError as error:
        raise _wrong(str(error), text[:50]) from None
    if found.build:
        raise _wrong("what stands behind + tells no two versions apart; leave it out", text[:50])
    return str(found)


def _binary(text: str) -> tuple[str, Path]:
    from asset_ledger.domain.agents.versions import PLATFORMS

    platform, sign, path = text.partition("=")
    if not sign or platform not in PLATFORMS:
        raise _wrong(f"give PLATFORM=FILE, with one of {', '.join(PLATFORMS)}", text)
    return platform, Path(path).expanduser()


def _wrong(why: str, target: str) -> Exception:
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError

    return PermanentError(CONFIG_INVALID, why, target=target)
