"""Published versions of agents: which there are, which is the latest for a platform, what was downloaded.

Every function but `ours` is called inside `as_tenant`. The binaries' bytes are in a folder, see `binaries`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from asset_ledger.domain.agents.versions import Version, parse
from asset_ledger.store.database import Connection

_SELECT = """
    SELECT id, version, release_date, is_latest, changelog, min_server_version, download_count, binaries, withdrawn_at
    FROM agent.agent_versions
"""


@dataclass(frozen=True, slots=True)
class Binary:
    """The agent for one platform. `size` in bytes; `path` is within the folder of binaries."""

    filename: str
    size: int
    sha256: str
    path: str


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A published version. `binaries` by platform."""

    id: UUID
    version: str
    release_date: datetime
    is_latest: bool
    changelog: str | None
    min_server_version: str | None
    download_count: int
    binaries: Mapping[str, Binary]
    withdrawn_at: datetime | None


def ours() -> Version:
    """Return which version of the server this is, to compare `min_server_version` with."""
    try:
        return parse(version_of("asset-ledger"))
    except (PackageNotFoundError, ValueError):  # run from a folder, or between two releases: it is the newest there is
        return Version(1 << 30, 0, 0)


def add(
    connection: Connection, tenant_id: UUID, version: str, *, changelog: str | None, min_server_version: str | None
) -> bool:
    """Publish a version, without binaries yet; False where it is there already."""
    return (
        connection.execute(
            "INSERT INTO agent.agent_versions (tenant_id, version, changelog, min_server_version)"
            " VALUES (%s, %s, %s, %s) ON CONFLICT (tenant_id, version) DO NOTHING",
            [tenant_id, version, changelog, min_server_version],
        ).rowcount
        == 1
    )


def versions(connection: Connection, tenant_id: UUID) -> list[VersionRow]:
    """Return a tenant's versions, the highest first."""
    found = _rows(connection, f"{_SELECT} WHERE tenant_id = %s", [tenant_id])
    return sorted(found, key=lambda row: parse(row.version), reverse=True)


def version(connection: Connection, tenant_id: UUID, named: str, *, lock: bool = False) -> VersionRow | None:
    """Return one version; with `lock` it stays as it is until the transaction ends."""
    ending = "FOR UPDATE" if lock else ""
    found = _rows(connection, f"{_SELECT} WHERE tenant_id = %s AND version = %s {ending}", [tenant_id, named])
    return found[0] if found else None


def binary_of(tenant_id: UUID, row: VersionRow, platform: str, size: int, sha256: str) -> Binary:
    """Return what is kept of a version's file for a platform. Where it lies is its own and its content's alone."""
    suffix = ".exe" if platform.startswith("windows-") else ""
    return Binary(
        filename=f"agent-{platform}-v{row.version}{suffix}",
        size=size,
        sha256=sha256,
        path=f"{tenant_id}/{row.id}/{platform}-{sha256}",
    )


def set_binary(connection: Connection, tenant_id: UUID, version_id: UUID, platform: str, binary: Binary) -> None:
    """Say which file a version is on a platform."""
    connection.execute(
        "UPDATE agent.agent_versions SET binaries = binaries || %s WHERE tenant_id = %s AND id = %s",
        [Jsonb({platform: asdict(binary)}), tenant_id, version_id],
    )


def set_latest(connection: Connection, tenant_id: UUID, version_id: UUID) -> None:
    """Make a version the one that agents are told of."""
    # in two statements: the index allows no two at any moment
    connection.execute(
        "UPDATE agent.agent_versions SET is_latest = false WHERE tenant_id = %s AND is_latest AND id <> %s",
        [tenant_id, version_id],
    )
    connection.execute(
        "UPDATE agent.agent_versions SET is_latest = true WHERE tenant_id = %s AND id = %s AND NOT is_latest",
        [tenant_id, version_id],
    )


def withdraw(connection: Connection, tenant_id: UUID, version_id: UUID) -> None:
    """Offer a version no more. Where it was the latest there is none, until somebody says which."""
    connection.execute(
        "UPDATE agent.agent_versions SET withdrawn_at = coalesce(withdrawn_at, now()), is_latest = false"
        " WHERE tenant_id = %s AND id = %s",
        [tenant_id, version_id],
    )


def count_download(connection: Connection, tenant_id: UUID, version_id: UUID) -> None:
    """Count one whole download."""
    connection.execute(
        "UPDATE agent.agent_versions SET download_count = download_count + 1 WHERE tenant_id = %s AND id = %s",
        [tenant_id, version_id],
    )


def newest(connection: Connection, tenant_id: UUID, platform: str, server: Version) -> VersionRow | None:
    """Return the newest version for a platform that works with this server: the latest, or one before it.

    What is above the latest is not released yet, and of what is before it preliminary versions never were.
    """
    return next((row for row in _released(connection, tenant_id, server) if platform in row.binaries), None)


def latest(connection: Connection, tenant_id: UUID) -> str | None:
    """Return the version that agents are told of with their heartbeats: the newest that works with this server."""
    found = next(_released(connection, tenant_id, ours()), None)
    return None if found is None else found.version


def _released(connection: Connection, tenant_id: UUID, server: Version) -> Iterator[VersionRow]:
    """Yield the versions that agents may be given, the newest first."""
    found = versions(connection, tenant_id)
    latest = next((row for row in found if row.is_latest), None)
    if latest is None:
        return
    most = parse(latest.version)
    for row in found:
        number = parse(row.version)
        released = row.is_latest or (number < most and not number.pre)
        if released and row.withdrawn_at is None and _works_with(row, server):
            yield row


def _works_with(row: VersionRow, server: Version) -> bool:
    return row.min_server_version is None or parse(row.min_server_version) <= server


def _rows(connection: Connection, query: str, parameters: list[object]) -> list[VersionRow]:
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query, parameters).fetchall()
    return [
        VersionRow(**{**row, "binaries": {name: Binary(**each) for name, each in row["binaries"].items()}})
        for row in found
    ]
