"""What a materialization shows: the same numbers every day, a picture of the last days, a diff, short tables."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from asset_ledger.assets.metadata import chain_metadata
from asset_ledger.assets.pictures import FEW_TARGETS, INLINE_LIMIT, changes_diff, days_picture
from asset_ledger.domain.outcome import Change
from asset_ledger.sources.registry import PLATFORMS, platform
from asset_ledger.store.query.chain_days import ChainDay, chain_days
from asset_ledger.store.query.runs import failed_targets
from tests.dagster.installation import Installation, failure_of, metadata

DAY = date(2026, 1, 12)


def row(address: str, name: str, cores: object = 4) -> str:
    return f"{address},{name},vm,,{cores},8"


def numbers(found: dict[str, Any]) -> set[str]:
    return {key for key, value in found.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}


def inline(found: dict[str, Any]) -> bool:
    """Whether Dagster shows every text of it where it stands."""
    return all(len(value) <= INLINE_LIMIT for value in found.values() if isinstance(value, str))


def materialized(lab: Installation, day: str) -> dict[str, dict[str, Any]]:
    result = lab.collect("office", day)
    assert result.success, failure_of(result)
    return {
        event.asset_key.path[-1]: {name: value.value for name, value in event.materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
    }


def test_every_node_has_the_same_numbers_on_every_day_also_where_they_are_zero(installation: Installation) -> None:
    installation.drop("hosts_2026-01-10.csv", row("10.0.0.1", "web-01"))
    installation.drop(
        "hosts_2026-01-11.csv", row("10.0.0.1", "web-01", 8), row("nowhere", "bad"), row("10.0.0.2", "new", "many")
    )
    days = [materialized(installation, f"2026-01-{day}") for day in (10, 11)]
    assert days[0].keys() == days[1].keys()
    for node in days[0]:
        assert numbers(days[0][node]) == numbers(days[1][node]), node
        assert len(numbers(days[0][node])) >= 2, node


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_node_of_every_platforms_chains_has_numbers_where_nothing_was_read(name: str) -> None:
    for role in ("raw_inventory", "normalized_assets", *platform(name).tables):
        found = chain_metadata(
            role, [], source="x", day=DAY, run_id="r", mode="collect", duration_s=0.0, failed=[], lately={}
        )
        assert "dagster/row_count" in numbers(found), role
        assert all(found[key] == 0 for key in numbers(found)), role


def test_a_run_shows_its_last_days_what_changed_and_what_failed(installation: Installation) -> None:
    many = [row(f"10.0.1.{number}", f"vm-{number}") for number in range(30)]
    installation.drop("hosts_2026-01-10.csv", *many)
    materialized(installation, "2026-01-10")
    bad = [row(f"no address {number}", f"bad-{number}") for number in range(FEW_TARGETS + 3)]
    changed = [row(f"10.0.1.{number}", f"vm-{number}", 16) for number in range(30)]
    installation.drop("hosts_2026-01-12.csv", *changed, *bad)
    shown = materialized(installation, "2026-01-12")
    normalized, ledger = shown["normalized_assets"], shown["ledger_assets"]
    assert "30 machines (of 30 days: 30 to 30), 11 targets or rows failed (of 30 days: 11)" in normalized["last_days"]
    assert "](data:image/svg+xml,%3Csvg" in normalized["last_days"]
    assert len(normalized["rejected"].records) == FEW_TARGETS
    assert normalized["rejected_more"].startswith("and 3 more of 11: `asset-ledger runs show ")
    assert not {"failed", "failed_more"} & normalized.keys(), "a row that was not taken is shown once"
    assert ledger["changes"].startswith("```diff\n- vm-0 cpu_cores 4\n+ vm-0 cpu_cores 16\n")
    assert (
        "and 20 more: `asset-ledger changes --since 2026-01-12 --until 2026-01-12 --source office`" in ledger["changes"]
    )
    assert all(inline(found) for found in shown.values())
    # shown once more by a replay, whose records stand beside those of the run that read
    replayed = metadata(installation.collect("office", "2026-01-12", replay=True), "office", "normalized_assets")
    assert replayed["rejected_more"].startswith("and 3 more of 11: ")
    assert "failed" not in replayed
    assert replayed["last_days"] == normalized["last_days"]


def test_what_failed_beside_rejected_rows_is_shown_and_counted_without_them(installation: Installation) -> None:
    installation.drop("hosts_2026-01-10.csv", *(row("nowhere", f"bad-{number}") for number in range(9)))
    installation.collect("office", "2026-01-10")
    readings = [one["id"] for one in installation.rows("SELECT id FROM ledger.inventories")]
    with installation.connect() as db:
        assert failed_targets(db, readings, 50) == []
        # as if three of them were machines that could not be read
        db.execute(
            "UPDATE ledger.sync_target_records SET details = details - 'cells' WHERE id IN"
            " (SELECT id FROM ledger.sync_target_records WHERE details ? 'cells' ORDER BY id LIMIT 3)"
        )
        found = failed_targets(db, readings, 2)
    assert [one["total"] for one in found] == [3, 3]


def test_a_machine_that_two_files_of_a_day_list_counts_once(installation: Installation) -> None:
    installation.drop("hosts_2026-01-10.csv", row("10.0.0.1", "web-01"), row("nowhere", "bad"))
    installation.drop("more_2026-01-10.csv", row("10.0.0.1", "web-01"), row("10.0.0.2", "web-02"))
    materialized(installation, "2026-01-10")
    office = installation.rows("SELECT id FROM ledger.sources WHERE name = 'office'")[0]["id"]
    with installation.connect() as connection:
        found = chain_days(connection, office, scope="all", covers=(), first=DAY - timedelta(days=29), last=DAY)
    assert found == {date(2026, 1, 10): ChainDay(seen=2, failed=1)}


def test_a_picture_of_thirty_days_of_large_numbers_is_short_enough_to_be_shown() -> None:
    days = {DAY - timedelta(days=ago): ChainDay(90_000 + 7_919 * ago % 10_007, 10**6 * ago) for ago in range(30)}
    assert len(days_picture(DAY, days).value) <= INLINE_LIMIT


def test_a_diff_cannot_be_ended_by_a_value_and_is_short_whatever_is_in_it() -> None:
    long = Change("id", "n" * 500, "custom_fields.x", "```\n# gone\n" * 50, "y" * 500)
    shown = changes_diff([long] * 40, {"created": 3, "missing": 1}, "s" * 60, DAY)
    assert shown is not None
    text = str(shown.value)
    assert len(text) <= INLINE_LIMIT
    assert text.count("```") == 2
    assert text.startswith("```diff\n+ 3 machines new\n- 1 machine missing\n")
    assert " more: `asset-ledger changes" in text
    assert changes_diff([], {"created": 0}, "s", DAY) is None
