"""The queue of versions that nobody has read yet: what waits, and the bell that is rung when one comes.

The queue is the table. A bell that nobody hears, or that is rung while nobody listens, loses nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from psycopg import sql

from asset_ledger.store.access.people import tenants
from asset_ledger.store.database import Connection
from asset_ledger.store.iac.states import BELL
from asset_ledger.store.tenancy import as_tenant

_64_BITS = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits, over all tenants.

    `versions` can be read, the newest of them for `age_s` seconds; `held` wait for a key that is not in the ring, or
    stand behind one that does. `which` is another for every other set of them, whichever way it came about.
    """

    tenants: int
    versions: int
    held: int
    which: str
    age_s: float


def backlog(connection: Connection, keys: Collection[str]) -> Backlog:
    """Return what waits, for who has these keys by name. For the owner of the installation."""
    every = tenants(connection)
    count = held = open_set = held_set = 0
    age_s = float("inf")
    for tenant in every:
        with as_tenant(connection, tenant.id):
            for is_held, number, digest, age in connection.execute(
                """
                SELECT held, count(*), bit_xor(hashtextextended(state_id::text, version)),
                       extract(epoch FROM clock_timestamp() - max(created_at))::float
                FROM (
                    SELECT s.state_id, s.version, s.created_at, t.key_id <> ALL (%(keys)s)
                           OR bool_or(s.key_id <> ALL (%(keys)s)) OVER (PARTITION BY s.state_id ORDER BY s.version)
                           AS held
                    FROM iac.states AS s JOIN agent.tenants AS t ON t.id = s.tenant_id
                    WHERE s.tenant_id = %(tenant)s AND s.parsed_at IS NULL
                ) AS waiting
                GROUP BY held
                """,
                {"keys": list(keys), "tenant": tenant.id},
            ):
                if is_held:
                    held, held_set = held + number, held_set ^ digest
                else:
                    count, open_set, age_s = count + number, open_set ^ digest, min(age_s, age)
    which = f"{count}/{held} {open_set & _64_BITS:x}/{held_set & _64_BITS:x}"
    return Backlog(len(every), count, held, which, max(age_s, 0.0) if count else 0.0)


def listen(connection: Connection) -> None:
    """Hear the bell from now on, on this connection."""
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(BELL)))


def rung(connection: Connection, within_s: float) -> bool:
    """Wait for the bell, and say whether it was rung."""
    return any(True for _ in connection.notifies(timeout=within_s, stop_after=1))
