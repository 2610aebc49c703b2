"""Rows of a ledger with machines and instances, put there by SQL as settling would, by the names of both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.derive.links import relink

SPACE = UUID("00000000-0000-4000-8000-000000000001")


def day(number: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)


def made(name: str) -> UUID:
    return uuid5(SPACE, name)


class World:
    """Rows of a ledger, put there as settling would, by the name of the machine or instance."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.links_made = 0
        for name in ("office", "pve"):
            connection.execute(
                "INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank) "
                "VALUES (%s, 'import', 'import', 'import', 'default', 1, 1)",
                [name],
            )

    def run(self, query: str, *parameters: Any) -> None:
        self.connection.execute(query, parameters)

    def machine(self, name: str, ip: str | None = None, *, zone: str = "default", at: int = 0, **columns: Any) -> UUID:
        """A machine named `name` with a management address, read on day `at`; `columns` are of `ledger.assets`."""
        self.run(
            "INSERT INTO ledger.assets (id, zone, platform_type, hostname, mgmt_ip, created_at, updated_at) "
            "VALUES (%s, %s, 'import', %s, %s, %s, %s)",
            made(name), zone, name, ip, day(at), day(at),
        )  # fmt: skip
        for column, value in columns.items():
            self.set(name, column, value)
        self.heard(name, at)
        if ip is not None:
            self.address(name, ip, at)
        return made(name)

    def set(self, name: str, column: str, value: Any) -> None:
        self.run(f"UPDATE ledger.assets SET {column} = %s WHERE id = %s", value, made(name))

    def heard(self, name: str, at: int) -> None:
        """A source spoke of the machine on day `at`, latest."""
        self.links_made += 1
        self.run("DELETE FROM ledger.asset_source_links WHERE asset_id = %s", made(name))
        self.run(
            "INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id, "
            "record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at) "
            "VALUES (%s, 1, 'machine', %s, %s, 1, '', 1, %s, %s, %s, %s, %s)",
            self.links_made, name, made(name), day(0), day(0), day(0), day(at), day(at),
        )  # fmt: skip

    def address(self, name: str, ip: str, at: int = 0, until: int | None = None, source: int = 1) -> None:
        self.run(
            "DELETE FROM ledger.asset_identifiers WHERE asset_id = %s AND value = %s AND source_id = %s",
            made(name),
            ip,
            source,
        )
        self.run(
            "INSERT INTO ledger.asset_identifiers VALUES (%s, %s, 'ip', %s, %s, %s)",
            made(name), source, ip, day(at), None if until is None else day(until),
        )  # fmt: skip

    def moves(self, name: str, ip: str | None, last: int, heard: int) -> None:
        """The machine left its management address after day `last`; it is at `ip` now and was heard on day `heard`."""
        self.run(
            "UPDATE ledger.asset_identifiers SET last_seen_at = %s WHERE asset_id = %s AND last_seen_at IS NULL",
            day(last), made(name),
        )  # fmt: skip
        self.set(name, "mgmt_ip", ip)
        if ip is not None:
            self.address(name, ip, last + 1)
        self.heard(name, heard)

    def alias(self, name: str, value: str, at: int = 0, kind: str = "hostname") -> None:
        self.run("INSERT INTO ledger.asset_aliases VALUES (%s, %s, %s, 'office', %s)", made(name), kind, value, day(at))

    def instance(self, name: str, host: str, *, port: int | None = 5432, zone: str = "default", at: int = 0) -> UUID:
        ip = host if host[0].isdigit() or ":" in host else None
        self.run(
            "INSERT INTO ledger.database_instances (id, source_id, instance_key, zone, name, host, host_ip, port, db_type, "
            "first_seen_at, last_seen_date, last_seen_at, inventory_id) "
            "VALUES (%s, 1, %s, %s, %s, %s, %s, %s, 'mysql', %s, %s, %s, 1)",
            made(name), name, zone, name, host, ip, port, day(at), day(at), day(at),
        )  # fmt: skip
        return made(name)

    def decide(self, instance: str, asset: str, word: str | None, at: int = 5) -> None:
        """A row of decisions as it stands there, also on an asset that is merged now."""
        self.run(
            "INSERT INTO ledger.decisions (kind, asset_id, other_id, value, actor, decided_at) "
            "VALUES ('link', %s, %s, to_jsonb(%s::text), 'li.lei', %s)",
            made(asset), made(instance), word, day(at),
        )  # fmt: skip

    def links(self, instance: str) -> dict[str, tuple[str, str, int]]:
        """Return status, rule and confidence of an instance's links, by machine."""
        found = rows(
            self.connection,
            "SELECT hostname, match_status, matched_by_rule, confidence FROM ledger.instance_asset_links l "
            "JOIN ledger.assets a ON a.id = l.asset_id WHERE instance_id = %s",
            [made(instance)],
        )
        return {each["hostname"]: (each["match_status"], each["matched_by_rule"], each["confidence"]) for each in found}

    def evidence(self, instance: str, asset: str) -> dict[str, Any]:
        (row,) = rows(
            self.connection,
            "SELECT evidence, created_at, updated_at FROM ledger.instance_asset_links WHERE (instance_id, asset_id) = (%s, %s)",
            [made(instance), made(asset)],
        )
        return {**row["evidence"], "created_at": row["created_at"], "updated_at": row["updated_at"]}

    def everything(self) -> list[tuple[Any, ...]]:
        query = "SELECT * FROM ledger.instance_asset_links ORDER BY 1, 2"
        return self.connection.execute(query).fetchall()

    def check_pure(self) -> None:
        """Assert that dropping every link and linking again gives the same rows."""
        before = self.everything()
        self.connection.execute("DELETE FROM ledger.instance_asset_links")
        relink(self.connection)
        assert self.everything() == before


@contextmanager
def linking(url: str) -> Iterator[World]:
    """Open a world over an empty ledger; when it closes, its links must be what they are without any history."""
    with connect(url) as connection:
        world = World(connection)
        yield world
        relink(connection)
        world.check_pure()


def relinked(world: World, instance: str) -> dict[str, tuple[str, str, int]]:
    """Link all anew, and return the links of an instance."""
    relink(world.connection)
    return world.links(instance)
