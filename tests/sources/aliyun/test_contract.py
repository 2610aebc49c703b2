"""What the contract suite asks of every registered platform, asked of readings that are made here and now."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_ledger.domain.inventory import AssetRecord, TargetFailure
from asset_ledger.sources.aliyun import PLATFORM
from asset_ledger.sources.config import parse_sources
from asset_ledger.sources.registry import PLATFORMS, error_codes, platform
from tests.contract import test_parse as parsing
from tests.contract import test_platform as described
from tests.contract.readings import Reading
from tests.sources.aliyun.kept import write


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the platform, and forget it afterwards where it was not."""
    monkeypatch.setitem(PLATFORMS, "aliyun", "asset_ledger.sources.aliyun")
    platform.cache_clear()
    yield
    platform.cache_clear()


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> list[Reading]:
    folder = tmp_path_factory.mktemp("aliyun")
    write(folder)
    return [Reading(PLATFORM, path) for path in sorted(folder.glob("*.raw.json"))]


@pytest.mark.parametrize(
    "rule",
    [
        described.test_a_platform_says_who_it_is,
        described.test_a_contract_has_what_it_needs,
        described.test_parse_takes_a_raw_record_and_what_is_known,
        described.test_every_field_of_the_configuration_is_described,
        described.test_no_field_of_the_configuration_holds_a_secret,
        described.test_error_codes_bear_the_platforms_name,
        described.test_the_platform_has_a_page_with_every_field_and_every_code,
    ],
    ids=lambda rule: rule.__name__,
)
def test_the_platform_is_what_the_contract_wants(rule: object) -> None:
    rule(platform("aliyun"))  # type: ignore[operator]


def test_its_codes_and_ranks_are_its_own() -> None:
    assert {code.code for code in PLATFORM.error_codes} <= {code.code for code in error_codes()}
    described.test_ranks_put_every_two_platforms_in_an_order()


def test_every_code_says_what_it_means_and_what_to_do() -> None:
    for code in PLATFORM.error_codes:
        described.test_an_error_code_says_what_it_means_and_what_to_do(code)


@pytest.mark.parametrize(
    "rule",
    [
        parsing.test_parsing_twice_gives_the_same,
        parsing.test_parsing_leaves_its_raw_as_it_was,
        parsing.test_parsing_asks_no_clock,
        parsing.test_every_document_is_normalized_v1_and_a_second_library_agrees,
        parsing.test_an_absent_fact_has_a_reason_and_a_present_one_has_none,
        parsing.test_what_identifies_a_record_is_there_and_there_once,
        parsing.test_what_is_known_only_saves_work,
        parsing.test_no_item_holds_what_looks_like_a_secret,
    ],
    ids=lambda rule: rule.__name__,
)
def test_every_reading_is_what_the_contract_wants(rule: object, readings: list[Reading]) -> None:
    for reading in readings:
        rule(reading)  # type: ignore[operator]


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.8, 0.95])
def test_a_reading_that_was_cut_short_is_never_a_shorter_list(readings: list[Reading], part: float) -> None:
    for reading in readings:
        parsing.test_a_reading_that_was_cut_short_is_never_a_shorter_list(reading, part)


def test_kept_readings_show_a_record_and_a_failure_and_no_secret(readings: list[Reading]) -> None:
    shown = {type(item) for reading in readings for item in reading.items()}
    assert {AssetRecord, TargetFailure} <= shown
    assert not any("hunter2" in reading.path.read_text(encoding="utf-8") for reading in readings)


def test_a_source_may_say_no_more_than_who_asks() -> None:
    found, problems = parse_sources(
        {
            "sources": [
                {"name": "ali", "platform": "aliyun", "credential_ref": "file:ali"},
                {"name": "b", "platform": "aliyun"},
            ]
        }
    )
    assert problems == []
    assert [type(source) for source in found] == [PLATFORM.config] * 2


def test_a_secret_in_the_file_is_refused_without_being_quoted() -> None:
    entry = {"name": "ali", "platform": "aliyun", "access_key_secret": "canary", "credential_ref": "canary"}
    _, problems = parse_sources({"sources": [entry]})
    assert len(problems) == 2
    assert "canary" not in str(problems)


def test_naming_the_platform_imports_nothing_heavy() -> None:
    code = (
        "import sys; import asset_ledger.sources.aliyun; "
        "print([name for name in ('urllib3', 'ssl', 'http.client', 'structlog', 'requests') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
