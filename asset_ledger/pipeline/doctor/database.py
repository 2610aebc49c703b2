"""Verdicts on the ledger's database: server, schema, clock, rights, partitions, archive, marts, what waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

from asset_ledger.domain.errors import DATABASE_NEWER
from asset_ledger.pipeline.doctor.findings import Finding, listed, ok, problem, warning
from asset_ledger.store.database import OLDEST_SERVER
from asset_ledger.store.doctor import TO_PART_TENANTS, TO_UTC, Marts, Rights, Server
from asset_ledger.store.tenancy import SERVICE_ROLE

NEWEST_SERVER = 18
SKEW_S, MUCH_SKEW_S = 5.0, 60.0
CROWDED = 0.8


def of_server(server: Server, head: str) -> Iterator[Finding]:
    """Judge the server that keeps the ledger."""
    said = f"PostgreSQL {server.version}"
    if server.major < OLDEST_SERVER:
        yield problem("server", f"{said} is too old", f"PostgreSQL {OLDEST_SERVER} to {NEWEST_SERVER} are supported")
    elif server.major > NEWEST_SERVER:
        yield warning("server", f"{said} is newer than what was tested", f"use PostgreSQL up to {NEWEST_SERVER}")
    else:
        yield ok("server", said)
    if server.standby:
        yield problem("server: role", "it is a standby, which takes no writes", "let the URL name the primary")
    if server.encoding != "UTF8":
        yield problem(
            "server: encoding",
            f"the database is {server.encoding}",
            "make it anew with ENCODING 'UTF8' and restore into it",
        )
    yield _schema(server.schema, head)
    yield clock(server.ahead_s, server.slack_s)
    if server.connections > CROWDED * server.connections_most:
        yield warning(
            "connections",
            f"{server.connections} of {server.connections_most} are in use",
            "raise max_connections, or lower ASSET_LEDGER_API_CONNECTIONS and how many runs work at once",
        )
    else:
        yield ok("connections", f"{server.connections} of {server.connections_most} in use")


def _schema(found: str | None, head: str) -> Finding:
    if found == head:
        return ok("schema", f"revision {found}, this release's")
    if found is None:
        return problem(
            "schema", "the database is empty", "`asset-ledger db migrate`, or `asset-ledger up` on one machine"
        )
    if found > head:
        return problem(
            "schema",
            f"the database is at revision {found}, of a newer release; this one knows {head}",
            DATABASE_NEWER.advice,
        )
    return problem(
        "schema",
        f"the database is at revision {found}, this release needs {head}",
        "make a backup, then `asset-ledger db migrate` (docs/operations.md says what it holds up)",
    )


def clock(ahead_s: float, slack_s: float) -> Finding:
    """Judge this machine's clock against the database's. What the answer's own way took is not held against them."""
    off = max(0.0, abs(ahead_s) - slack_s)
    said = f"the database's clock is {abs(ahead_s):.1f} s {'before' if ahead_s > 0 else 'behind'} this machine's"
    step = "let both follow the same time service (`timedatectl`): days, tokens and locks hang on it"
    if off > MUCH_SKEW_S:
        return problem("clock", said, step)
    if off > SKEW_S:
        return warning("clock", said, step)
    return ok("clock", "the database's and this machine's agree")


