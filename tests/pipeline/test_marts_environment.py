"""What dbt's process is told of where the database is, and what of this one's environment it never sees."""

from __future__ import annotations

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.pipeline.marts import dbt_environment

URL = "postgresql://ledger:s%40crt@db.example.com:5433/book"


def test_dbt_is_told_where_the_database_is_and_nothing_of_other_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "VCENTER_PASSWORD",
        "ASSET_LEDGER_CREDENTIALS_KEY",
        "DAGSTER_PG_URL",
        "PGHOST",
        "PGOPTIONS",
        "PGSERVICE",
    ):
        monkeypatch.setenv(name, "of another")
    monkeypatch.setenv("PGPASSFILE", "/etc/pgpass")
    found = dbt_environment(URL)
    assert "of another" not in found.values()
    assert {name: value for name, value in found.items() if "DBT" in name or name.startswith("PG")} == {
        "ASSET_LEDGER_DBT_HOST": "db.example.com",
        "ASSET_LEDGER_DBT_PORT": "5433",
        "ASSET_LEDGER_DBT_USER": "ledger",
        "ASSET_LEDGER_DBT_DATABASE": "book",
        "DBT_ENV_SECRET_ASSET_LEDGER_PASSWORD": "s@crt",
        "PGPASSFILE": "/etc/pgpass",
        "PGOPTIONS": "-c lock_timeout=10s -c app.marts=on -c TimeZone=UTC",
    }
    assert "PATH" in found


def test_what_a_url_demands_of_a_connection_is_demanded_of_dbts() -> None:
    found = dbt_environment(
        f"{URL}?sslmode=verify-full&channel_binding=require&target_session_attrs=read-write&keepalives_idle=9"
        "&options=-c%20lock_timeout%3D60s"
    )
    assert found["PGSSLMODE"] == "verify-full"
    assert found["PGCHANNELBINDING"] == "require"
    assert found["PGTARGETSESSIONATTRS"] == "read-write"
    assert found["PGOPTIONS"] == "-c lock_timeout=10s -c lock_timeout=60s -c app.marts=on -c TimeZone=UTC", (
        "the last counts"
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"{URL}?sslpassword=x", "sslpassword"),
        ("postgresql://u@a:5432,b:5433/book", "several servers"),
    ],
)
def test_what_dbt_cannot_be_told_is_refused(url: str, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        dbt_environment(url)


def test_a_password_that_only_the_environment_has_is_kept_out_of_dbts_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hidden")
    found = dbt_environment("postgresql://u@a/book")
    assert found["DBT_ENV_SECRET_ASSET_LEDGER_PASSWORD"] == "hidden"
    assert "PGPASSWORD" not in found
