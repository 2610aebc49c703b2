"""A table in schema `marts` as dbt makes one: every type there is, and kept apart by the policies of `tenants_apart`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from asset_ledger.store.database import connect

NAME = "daily_specs"
TENANT = "(select nullif(current_setting('app.tenant', true), '')::uuid)"
MINE = f"array(select t.source_id from iac.tenant_sources as t where t.tenant_id = {TENANT})"
COLUMNS = (
    "collected_date date, source_id integer, asset_id uuid, hostname text, mgmt_ip inet, cpu_cores integer,"
    " memory_bytes bigint, share numeric(5,2), ratio numeric, load double precision, virtual boolean,"
    " seen_at timestamptz, tags text[], addresses inet[], source_ids integer[], facts jsonb"
)
HEAD = [part.split()[0] for part in COLUMNS.split(", ")]
ROWS: Sequence[Sequence[Any]] = (
    (
        date(2026, 11, 1), 1, "00000000-0000-0000-0000-000000000001", 'web-01, "the first"', "10.0.0.1", 8, 2**34,
        Decimal("99.50"), Decimal("0.125"), 0.5, True, datetime(2026, 11, 1, 1, 2, 3, 456000, UTC), ["prod", "a,b"],
        ["10.0.0.1", "fd00::1"], [1, 2], '{"owner": "平台组"}',
    ),
    (
        date(2026, 11, 1), 2, "00000000-0000-0000-0000-000000000002", "=HYPERLINK(\"http://x\")", "10.0.0.2", None, 2**60,
        None, Decimal("12345678901234567890.5"), -1.5, False, datetime(2026, 11, 1, tzinfo=UTC), [], None, [], None,
    ),
    (
        date(2026, 11, 2), 1, "00000000-0000-0000-0000-000000000001", "数据库 😀\nline", "10.0.0.0/24", None, None, None, None,
        None, None, None, None, None, None, None,
    ),
    (date(2026, 11, 3), 1, None, "", None, 0, 0, Decimal("0.00"), Decimal(0), 0.0, None, None, None, None, None, "{}"),
)  # fmt: skip


def make_mart(url: str, name: str = NAME, *, rows: Sequence[Sequence[Any]] = ROWS, apart: bool = True) -> None:
    """Make a mart and fill it; `apart` False forgets the policies."""
    with connect(url) as connection:
        connection.execute(f"CREATE TABLE marts.{name} ({COLUMNS})")  # type: ignore[arg-type]
        connection.execute(f"COMMENT ON TABLE marts.{name} IS 'What each machine was.'")  # type: ignore[arg-type]
        connection.execute(f"COMMENT ON COLUMN marts.{name}.cpu_cores IS 'Logical processors.'")  # type: ignore[arg-type]
        connection.execute(f"GRANT SELECT ON marts.{name} TO asset_ledger_service")  # type: ignore[arg-type]
        if apart:
            for statement in (
                f"ALTER TABLE marts.{name} ENABLE ROW LEVEL SECURITY",
                f"CREATE POLICY readers ON marts.{name} FOR SELECT USING ((SELECT has_schema_privilege('ledger', 'USAGE')))",
                f"CREATE POLICY tenant ON marts.{name} FOR SELECT TO asset_ledger_service USING (source_id = ANY ({MINE}))",
            ):
                connection.execute(statement)  # type: ignore[arg-type]
        with connection.cursor() as cursor:
            holders = ", ".join(["%s"] * len(HEAD))
            cursor.executemany(f"INSERT INTO marts.{name} VALUES ({holders})", rows)  # type: ignore[arg-type]


def make_large(url: str, count: int, name: str = NAME) -> None:
    """Make a mart of so many rows."""
    make_mart(url, name, rows=())
    with connect(url) as connection:
        connection.execute(
            f"INSERT INTO marts.{name} (collected_date, source_id, asset_id, hostname, mgmt_ip, cpu_cores, memory_bytes,"  # type: ignore[arg-type]
            " seen_at, tags) SELECT date '2026-11-01' + n %% 5, 1, md5(n::text)::uuid, 'host-' || n || repeat('x', 200),"
            " inet '10.0.0.0' + n, n %% 64, n * 1024::bigint, timestamptz '2026-11-01 00:00Z' + n * interval '1 second',"
            " ARRAY['a', 'b' || n %% 7] FROM generate_series(1, %s) AS n",
            [count],
        )
