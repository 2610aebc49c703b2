"""`asset-ledger metrics`: whether sources are fresh by the rule of the checks, and what of a failure counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import CONFIG_INVALID, SOURCE_BUSY, PermanentError, RetryableError
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.pipeline.metrics import exposition
from asset_ledger.pipeline.watch import standings
from asset_ledger.store.access import audit
from asset_ledger.store.access.people import add_tenant
from asset_ledger.store.raw import save_inventory
from asset_ledger.store.records import save_unread
from asset_ledger.store.tenancy import as_tenant
from tests.cli.conftest import Cli

NOW = datetime.now(UTC)


def figures(text: str) -> dict[tuple[str, str], float]:
    """Each sample, by its name and its first label of a source, tenant or receiver."""
    return {
        (sample.name, " ".join(sample.labels[label] for label in ("source", "tenant", "status", "receiver") if label in sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip


def made(ledger: Ledger, name: str, at: datetime, status: str = "derived") -> None:
    """Put in a reading of a source, as its run leaves it."""
    with ledger.connect() as connection:
        source = source_row(connection, ledger.source(name))
        kept = save_inventory(
            connection, source, [], scope="all", collected_date=collected_date(at), collected_at=at, run_id=f"{at}",
            mode="collect", complete=False,
        )  # fmt: skip
        connection.execute(
            "UPDATE ledger.inventories SET status = %s, recorded_at = %s WHERE id = %s", [status, at, kept.id]
        )


def test_the_figures_say_whether_a_source_is_fresh_as_the_checks_do(cli: Cli, ledger: Ledger) -> None:
    made(ledger, "probe", NOW - timedelta(days=3))
    made(ledger, "office", NOW - timedelta(days=3))
    found = figures(cli("metrics").out)
    assert found["asset_ledger_source_fresh", "probe"] == 0
    assert ("asset_ledger_source_fresh", "office") not in found, "nothing is expected of what somebody brings"
    old = (datetime.now(UTC) - NOW).total_seconds()  # since the file was collected, minutes may have gone by
    assert found["asset_ledger_source_age_seconds", "office"] == pytest.approx(3 * 86400 + old, abs=120)
    assert found["asset_ledger_removals_held", "probe"] == 0
    made(ledger, "probe", NOW)
    with ledger.connect() as connection:
        text = exposition(connection, now=NOW, sources=ledger.sources)
        (check,) = [one for one in standings(connection, ledger.sources, now=NOW) if one.chain.source.name == "probe"]
    found = figures(text)
    assert found["asset_ledger_source_fresh", "probe"] == int(check.fresh) == 1
    assert found["asset_ledger_source_age_seconds", "probe"] == 0
    assert found["asset_ledger_figures_timestamp_seconds", ""] == NOW.timestamp()


def test_what_files_bring_has_no_size_of_a_day(ledger: Ledger, filled: str) -> None:
    made(ledger, "probe", NOW)
    with ledger.connect() as connection:
        found = figures(exposition(connection, now=NOW, sources=ledger.sources))
    assert ("asset_ledger_source_age_seconds", "office") in found
    assert ("asset_ledger_source_records", "office") not in found, "the last file of a day is not the day"
    assert ("asset_ledger_source_records", "probe") in found


def test_the_figures_of_the_ledger_need_no_sources_yaml(cli: Cli, ledger: Ledger, project: Path) -> None:
    made(ledger, "probe", NOW)
    (project / "sources.yaml").unlink()
    found = figures(cli("metrics").out)
    assert found["ssh_collect_success_rate", "probe"] == 1
    assert ("asset_ledger_source_fresh", "probe") not in found


def test_an_attempt_that_failed_before_anything_came_in_is_no_success(ledger: Ledger) -> None:
    made(ledger, "probe", NOW - timedelta(hours=5))
    with ledger.connect() as connection:
        source = source_row(connection, ledger.source("probe"))

        def rate() -> float:
            return figures(exposition(connection, now=datetime.now(UTC)))["ssh_collect_success_rate", "probe"]

        def failed(error: Exception, run: str) -> None:
            save_unread(connection, source, collected_date(NOW), error, run_id=run, mode="collect")

        assert rate() == 1
        failed(RetryableError(SOURCE_BUSY, "another run is reading it", target="probe"), "r1")
        assert rate() == 1, "it was read by the other run"
        failed(PermanentError(CONFIG_INVALID, "no such credential", target="probe"), "r2")
        assert rate() == 0.5
        failed(RuntimeError("a defect"), "r3")
        assert rate() == pytest.approx(1 / 3)
    # one of which something came in is counted once, by its reading
    made(ledger, "probe", NOW - timedelta(hours=1), status="interrupted")
    with ledger.connect() as connection:
        failed_run = f"{NOW - timedelta(hours=1)}"
        save_unread(connection, source, collected_date(NOW), RuntimeError("x"), run_id=failed_run, mode="collect")
        assert figures(exposition(connection, now=datetime.now(UTC)))["ssh_collect_success_rate", "probe"] == 0.25


def test_clients_notices_and_late_retention_are_counted(ledger: Ledger) -> None:
    with ledger.connect() as connection:
        tenant = add_tenant(connection, "acme", KeyRing({"k1": b"1" * 32}))
        audit.record(connection, None, audit.Entry("retention.apply", "left", "failed", "retention"))
        with as_tenant(connection, tenant):
            for status, heard, retired in (
                ("online", True, False), ("offline", True, False), ("offline", True, False), ("offline", False, False),
                ("offline", True, True),
            ):  # fmt: skip
                connection.execute(
                    "INSERT INTO agent.clients (tenant_id, enrolled_by, status, first_connected_at, retired_at) VALUES"
                    " (%s, 'ann', %s, CASE WHEN %s THEN now() END, CASE WHEN %s THEN now() END)",
                    [tenant, status, heard, retired],
                )
        for key, given_up in (("a", False), ("b", True), ("c", True)):
            connection.execute(
                "INSERT INTO audit.notices (receiver, key, severity, digest, created_at, next_at, given_up_at) VALUES"
                " ('feishu', %s, 'info', '{}', now(), now(), CASE WHEN %s THEN now() END)",
                [key, given_up],
            )
        now = datetime.now(UTC)
        before = figures(exposition(connection, now=now))
        later = figures(exposition(connection, now=now + timedelta(days=183)))
    assert before["asset_ledger_agents", "acme online"] == 1
    assert before["asset_ledger_agents", "acme offline"] == 2
    assert before["asset_ledger_notices_waiting", "feishu"] == 1
    assert before["asset_ledger_notices_given_up", "feishu"] == 2
    assert before["asset_ledger_retention_late_seconds", ""] == 0
    # what was audited now is three days past its 180 by then
    assert later["asset_ledger_retention_late_seconds", ""] == pytest.approx(3 * 86400, abs=120)
