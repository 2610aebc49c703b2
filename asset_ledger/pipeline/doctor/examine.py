"""The whole examination, in the order in which one would look. Every probe stands alone: a failed one stops no other.

Nothing is started, made or migrated: an installation that is down is to be seen as it is. Called by the command line.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.doctor import celery, dagster, dagsters_file, database, inboxes, installation, secrets
from asset_ledger.pipeline.doctor.findings import Finding, listed, ok, problem, refused, skipped
from asset_ledger.pipeline.ledger import Ledger, platform_of
from asset_ledger.settings import Settings

if TYPE_CHECKING:
    from asset_ledger.store.database import Connection

LOCK = Path(__file__).resolve().parents[3] / "requirements.lock"
WEBSERVER_PORT, API_PORT = 3000, 8300
_ASK_AS_OWNER = "ask as the owner of the ledger's tables; if it took too long, ask again when the server is less busy"


@dataclass(frozen=True, slots=True)
class Beside:
    """What the settings do not say: the service's certificate, the folder of backups, how old the newest may be."""

    certificate: Path | None = None
    backups: Path | None = None
    backup_hours: float = 26.0


def examine(environ: Mapping[str, str], beside: Beside = Beside()) -> Iterator[Finding]:
    """Look at the installation that an environment names, and yield what was found, in the order it is looked at."""
    yield installation.python()
    yield installation.dependencies(LOCK)
    now = datetime.now(UTC)
    try:
        settings = Settings.load(environ)
    except LedgerError as error:
        yield refused("settings", error)
        return
    yield ok("settings", f"home {settings.home}, sources {settings.sources_file}")
    ledger = Ledger(settings)
    yield from installation.files(ledger)
    yield installation.home(settings)
    yield installation.room("disk", settings.home)
    yield from secrets.credentials(settings.home, environ)
    yield secrets.references(ledger)
    yield from secrets.receivers(ledger)
    of_ledger = list(_database(ledger, environ, beside, now))
    yield from of_ledger
    silent = any(each.check == "database" and each.status == "problem" for each in of_ledger)
    yield from _dagster(ledger, now, silent=silent)
    yield from _redis(settings)
    yield from _celery(settings, environ)
    up = _up_runs(settings.home)
    wanted = {"Dagster UI": WEBSERVER_PORT, "HTTP service": API_PORT}
    yield from installation.ports(wanted, installation.listening(), up=up)
    if beside.certificate is not None:
        yield installation.certificate(beside.certificate, now)
    if beside.backups is not None:
        yield installation.backups(beside.backups, now, timedelta(hours=beside.backup_hours))


def _database(ledger: Ledger, environ: Mapping[str, str], beside: Beside, now: datetime) -> Iterator[Finding]:
    from asset_ledger.store import doctor
    from asset_ledger.store.access.people import tenants
    from asset_ledger.store.database import head_revision, public
    from asset_ledger.store.derive.absences import list_held
    from asset_ledger.store.query.overview import unfinished_days

    settings = ledger.settings
    published: list[int] = []
    fed: list[frozenset[str]] = []

    def marts(connection: Connection) -> Iterator[Finding]:
        mart = database.of_marts(doctor.marts(connection))
        yield from () if mart is None else (mart,)

    def agents(connection: Connection) -> Iterator[Finding]:
        published.append(doctor.published_binaries(connection))
        yield from ()

    def inbox(connection: Connection) -> Iterator[Finding]:
        fed.append(doctor.fed_sources(connection))
        yield from ()

    looks: dict[str, Callable[[Connection], Iterable[Finding]]] = {
        "rights": lambda c: database.of_rights(doctor.rights(c)),
        "partitions": lambda c: [database.of_partitions(doctor.missing_months(c))],
        "state keys": lambda c: _state_keys(c, settings.home, environ, needed=bool(tenants(c))),
        "marts": marts,
        "held absences": lambda c: [database.of_held(len(list_held(c)))],
        "unfinished days": lambda c: [database.of_unfinished({name: len(d) for name, d in unfinished_days(c).items()})],
        "agents": agents,
        "what came in": inbox,
    }
    try:
        with doctor.look(ledger.url) as connection, doctor.asking("the server"):
            server = doctor.server(connection)
            yield ok("database", f"{public(ledger.url)} answers")
            yield from database.of_server(server, head_revision())
            archive = database.of_archive(server, wanted=beside.backups is not None)
            if archive is not None:
                yield archive
            if server.schema != head_revision():
                yield skipped(", ".join(looks), "looked at once the schema is this release's")
                looks = {}
            for check, look in looks.items():
                try:
                    with doctor.asking(check):
                        found = list(look(connection))
                except LedgerError as error:
                    found = [problem(check, f"the database does not tell: {error.message}", _ASK_AS_OWNER)]
                yield from found
    except LedgerError as error:
        lacking = doctor.lacks_database(error)
        if lacking and settings.database_url is not None:
            step = (
                "`asset-ledger db migrate` makes it, where this user may (CREATEDB); else have it made, or mend its "
                "name in ASSET_LEDGER_DATABASE_URL"
            )
        elif lacking:
            step = "`asset-ledger db migrate` makes it"
        elif settings.database_url is None:
            step = "`asset-ledger db start` starts the embedded one"
        else:
            step = "see that the server runs, takes connections from here and knows this user and password"
        yield problem("database", f"{error.target or 'the database'}: {error.message}", step)
        yield skipped(", ".join(looks), "there is no such database" if lacking else "the database does not answer")
    yield installation.binaries(settings, published[0] if published else None)
    with suppress(LedgerError):  # of a sources.yaml that is wrong, which is said already
        yield from inboxes.of_inboxes(ledger.sources, now, fed=fed[0] if fed else None)


