"""The queue of versions and plans that nobody has read yet: what waits, and the bell that is rung when one comes.

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

    `versions` and `plans` can be read, the newest of them for `age_s` seconds; `held` wait for a key that is not in the
    ring, or stand behind one that does. `which` is another for every other set of them, whichever way it came about.
    """

    tenants: int
    versions: int
    held: int
    which: str
    age_s: float
    plans: int = 0


_WAITING = """
SELECT kind, held, count(*), bit_xor(digest), extract(epoch FROM clock_timestamp() - max(created_at))::float
FROM (
    SELECT 'version' AS kind, s.created_at, hashtextextended(s.state_id::text, s.version) AS digest,
           t.key_id <> ALL (%(keys)s)
           OR bool_or(s.key_id <> ALL (%(keys)s)) OVER (PARTITION BY s.state_id ORDER BY s.version) AS held
    FROM iac.states AS s JOIN agent.tenants AS t ON t.id = s.tenant_id
    -- those that an older release read, which knew no machines, are to be read anew
    WHERE s.tenant_id = %(tenant)s AND (s.parsed_at IS NULL OR s.unread = 'machines')
    UNION ALL
    -- a plan stands behind the versions that it was made over
    SELECT 'plan', p.created_at, hashtextextended(p.id::text, 0),
           t.key_id <> ALL (%(keys)s) OR p.key_id <> ALL (%(keys)s)
           OR EXISTS (SELECT FROM iac.states AS s WHERE (s.tenant_id, s.state_id) = (p.tenant_id, p.state_id)
                      AND s.version <= p.base_version AND s.parsed_at IS NULL AND s.key_id <> ALL (%(keys)s))
    FROM iac.plans AS p JOIN agent.tenants AS t ON t.id = p.tenant_id
    WHERE p.tenant_id = %(tenant)s AND p.parsed_at IS NULL
) AS waiting
GROUP BY kind, held
"""


def backlog(connection: Connection, keys: Collection[str]) -> Backlog:
    """Return what waits, for who has these keys by name. For the owner of the installation."""
    every = tenants(connection)
    counts = {"version": 0, "plan": 0}
    held = open_set = held_set = 0
    age_s = float("inf")
    for tenant in every:
        with as_tenant(connection, tenant.id):
            for kind, is_held, number, digest, age in connection.execute(
                _WAITING, {"keys": list(keys), "tenant": tenant.id}
            ):
                if is_held:
                    held, held_set = held + number, held_set ^ digest
                else:
                    counts[kind] += number
                    open_set, age_s = open_set ^ digest, min(age_s, age)
    count = sum(counts.values())
    which = f"{count}/{held} {open_set & _64_BITS:x}/{held_set & _64_BITS:x}"
    age_s = max(age_s, 0.0) if count else 0.0
    return Backlog(len(every), counts["version"], held, which, age_s, counts["plan"])


def listen(connection: Connection) -> None:
    """Hear the bell from now on, on this connection."""
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(BELL)))


def rung(connection: Connection, within_s: float) -> bool:
    """Wait for the bell, and say whether it was rung."""
    return any(True for _ in connection.notifies(timeout=within_s, stop_after=1))
