"""Agents published from the command line: whole or not at all, and never changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def acme(cli: Cli) -> None:
    assert cli("tenants", "add", "acme").code == 0


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / "agent"
    path.write_bytes(b"\x7fELF" * 1000)
    return path


def files(project: Path) -> list[Path]:
    return [path for path in (project / "home" / "agent-binaries").rglob("*") if path.is_file()]


@pytest.mark.usefixtures("acme")
def test_a_version_is_published_listed_and_withdrawn(cli: Cli, project: Path, agent: Path) -> None:
    done = cli(
        "agents", "versions", "add", "1.2.0", "--binary", f"linux-amd64={agent}", "--changelog", "new", "--latest"
    )
    assert (done.code, done.out) == (0, "1.2.0: published, and the latest\n"), done.err
    digest = hashlib.sha256(agent.read_bytes()).hexdigest()
    assert digest in done.err
    (listed,) = json.loads(cli("agents", "versions", "list", "--json").out)
    assert listed["is_latest"] is True
    assert listed["binaries"]["linux-amd64"]["sha256"] == digest
    assert [path.read_bytes() for path in files(project)] == [agent.read_bytes()]
    assert "linux-amd64 (3.9 KiB)" in cli("agents", "versions", "list").out
    assert cli("agents", "versions", "withdraw", "1.2.0").code == 0
    assert "withdrawn" in cli("agents", "versions", "list").out
    assert "it was withdrawn" in cli("agents", "versions", "latest", "1.2.0").err
    kinds = [row["action"] for row in json.loads(cli("audit", "list", "--json").out) if "agent_version" in row["type"]]
    assert kinds == ["withdraw", "latest", "upload linux-amd64", "add"]


@pytest.mark.usefixtures("acme")
def test_a_published_binary_never_changes(cli: Cli, project: Path, agent: Path) -> None:
    arguments = ("agents", "versions", "add", "1.2.0", "--binary", f"linux-amd64={agent}")
    assert cli(*arguments).code == 0
    assert cli(*arguments).code == 0, "the same again is nothing new"
    agent.write_bytes(b"another")
    refused = cli(*arguments)
    assert refused.code == 1
    assert "which never changes: take the next version" in refused.err
    assert len(files(project)) == 1


@pytest.mark.usefixtures("acme")
def test_what_cannot_be_published_is_said(cli: Cli, project: Path, agent: Path) -> None:
    empty = project / "empty"
    empty.write_bytes(b"")
    for arguments, why in (
        (("add", "1.2", "--binary", f"linux-amd64={agent}"), "is no version"),
        (("add", "1.2.0+b", "--binary", f"linux-amd64={agent}"), "leave it out"),
        (("add", "1.2.0", "--binary", f"linux-vax={agent}"), "give PLATFORM=FILE"),
        (("add", "1.2.0", "--binary", str(agent)), "give PLATFORM=FILE"),
        (("add", "1.2.0", "--binary", f"linux-amd64={project}/none"), "No such file"),
        (("add", "1.2.0", "--binary", f"linux-amd64={empty}"), "it is empty"),
        (("latest", "1.2.0"), "it has no binary yet"),
        (("withdraw", "9.9.9"), "there is no such version"),
    ):
        done = cli("agents", "versions", *arguments)
        assert done.code == 1, arguments
        assert why in done.err, arguments
    assert files(project) == []