def _state_keys(connection: Connection, home: Path, environ: Mapping[str, str], *, needed: bool) -> Iterator[Finding]:
    from asset_ledger.store.access.people import demand_ring

    found, ring = secrets.state_keys(home, environ, needed=needed)
    yield from found
    if ring is None:
        return
    try:
        demand_ring(connection, ring)
    except LedgerError as error:
        yield refused("state keys", error)
    else:
        yield ok("state keys", f"{len(ring.keys)} in the ring" + (", the ledger's own" if needed else ""))


def _dagster(ledger: Ledger, now: datetime, *, silent: bool) -> Iterator[Finding]:
    from asset_ledger.store import doctor

    try:
        pools = {source.platform: platform_of(source).pool_limit for source in ledger.sources}
    except LedgerError:
        pools = {}
    longest_s = dagsters_file.longest_run_s(dagsters_file.path_of(ledger.settings))
    try:
        if silent and doctor.one_server(ledger.url, ledger.dagster_url):
            yield dagster.unknown("its database is in the same server")
            return
        with doctor.look(ledger.dagster_url) as connection, doctor.asking("Dagster's database"):
            yield database.of_dagsters_zone(doctor.server(connection).time_zone)
            yield from dagster.of_dagster(doctor.orchestration(connection), pools, now, longest_run_s=longest_s)
    except LedgerError as error:
        if doctor.lacks_database(error):
            yield from dagster.of_dagster(doctor.Orchestration(False, {}, {}, ()), pools, now)
        else:
            yield dagster.unknown(f"its database does not answer: {error.message}")


def _redis(settings: Settings) -> Iterator[Finding]:
    from asset_ledger.store.doctor import ask_redis

    if settings.redis_url is None:
        return
    against = ask_redis(settings.redis_url).against
    if against is None:
        yield ok("Redis", "answers")
    else:
        yield problem(
            "Redis",
            f"ASSET_LEDGER_REDIS_URL: {against}; who is online is kept in the database meanwhile",
            "see that the server runs and takes connections from here; it needs no data back, agents beat anew",
        )


def _celery(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at the queue and its workers, where Dagster's file says that Celery does the runs."""
    from asset_ledger.store.doctor import ask_redis, ask_workers

    told = celery.handing(dagsters_file.path_of(settings), environ)
    if told is None:
        return
    if isinstance(told, Finding):
        yield told
        return
    silent = False
    for check, url in (("Celery broker", told.broker), ("Celery backend", told.backend)):
        if url is not None and url.startswith(("redis://", "rediss://")):
            answer = ask_redis(url)
            silent = silent or answer.against is not None
            yield celery.of_redis(check, answer)
        else:
            yield skipped(check, "it is no Redis, which is what was tested")
    missing = [name for name in ("celery", "dagster_celery") if find_spec(name) is None]
    if missing:
        yield problem("Celery", f"Dagster's file names it, and {listed(missing)} is not installed here", celery.INSTALL)
    if missing or silent:
        yield skipped("Celery workers", "there is nothing to ask them with")
        return
    try:
        workers = ask_workers(told.broker)
    except LedgerError as error:
        yield problem("Celery workers", f"the broker does not let them be asked: {error.message}", celery.START)
    else:
        yield from celery.of_workers(told, workers)


def _up_runs(home: Path) -> bool:
    """Say whether an `asset-ledger up` holds the home's lock."""
    try:
        lock = os.open(home / "up.lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
