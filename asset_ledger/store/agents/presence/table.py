"""Beats in a table of PostgreSQL, for a service without Redis or one whose Redis does not answer.

One statement a batch. The table is unlogged: after a crash of the server it is empty, and filled again by the beats.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from uuid import UUID

from asset_ledger.store.agents.presence import Beat, Silent, Timing
from asset_ledger.store.agents.presence.transitions import chunks, gone
from asset_ledger.store.database import Connection

MOST = 1_000
"""How many silent clients one sweep takes."""
_PIECE = 5_000


class TablePlace:
    """The table, for one process."""

    def __init__(
        self,
        lend: Callable[[], AbstractContextManager[Connection]],
        pod_id: str,
        timing: Timing,
        clock: Callable[[], float],
    ) -> None:
        self._lend, self._pod_id, self._timing, self._clock = lend, pod_id, timing, clock

    def flush(self, beats: Collection[Beat], arrived: Collection[Beat]) -> set[UUID]:
        """Write beats; return those of `arrived` that nobody heard of late. Raises RetryableError, psycopg.Error."""
        unheard: set[UUID] = set()
        every = list(beats)
        with self._lend() as connection:
            for start in range(0, len(every), _PIECE):
                unheard |= self._write(connection, every[start : start + _PIECE])
        return unheard & {beat.client_id for beat in arrived}

    def _write(self, connection: Connection, beats: Sequence[Beat]) -> set[UUID]:
        now = self._clock()
        found = connection.execute(
            "SELECT client_id FROM agent.presence_flush(%s, %s::uuid[], %s::uuid[], %s::uuid[], %s::float8[],"
            " %s::inet[], make_interval(secs => %s))",
            [
                self._pod_id,
                [beat.tenant_id for beat in beats],
                [beat.client_id for beat in beats],
                [beat.user_id for beat in beats],
                [now - beat.at for beat in beats],
                [beat.ip for beat in beats],
                self._timing.fresh_s,
            ],
        ).fetchall()
        return {row[0] for row in found}


def sweep(
    connection: Connection,
    timing: Timing,
    elsewhere: Callable[[Iterable[tuple[UUID, UUID]]], set[UUID]] = lambda _: set(),
) -> int:
    """Write who is there no more by the table, and forget them; return how many.

    `elsewhere` returns which of them are heard in another place. One process at a time looks; what it does is one
    transaction, in which a beat of one of them waits. May raise BackendAwayError by `elsewhere`.
    """
    with connection.transaction():
        if connection.execute("SELECT pg_try_advisory_xact_lock(hashtext('asset_ledger.presence'), 0)").fetchone() != (
            True,
        ):
            return 0
        silent = [
            Silent(*row)
            for row in connection.execute(
                "SELECT tenant_id, client_id, extract(epoch FROM last_heartbeat)::float8"
                " FROM agent.presence_silent(make_interval(secs => %s), %s)",
                [timing.ttl_s, MOST],
            ).fetchall()
        ]
        if not silent:
            return 0
        heard = elsewhere((one.tenant_id, one.client_id) for one in silent)
        done = [one for one in silent if one.client_id in heard]
        for tenant_id, some in chunks(one for one in silent if one.client_id not in heard):
            offline = gone(connection, tenant_id, some, timing.ttl_s)
            done += [one for one in some if one.client_id in offline]
        connection.execute(
            "SELECT agent.presence_drop(make_interval(secs => %s), %s::uuid[], %s::uuid[])",
            [timing.ttl_s, [one.tenant_id for one in done], [one.client_id for one in done]],
        )
    return len(done)


def swept(connection: Connection, place: str, timing: Timing) -> float:
    """Note that a place is swept; return for how many seconds that was so without a gap."""
    row = connection.execute(
        "SELECT agent.presence_swept(%s, make_interval(secs => %s))", [place, timing.gap_s]
    ).fetchone()
    assert row is not None
    return float(row[0])


def swept_ago(connection: Connection, place: str) -> float:
    """Return how many seconds ago any process swept a place; infinity where none did."""
    row = connection.execute("SELECT agent.presence_swept_ago(%s)", [place]).fetchone()
    return float("inf") if row is None or row[0] is None else float(row[0])
