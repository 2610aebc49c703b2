"""docs/operations.md says what is so: every command that it names is there with its options, every variable is read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from asset_ledger.cli.main import COMMANDS, app

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
_FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return every `asset-ledger` command of the page, in its words."""
    found = [line.removeprefix("$ ") for block in _FENCED.findall(PAGE) for line in block.splitlines()]
    found += re.findall(r"`([^`\n]+)`", _FENCED.sub("", PAGE))
    return sorted({line.partition("#")[0].strip() for line in found if line.startswith("asset-ledger ")})


def option_names(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_page_is_there(command: str) -> None:
    words = shlex.split(command)[1:]
    words = words[: words.index("--")] if "--" in words else words
    assert words[0] in COMMANDS
    group = app_of(words[0])
    path = [words[0]]
    if isinstance(group, typer.core.TyperGroup):
        assert words[1] in group.commands, f"{words[0]} has no command {words[1]}"
        path.append(words[1])
    told = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "250"})
    assert told.exit_code == 0
    assert {word for word in words if word.startswith("--")} <= option_names(told.output)


def app_of(name: str) -> object:
    root = typer.main.get_command(app)
    return root.get_command(None, name)  # type: ignore[attr-defined, arg-type]


def test_enough_commands_are_looked_at() -> None:
    assert len(commands()) > 25


def test_every_variable_of_the_page_is_one_that_is_read() -> None:
    read = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("asset_ledger", "deploy")
        for path in sorted((PROJECT / folder).rglob("*"))
        if path.suffix in {".py", ".sh", ".yaml"}
    )
    for name in set(re.findall(r"ASSET_LEDGER_[A-Z_]+", PAGE)):
        assert name in read, name


def test_every_path_of_the_page_below_deploy_is_there() -> None:
    for name in set(re.findall(r"(?<![\w/])deploy/[\w./*-]*[\w*]", PAGE)):
        assert list(PROJECT.glob(name)), name


def test_every_unit_of_the_page_is_there() -> None:
    units = {path.name.partition(".")[0] for path in (PROJECT / "deploy" / "systemd").glob("*.service")}
    for line in re.findall(r"^systemctl (?:enable --now|start|stop) (.*)$", PAGE, re.MULTILINE):
        for name in line.split():
            assert name.removesuffix(".timer") in units or name == "postgresql", name


def test_the_outputs_of_the_page_are_what_the_program_says_now() -> None:
    """The run of the page is the one that tests/cli fills a ledger with; here its error code's page, word for word."""
    told = CliRunner().invoke(app, ["errors", "IDENTITY_CONFLICT"]).output.strip()
    assert told in PAGE


def test_the_table_of_growth_follows_from_the_bytes_above_it() -> None:
    def number(pattern: str) -> int:
        found = re.search(pattern, PAGE)
        assert found, pattern
        return int(found[1].replace(",", ""))

    a_day, once = (
        number(r"grows with days\*\*, a machine and day \| \*\*([\d,]+)\*\*"),
        number(r"costs once \| ([\d,]+)"),
    )
    rows = re.findall(r"^\| \*{0,2}([\d,]+) x ([\d,]+)\*{0,2} \| \*{0,2}([\d.]+) GiB", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for machines, days, gib in rows:
        count = int(machines.replace(",", ""))
        whole = count * (once + int(days.replace(",", "")) * a_day) / 2**30
        assert float(gib) == pytest.approx(whole, rel=0.05, abs=0.05), (machines, days)
