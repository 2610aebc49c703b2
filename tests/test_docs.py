"""The docs say what is so: generated pages are today's, links lead somewhere, and files that are named exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asset_ledger.sources.error_pages import markdown
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.sources.registry import PLATFORMS, error_codes, platform

PROJECT = Path(__file__).parents[1]
PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_QUOTED = re.compile(r"`([\w.\-]+(?:/[\w.\-]+)+)`")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
OURS = ("asset_ledger/", "docs/", "tests/", "deploy/", "examples/", "benchmarks/")


def ids(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(page: Path) -> list[str]:
    dead: list[str] = []
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        there_is = there.exists() and there.is_relative_to(PROJECT)
        if not there_is or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            dead.append(target)
    return dead


def missing_files(page: Path) -> list[str]:
    named = _QUOTED.findall(page.read_text(encoding="utf-8"))
    return [name for name in named if name.startswith(OURS) and not (PROJECT / name).exists()]


def test_the_page_of_error_codes_is_the_registrys() -> None:
    page = PROJECT / "docs" / "error-codes.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run `make docs`"


def test_the_page_of_error_codes_has_every_code_once() -> None:
    listed = re.findall(r"^\| `([A-Z0-9_]+)` \|", markdown(), re.MULTILINE)
    assert sorted(listed) == [code.code for code in error_codes()]


def test_a_table_is_not_broken_by_what_stands_in_it() -> None:
    for line in markdown().splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 6, line


def test_sources_yaml_is_described_field_by_field() -> None:
    page = (PROJECT / "docs" / "sources-yaml.md").read_text(encoding="utf-8")
    for name, field in SourceConfig.model_fields.items():
        assert re.search(rf"^\| `{name}` \|.*\| {re.escape(field.description or '')} \|$", page, re.MULTILINE), name
    for name in PLATFORMS:
        assert f"(platforms/{name}.md)" in page


def test_the_pages_of_platforms_say_what_their_fields_say() -> None:
    for name in PLATFORMS:
        page = (PROJECT / "docs" / "platforms" / f"{name}.md").read_text(encoding="utf-8")
        for field, info in platform(name).config.model_fields.items():
            # a table of columns may have a row of the same name; a setting's row has its default in the middle
            told = re.search(rf"^\| `{field}` \| [^|]* \| ([^|]*) \|$", page, re.MULTILINE)
            assert told is None or told[1] == info.description, field


def test_the_pages_of_platforms_say_what_their_codes_say() -> None:
    for name in PLATFORMS:
        page = (PROJECT / "docs" / "platforms" / f"{name}.md").read_text(encoding="utf-8")
        for code in platform(name).error_codes:
            told = re.search(rf"^\| `{code.code}` \| (.*) \|$", page, re.MULTILINE)
            assert told is None or told[1] == f"{code.meaning} | {code.advice}", code.code


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    assert missing_files(page) == []


def test_a_dead_link_and_a_missing_file_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](gone.md) [b](#no-such-title) `asset_ledger/gone.py` `asset_ledger/settings.py`\n# A title\n")
    assert missing_files(page) == ["asset_ledger/gone.py"]
    assert "gone.md" in dead_links(page)
    assert "#no-such-title" in dead_links(page)


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [PROJECT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        text = _FENCE.sub("", page.read_text(encoding="utf-8"))
        for target in _LINK.findall(text):
            path = target.partition("#")[0]
            there = (page.parent / path).resolve() if path else page
            waiting += sorted(there.glob("*.md")) if there.is_dir() else [there]
    assert [ids(page) for page in PAGES if page not in reached] == []
