"""What the reading commands say of a ledger that the real pipeline filled, on the screen and as JSON."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from asset_ledger.cli.overview import print_overview
from asset_ledger.cli.screen import clean, machine_today
from asset_ledger.pipeline.ledger import Ledger
from tests.cli.conftest import HEADER, Cli


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def test_an_empty_ledger_says_what_to_do_next(cli: Cli) -> None:
    for command in (["assets", "list"], ["tags", "list"], ["runs", "list"], ["instances", "list"], ["links", "list"]):
        done = cli(*command)
        assert (done.code, done.out) == (0, ""), command
        assert "asset-ledger" in done.err, command
    assert json.loads(cli("assets", "list", "--json").out) == {"total": 0, "limit": 50, "offset": 0, "assets": []}


def test_the_list_has_its_columns_and_its_ids_whole_in_a_pipe(cli: Cli, filled: str) -> None:
    lines = cli("assets", "list").out.splitlines()
    headings = "hostname mgmt_ip type cpu GiB disk GiB os tags sources last seen id"
    assert " ".join(lines[0].split()) == headings
    assert [line.split()[0] for line in lines[2:6]] == ["new-04", "old-03", "web-01", "数据库-02"]
    database = lines[5]
    for shown in ("10.0.0.2", "physical", "32", "256", "rhel 9", "db, prod", "office", "2026-01-11 ("):
        assert shown in database
    assert {width(line[: line.index("10.0.0.")]) for line in lines[2:6]} == {width(lines[0][: lines[0].index("mgmt")])}
    ids = {asset["id"] for asset in json.loads(cli("assets", "list", "--json").out)["assets"]}
    assert {line.split()[-1] for line in lines[2:6]} == ids
    assert lines[6] == "4 machines"
    assert "1 to 2 of 4; next: --offset 2" in cli("assets", "list", "--limit", "2").out


def test_json_has_sizes_as_integers_and_days_as_iso(cli: Cli, filled: str) -> None:
    (asset,) = json.loads(cli("assets", "list", "--search", "web-0", "--json").out)["assets"]
    assert asset["memory_bytes"] == 8 * 2**30
    assert asset["cpu_cores"] == 8
    assert asset["last_seen_date"] == "2026-01-11"
    assert asset["last_seen_at"].endswith("+00:00")
    assert asset["tags"] == ["prod", "web"]


def test_show_has_everything_about_one_machine(cli: Cli, filled: str) -> None:
    done = cli("assets", "show", "web-01", "--days", "3660")
    for shown in (
        "8 GiB (8589934592)", "custom.备注", "machine 10.0.0.1", "created", "unknown: NOT_REPORTED",
        "hardware.disk_total_bytes: NOT_REPORTED", "2026-01-10", "10.0.0.1, 10.9.9.9",
    ):  # fmt: skip
        assert shown in done.out
    happened = done.out[done.out.index("What happened, newest first") :].splitlines()
    assert "  2026-01-11  ● cpu_cores 4 → 8  (office, known otherwise on 2026-01-10)" in happened
    assert "  2026-01-10  ● appeared as machine 10.0.0.1  (office)" in happened
    assert "and older ones: --events 2, or --all" in cli("assets", "show", "web-01", "--events", "1").out
    assert "and older ones" not in cli("assets", "show", "web-01", "--all").out
    assert "orders" in cli("assets", "show", "数据库-02").out
    page = json.loads(cli("assets", "show", "10.0.0.1", "--days", "3660", "--json").out)
    assert page["sources"][0]["document"]["hardware"]["cpu_count"] == 8
    assert [day["cpu_cores"] for day in page["history"]] == [8, 4]
    assert page["changes"][0]["before"] == 4


def test_the_list_of_a_past_day_says_what_was_read_and_what_is_carried(cli: Cli, filled: str) -> None:
    lines = cli("assets", "list", "--as-of", "2026-01-11").out.splitlines()
    assert " ".join(lines[0].split()) == "hostname mgmt_ip type cpu GiB disk GiB os power sources as of id"
    of = {line.split()[0]: line for line in lines[2:6]}
    assert "read that day" in of["web-01"]
    assert "carried, 1 day old" in of["old-03"]
    assert lines[-1] == "4 machines as of 2026-01-11"
    assert "carried, 2 days old" in cli("assets", "list", "--as-of", "2026-01-12", "--search", "old").out
    page = json.loads(cli("assets", "list", "--as-of", "2026-01-10", "--cpu", "4", "--json").out)
    assert (page["as_of"], page["total"], page["assets"][0]["hostname"]) == ("2026-01-10", 1, "web-01")
    assert [asset["hostname"] for asset in json.loads(cli("assets", "list", "--cpu", "8", "--json").out)["assets"]] == [
        "web-01"
    ]
    none = cli("assets", "list", "--as-of", "2026-01-09")
    assert (none.code, none.err) == (0, "No machine like that was known as of 2026-01-09.\n")
    # nothing of January was in the ledger in January
    assert "as it was known at" in cli("assets", "list", "--as-of", "2026-01-10", "--known-at", "2026-01-20").err


def test_a_machine_of_a_past_day_is_shown_with_the_age_of_what_is_known(cli: Cli, filled: str) -> None:
    shown = cli("assets", "show", "web-01", "--as-of", "2026-01-10").out
    assert shown.splitlines()[1] == "as of 2026-01-10 (read that day)"
    for fact in (
        "cpu_cores         4",
        "memory_bytes      8 GiB",
        "10.0.0.1, 10.9.9.9",
        "unknown: NOT_REPORTED",
        "hardware.cpu_count",
    ):
        assert fact in shown
    assert "as of 2026-01-14 (carried, 3 days old)" in cli("assets", "show", "web-01", "--as-of", "2026-01-14").out
    assert "~8 (3 d)" in cli("assets", "show", "web-01", "--as-of", "2026-01-14").out
    assert json.loads(cli("assets", "show", "web-01", "--as-of", "2026-01-10", "--json").out)["cpu_cores"] == 4
    assert "nothing was known of it as of 2026-01-09" in cli("assets", "show", "web-01", "--as-of", "2026-01-09").err
    assert "as of 2026-03-11 (carried, 59 days old)" in cli("assets", "show", "web-01", "--as-of", "2026-03-11").out


@pytest.mark.parametrize(
    "options",
    [
        ["--as-of", (machine_today() + timedelta(days=1)).isoformat()],
        ["--as-of", "2026-02-30"],
        ["--as-of", "friday"],
        ["--known-at", "2026-01-10T10:00"],
        ["--known-at", "2999-01-01"],
        ["--as-of", "2026-01-12", "--known-at", "2026-01-11"],
    ],
)
def test_a_past_that_makes_no_sense_is_refused(cli: Cli, options: list[str]) -> None:
    for command in (["assets", "list"], ["assets", "show", "web"]):
        refused = cli(*command, *options)
        assert refused.code == 2
        assert "Invalid value for" in refused.err


def test_what_is_not_kept_by_day_is_not_asked_of_a_day(cli: Cli, filled: str) -> None:
    for option in (["--tag", "prod"], ["--protocol", "ssh"]):
        assert cli("assets", "list", "--as-of", "2026-01-11", *option).code == 2
    assert cli("assets", "list", "--missing", "--retired").code == 2


def test_what_is_missing_or_retired_is_asked_of_a_day_as_of_today(cli: Cli, filled: str) -> None:
    assert cli("assets", "retire", "web-01").code == 0
    (now,) = json.loads(cli("assets", "list", "--retired", "--json").out)["assets"]
    today = ["--as-of", machine_today().isoformat()]
    (then,) = json.loads(cli("assets", "list", "--retired", *today, "--json").out)["assets"]
    assert (then["id"], then["retired_at"]) == (now["id"], now["deleted_at"])
    assert f", retired {machine_today()}" in cli("assets", "list", "--all", *today).out
    assert "web-01" not in cli("assets", "list", *today).out
    assert json.loads(cli("assets", "list", "--missing", *today, "--json").out)["assets"] == []


def test_changes_are_told_in_words_and_as_json(cli: Cli, filled: str) -> None:
    january = ["--since", "2026-01-01", "--until", "2026-01-31"]
    told = cli("changes", *january).out.splitlines()
    assert told[2].split() == ["2026-01-11", "web-01", "office", "cpu_cores", "4", "→", "8", "2026-01-10"]
    assert any("appeared as machine 10.0.0.4" in line for line in told)
    assert len(cli("changes", *january, "--asset", "web-01", "--field", "cpu_cores").out.splitlines()) == 3
    assert "1 to 2; next: --offset 2" in cli("changes", *january, "--limit", "2").out
    page = json.loads(cli("changes", *january, "--limit", "1", "--json").out)
    assert (page["more"], page["changes"][0]["before"], page["changes"][0]["after"]) == (True, 4, 8)
    assert "Nothing changed from" in cli("changes").err
    assert "Nothing like that changed" in cli("changes", "--field", "cpu_cores").err
    assert cli("changes", "--since", "2026-02-01", "--until", "2026-01-01").code == 2
    assert cli("changes", "--since", "soon").code == 2
    assert "appeared as machine 10.0.0.4" in cli("changes", *january, "--field", "record").out
    refused = cli("changes", *january, "--field", "missing")
    assert refused.code == 2
    for known in ("'missing' is none of", "cpu_cores", "record", "runs_on"):
        assert known in refused.err


def test_zones_are_shown_where_there_are_several(cli: Cli, filled: str, ledger: Ledger) -> None:
    for command in (["assets", "list"], ["assets", "list", "--as-of", "2026-01-11"]):
        assert "zone" not in cli(*command).out.splitlines()[0]
    with ledger.connect() as connection:
        connection.execute(
            "INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank) "
            "SELECT 'vpc', platform, platform_type, source_type, 'vpc', naming_rank, specs_rank FROM ledger.sources"
        )
        for table in ("asset_source_links", "asset_daily_specs"):
            connection.execute(
                f"UPDATE ledger.{table} SET source_id = (SELECT id FROM ledger.sources WHERE name = 'vpc') "
                "WHERE asset_id = (SELECT id FROM ledger.assets WHERE hostname = 'old-03')"
            )
        connection.execute("UPDATE ledger.assets SET zone = 'vpc' WHERE hostname = 'old-03'")
    for command in (["assets", "list"], ["assets", "list", "--as-of", "2026-01-11"]):
        lines = cli(*command).out.splitlines()
        assert lines[0].split()[:4] == ["hostname", "mgmt_ip", "zone", "type"]
        zones = {line.split()[0]: line.split()[2] for line in lines[2:6]}
        assert (zones["old-03"], zones["web-01"]) == ("vpc", "default")


def test_an_address_of_two_machines_names_both(cli: Cli, filled: str) -> None:
    done = cli("assets", "show", "10.9.9.9")
    assert done.code == 1
    assert done.err.startswith("ASSET_AMBIGUOUS: 10.9.9.9: 2 ledger assets answer to it")
    assert "web-01" in done.err
    assert "数据库-02" in done.err


def test_tags_are_added_removed_and_told_with_who_did_it(cli: Cli, filled: str) -> None:
    assert cli("tags", "add", "web-01", "vip", "prod").out == "web-01: added: vip; was there: prod\n"
    assert cli("tags", "remove", "web-01", "prod", "none").out == "web-01: removed: prod; was not there: none\n"
    shown = json.loads(cli("tags", "list", "web-01", "--json").out)
    assert [(tag["tag"], tag["added_by"], tag["removed_by"]) for tag in shown] == [
        ("vip", "li.lei", None), ("web", "office", None), ("prod", "office", "li.lei"),
    ]  # fmt: skip
    assert cli("tags", "list").out.splitlines()[2].split() == ["db", "1"]
    refused = cli("tags", "add", "web-01", "a,b")
    assert refused.code == 2
    assert "web-01" in cli("assets", "list", "--tag", "vip", "--tag", "web").out
    assert "No machine" in cli("assets", "list", "--tag", "vip", "--tag", "db").err


def test_runs_are_listed_and_shown_by_the_beginning_of_their_id(cli: Cli, filled: str) -> None:
    lines = cli("runs", "list").out.splitlines()
    assert lines[2].split()[:4] == [filled, "office", "collect", "2026-01-11"]
    assert "1 in conflict; rows not taken: 1 (1 cells)" in lines[2]
    assert len(json.loads(cli("runs", "list", "--failed", "--json").out)) == 1
    shown = cli("runs", "show", filled).out
    assert "database instances 1: 1 new" in cli("runs", "show", "run-inst").out
    assert "IDENTITY_CONFLICT" in shown
    for machine in ("web-01  10.0.0.1  zone default", "数据库-02  10.0.0.2  zone default"):
        assert machine in shown  # which are in conflict
    assert "IMPORT_NUMBER_INVALID" in shown
    assert "2 failed, 1 partial" in shown
    page = json.loads(cli("runs", "show", filled, "--limit", "1", "--offset", "1", "--json").out)
    assert [target["error_code"] for target in page["targets"]] == ["IDENTITY_CONFLICT"]
    assert cli("runs", "show", "run-hosts").code == 2
    assert cli("runs", "show", "nosuch").code == 2


def test_instances_and_links_name_the_machine(cli: Cli, filled: str) -> None:
    assert "数据库-02" in cli("instances", "list").out
    (link,) = json.loads(cli("links", "list", "--json").out)
    assert (link["hostname"], link["match_status"], link["confidence"]) == ("数据库-02", "confirmed", 95)
    assert "mgmt_ip, 95 %" in cli("links", "list").out


def test_sources_of_the_file_and_of_the_ledger_are_listed(cli: Cli, filled: str, ledger: Ledger) -> None:
    states = {source["name"]: source["state"] for source in json.loads(cli("sources", "list", "--json").out)}
    assert states == {"office": "enabled", "probe": "enabled", "old_office": "disabled"}
    row = next(line for line in cli("sources", "list").out.splitlines() if line.startswith("office"))
    assert row.split()[:5] == ["office", "enabled", "import", "push", "default"]
    assert "2026-01-11" in row
    ledger.settings.sources_file.unlink()
    done = cli("sources", "list")
    assert done.out.splitlines()[2].split()[:3] == ["office", "removed", "import"]
    assert "sources.example.yaml" in done.err
    assert cli("assets", "list").code == 0


def test_a_cell_cannot_speak_to_the_terminal(cli: Cli, project: Path, fill: Callable[[str, str, str], str]) -> None:
    fill("hosts.csv", "2026-01-10", "mgmt_ip,hostname,备注\n10.0.0.1,web,[bold]x[/bold]\n")
    assert "[bold]x[/bold]" in cli("assets", "show", "web").out
    (project / "hosts.csv").write_text("mgmt_ip,hostname\n10.0.0.2,\x1b[2Jweb\n")
    planned = cli("import", "hosts.csv", "-n").out
    assert "rows not taken: 1" in planned
    assert "\x1b" not in planned
    assert clean("a\x1b[2J\x9b\u202eb\n") == "a\\x1b[2J\\x9b\\x202eb\n"


def test_an_error_code_is_explained(cli: Cli) -> None:
    assert "what to do" in cli("errors", "raw_missing").out
    assert "did you mean RAW_MISSING" in cli("errors", "RAW_MISING").err.replace("\n│ ", " ")
    codes = json.loads(cli("errors", "--json").out)
    page = cli("errors", "--markdown").out
    assert all(f"`{code['code']}`" in page for code in codes)


@pytest.mark.parametrize(
    "options",
    [
        ["--date", "2026-01-10", "--from", "2026-01-10"],
        ["--from", "2026-01-10"],
        ["--from", "2026-01-11", "--to", "2026-01-10"],
        ["--date", "yesterday"],
        ["--date", (machine_today() + timedelta(days=1)).isoformat()],
    ],
)
def test_days_that_make_no_sense_are_refused_before_anything_starts(cli: Cli, options: list[str]) -> None:
    assert cli("sources", "collect", "office", *options).code == 2


def test_one_row_that_needs_a_look_is_one(fill: Callable[[str, str, str], str], ledger: Ledger) -> None:
    fill("hosts.csv", "2026-01-10", HEADER + "10.0.0.1,web,vm,,4,8,,,,,\n10.0.0.2,bad,vm,,many,8,,,,,\n")
    told = io.StringIO()
    with ledger.connect() as connection:
        print_overview(connection, Console(file=told, soft_wrap=True))
    assert "1 target or row that needs a look." in told.getvalue()
