"""`asset-ledger replay`: a plan writes nothing and says what the replay then says; a range is one run."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date

import pytest

from asset_ledger.cli.replaying import _Day, _print_day
from asset_ledger.domain.outcome import Correction
from asset_ledger.pipeline.intake import take_files
from asset_ledger.pipeline.ledger import Ledger, source_row
from tests.cli.conftest import HEADER, Cli
from tests.pipeline.importing import everything

FIRST = HEADER + "10.0.0.1,web-01,vm,,4,8,debian,12,,,\n10.0.0.2,db-02,vm,,4,8,debian,12,,,\n"
LATE = HEADER + "10.0.0.1,web-01,vm,,16,8,debian,12,,,\n10.0.0.3,new-03,vm,,1,1,debian,12,,,\n"
WHAT = ("changed", "added", "removed")


@pytest.fixture
def late(ledger: Ledger, fill: Callable[[str, str, str], str]) -> None:
    """Two days, and a file of the first one whose raw is kept and that a killed run did not derive."""
    fill("hosts.csv", "2026-01-10", FIRST)
    fill("hosts.csv", "2026-01-12", FIRST)
    path = ledger.settings.root / "late.csv"
    path.write_text(LATE)
    source = ledger.source("office")
    with ledger.connect() as connection:
        take_files(
            connection,
            source,
            source_row(connection, source),
            [path],
            date(2026, 1, 10),
            inbox=ledger.settings.root / "inbox",
            run_id="killed",
            mode="collect",
        )


def contents(ledger: Ledger) -> object:
    with ledger.connect() as connection:
        return everything(connection)


@pytest.mark.usefixtures("late")
def test_a_plan_writes_nothing_and_the_replay_then_prints_the_same_as_one_run(cli: Cli, ledger: Ledger) -> None:
    before = contents(ledger)
    span = ("--from", "2026-01-09", "--to", "2026-01-12")
    planned = cli("replay", "office", *span, "--plan")
    assert planned.code == 0, planned.err
    assert contents(ledger) == before
    assert planned.out.splitlines()[0] == "office, 2026-01-09 to 2026-01-12, a plan: nothing was written"
    assert "hardware.cpu_count" in planned.out
    assert "a reading that was never derived: machines 2: 1 new, 1 updated" in planned.out
    assert "the same as before: 2026-01-12" in planned.out
    assert "no raw is kept of 2026-01-09, 2026-01-11: they were passed over" in planned.err
    as_json = json.loads(cli("replay", "office", *span, "--plan", "--json").out)
    assert as_json["without_raw"] == ["2026-01-09", "2026-01-11"]
    first, second = as_json["days"]
    (changed,) = (each for each in first["corrections"] if each["what"] == "changed")
    assert {"field": "hardware.cpu_count", "before": 4, "after": 16} in changed["fields"]
    assert second["corrections"] == []

    done = cli("replay", "office", *span)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].startswith("office, 2026-01-09 to 2026-01-12, run ")
    told = [line.split("  ")[0] for line in planned.out.splitlines()[1:]]
    assert [line.split("  ")[0] for line in done.out.splitlines()[1:]] == told
    with ledger.connect() as connection:
        runs = connection.execute(
            "SELECT DISTINCT run_id FROM ledger.sync_target_records WHERE mode = 'replay'"
        ).fetchall()
    assert len(runs) == 1, "a range is one run"
    quiet = cli("replay", "office", *span, "--plan")
    assert "the same as before: 2026-01-10, 2026-01-12" in quiet.out


def test_days_without_raw_and_nonsense_are_refused_with_reasons(cli: Cli, fill: Callable[[str, str, str], str]) -> None:
    fill("hosts.csv", "2026-01-10", FIRST)
    empty = cli("replay", "office", "--from", "2026-01-01", "--to", "2026-01-09", "--plan")
    assert empty.code == 1
    assert "no raw is kept of 2026-01-01 to 2026-01-09" in empty.err
    assert "RAW_MISSING: office" in empty.err
    assert cli("replay", "office", "--from", "yesterday").code == 2
    assert cli("replay", "office", "--from", "2026-01-10", "--to", "2026-01-09").code == 2
    assert cli("replay", "nosuch", "--from", "2026-01-10").code == 1


def spoil(ledger: Ledger, *days: str) -> None:
    """Damage the kept raw of days, as a broken disk would."""
    with ledger.connect() as connection:
        connection.execute(
            "UPDATE ledger.asset_observations SET body = 'x' WHERE collected_date = ANY(%s)",
            [[date.fromisoformat(day) for day in days]],
        )


def test_a_replay_goes_on_behind_days_that_fail_and_names_each_of_them(
    cli: Cli, ledger: Ledger, fill: Callable[[str, str, str], str]
) -> None:
    for number in range(10, 15):
        fill("hosts.csv", f"2026-01-{number}", FIRST)
    spoil(ledger, "2026-01-11", "2026-01-13")
    span = ("--from", "2026-01-10", "--to", "2026-01-14")
    done = cli("replay", "office", *span)
    assert done.code == 1
    assert done.out.splitlines()[1:] == [
        "the same as before: 2026-01-10, 2026-01-12, 2026-01-14",
        "failed, so that what was said before stands: 2026-01-11, 2026-01-13",
    ]
    told = done.err.splitlines()
    assert told[0] == "office: 2 days failed, the other 3 are done"
    assert [line[:24] for line in told[1:]] == ["2026-01-11: RAW_DAMAGED:", "2026-01-13: RAW_DAMAGED:"]

    plan = json.loads(cli("replay", "office", *span, "--plan", "--json").out)
    assert [day["day"] for day in plan["days"] if day["error"]] == ["2026-01-11", "2026-01-13"]

    listed = json.loads(cli("runs", "list", "--mode", "replay", "--json").out)
    assert [(each["collected_date"], each["status"], each["failed"]) for each in listed] == [
        ("2026-01-14", "derived", 0),
        ("2026-01-13", "failed", 1),
        ("2026-01-12", "derived", 0),
        ("2026-01-11", "failed", 1),
        ("2026-01-10", "derived", 0),
    ]
    run_id = listed[0]["run_id"]
    shown = cli("runs", "show", run_id[:8])
    assert shown.code == 0, shown.err
    assert "office for 2026-01-12, replay, derived: hosts.csv" in shown.out
    assert "office for 2026-01-11, replay, failed: hosts.csv" in shown.out
    assert "2 failed, 3 ok" in shown.out
    collected = json.loads(cli("runs", "list", "--mode", "collect", "--json").out)
    assert {(each["status"], each["ok"], each["failed"]) for each in collected} == {("derived", 1, 0)}
    failed = json.loads(cli("runs", "list", "--failed", "--json").out)
    assert {each["run_id"] for each in failed} == {run_id}


def test_days_that_a_replay_did_not_reach_are_not_said_to_be_the_same(
    cli: Cli, fill: Callable[[str, str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill("hosts.csv", "2026-01-10", FIRST)
    fill("hosts.csv", "2026-01-11", FIRST)
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")  # the process of the run dies at its start
    done = cli("replay", "office", "--from", "2026-01-10", "--to", "2026-01-11")
    assert done.code == 1
    assert done.out.splitlines()[1:] == ["not reached: 2026-01-10 to 2026-01-11"]
    assert "its process ended with exit code" in done.err


def test_a_day_that_only_its_identifiers_changed_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    day = date(2026, 1, 10)
    corrections = [Correction(f"{number}", f"vm-{number}", None, what, ()) for number, what in enumerate(WHAT)]
    _print_day(_Day(day, corrections))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if "vm-" in line]
    assert lines == [
        "vm-0 0 changed its identifiers or generation - -",
        "vm-1 1 added - - -",
        "vm-2 2 removed - - -",
    ]


def test_a_relation_that_a_replay_changes_is_told_by_its_ends(capsys: pytest.CaptureFixture[str]) -> None:
    before, after = ([{"kind": "runs_on", "external_kind": "host", "external_id": host}] for host in ("n1", "n3"))
    _print_day(_Day(date(2026, 1, 10), [Correction("0", "vm-0", None, "changed", (("relations", before, after),))]))
    (line,) = [each.split() for each in capsys.readouterr().out.splitlines() if "vm-0" in each]
    assert line == ["vm-0", "0", "changed", "runs_on", "n1", "n3"]
