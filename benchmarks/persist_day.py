"""What a day of 10,000 known machines costs when 2 % of them changed, against a bare COPY of the rows it writes.

Measured is everything after the platform answered: raw kept, parsed, recognised, the day written, history, identifiers,
relations, absences and current rows brought up to date. The yardstick is one COPY a table of every row that this wrote
(rows that were updated are written anew too) into tables with the same partitions, indexes and checks, on the same
server. Each client is a process of its own. Run: `python -m benchmarks persist_day`.
"""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from statistics import median

from asset_ledger.domain.calendar import collected_date
from asset_ledger.store.database import connect
from benchmarks.measuring import (
    Cost,
    Measured,
    bench_server,
    checkpoint,
    dump_rows,
    equal_tables,
    fresh_ledger,
    in_words,
    last_transaction,
    run_client,
    typical,
)
from benchmarks.table import Row

ASSETS = 10_000
CHANGED = ASSETS * 2 // 100
ROUNDS = 5
COPY_LIMIT = 3.0
MEMORY_LIMIT_MB = 256


def client_persist(url: str, day: str, count: str, changed: str, turn: str) -> None:
    """Keep a day's reading and derive it, as a run does, and print what that cost and did."""
    from asset_ledger.pipeline.derive import derive_day
    from asset_ledger.pipeline.ledger import source_row
    from asset_ledger.store.sources import exclusive
    from benchmarks.day_platform import keep, reading, register

    source = register()
    on = date.fromisoformat(day)
    body = reading(int(count), changed=int(changed), turn=int(turn))
    with connect(url) as connection:
        row = source_row(connection, source)
        with exclusive(connection, row), Cost(connection) as cost:
            keep(connection, row, on, datetime.now(UTC), body, "bench")
            derived = derive_day(connection, source, row, on, run_id="bench", mode="collect")
    cost.print({**derived.readings[0].outcome.counts})


def persist(url: str, day: date, count: int, changed: int, turn: int) -> Measured:
    """Persist a day in a process of its own."""
    checkpoint(url)
    return run_client("benchmarks.persist_day", url, day.isoformat(), count, changed, turn)


def measure(rounds: int = ROUNDS) -> list[Row]:
    """Return a row a comparison. Raises RuntimeError where a day did not do what is measured."""
    ours: list[Measured] = []
    copied: list[Measured] = []
    today = collected_date(datetime.now(UTC))
    days = [today - timedelta(days=rounds - number) for number in range(rounds + 1)]
    with bench_server() as (server, folder):
        url = fresh_ledger(server, "bench_persist")
        persist(url, days[0], ASSETS, 0, 0)
        for turn, day in enumerate(days[1:], 1):
            before = last_transaction(url)
            ours.append(persist(url, day, ASSETS, CHANGED, turn))
            if ours[-1]["created"] or ours[-1]["updated"] != CHANGED:
                raise RuntimeError(f"the day is to change {CHANGED} machines: {ours[-1]}")
            written = dump_rows(url, folder / "rows", since=before)
            equal = equal_tables(server, days, url)
            checkpoint(equal)
            copied.append(run_client("benchmarks.measuring", equal, folder / "rows"))
    over_copy = median(a["wall_s"] / b["wall_s"] for a, b in zip(ours, copied, strict=True))
    peak = max(found["peak_mb"] for found in ours)
    return [
        Row(
            f"a day of {ASSETS:,} known machines, 2 % changed: 3 identifiers, 2 addresses, 1 relation each",
            f"{in_words(typical(ours))} ({over_copy:.1f}x)",
            f"bare COPY of the {written:,} rows it wrote: {in_words(typical(copied))}",
            f"at most {COPY_LIMIT:g}x",
            over_copy <= COPY_LIMIT,
        ),
        Row("its memory", f"{peak:.0f} MB at the most", "", f"under {MEMORY_LIMIT_MB} MB", peak < MEMORY_LIMIT_MB),
    ]


if __name__ == "__main__":
    client_persist(*sys.argv[1:])
