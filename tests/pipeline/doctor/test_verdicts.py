"""Verdicts on what no test server can be: too old, a standby, full of connections, ahead of its clock by a hair."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, RetryableError
from asset_ledger.pipeline.doctor import database, installation
from asset_ledger.pipeline.doctor.findings import Finding
from asset_ledger.store.doctor import Rights, Server, lacks_database

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SERVER = Server(
    17, "17.6", "0008", "UTC", "UTF8", False, 0.0, 0.001, 10, 100, "on", None, None, NOW - timedelta(days=1)
)


def statuses(server: Server) -> dict[str, str]:
    return {each.check: each.status for each in database.of_server(server, "0008")}


@pytest.mark.parametrize(
    ("major", "status"),
    [(14, "problem"), (15, "ok"), (18, "ok"), (19, "warning")],
    ids=["old", "oldest", "newest", "new"],
)
def test_versions_15_to_18_are_supported(major: int, status: str) -> None:
    assert statuses(replace(SERVER, major=major))["server"] == status


def test_a_standby_and_another_encoding_are_problems() -> None:
    found = statuses(replace(SERVER, standby=True, encoding="SQL_ASCII"))
    assert (found["server: role"], found["server: encoding"]) == ("problem", "problem")


def test_a_user_that_is_not_there_is_no_database_that_is_not_there() -> None:
    assert lacks_database(RetryableError(DATABASE_UNAVAILABLE, 'FATAL:  database "a b" does not exist'))
    assert not lacks_database(RetryableError(DATABASE_UNAVAILABLE, 'FATAL:  role "ledger" does not exist'))


def test_connections_that_run_out_are_seen_before_they_do() -> None:
    assert statuses(replace(SERVER, connections=81))["connections"] == "warning"


def test_what_the_answer_took_is_not_held_against_a_clock() -> None:
    assert database.clock(6.0, 2.0).status == "ok"
    assert database.clock(-6.0, 0.1).status == "warning"
    assert database.clock(-61.0, 0.1).status == "problem"


def test_an_archive_is_broken_only_while_its_last_word_is_a_failure() -> None:
    failed = replace(SERVER, archive_failed_at=NOW, archive_failed_file="0000000100000000000000A1")
    later = replace(failed, archived_at=NOW + timedelta(seconds=1))
    found = database.of_archive(failed, wanted=False)
    assert found is not None
    assert found.status == "problem"
    assert "0000000100000000000000A1" in found.said
    mended = database.of_archive(later, wanted=False)
    assert mended is not None
    assert mended.status == "ok"
    assert database.of_archive(replace(SERVER, archive_mode="off"), wanted=False) is None


def test_a_service_role_with_powers_is_a_problem() -> None:
    rights = Rights("ledger", (), (), True, ("bypassrls",), (), (), ())
    assert [each.status for each in database.of_rights(rights)] == ["ok", "problem", "ok"]
    assert [each.status for each in database.of_rights(replace(rights, service_role=False))] == ["ok", "problem"]


@pytest.mark.parametrize(
    ("whole", "free", "status"),
    [
        (500, 400, "ok"),
        (500, 4, "warning"),
        (500, 0.9, "problem"),
        (8, 0.9, "ok"),
        (8, 0.7, "warning"),
        (8, 0.3, "problem"),
    ],
)
def test_room_is_judged_by_what_is_left_and_small_disks_by_their_share(
    whole: float, free: float, status: str, tmp_path: Path
) -> None:
    sizes = (int(whole * 2**30), 0, int(free * 2**30))
    assert installation.room("disk", tmp_path, lambda _: sizes).status == status


def test_python_before_3_11_is_a_problem() -> None:
    assert installation.python((3, 10, 9)).status == "problem"
    assert installation.python().status == "ok"


def test_a_problem_without_a_next_step_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="next step"):
        Finding("x", "problem", "wrong")


def test_a_folder_of_backups_that_cannot_be_looked_into_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "base").write_text("no folder")
    found = installation.backups(tmp_path, NOW, timedelta(hours=26))
    assert found.status == "problem"
    assert "cannot be looked at" in found.said