def of_dagsters_zone(zone: str) -> Finding:
    """Judge the time zone of Dagster's own database."""
    if zone in ("UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "Universal"):
        return ok("Dagster's time zone", zone)
    return problem(
        "Dagster's time zone",
        f"its database is in {zone}, and Dagster reads its own times as UTC: the times of all runs are off",
        f"as the database's owner: {TO_UTC}, then restart Dagster",
    )


def of_rights(rights: Rights) -> Iterator[Finding]:
    """Judge who may do what, and whether tenants are kept apart."""
    if rights.foreign_schemas or rights.foreign_tables:
        what = listed([*rights.foreign_schemas, *rights.foreign_tables])
        yield problem(
            "owner",
            f"{rights.user} does not own {what}, so it can neither migrate nor make the partition of a new month",
            "log in as the owner, or have an administrator run REASSIGN OWNED BY … TO …",
        )
    else:
        yield ok("owner", f"{rights.user} owns the ledger's schemas and tables")
    if not rights.service_role:
        yield problem(
            "service role",
            f"there is no role {SERVICE_ROLE}: a restored database lacks it until its roles are restored too",
            f"CREATE ROLE {SERVICE_ROLE} NOLOGIN, then restore the grants: pg_dumpall --roles-only has them",
        )
        return
    if rights.service_powers or rights.service_owns:
        has = listed([*rights.service_powers, *(f"ownership of {name}" for name in rights.service_owns)])
        yield problem(
            "service role",
            f"{SERVICE_ROLE} has {has}, which row-level security does not hold for",
            f"ALTER ROLE {SERVICE_ROLE} NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB; REASSIGN what it owns",
        )
    else:
        yield ok("service role", f"{SERVICE_ROLE} owns nothing and passes no policy by")
    if rights.open_tables or rights.unforced_tables:
        yield problem(
            "row-level security",
            "tenants are not kept apart in "
            + listed([*rights.open_tables, *(f"{name} (for its owner)" for name in rights.unforced_tables)]),
            f"{TO_PART_TENANTS}; find out who switched it off",
        )
    else:
        yield ok("row-level security", "every table of tenants has it, forced")


def of_partitions(missing: list[str]) -> Finding:
    """Judge the months of the tables that grow with days. Whoever writes a new month makes its partitions."""
    if missing:
        return problem(
            "partitions",
            f"months with readings lack {listed(missing)}: dropped or detached, and what they had is not shown",
            "attach them again, or restore them; `asset-ledger rebuild --verify` says what else differs",
        )
    return ok("partitions", "every month with readings has its own; the next is made by whoever writes it first")


def of_archive(server: Server, *, wanted: bool) -> Finding | None:
    """Judge the WAL archive; None where there is none and nobody says that there should be."""
    if server.archive_mode == "off":
        if not wanted:
            return None
        return problem(
            "WAL archive",
            "backups are configured and archive_mode is off: what came after a base backup would be lost",
            "set archive_mode and archive_command as docs/operations.md says, and restart the server",
        )
    failed, done = server.archive_failed_at, server.archived_at
    if failed is not None and (done is None or failed > done):
        last = f"the last that worked was at {done:%Y-%m-%d %H:%M}Z" if done else "none has worked yet"
        return problem(
            "WAL archive",
            f"archiving {server.archive_failed_file} failed at {failed:%Y-%m-%d %H:%M}Z, {last}; WAL piles up",
            "the server's log has archive_command's own words; mend its target, it goes on by itself",
        )
    return ok("WAL archive", f"last at {done.astimezone(UTC):%Y-%m-%d %H:%M}Z" if done else "nothing to archive yet")


def of_marts(marts: Marts) -> Finding | None:
    """Judge how far the marts are behind the ledger; None where this ledger has none."""
    if not marts.schema:
        return None
    build = "`asset-ledger marts build` makes them; with Dagster's daemon running they follow the readings"
    if marts.tables == 0:
        if marts.newest_reading is None:
            return ok("marts", "not built yet, and nothing was read yet")
        return warning("marts", "none has been built yet, so exports and dashboards are empty", build)
    if marts.newest_reading is None:
        return ok("marts", "built")
    if marts.newest is None or marts.newest < marts.newest_reading:
        until = "are empty" if marts.newest is None else f"end on {marts.newest}"
        return warning("marts", f"they {until}, the ledger's newest reading is of {marts.newest_reading}", build)
    return ok("marts", f"up to {marts.newest}, as the ledger")


def of_held(count: int) -> Finding:
    """Judge the readings whose absences wait for a person."""
    if count:
        return warning(
            "held absences",
            f"{count} readings lost so many machines at once that a person has to say whether they are missing",
            "`asset-ledger absences list`, then `absences approve ID` or `absences reject ID`",
        )
    return ok("held absences", "none waits")


def of_unfinished(days: dict[str, int]) -> Finding:
    """Judge the days whose raw was kept by a run that ended before it derived anything."""
    if days:
        return warning(
            "unfinished days",
            "raw is kept and nothing was derived from it of "
            + listed([f"{name} ({n} days)" for name, n in days.items()]),
            "`asset-ledger sources collect SOURCE --date DAY` derives it; `asset-ledger runs list --failed` says why",
        )
    return ok("unfinished days", "none")
