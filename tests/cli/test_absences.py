"""`asset-ledger absences`, and `import --complete`, which is how a file makes something missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import take_files
from asset_ledger.pipeline.ledger import Ledger, source_row
from tests.cli.conftest import HEADER, Cli


def hosts(numbers: range) -> str:
    return HEADER + "".join(f"10.0.0.{n},host-{n:02},vm,,4,8,debian,12,,,\n" for n in numbers)


@pytest.fixture
def whole(ledger: Ledger) -> Callable[[str, str], int]:
    """Import a file that lists every machine, as a run does; return the reading's number."""

    def take(day: str, text: str) -> int:
        path = ledger.settings.root / f"hosts_{day}.csv"
        path.write_text(text)
        source, of_day, inbox = ledger.source("office"), date.fromisoformat(day), ledger.settings.root / "inbox"
        with ledger.connect() as connection:
            row = source_row(connection, source)
            run_id = f"run-{day}"
            take_files(
                connection, source, row, [path], of_day, inbox=inbox, run_id=run_id, mode="collect", complete=True
            )
            derived = derive_day(connection, source, row, of_day, run_id=run_id, mode="collect", inbox=inbox)
            return derived.readings[-1].inventory.id

    return take


def missing(ledger: Ledger) -> int:
    with ledger.connect() as connection:
        row = connection.execute("SELECT count(*) FROM ledger.assets WHERE missing_since IS NOT NULL").fetchone()
        assert row is not None
        return int(row[0])


def test_a_held_reading_is_listed_shown_approved_and_rejected_again(
    cli: Cli, ledger: Ledger, whole: Callable[[str, str], int]
) -> None:
    assert cli("absences", "list").out == ""
    assert "No reading waits" in cli("absences", "list").err
    whole("2026-01-10", hosts(range(1, 11)))
    held = whole("2026-01-11", hosts(range(1, 3)))
    assert missing(ledger) == 0
    listed = cli("absences", "list")
    assert "8 of 10 machines" in listed.out
    assert "waits" in listed.out
    assert "absences approve ID" in listed.err
    (entry,) = json.loads(cli("absences", "list", "--json").out)
    assert (entry["id"], entry["waiting"], entry["decision"]) == (held, 8, None)
    shown = cli("absences", "show", str(held))
    assert "host-10" in shown.out
    assert "host-02" not in shown.out
    assert len(json.loads(cli("absences", "show", str(held), "--json").out)["machines"]) == 8
    assert "and 5 more" in cli("absences", "show", str(held), "--limit", "3").out

    done = cli("absences", "approve", str(held), "--note", "the hall was cleared")
    assert done.out == (
        f"reading {held}: approved; 8 machines are missing. Undo: `asset-ledger absences reject {held}`\n"
    )
    assert missing(ledger) == 8
    assert "approved already; nothing changed" in cli("absences", "approve", str(held)).out
    assert cli("absences", "list").out == ""
    assert "the hall was cleared" in cli("absences", "list", "--all").out
    assert "li.lei" in cli("absences", "show", str(held)).out

    undone = cli("absences", "reject", str(held))
    assert "8 are no longer missing" in undone.out
    assert missing(ledger) == 0


def test_a_reading_that_is_not_held_is_refused_with_what_to_do(cli: Cli, whole: Callable[[str, str], int]) -> None:
    reading = whole("2026-01-10", hosts(range(1, 11)))
    refused = cli("absences", "approve", str(reading))
    assert refused.code == 1
    assert f"DECISION_INVALID: reading {reading}" in refused.err
    assert "absences list --all" in refused.err
    assert cli("absences", "show", "99").code == 2


def test_what_a_held_reading_meant_stands_in_its_records_and_its_report(
    cli: Cli, whole: Callable[[str, str], int]
) -> None:
    whole("2026-01-10", hosts(range(1, 11)))
    whole("2026-01-11", hosts(range(1, 3)))
    shown = cli("runs", "show", "run-2026-01-11")
    assert "absences held, nothing is missing by them" in shown.out
    (target,) = json.loads(cli("runs", "show", "run-2026-01-11", "--json").out)["targets"]
    assert target["status"] == "partial"
    assert target["effect"] == (
        "day written; absences of 8 held: nothing is missing by it; decide with `asset-ledger absences list`"
    )


def test_a_complete_import_marks_what_it_does_not_list_and_a_dry_run_says_so(
    cli: Cli, project: Path, ledger: Ledger, fill: Callable[[str, str, str], str]
) -> None:
    fill("hosts.csv", "2026-01-10", hosts(range(1, 11)))
    file = project / "hosts_2026-01-11.csv"
    file.write_text(hosts(range(1, 10)))
    assert "missing" not in cli("import", str(file), "-n").out
    planned = cli("import", str(file), "-n", "--complete")
    assert "absences: 1 missing" in planned.out
    assert missing(ledger) == 0
    done = cli("import", str(file), "--complete")
    assert done.code == 0, done.err
    assert done.out.splitlines()[1:] == planned.out.splitlines()[1:]
    assert missing(ledger) == 1
    again = cli("import", str(file), "--complete")
    assert "nothing changes" in again.out
    assert "--complete changes nothing of it" in again.err


def test_a_file_that_is_not_complete_is_not_called_so_for_a_machine_that_it_brings_back(
    cli: Cli, project: Path, ledger: Ledger, whole: Callable[[str, str], int]
) -> None:
    whole("2026-01-10", hosts(range(1, 11)))
    whole("2026-01-11", hosts(range(1, 10)))
    assert missing(ledger) == 1
    file = project / "hosts_2026-01-12.csv"
    file.write_text(hosts([10]))
    done = cli("import", str(file))
    assert done.code == 0, done.err
    assert "absences: 1 seen again" in done.out
    assert "complete" not in done.out
    assert missing(ledger) == 0


def test_links_follow_a_decision_on_absences_at_once(
    cli: Cli, fill: Callable[[str, str, str], str], whole: Callable[[str, str], int]
) -> None:
    whole("2026-01-10", hosts(range(1, 11)))
    fill("instances.csv", "2026-01-10", "name,host,port,db_type\norders,10.0.0.9,5432,postgresql\n")
    text = hosts(range(1, 3)).replace("debian,12,,,", "debian,12,,10.0.0.9,", 1)  # host-01 has the address now
    held = whole("2026-01-11", text)

    def runs_on() -> set[str]:
        found = json.loads(cli("links", "list", "--json").out)
        return {each["hostname"] for each in found if each["match_status"] == "confirmed"}

    assert cli("absences", "approve", str(held)).code == 0
    assert runs_on() == {"host-01"}
    assert cli("absences", "reject", str(held)).code == 0
    assert runs_on() == set()  # both have it
