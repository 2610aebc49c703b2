"""What `asset-ledger doctor` asks of PostgreSQL, Redis and Celery's workers: facts only, nothing is judged, made or changed here.

Everything is asked with little patience: a server that does not answer is a finding, not something to wait for.
Called by `pipeline.doctor`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg

from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, LedgerError, RetryableError
from asset_ledger.store.database import Connection, current_revision, public, rows
from asset_ledger.store.tenancy import SERVICE_ROLE

PATIENCE_S = 2
# what mends a finding, for its text
TO_UTC = "ALTER DATABASE … SET timezone TO 'UTC'"
TO_PART_TENANTS = "ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"


@contextmanager
def look(url: str) -> Iterator[Connection]:
    """Open a connection that only reads, in the time zone that the database itself gives its guests.

    Raises RetryableError(DATABASE_UNAVAILABLE), without a word of libpq's that could quote the URL.
    """
    failed: str | None = None
    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=PATIENCE_S,
            application_name="asset_ledger doctor",
            options="-c default_transaction_read_only=on -c statement_timeout=2000 -c lock_timeout=500",
        )
    except psycopg.OperationalError as error:
        failed = (str(error).strip().splitlines() or [type(error).__name__])[0]
    except (psycopg.ProgrammingError, UnicodeError):
        failed = "libpq does not take its URL"
    if failed is not None:  # outside of the handler, so that no traceback hangs on to the words
        raise RetryableError(DATABASE_UNAVAILABLE, failed, target=public(url))
    try:
        yield connection
    finally:
        connection.close()


def lacks_database(error: LedgerError) -> bool:
    """Say whether `look` failed because the server answers and has no database of that name.

    By its words, which it says in English where nobody set lc_messages: of a login libpq gives no SQLSTATE.
    """
    return error.code is DATABASE_UNAVAILABLE and re.search(r'database ".*" does not exist', error.message) is not None


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn what the server refuses while it is asked for something into RetryableError(DATABASE_UNAVAILABLE)."""
    try:
        yield
    except psycopg.Error as error:
        said = error.diag.message_primary or type(error).__name__
        raise RetryableError(DATABASE_UNAVAILABLE, said, target=what) from None


def one_server(url: str, other: str) -> bool:
    """Say whether two URLs name databases of one server."""
    return urlsplit(url).netloc.rpartition("@")[2] == urlsplit(other).netloc.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Server:
    """What a database says of itself. `ahead_s` is by how much its clock is before ours; `slack_s` how sure that is."""

    major: int
    version: str
    schema: str | None
    time_zone: str
    encoding: str
    standby: bool
    ahead_s: float
    slack_s: float
    connections: int
    connections_most: int
    archive_mode: str
    archive_failed_at: datetime | None
    archive_failed_file: str | None
    archived_at: datetime | None


def server(connection: Connection) -> Server:
    """Return what the server and this database of it are."""
    began = datetime.now(UTC)
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    ended = datetime.now(UTC)
    assert row is not None
    said: datetime = row[0]
    middle = began + (ended - began) / 2
    facts = rows(
        connection,
        """
        SELECT current_setting('TimeZone') AS time_zone, current_setting('server_encoding') AS encoding,
               pg_is_in_recovery() AS standby, current_setting('max_connections')::integer AS most,
               (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS now,
               current_setting('archive_mode') AS archive_mode, a.last_failed_time, a.last_failed_wal, a.last_archived_time
        FROM pg_stat_archiver a
        """,
    )[0]
    version = connection.info.server_version
    return Server(
        major=version // 10000,
        version=f"{version // 10000}.{version % 10000}",
        schema=current_revision(connection),
        time_zone=facts["time_zone"],
        encoding=facts["encoding"],
        standby=facts["standby"],
        ahead_s=(said - middle).total_seconds(),
        slack_s=(ended - began).total_seconds() / 2,
        connections=facts["now"],
        connections_most=facts["most"],
        archive_mode=facts["archive_mode"],
        archive_failed_at=facts["last_failed_time"],
        archive_failed_file=facts["last_failed_wal"],
        archived_at=facts["last_archived_time"],
    )


@dataclass(frozen=True, slots=True)
class Rights:
    """Who may what. Names of tables are `schema.table`, sorted."""

    user: str
    foreign_schemas: tuple[str, ...]
    foreign_tables: tuple[str, ...]
    service_role: bool
    service_powers: tuple[str, ...]
    service_owns: tuple[str, ...]
    open_tables: tuple[str, ...]
    unforced_tables: tuple[str, ...]


# who logs in before a tenant is known is looked up in these by the owner
_NOT_FORCED = ("agent.tenants", "agent.users")


