"""What every registered platform must be: described, configured, coded and documented. A new one passes too."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from asset_ledger.domain.errors import CORE_CODES, ErrorCode
from asset_ledger.sources.config import load_sources
from asset_ledger.sources.platform import Platform, SourceConfig
from asset_ledger.sources.registry import PLATFORMS, error_codes, platform
from tests.contract.readings import FIXTURES

PROJECT = Path(__file__).parents[2]
EXAMPLE = PROJECT / "sources.example.yaml"
WRAPPERS = ("assets", "resources", "sensors", "schedules", "definitions.py", "launch.py")
# the order of words in English tells an instruction: it begins with none of these
NO_INSTRUCTION = {"a", "an", "the", "this", "that", "it", "you", "we", "there", "these", "those", "its", "your"}


def own_fields(found: Platform) -> list[str]:
    return [name for name in found.config.model_fields if name not in SourceConfig.model_fields]


def test_a_platform_says_who_it_is(platform: Platform) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", platform.name)
    assert platform.title[:1].isupper()
    assert not platform.title.endswith(".")
    assert re.fullmatch(r"[a-z][a-z0-9_]*", platform.kind)
    assert platform.platform_type
    assert platform.parser_version >= 1
    assert platform.pool_limit >= 1
    assert platform.scopes
    assert platform.tables[0] == "ledger_assets"
    assert len(set(platform.tables)) == len(platform.tables)


def test_ranks_put_every_two_platforms_in_an_order() -> None:
    every = [platform(name) for name in PLATFORMS]
    for rank in ("naming_rank", "specs_rank"):
        ranks = [getattr(one, rank) for one in every]
        assert all(rank > 0 for rank in ranks)
        assert len(set(ranks)) == len(ranks), f"two platforms share a {rank}: whose word counts would be chance"


def test_a_contract_has_what_it_needs(platform: Platform) -> None:
    brought = "queue" if platform.queue is not None else "accept"
    needed = {"pull": ("open",), "probe": ("open", "select"), "push": (brought,)}[platform.contract]
    missing = [part for part in needed if getattr(platform, part) is None]
    assert not missing, f"a {platform.contract} platform needs {missing}"
    assert (platform.select is not None) == (platform.contract == "probe")
    if platform.contract == "push":
        assert (platform.accept is None) != (platform.queue is None), "what is pushed comes by one way"
        assert platform.open is None
        assert platform.default_schedule is None


def test_parse_takes_a_raw_record_and_what_is_known(platform: Platform) -> None:
    assert list(inspect.signature(platform.parse).parameters) == ["raw", "known"]


def test_every_field_of_the_configuration_is_described(platform: Platform) -> None:
    for name, field in platform.config.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        assert field.description[0].isupper() or field.description.startswith("verify:"), name


def test_the_example_file_has_a_valid_source_of_the_platform(platform: Platform) -> None:
    found = [source for source in load_sources(EXAMPLE) if source.platform == platform.name]
    assert found, f"{EXAMPLE.name} shows no source of platform {platform.name}"
    assert all(type(source) is platform.config for source in found)


def test_a_field_that_is_not_known_is_refused(platform: Platform) -> None:
    least = least_source(platform)
    platform.config.model_validate(least)
    with pytest.raises(ValidationError, match="extra_forbidden"):
        platform.config.model_validate(least | {"no_such_field": 1})


def test_a_source_needs_no_more_than_a_name_and_a_platform_or_says_so_in_the_example(platform: Platform) -> None:
    assert isinstance(platform.config.model_validate(least_source(platform)), SourceConfig)


def test_no_field_of_the_configuration_holds_a_secret(platform: Platform) -> None:
    from asset_ledger.domain.secrecy import names_secret

    assert [name for name in platform.config.model_fields if names_secret(name) and not name.endswith("_ref")] == []


def test_a_configured_source_cannot_be_changed(platform: Platform) -> None:
    source = platform.config.model_validate(least_source(platform))
    with pytest.raises(ValidationError, match="frozen"):
        source.name = "other"  # type: ignore[misc]


def test_error_codes_bear_the_platforms_name(platform: Platform) -> None:
    assert platform.error_codes
    wrong = [code.code for code in platform.error_codes if not code.code.startswith(f"{platform.name.upper()}_")]
    assert wrong == []


@pytest.mark.parametrize("code", error_codes(), ids=lambda code: code.code)
def test_an_error_code_says_what_it_means_and_what_to_do(code: ErrorCode) -> None:
    assert re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", code.code)
    assert code.category in ErrorCode.CATEGORIES
    assert code.meaning.strip() == code.meaning != ""
    assert not code.meaning.endswith(".")
    assert code.advice.strip() == code.advice != ""
    assert code.advice[0].isupper()
    assert not code.advice.endswith(".")
    assert code.advice.split()[0].lower() not in NO_INSTRUCTION, "advice is an instruction"


def test_a_category_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="weather"):
        ErrorCode("SSH_RAIN", "weather", retryable=True, meaning="it rains", advice="Wait")


def test_every_error_code_of_the_package_is_registered() -> None:
    registered = {code.code for code in error_codes()}
    defined = {
        node.args[0].value
        for path in (PROJECT / "asset_ledger").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "ErrorCode"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert {code.code for code in CORE_CODES} <= defined, "the search itself finds nothing"
    assert defined - registered == set()


def test_the_platform_has_a_page_with_every_field_and_every_code(platform: Platform) -> None:
    page = PROJECT / "docs" / "platforms" / f"{platform.name}.md"
    assert page.is_file()
    text = page.read_text(encoding="utf-8")
    assert [name for name in own_fields(platform) if not re.search(rf"\b{name}\b", text)] == []
    assert [code.code for code in platform.error_codes if not re.search(rf"\b{code.code}\b", text)] == []


def test_a_platform_has_kept_readings_that_show_both_a_record_and_a_failure(platform: Platform) -> None:
    from asset_ledger.domain.inventory import AssetRecord, RejectedRow, TargetFailure
    from tests.contract.readings import readings

    shown = {type(item) for reading in readings() if reading.platform is platform for item in reading.items()}
    folder = FIXTURES / platform.name / "contract"
    assert AssetRecord in shown, f"{folder} has no reading that gives a record"
    assert shown & {RejectedRow, TargetFailure}, f"{folder} has no reading that gives a failure or a rejection"


def test_adding_a_platform_needs_no_file_of_dagster() -> None:
    root = PROJECT / "asset_ledger"
    files = [
        file
        for wrapper in WRAPPERS
        for file in ([root / wrapper] if wrapper.endswith(".py") else (root / wrapper).rglob("*.py"))
    ]
    assert len(files) > 8, "the search itself finds nothing"
    named: list[str] = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in PLATFORMS:
                named.append(f"{file.relative_to(root)}:{node.lineno}: {node.value!r}")
            if isinstance(node, ast.ImportFrom) and node.module in PLATFORMS.values():
                named.append(f"{file.relative_to(root)}:{node.lineno}: {node.module}")
    assert named == []


def least_source(found: Platform) -> dict[str, object]:
    """Return the fewest fields a source of the platform can do with; what else it needs, the example has."""
    least: dict[str, object] = {"name": "contract", "platform": found.name}
    required = [name for name, field in found.config.model_fields.items() if field.is_required() and name not in least]
    if required:
        example = next(source for source in load_sources(EXAMPLE) if source.platform == found.name)
        shown: dict[str, object] = BaseModel.model_dump(example)
        least |= {name: shown[name] for name in required}
    return least
