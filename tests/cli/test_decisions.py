"""What a person says on the command line: done, told with how to undo it, and undone by doing just that."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cli.conftest import Cli, Done

HEADER = "mgmt_ip,hostname,asset_type,cpu_cores,memory_gb,os_family,SN,custom.rack\n"
HOSTS = HEADER + (
    "10.0.0.1,web-01,vm,4,8,debian,S1,R1\n10.0.0.2,web-02,vm,8,,debian,S1,\n10.0.0.3,db-03,physical,16,64,rhel,S3,\n"
)


@pytest.fixture
def hosts(cli: Cli, fill: Callable[[str, str, str], str]) -> Cli:
    fill("hosts.csv", "2026-01-10", HOSTS)
    return cli


def listed(cli: Cli) -> dict[str, dict[str, Any]]:
    return {asset["hostname"]: asset for asset in json.loads(cli("assets", "list", "--json").out)["assets"]}


def undo(cli: Cli, done: Done) -> Done:
    """Run the command that an answer names for undoing it."""
    (command,) = re.findall(r"Undo: `asset-ledger ([^`]+)`", done.out)
    undone = cli(*shlex.split(command))
    assert undone.code == 0, (command, undone)
    return undone


def candidates(cli: Cli) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cli("duplicates", "list", "--json").out)["candidates"]
    return found


def test_a_hostname_is_set_and_every_answer_undoes_the_one_before(hosts: Cli) -> None:
    before = listed(hosts)
    first = hosts("assets", "set-hostname", "web-01", "shop", "--note", "asked for by sales")
    assert "hostname is now shop" in first.out
    assert listed(hosts).keys() == {"shop", "web-02", "db-03"}
    assert "already, by li.lei" in hosts("assets", "set-hostname", "shop", "shop").out
    again = hosts("assets", "set-hostname", "shop", "shop-2")
    undo(hosts, again)
    assert "shop" in listed(hosts)
    restored = undo(hosts, first)
    assert "again what the sources say" in restored.out
    assert listed(hosts) == before
    assert "nobody had decided" in hosts("assets", "unset", "web-01", "hostname").out


def test_fields_are_set_together_or_not_at_all(hosts: Cli) -> None:
    refused = hosts("assets", "set", "web-01", "os_family=ubuntu", "cpu_cores=9")
    assert (refused.code, refused.err.split(":")[0]) == (1, "DECISION_INVALID")
    assert hosts("decisions", "list", "--all").out == ""
    done = hosts("assets", "set", "web-01", "os_family=ubuntu", "custom_fields.rack=R 9", "asset_type=physical")
    assert done.out.count("Undo:") == 3
    page = json.loads(hosts("assets", "show", "web-01", "--json").out)
    assert (page["os_family"], page["asset_type"], page["custom_fields"]["rack"]) == ("ubuntu", "physical", "R 9")
    undone = hosts("assets", "unset", "web-01", "os_family", "custom_fields.rack", "asset_type")
    assert "'custom_fields.rack=R 9'" in undone.out
    assert listed(hosts)["web-01"]["os_family"] == "debian"
    assert hosts("assets", "set", "web-01", "os_family").code == 2
    assert hosts("assets", "set", "web-01", "os_family=a", "os_family=b").code == 2


def test_a_machine_is_retired_and_restored(hosts: Cli) -> None:
    done = hosts("assets", "retire", "db-03")
    assert "db-03" not in listed(hosts)
    assert "was retired already" in hosts("assets", "retire", "db-03").out
    undo(hosts, done)
    assert "db-03" in listed(hosts)
    assert "it is not retired" in hosts("assets", "restore", "db-03").out


def test_a_retired_machine_is_restored_by_a_name_that_another_has_now(
    hosts: Cli, fill: Callable[[str, str, str], str]
) -> None:
    (former,) = (asset["id"] for asset in listed(hosts).values() if asset["hostname"] == "db-03")
    hosts("assets", "retire", "db-03")
    fill("hosts.csv", "2026-01-11", HEADER + "10.0.0.9,db-03,physical,32,128,rhel,S9,\n")
    assert listed(hosts)["db-03"]["id"] != former
    done = hosts("assets", "restore", "db-03")
    assert "back in the lists" in done.out
    assert former in {asset["id"] for asset in json.loads(hosts("assets", "list", "--json").out)["assets"]}
    undo(hosts, done)
    assert listed(hosts)["db-03"]["id"] != former


def test_nobody_is_nobody(hosts: Cli) -> None:
    for command in (
        ["assets", "set-hostname", "nosuch", "x"], ["assets", "set", "nosuch", "os_family=x"],
        ["assets", "unset", "nosuch", "os_family"], ["assets", "retire", "nosuch"], ["assets", "restore", "nosuch"],
        ["duplicates", "dismiss", "nosuch", "web-01"], ["duplicates", "undismiss", "web-01", "nosuch"],
        ["duplicates", "merge", "nosuch", "web-01", "--yes"], ["duplicates", "unmerge", "web-01"],
        ["duplicates", "show", "web-01", "nosuch"], ["decisions", "list", "--asset", "nosuch"],
    ):  # fmt: skip
        done = hosts(*command)
        assert (done.code, done.err.split(":")[0]) == (1, "ASSET_NOT_FOUND"), command
    assert hosts("decisions", "list", "--all").out == ""


def test_a_pair_is_dismissed_listed_no_more_and_listed_again(hosts: Cli) -> None:
    assert "No two machines" in hosts("duplicates", "list").err
    hosts("duplicates", "undismiss", "web-01", "web-02")  # searches
    shown = hosts("duplicates", "list").out
    for part in ("web-01  10.0.0.1", "web-02  10.0.0.2", "the same serial number S1 (+40)", "1 to 1 of 1", "office"):
        assert part in shown
    done = hosts("duplicates", "dismiss", "web-02", "web-01", "--note", "twins")
    assert candidates(hosts) == []
    assert "li.lei said so" in hosts("duplicates", "dismiss", "web-01", "web-02").out
    assert "that they are two machines" in hosts("duplicates", "show", "web-01", "web-02").out
    assert hosts("duplicates", "merge", "web-01", "web-02", "--yes").code == 1
    undo(hosts, done)
    assert len(candidates(hosts)) == 1
    assert "nobody had said" in hosts("duplicates", "undismiss", "web-01", "web-02").out


def test_a_merge_is_previewed_done_listed_and_undone(hosts: Cli) -> None:
    hosts("duplicates", "undismiss", "web-01", "web-02")
    before, pairs = listed(hosts), candidates(hosts)
    preview = hosts("duplicates", "merge", "web-02", "web-01", "--preview")
    for part in ("days with history: 1 and 1, of which 1 in both", "serial S1", "Nothing was done"):
        assert part in preview.out, part
    assert (listed(hosts), candidates(hosts)) == (before, pairs)
    done = hosts("duplicates", "merge", "web-02", "web-01", "--yes")
    assert listed(hosts).keys() == {"web-01", "db-03"} or listed(hosts).keys() == {"web-02", "db-03"}
    assert candidates(hosts) == []
    assert "one machine in the ledger" in hosts("duplicates", "show", "web-01", "web-02").out
    assert "merged into" in hosts("decisions", "list", "--asset", "10.0.0.1").out
    child = before["web-02"]["id"]
    refused = hosts("duplicates", "merge", child, "db-03", "--yes")  # not all that it is part of
    assert "already, by li.lei" in refused.err
    undo(hosts, undo(hosts, undo(hosts, done)))
    assert (listed(hosts), candidates(hosts)) == (before, pairs)


def test_a_merge_that_nobody_confirms_is_none(hosts: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert hosts("duplicates", "merge", "web-02", "web-01").code == 1
    assert len(listed(hosts)) == 3
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert hosts("duplicates", "merge", "web-02", "web-01").code == 0
    assert len(listed(hosts)) == 2


def test_the_sides_are_shown_with_reasons_and_what_to_do(hosts: Cli) -> None:
    hosts("duplicates", "undismiss", "web-01", "web-02")
    shown = hosts("duplicates", "show", "web-01", "10.0.0.2").out
    for part in ("8 GiB", "the same serial number S1 (+40)", "duplicates dismiss", "duplicates merge"):
        assert part in shown
    assert "nothing exact" in hosts("duplicates", "show", "web-01", "db-03").out
    page = json.loads(hosts("duplicates", "show", "web-01", "web-02", "--json").out)
    assert [machine["hostname"] for machine in page["machines"]] == ["web-01", "web-02"]


def test_decisions_are_listed_in_words(hosts: Cli) -> None:
    hosts("assets", "set-hostname", "web-01", "shop", "--note", "asked")
    hosts("tags", "add", "shop", "vip")
    hosts("tags", "remove", "shop", "vip")
    hosts("duplicates", "dismiss", "shop", "web-02")
    hosts("assets", "retire", "db-03")
    hosts("assets", "restore", "db-03")
    shown = hosts("decisions", "list").out
    for part in ("hostname is shop", "tag vip removed", "is not ", "asked", "li.lei"):
        assert part in shown
    assert "retired" not in shown
    whole = hosts("decisions", "list", "--all").out
    for part in ("restored", "retired", "tag vip added", "in force"):
        assert part in whole
    assert "next: --offset 2" in hosts("decisions", "list", "--limit", "2").out
    about = json.loads(hosts("decisions", "list", "--asset", "web-02", "--json").out)
    assert [each["kind"] for each in about] == ["not_duplicate"]


def test_what_undoes_a_parting_names_what_it_was_merged_into_and_not_the_root(hosts: Cli) -> None:
    ids = {name: asset["id"] for name, asset in listed(hosts).items()}
    assert hosts("duplicates", "merge", "web-02", "web-01", "--yes").code == 0
    assert hosts("duplicates", "merge", ids["web-01"], "db-03", "--yes").code == 0
    parted = hosts("duplicates", "unmerge", ids["web-02"])
    assert f"duplicates merge {ids['web-02']} {ids['web-01']} --yes" in parted.out
    undo(hosts, parted)
    assert hosts("duplicates", "unmerge", ids["web-01"]).code == 0
    assert ids["web-02"] not in {asset["id"] for asset in listed(hosts).values()}  # it came along with web-01


def test_the_name_of_a_merged_machine_does_not_merge_all_of_its_root(hosts: Cli) -> None:
    ids = {name: asset["id"] for name, asset in listed(hosts).items()}
    assert hosts("duplicates", "merge", "web-02", "web-01", "--yes").code == 0
    refused = hosts("duplicates", "merge", "web-02", "db-03", "--yes")
    assert (refused.code, refused.err.split(":")[0]) == (1, "DECISION_INVALID")
    assert ids["web-01"] in refused.err
    assert f"duplicates unmerge {ids['web-02']}" in refused.err
    assert len(listed(hosts)) == 2


def test_a_merge_in_the_list_of_decisions_has_the_id_of_what_it_is_merged_into(hosts: Cli) -> None:
    ids = {name: asset["id"] for name, asset in listed(hosts).items()}
    hosts("assets", "set-hostname", "web-01", "web-02")  # both are called the same then
    assert hosts("duplicates", "merge", ids["web-02"], ids["web-01"], "--yes").code == 0
    (line,) = [line for line in hosts("decisions", "list").out.splitlines() if "merged into" in line]
    assert f"merged into web-02 {ids['web-01']}" in line
    assert ids["web-02"] in line


def test_what_was_merged_later_is_found_as_it_was_known_before(hosts: Cli) -> None:
    ids = {name: asset["id"] for name, asset in listed(hosts).items()}
    before = datetime.now(UTC).isoformat()
    assert hosts("duplicates", "merge", "web-02", "web-01", "--yes").code == 0
    after = datetime.now(UTC).isoformat()

    def shown(name: str, *known_at: str) -> tuple[str, int]:
        page = json.loads(hosts("assets", "show", name, "--as-of", "2026-01-10", *known_at, "--json").out)
        return page["id"], page["cpu_cores"]

    for name in (ids["web-02"], ids["web-02"][:8], "web-02", "10.0.0.2"):
        assert shown(name, "--known-at", before) == (ids["web-02"], 8), name
        assert shown(name, "--known-at", after) == (ids["web-01"], 4), name
        assert shown(name) == (ids["web-01"], 4), name
    for name in (ids["web-01"], "web-01"):
        assert shown(name, "--known-at", before) == (ids["web-01"], 4)
    ambiguous = hosts("assets", "show", "S1", "--as-of", "2026-01-10", "--known-at", before)
    assert ambiguous.err.startswith("ASSET_AMBIGUOUS: S1: 2 ledger assets")
    assert shown("S1", "--known-at", after) == (ids["web-01"], 4)