def rights(connection: Connection) -> Rights:
    """Return what the connection's user may, what the service's role may, and which tenants' tables are not guarded."""
    owned = rows(
        connection,
        """
        SELECT n.nspname || '.' || c.relname AS name, c.relrowsecurity AS guarded, c.relforcerowsecurity AS forced,
               pg_has_role(c.relowner, 'USAGE') AS mine, pg_get_userbyid(c.relowner) = %(service)s AS services,
               EXISTS (SELECT FROM pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped) AS tenants
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('ledger', 'iac', 'agent', 'audit') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        ORDER BY 1
        """,
        {"service": SERVICE_ROLE},
    )
    who = rows(
        connection,
        """
        SELECT current_user::text AS me, array(
                   SELECT nspname::text FROM pg_namespace WHERE nspname IN ('ledger', 'iac', 'agent', 'audit')
                   AND NOT has_schema_privilege(oid, 'CREATE') ORDER BY 1) AS foreign_schemas,
               r.rolname IS NOT NULL AS there, r.rolsuper AS superuser, r.rolbypassrls AS bypassrls,
               r.rolcreaterole AS createrole, r.rolcreatedb AS createdb
        FROM (SELECT) AS one LEFT JOIN pg_roles r ON r.rolname = %s
        """,
        [SERVICE_ROLE],
    )[0]
    tenants = [row for row in owned if row["tenants"] or row["name"] in _NOT_FORCED]
    return Rights(
        user=who["me"],
        foreign_schemas=tuple(who["foreign_schemas"]),
        foreign_tables=tuple(row["name"] for row in owned if not row["mine"]),
        service_role=who["there"],
        service_powers=tuple(name for name in ("superuser", "bypassrls", "createrole", "createdb") if who[name]),
        service_owns=tuple(row["name"] for row in owned if row["services"]),
        open_tables=tuple(row["name"] for row in tenants if not row["guarded"]),
        unforced_tables=tuple(
            row["name"] for row in tenants if row["guarded"] and not row["forced"] and row["name"] not in _NOT_FORCED
        ),
    )


def missing_months(connection: Connection) -> list[str]:
    """Return the partitions that a month with kept readings lacks in a table that grows with days."""
    found = connection.execute(
        """
        SELECT format('ledger.%s_y%sm%s', t.name, to_char(m.month, 'FMYYYY'), to_char(m.month, 'MM')) AS wanted
        FROM (SELECT DISTINCT date_trunc('month', collected_date) AS month FROM ledger.inventories) AS m,
             unnest(ARRAY['asset_observations', 'asset_daily_specs', 'asset_daily_ips', 'instance_daily_specs',
                          'sync_target_records']) AS t(name)
        WHERE to_regclass(format('ledger.%s_y%sm%s', t.name, to_char(m.month, 'FMYYYY'), to_char(m.month, 'MM'))) IS NULL
        ORDER BY 1
        """
    )
    return [row[0] for row in found]


def published_binaries(connection: Connection) -> int:
    """Return how many versions of the agent, over all tenants that are seen, have files; 0 where none are to be seen."""
    row = connection.execute(
        "SELECT count(*) FROM agent.agent_versions WHERE binaries <> '{}' AND withdrawn_at IS NULL"
    ).fetchone()
    return 0 if row is None else int(row[0])


def fed_sources(connection: Connection) -> frozenset[str]:
    """Return the names of the sources that the ledger has something of."""
    found = connection.execute(
        "SELECT name FROM ledger.sources s WHERE EXISTS (SELECT FROM ledger.inventories i WHERE i.source_id = s.id)"
    )
    return frozenset(row[0] for row in found)


@dataclass(frozen=True, slots=True)
class Marts:
    """Whether the tables that dbt makes are there, and how far they go. `readable` is False where they cannot be seen."""

    schema: bool
    tables: int
    newest: date | None
    newest_reading: date | None


def marts(connection: Connection) -> Marts:
    """Return how far the marts go, and how far the ledger."""
    row = connection.execute(
        """
        SELECT to_regnamespace('marts') IS NOT NULL,
               (SELECT count(*) FROM pg_tables WHERE schemaname = 'marts'),
               EXISTS (SELECT FROM pg_attribute
                       WHERE attrelid = to_regclass('marts.daily_specs') AND attname = 'collected_date'),
               (SELECT max(collected_date) FROM ledger.inventories WHERE status = 'derived')
        """
    ).fetchone()
    assert row is not None
    schema, tables, dated, newest_reading = row
    newest = None
    if dated:
        found = connection.execute("SELECT max(collected_date) FROM marts.daily_specs").fetchone()
        newest = None if found is None else found[0]
    return Marts(schema, tables, newest, newest_reading)


@dataclass(frozen=True, slots=True)
class Orchestration:
    """What Dagster's own database says. Beats by daemon, pools by name, runs that are not at an end."""

    made: bool
    beats: dict[str, datetime]
    pools: dict[str, int]
    unfinished: tuple[dict[str, Any], ...]


