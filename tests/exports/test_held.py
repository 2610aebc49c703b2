"""How an export holds what it reads: few rows at once where they are long, and a mart no longer than the database needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest

from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.exports import Reading
from asset_ledger.pipeline.exports import opened
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.query.exports import BATCH, BATCH_BYTES, Asked
from asset_ledger.store.tenancy import SERVICE_ROLE, as_tenant
from tests.exports.mart import NAME, make_large

OF_NOW = "current_assets"
ROWS = 5_000


@pytest.fixture
def marts(database_url: str) -> str:
    """A mart of days, and one of now: that has no day."""
    for name in (NAME, OF_NOW):
        make_large(database_url, ROWS, name)
    with connect(database_url) as connection:
        connection.execute(f"ALTER TABLE marts.{OF_NOW} DROP COLUMN collected_date")  # type: ignore[arg-type]
    return database_url


def replaced(connection: Connection, name: str) -> None:
    """Put another table into a mart's place as dbt does."""
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '30s'")
        connection.execute(f"CREATE TABLE marts.{name}__dbt_tmp (LIKE marts.{name})")  # type: ignore[arg-type]
        connection.execute(f"ALTER TABLE marts.{name} RENAME TO {name}__dbt_backup")  # type: ignore[arg-type]
        connection.execute(f"ALTER TABLE marts.{name}__dbt_tmp RENAME TO {name}")  # type: ignore[arg-type]
        connection.execute(f"DROP TABLE marts.{name}__dbt_backup")  # type: ignore[arg-type]


def test_a_mart_of_now_is_replaced_while_an_export_of_it_is_taken_slowly(marts: str) -> None:
    with connect(marts) as slow, connect(marts) as dbt:
        with opened(slow, Asked(OF_NOW)) as reading:
            taken = len(next(reading.batches))
            replaced(dbt, OF_NOW)
            assert slow.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            assert taken + sum(map(len, reading.batches)) == ROWS, "it is of the moment when it was asked for"
        with opened(slow, Asked(OF_NOW)) as reading:
            assert list(reading.batches) == []
        assert slow.execute("SELECT count(*) FROM pg_cursors").fetchone() == (0,)


def test_a_mart_of_days_is_made_anew_while_it_is_read_and_is_of_one_moment(marts: str) -> None:
    with connect(marts) as slow, connect(marts) as dbt, opened(slow, Asked(NAME)) as reading:
        taken = len(next(reading.batches))
        dbt.execute("SET lock_timeout = '30s'")
        dbt.execute(f"DELETE FROM marts.{NAME}")  # type: ignore[arg-type]
        assert taken + sum(map(len, reading.batches)) == ROWS


def test_what_is_put_aside_for_a_tenant_is_the_tenants_alone(marts: str) -> None:
    mine = uuid4()
    with connect(marts) as connection:
        connection.execute("INSERT INTO ledger.sources (id, name, platform, platform_type, source_type, zone, naming_rank, specs_rank) OVERRIDING SYSTEM VALUE VALUES (1, 'ours', 'pve', 'pve', 'platform', 'default', 1, 1)")  # fmt: skip
        with as_tenant(connection, mine):
            connection.execute(
                "INSERT INTO agent.tenants (id, name, hash_key, key_id) VALUES (%s, 'a', '', 'k')", [mine]
            )
            connection.execute("INSERT INTO iac.tenant_sources VALUES (%s, 1)", [mine])
        connection.execute(f"SET ROLE {SERVICE_ROLE}")  # type: ignore[arg-type]

        def seen(tenant: UUID) -> int:
            with opened(connection, Asked(OF_NOW), tenant_id=tenant) as reading:
                return sum(map(len, reading.batches))

        assert (seen(mine), seen(uuid4())) == (ROWS, 0)


@pytest.mark.parametrize("name", [NAME, OF_NOW])
def test_a_query_that_takes_too_long_and_a_value_that_is_none_are_named_for_either(marts: str, name: str) -> None:
    with connect(marts) as connection:
        connection.execute(f"UPDATE marts.{name} SET seen_at = 'infinity'")  # type: ignore[arg-type]
        with pytest.raises(LedgerError, match="EXPORT_VALUE_UNFIT"), opened(connection, Asked(name)) as reading:
            list(reading.batches)
        connection.execute(f"ALTER TABLE marts.{name} RENAME TO {name}_rows")  # type: ignore[arg-type]
        connection.execute(f"CREATE TABLE marts.{name} (LIKE marts.{name}_rows)")  # type: ignore[arg-type]
        connection.execute(f"INSERT INTO marts.{name} (source_id) VALUES (1)")  # type: ignore[arg-type]
        connection.execute(f"ALTER TABLE marts.{name} ENABLE ROW LEVEL SECURITY")  # type: ignore[arg-type]
        connection.execute(f"ALTER TABLE marts.{name} FORCE ROW LEVEL SECURITY")  # type: ignore[arg-type]
        connection.execute(f"CREATE POLICY slow ON marts.{name} USING (pg_sleep(60) IS NOT NULL)")  # type: ignore[arg-type]
        connection.execute(f"GRANT SELECT ON marts.{name} TO {SERVICE_ROLE}")  # type: ignore[arg-type]
        connection.execute(f"SET ROLE {SERVICE_ROLE}")  # type: ignore[arg-type]
        began = datetime.now(UTC)
        with (
            pytest.raises(LedgerError, match="EXPORT_TOO_SLOW"),
            opened(connection, Asked(name), tenant_id=uuid4(), statement_s=1) as reading,
        ):
            list(reading.batches)
        assert (datetime.now(UTC) - began).total_seconds() < 45
        assert connection.execute("SELECT 1").fetchone() == (1,), "it can be given back"


@pytest.mark.parametrize("name", [NAME, OF_NOW])
def test_of_long_rows_few_are_held_at_once_and_of_short_ones_many(marts: str, name: str) -> None:
    def lengths(reading: Reading) -> Iterator[tuple[int, int]]:
        for batch in reading.batches:
            yield len(batch), sum(len(row[-1] or "") for row in batch)

    with connect(marts) as connection:
        with opened(connection, Asked(name)) as reading:
            assert max(count for count, _ in lengths(reading)) == BATCH
        connection.execute(f"""UPDATE marts.{name} SET facts = jsonb_build_object('x', repeat('y', 200000))""")  # type: ignore[arg-type]
        connection.execute(f"DELETE FROM marts.{name} WHERE memory_bytes > 1024 * 300")  # type: ignore[arg-type]
        with opened(connection, Asked(name)) as reading:
            first, *others = lengths(reading)
        assert first[0] <= 100
        assert sum(count for count, _ in others) == 200
        assert max(size for _, size in others) < 1.1 * BATCH_BYTES
