"""A migration while others write: they wait at most for a step, and one long transaction holds up nobody for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, RetryableError
from asset_ledger.store import database as migrations
from asset_ledger.store.database import connect, current_revision, head_revision, migrate
from tests.postgres import create_database, drop_database, shared_server

BEFORE = "0008"
"""The last revision before the one that a ledger in use would be brought from."""


@pytest.fixture
def older() -> Iterator[str]:
    url = create_database(shared_server().url("postgres"))
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).with_name("migrations")))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
    engine.dispose()
    yield url
    drop_database(url)


SOURCE = (
    "INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)"
    " VALUES (%s, 'import', 'import', 'import', 'default', 1, 1)"
)


TABLES = (("ledger.asset_daily_specs", "ledger.assets"), ("iac.state_heads", "iac.states"), ("agent.clients",))


def test_writers_go_on_while_the_schema_is_brought_to_this_release(older: str) -> None:
    written: list[float] = []
    failed: list[BaseException] = []
    stop = threading.Event()

    def write(number: int) -> None:
        try:
            with connect(older) as db:
                while not stop.is_set():
                    began = time.monotonic()
                    with db.transaction():
                        db.execute(SOURCE, [f"{number}-{len(written)}"])
                        # as the pipeline does, and the service, which never writes to both
                        for table in TABLES[number]:
                            db.execute(f"SELECT count(*) FROM {table}")
                    written.append(time.monotonic() - began)
                    time.sleep(0.01)
        except Exception as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=[number]) for number in range(3)]
    for writer in writers:
        writer.start()
    time.sleep(0.3)
    before = len(written)
    began = time.monotonic()
    assert migrate(older)
    took = time.monotonic() - began
    during = len(written) - before
    time.sleep(0.2)
    stop.set()
    for writer in writers:
        writer.join()
    assert failed == []
    assert len(written) > before
    print(f"migrated in {took:.2f} s; {during} transactions meanwhile, the longest took {max(written):.2f} s")
    with connect(older) as db:
        assert current_revision(db) == head_revision()
        assert db.execute("SELECT count(*) FROM ledger.sources").fetchone() == (len(written),)


def test_a_long_transaction_stops_the_migration_and_not_the_writers(older: str) -> None:
    with connect(older) as holder, connect(older) as writer:
        with holder.transaction():
            for schema in ("ledger", "iac", "agent", "audit"):
                tables = holder.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
                for (table,) in tables:
                    holder.execute(f"LOCK TABLE {schema}.{table} IN ACCESS SHARE MODE")
            with pytest.raises(RetryableError) as refused:
                migrate(older, lock_wait_s=0.5)
            assert refused.value.code is DATABASE_UNAVAILABLE
            assert "pg_stat_activity" in str(refused.value)
            # nobody waits behind it any more
            writer.execute("SET lock_timeout = '1s'")
            writer.execute(SOURCE, ["meanwhile"])
            assert current_revision(writer) != head_revision()
        assert migrate(older)
        assert current_revision(writer) == head_revision()
