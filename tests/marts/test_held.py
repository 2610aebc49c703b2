"""A mart that somebody reads and goes on holding: it is not waited for without end, and that is said with who it is."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from asset_ledger.assets.policies import failure
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.marts import Made, build, error_of, models
from asset_ledger.store.database import connect
from asset_ledger.store.marts import holders_of
from tests.marts.building import Marts
from tests.patience import PATIENCE_S
from tests.store.telling import document, telling

DAY = "2026-10-01"
DAYS = (date.fromisoformat(DAY), date.fromisoformat(DAY))


@pytest.fixture(scope="module")
def marts(module_database: str, tmp_path_factory: pytest.TempPathFactory, parsed_models: Path) -> Marts:
    """A ledger of one machine whose marts are made; a URL says that half a second is enough to wait."""
    with telling(module_database, "lab") as lab:
        lab.tell(DAY, {"web": document(hostname="web")}, complete=True)
    sign = "&" if "?" in module_database else "?"
    made = Marts(
        f"{module_database}{sign}options=-c%20lock_timeout%3D500ms", tmp_path_factory.mktemp("held"), parsed_models
    )
    made.make(DAY, DAY, "current_assets", "daily_specs", tests=False)
    return made


def make(marts: Marts, *names: str) -> list[Made]:
    project = models(marts.ledger)
    chosen = [f"model.asset_ledger.{name}" for name in names]
    return build(marts.ledger, project, chosen, days=DAYS)


def test_a_reader_who_sits_idle_in_his_transaction_does_not_hold_up_the_build_or_other_readers(
    marts: Marts, module_database: str
) -> None:
    with connect(module_database) as idle, ThreadPoolExecutor(1) as other, idle.transaction():
        idle.execute("SET application_name = 'someone at lunch'")
        assert idle.execute("SELECT hostname FROM marts.current_assets").fetchone() == ("web",)
        making = other.submit(make, marts, "current_assets")
        worst = 0.0
        with connect(module_database) as reader:
            while not making.done():
                began = time.monotonic()
                assert reader.execute("SELECT hostname FROM marts.current_assets").fetchone() == ("web",)
                worst = max(worst, time.monotonic() - began)
                time.sleep(0.02)
            made = making.result()
            error = error_of(made, holders=holders_of(reader, ["current_assets"]))
    assert worst < PATIENCE_S, "others wait no longer than dbt does"
    assert isinstance(error, LedgerError)
    assert (error.code.code, error.code.retryable, error.target) == ("MARTS_BUSY", True, "current_assets")
    assert "someone at lunch" in str(error)
    assert "idle in transaction since" in str(error)
    assert "what it said before stands, and a run of Dagster's tries twice more" in str(error)
    assert failure(error).allow_retries
    # when he is back, it is made
    assert error_of(make(marts, "current_assets")) is None


def test_what_is_made_by_days_is_made_while_somebody_reads_it(marts: Marts, module_database: str) -> None:
    with connect(module_database) as idle, idle.transaction():
        assert idle.execute("SELECT hostname FROM marts.daily_specs").fetchone() == ("web",)
        assert error_of(make(marts, "daily_specs")) is None