def orchestration(connection: Connection) -> Orchestration:
    """Return when Dagster's daemons last beat, which pools have limits, and the runs that are not at an end."""
    there = connection.execute(
        "SELECT to_regclass('daemon_heartbeats') IS NOT NULL AND to_regclass('runs') IS NOT NULL"
    ).fetchone()
    if there != (True,):
        return Orchestration(False, {}, {}, ())
    beats = connection.execute(
        "SELECT daemon_type, max(timestamp) AT TIME ZONE 'UTC' FROM daemon_heartbeats GROUP BY 1"
    )
    pools = connection.execute('SELECT concurrency_key, "limit" FROM concurrency_limits')
    # what Dagster stores has no time zone and is meant in UTC
    unfinished = rows(
        connection,
        """
        SELECT run_id, pipeline_name AS job, status, create_timestamp AT TIME ZONE 'UTC' AS created_at,
               update_timestamp AT TIME ZONE 'UTC' AS updated_at, to_timestamp(start_time) AS started_at
        FROM runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED') ORDER BY id LIMIT 500
        """,
    )
    return Orchestration(
        True,
        {row[0]: row[1] for row in beats},
        {row[0]: row[1] for row in pools},
        tuple(unfinished),
    )


@dataclass(frozen=True, slots=True)
class Redis:
    """What a Redis says of itself. `against` is what stands against using it; the rest is None where it does not tell.

    `policy` is what it does when its memory is full (`maxmemory-policy`), `most_bytes` when that is: 0 is never.
    """

    against: str | None = None
    policy: str | None = None
    most_bytes: int | None = None


def ask_redis(url: str) -> Redis:
    """Ask Redis for a word, a place to write, and what it does when it is full. Never quotes the URL."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        with redis.Redis.from_url(
            _as_redis_takes_it(url),
            socket_timeout=PATIENCE_S,
            socket_connect_timeout=PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            client_name="asset_ledger_doctor",
        ) as client:
            client.ping()
            told: Any = {**client.info("replication"), **client.info("memory")}
    except redis.exceptions.AuthenticationError:
        return Redis("it does not take the password")
    except redis.exceptions.NoPermissionError:
        return Redis()  # it answers, and does not let everybody ask what it is
    except (redis.exceptions.RedisError, OSError) as error:
        return Redis(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
    except ValueError:
        return Redis("its URL is not valid; percent-encode signs such as % / # @ in the password")
    against = "it is a replica, which takes no writes" if told.get("role") == "slave" else None
    return Redis(against, told.get("maxmemory_policy"), told.get("maxmemory"))


def _as_redis_takes_it(url: str) -> str:
    """Return a URL with what it says of TLS in redis-py's words; what else Celery is told in it is not for a look."""
    parts = urlsplit(url)
    words = {"CERT_NONE": "none", "CERT_OPTIONAL": "optional", "CERT_REQUIRED": "required"}
    kept = [(name, words.get(said, said)) for name, said in parse_qsl(parts.query) if name.startswith("ssl_")]
    return urlunsplit(parts._replace(query=urlencode(kept)))


@dataclass(frozen=True, slots=True)
class Worker:
    """A Celery worker that answers: how many runs it does at a time, and whether it takes messages that it acknowledges
    only when their run is over (`late`). None where it did not say."""

    name: str
    processes: int | None
    late: bool | None


def ask_workers(broker: str) -> list[Worker]:
    """Ask every Celery worker that the broker leads to, and return those that answer in time, by name.

    Raises RetryableError(DATABASE_UNAVAILABLE) if the broker fails meanwhile, ModuleNotFoundError without Celery.
    """
    # an extra: its absence is a finding, and mypy is to know it no more than the program does
    celery: Any = import_module("celery")
    failed: str | None = None
    answers: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    app = celery.Celery(broker=broker, set_as_current=False)
    app.conf.update(
        broker_transport_options={"socket_timeout": PATIENCE_S, "socket_connect_timeout": PATIENCE_S},
        broker_connection_retry=False,
        broker_connection_max_retries=0,
    )
    try:
        # how many there are nobody knows: this waits its time out, the next until all of them have answered
        answers = app.control.inspect(timeout=PATIENCE_S).stats() or {}
        if answers:
            settings = app.control.inspect(timeout=PATIENCE_S, limit=len(answers)).conf() or {}
    except Exception as error:  # noqa: BLE001 - each transport of kombu has errors of its own
        failed = type(error).__name__
    finally:
        app.close()
    if failed is not None:
        raise RetryableError(DATABASE_UNAVAILABLE, failed, target="the broker")
    return [
        Worker(
            name, _number(answers[name], "pool", "max-concurrency"), (settings.get(name) or {}).get("task_acks_late")
        )
        for name in sorted(answers)
    ]


def _number(told: Any, *path: str) -> int | None:
    for step in path:
        told = told.get(step) if isinstance(told, dict) else None
    return told if isinstance(told, int) else None
