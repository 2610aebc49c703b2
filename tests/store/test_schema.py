"""The schema: made and unmade by its migrations, on the newest and the oldest server, and its monthly partitions."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from asset_ledger.domain.errors import DATABASE_NEWER, LedgerError
from asset_ledger.store import database as migrations
from asset_ledger.store.database import connect, current_revision, ensure_database, head_revision, migrate
from asset_ledger.store.embedded.server import EmbeddedServer
from asset_ledger.store.partitions import PARTITIONED, ensure_months
from tests.conftest import program
from tests.pipeline.importing import importing
from tests.postgres import FAST, create_database, drop_database, shared_server

HOSTS = "mgmt_ip,hostname,cpu_cores,memory_gb,tags\n192.0.2.1,a,4,8,prod\n192.0.2.2,b,2,4,\n"


@pytest.fixture
def empty_database() -> Iterator[str]:
    url = create_database(shared_server().url("postgres"))
    yield url
    drop_database(url)


@pytest.fixture
def oldest_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedServer]:
    """A server of the oldest supported major, from the distribution's binaries."""
    postgres = program("postgresql-15")
    assert postgres, "install the Debian package postgresql-15"
    monkeypatch.setenv("ASSET_LEDGER_PG_BIN", str(Path(postgres).parent))
    folder = Path(tempfile.mkdtemp(prefix="ledger-oldest-"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder / "home", FAST)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


def test_the_schema_comes_and_goes_and_comes_again(empty_database: str) -> None:
    assert migrate(empty_database) is True
    assert migrate(empty_database) is False
    with connect(empty_database) as connection:
        assert current_revision(connection) == head_revision()
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).with_name("migrations")))
    engine = create_engine(empty_database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    engine.dispose()
    with connect(empty_database) as connection:
        assert connection.execute("SELECT to_regclass('ledger.assets')").fetchone() == (None,)
    assert migrate(empty_database) is True


def test_two_programs_that_migrate_at_once_do_it_once(empty_database: str) -> None:
    answers: list[object] = []

    def work() -> None:
        try:
            answers.append(migrate(empty_database))
        except Exception as error:
            answers.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(isinstance(answer, bool) for answer in answers), answers
    with connect(empty_database) as connection:
        assert connection.execute("SELECT count(*) FROM public.alembic_version").fetchone() == (1,)


def test_two_that_make_the_database_at_once_both_find_it_made() -> None:
    url = shared_server().url(f"raced_{secrets.token_hex(4)}")
    answers: list[object] = []

    def work() -> None:
        try:
            answers.append(ensure_database(url))
        except Exception as error:
            answers.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'pg_database'::regclass AND NOT granted"
    try:
        with connect(shared_server().url("postgres")) as connection, connection.transaction():
            # all of them look, find nothing, and wait to write it down
            connection.execute("LOCK TABLE pg_database IN SHARE MODE")
            for thread in threads:
                thread.start()
            end = time.monotonic() + 30
            while connection.execute(waiting).fetchone() != (3,):
                assert time.monotonic() < end, answers
                time.sleep(0.02)
        for thread in threads:
            thread.join(60)
        assert sorted(map(str, answers)) == ["False", "False", "True"]
    finally:
        drop_database(url)


def test_a_schema_of_a_newer_release_is_refused(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute("UPDATE public.alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError) as refused:
        migrate(database_url)
    assert refused.value.code is DATABASE_NEWER
    assert "9999" in str(refused.value)
    assert "Install the release that wrote it" in str(refused.value)
    assert "pg_dump" not in str(refused.value)


@pytest.mark.needs("postgresql-15")
def test_the_oldest_supported_server_takes_schema_and_import(oldest_server: EmbeddedServer, tmp_path: Path) -> None:
    url = oldest_server.url("ledger")
    assert ensure_database(url) is True
    migrate(url)
    with connect(url) as connection:
        assert connection.info.server_version // 10000 == 15
    with importing(url, tmp_path / "inbox") as office:
        assert office.read("2026-11-01", HOSTS).created == 2
        assert office.read("2026-11-02", HOSTS.replace(",4,8", ",8,8")).updated == 1
        office.derive("2026-11-01")


def test_every_month_has_its_partition_and_an_unprepared_month_refuses_rows(database_url: str) -> None:
    with connect(database_url) as connection:
        ensure_months(connection, [date(2026, 12, 31), date(2027, 1, 1)])
        ensure_months(connection, [date(2026, 12, 1)])
        names = {
            row[0]
            for row in connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace AND relispartition AND relkind = 'r'"
            )
        }
        assert names == {f"{table}_{month}" for table in PARTITIONED for month in ("y2026m12", "y2027m01")}
        with pytest.raises(psycopg.errors.CheckViolation, match="no partition"):
            connection.execute(
                "INSERT INTO ledger.asset_daily_ips VALUES ('2027-02-01', gen_random_uuid(), 1, '192.0.2.1', now())"
            )


def test_a_query_for_one_day_reads_one_month(database_url: str) -> None:
    with connect(database_url) as connection:
        ensure_months(connection, [date(2026, month, 1) for month in range(1, 13)])
        plan = "\n".join(
            row[0]
            for row in connection.execute(
                "EXPLAIN SELECT * FROM ledger.asset_daily_specs WHERE collected_date = '2026-05-05'"
            )
        )
    assert "asset_daily_specs_y2026m05" in plan
    assert "y2026m06" not in plan


def test_a_server_in_another_time_zone_changes_no_instant(database_url: str) -> None:
    with connect(database_url) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET timezone TO 'Asia/Shanghai'")
    with connect(database_url) as connection:
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
