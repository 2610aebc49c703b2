"""Processes of a service without the service: presence objects over one database, stepped by hand, and clients.

Time is not waited for: what was heard is made older where it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from asset_ledger.domain.sealing import KeyRing
from asset_ledger.store.access.people import add_tenant, set_user
from asset_ledger.store.agents.clients import Enrolment, enroll
from asset_ledger.store.agents.presence import USUAL, Timing
from asset_ledger.store.agents.presence.keeping import Presence
from asset_ledger.store.agents.presence.redis import HEARTBEATS
from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.pool import Pool
from asset_ledger.store.tenancy import as_tenant
from tests.redis_server import RedisServer

# beats are written whenever they are flushed
AT_ONCE = Timing(table_s=0.0, retry_s=0.0)


class Process(Presence):
    """One process, whose threads are not started: `step` does what they do."""

    def step(self) -> None:
        self._gathering.flush()
        self.keep_now()

    def keep_now(self) -> None:
        self._swept_at = self._unseen_at = float("-inf")
        self.keep()


@dataclass
class World:
    """A database, empty but for one tenant, and Redis if there is one. `service_url` is whose the processes are."""

    database_url: str
    redis: RedisServer | None = None
    service_url: str | None = None
    pool: Pool = field(init=False)
    processes: list[Process] = field(default_factory=list)
    lent: int = 0

    def __post_init__(self) -> None:
        self.pool = Pool(self.service_url or self.database_url, most=4, wait_s=5)
        self.pool.start()
        self.sql("TRUNCATE agent.tenants, agent.users, audit.audit_logs, agent.presence, agent.presence_sweeps CASCADE")
        with connect(self.database_url) as connection:
            self.tenant = add_tenant(connection, "acme", KeyRing({"k": b"k" * 32}))
            self.user = set_user(connection, self.tenant, "ann", "writer", password_hash=None, email=None)

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        self.lent += 1
        with self.pool.connection() as connection:
            yield connection

    def process(self, *, redis_url: str | None = None, timing: Timing = AT_ONCE) -> Process:
        """Return one more process; with Redis where the world has it."""
        url = redis_url or (self.redis.url if self.redis else None)
        made = Process(self.lend, url, timing)
        self.processes.append(made)
        return made

    def client(self) -> UUID:
        """Enrol a machine and return which client it is."""
        with connect(self.database_url) as connection, as_tenant(connection, self.tenant):
            asked = Enrolment(hostname="web-1", machine_key=uuid4().hex * 2)
            return enroll(connection, self.tenant, asked, user_id=self.user, who="ann").client_id

    def beat(self, process: Process, client: UUID, ip: str = "192.0.2.7") -> None:
        process.beat(self.tenant, client, self.user, ip)
        process.step()

    def pass_by(self, seconds: float) -> None:
        """Make everything that was heard, seen or swept until now older."""
        if self.redis is not None and self.redis.runs:
            with self.redis.client() as client:
                for key in client.scan_iter("*"):
                    if client.type(key) == "zset":
                        for member, score in client.zrange(key, 0, -1, withscores=True):
                            client.zadd(key, {member: score - seconds})
                    elif (left := client.ttl(key)) > 0:
                        client.expire(key, max(0, left - int(seconds)))
                client.delete("agent:sweep")
        self.sql("UPDATE agent.presence SET last_heartbeat = last_heartbeat - make_interval(secs => %s)", seconds)
        self.sql("UPDATE agent.clients SET last_seen = last_seen - make_interval(secs => %s)", seconds)
        for process in self.processes:
            for known in process._gathering.known.values():
                known.beat = known.beat._replace(at=known.beat.at - seconds)

    def listened(self, seconds: float = 3600) -> None:
        """Make it so that somebody has swept for a while, without a gap."""
        for place in ("redis", "table"):
            self.sql(
                "INSERT INTO agent.presence_sweeps VALUES (%s, now() - make_interval(secs => %s), now())"
                " ON CONFLICT (backend) DO UPDATE SET since = excluded.since, swept_at = excluded.swept_at",
                place,
                seconds,
            )
        if self.redis is None or not self.redis.runs:
            self.sql("DELETE FROM agent.presence_sweeps WHERE backend = 'redis'")

    def sweep(self, process: Process) -> None:
        if self.redis is not None and self.redis.runs:
            with self.redis.client() as client:
                client.delete("agent:sweep")
        process.keep_now()

    def sql(self, query: str, *parameters: Any) -> None:
        with connect(self.database_url) as connection:
            connection.execute(query, parameters)

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        with connect(self.database_url) as connection:
            return rows(connection, query, parameters)

    def status(self, client: UUID) -> str:
        (row,) = self.rows("SELECT status FROM agent.clients WHERE id = %s", client)
        return str(row["status"])

    def told(self, client: UUID) -> list[str]:
        """Return what the audit says of a client, the oldest first."""
        found = self.rows("SELECT event_type FROM audit.audit_logs WHERE client_id = %s ORDER BY id", client)
        return [row["event_type"] for row in found]

    def close(self) -> None:
        self.pool.stop()


TTL = USUAL.ttl_s
__all__ = ["AT_ONCE", "HEARTBEATS", "TTL", "Process", "World"]
