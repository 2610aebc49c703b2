"""Shards of a day's probing: read at the same time, added in their order, and taken up where a run was killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import RetryableError
from asset_ledger.domain.shards import Shard, cut
from asset_ledger.pipeline.chains import chains
from asset_ledger.pipeline.days import Day, Request, SourceRun
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.settings import Settings
from asset_ledger.sources.ssh.config import SshConfig
from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.sessions import Presence, end_sessions, living, session_name
from asset_ledger.store.sources import Part, SourceRow, exclusive, part_of_days, part_of_shard
from tests.patience import until
from tests.sshd import Keyring, free_port

TODAY = collected_date(datetime.now(UTC))
HOSTS = 12


@dataclass
class Probed:
    """A probe source whose machines refuse: a failure is a target's whole record, too, and costs no time."""

    url: str
    source: SshConfig
    row: SourceRow
    port: int = field(default_factory=free_port)

    def run(self, connection: Connection, run_id: str, shard: Shard | None, *before: str) -> Day:
        """Do what a run does: read its shard, derive what it may."""
        ledger = cast("Ledger", SimpleNamespace(credentials=Keyring()))
        request = Request((TODAY,), run_id, shard=shard, attempts=(run_id, *before))
        (day,) = SourceRun(ledger, connection, chains(self.source)[0], self.row, request, LOG).do().days
        return day

    def query(self, statement: str) -> list[dict[str, Any]]:
        with connect(self.url) as connection:
            return rows(connection, statement)


# the targets of which a day says something
SAID = """
SELECT o.target FROM ledger.asset_daily_specs d JOIN ledger.inventories i ON i.id = d.inventory_id
JOIN ledger.asset_observations o ON o.inventory_id = i.id AND o.payload #>> '{target,asset_id}' = d.asset_id::text
"""
LOG = cast("Any", SimpleNamespace(info=lambda *_: None, warning=lambda *_: None))


@pytest.fixture
def probed(database_url: str, tmp_path: Any) -> Iterator[Probed]:
    source = SshConfig(
        name="probe", platform="ssh", known_hosts=tmp_path / "known_hosts", default_credential_ref="env:PROBE"
    )
    with connect(database_url) as connection:
        one = Probed(database_url, source, source_row(connection, source))
        connection.execute(
            "INSERT INTO ledger.assets (id, zone, platform_type, mgmt_ip, protocol, port, created_at, updated_at) "
            "SELECT gen_random_uuid(), 'default', 'unknown', ('127.0.9.' || n)::inet, 'ssh', %s, now(), now() "
            "FROM generate_series(1, %s) AS n",
            [one.port, HOSTS],
        )
    return one


def records(probed: Probed) -> dict[str, list[str]]:
    """Return the runs that have a record of each target."""
    found: dict[str, list[str]] = {}
    for row in probed.query("SELECT target, run_id FROM ledger.sync_target_records ORDER BY id"):
        found.setdefault(row["target"], []).append(row["run_id"])
    return found


def half_read(probed: Probed, run_id: str, shard: Shard, targets: int, error: str = "SSH_AUTH_FAILED") -> None:
    """Leave behind what a run leaves that is killed once it has kept some records: a reading that goes on for ever.

    What its machines answered is this error, which without another word is one that stays.
    """
    with connect(probed.url) as connection:
        probed.run(connection, run_id, shard)
        connection.execute("DELETE FROM ledger.sync_target_records WHERE run_id = %s", [run_id])
        connection.execute("DELETE FROM ledger.asset_daily_specs")
        connection.execute(
            "UPDATE ledger.inventories SET status = 'reading', derived_at = NULL, report = '{}' WHERE run_id = %s",
            [run_id],
        )
        connection.execute(
            "DELETE FROM ledger.asset_observations WHERE id NOT IN "
            "(SELECT id FROM ledger.asset_observations ORDER BY id LIMIT %s)",
            [targets],
        )
        connection.execute(
            "UPDATE ledger.asset_observations SET payload = jsonb_set(payload, '{error,code}', to_jsonb(%s::text))",
            [error],
        )


def test_the_shards_of_a_day_are_the_day_and_each_target_has_one_record_of_the_run_that_read_it(probed: Probed) -> None:
    with connect(probed.url) as connection:
        for shard in cut(3):
            probed.run(connection, f"run-{shard.number}", shard)
    found = records(probed)
    assert len(found) == HOSTS
    for target, runs in found.items():
        (shard,) = [one for one in cut(3) if one.has(target)]
        assert runs == [f"run-{shard.number}"]


def test_a_shard_leaves_its_raw_to_one_that_began_before_it_and_is_still_read(probed: Probed) -> None:
    first, second = cut(2)
    half_read(probed, "slow", first, 2)
    with Presence(probed.url, "slow"), connect(probed.url) as connection:
        until(lambda: "slow" in living(connection))
        assert probed.run(connection, "quick", second).derived == ()
        assert probed.query("SELECT status FROM ledger.inventories WHERE run_id = 'quick'") == [{"status": "raw"}]
    # it is gone: nobody waits for it any more
    with connect(probed.url) as connection:
        until(lambda: not living(connection))
        again = probed.run(connection, "again", first, "slow")
    assert {one.inventory.run_id for one in again.derived} == {"slow", "quick", "again"}
    found = records(probed)
    assert sorted(found) == sorted(
        {row["target"] for row in probed.query("SELECT target FROM ledger.asset_observations")}
    )
    assert all(len(runs) == 1 for runs in found.values())


def test_what_a_killed_run_had_kept_is_not_read_again(probed: Probed) -> None:
    (whole,) = cut(1)
    half_read(probed, "killed", whole, 5)
    with connect(probed.url) as connection:
        probed.run(connection, "again", whole, "killed")
    counts = probed.query("SELECT target, count(*) AS n FROM ledger.asset_observations GROUP BY target")
    assert len(counts) == HOSTS
    assert {row["n"] for row in counts} == {1}
    assert sorted(runs[0] for runs in records(probed).values()) == ["again"] * (HOSTS - 5) + ["killed"] * 5


def test_a_machine_whose_failure_may_pass_is_read_again_by_the_retry(probed: Probed) -> None:
    (whole,) = cut(1)
    half_read(probed, "killed", whole, 5, error="SSH_REFUSED")
    with connect(probed.url) as connection:
        probed.run(connection, "again", whole, "killed")
    tried = records(probed)
    assert sorted(runs for runs in tried.values()) == [["again"]] * (HOSTS - 5) + [["killed", "again"]] * 5


def test_a_day_loses_nothing_to_a_late_reading_while_another_is_still_read(probed: Probed) -> None:
    """What is derived and counts as later than a reading in progress must not be taken out and left out."""
    late, early, _, quick = cut(4)
    half_read(probed, "late", late, 1)
    with connect(probed.url) as connection:
        probed.run(connection, "early", early)
        connection.execute(
            "INSERT INTO ledger.inventories "
            "(source_id, scope, covers, collected_date, collected_at, run_id, mode, complete, status) "
            "SELECT source_id, scope, covers, collected_date, clock_timestamp(), 'slow', mode, complete, 'reading' "
            "FROM ledger.inventories WHERE run_id = 'early'"
        )
        # nothing is heard of the slow one for a moment, and what comes after it is derived
        probed.run(connection, "quick", quick)
        said = {row["target"] for row in probed.query(f"{SAID} WHERE i.run_id IN ('early', 'quick')")}
        assert said
        with Presence(probed.url, "slow"):
            until(lambda: "slow" in living(connection))
            probed.run(connection, "again", late, "late")
    assert {row["target"] for row in probed.query(SAID)} >= said


def test_a_reading_that_comes_late_writes_no_records_of_what_others_read(probed: Probed) -> None:
    first, second = cut(2)
    half_read(probed, "killed", first, 3)
    with connect(probed.url) as connection:
        probed.run(connection, "other", second)  # derived at once: nobody is at the one before it
        probed.run(connection, "again", first, "killed")
    found = records(probed)
    assert len(found) == HOSTS
    assert all(len(runs) == 1 for runs in found.values())
    assert probed.query("SELECT DISTINCT status FROM ledger.inventories") == [{"status": "derived"}]
    assert probed.query("SELECT count(*) AS n FROM ledger.asset_daily_corrections") == [{"n": 0}]


def test_a_shard_that_is_done_twice_changes_nothing(probed: Probed) -> None:
    (whole,) = cut(1)
    with connect(probed.url) as connection:
        probed.run(connection, "one", whole)
        before = probed.query("SELECT * FROM ledger.asset_daily_specs ORDER BY asset_id")
        probed.run(connection, "one", whole)
    assert probed.query("SELECT * FROM ledger.asset_daily_specs ORDER BY asset_id") == before
    assert len(records(probed)) == HOSTS
    assert all(len(runs) == 1 for runs in records(probed).values())


MONTHS = part_of_days([date(2026, 3, 1), date(2026, 3, 31)], ())


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (part_of_shard(Shard(1, 4), TODAY), part_of_shard(Shard(2, 4), TODAY), True),
        (part_of_shard(Shard(1, 4), TODAY), part_of_shard(Shard(1, 4), TODAY), False),
        (part_of_shard(Shard(1, 4), TODAY), part_of_shard(Shard(1, 3), TODAY), False),
        (part_of_shard(Shard(1, 4), TODAY), None, False),
        (part_of_shard(Shard(1, 4), TODAY), part_of_days([TODAY], ()), False),
        (MONTHS, part_of_days([date(2026, 4, 1)], ()), True),
        (MONTHS, part_of_days([date(2026, 3, 15)], ()), False),
        (MONTHS, None, False),
    ],
    ids=lambda value: "" if isinstance(value, Part | None) else str(value),
)
def test_two_runs_of_a_source_that_would_read_or_write_the_same_never_run_at_once(
    probed: Probed, one: Part | None, other: Part | None, together: bool
) -> None:
    with ExitStack() as stack:
        mine, theirs = (stack.enter_context(connect(probed.url)) for _ in range(2))
        stack.enter_context(exclusive(mine, probed.row, part=one))
        if together:
            stack.enter_context(exclusive(theirs, probed.row, part=other))
        else:
            with pytest.raises(RetryableError, match="SOURCE_BUSY"):
                stack.enter_context(exclusive(theirs, probed.row, part=other))
    # everything was given back, also what was held until the first that was not free
    with connect(probed.url) as connection:
        assert (
            rows(
                connection,
                "SELECT * FROM pg_locks WHERE locktype = 'advisory' AND database = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())",
            )
            == []
        )


def test_a_run_that_hangs_on_loses_its_sessions_to_the_one_that_does_its_work_again(probed: Probed) -> None:
    with connect(probed.url, application_name=session_name("hung")) as hung, connect(probed.url) as connection:
        hung.execute("SELECT 1")
        assert living(connection) == {"hung"}
        assert end_sessions(connection, ["hung", "never"]) == 1
        assert living(connection) == frozenset()
        with pytest.raises(Exception, match="terminating connection"):
            hung.execute("SELECT 1")


def test_a_run_notices_soon_that_its_network_is_cut_unless_the_url_says_how(probed: Probed) -> None:
    def asked(url: str) -> dict[str, str]:
        with Ledger(Settings(Path(), Path("sources.yaml"), url, None, Path())).connect("run") as connection:
            told = connection.info.get_parameters()
        return {name: told[name] for name in ("keepalives_idle", "keepalives_interval", "keepalives_count")}

    assert asked(probed.url) == {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3"}
    named = f"{probed.url}{'&' if '?' in probed.url else '?'}keepalives_idle=70"
    assert asked(named)["keepalives_idle"] == "70"


def test_a_run_is_present_again_after_its_session_was_ended_by_the_server(
    probed: Probed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asset_ledger.store.sessions.BEAT_S", 0.2)
    with connect(probed.url) as connection:
        with Presence(probed.url, "run"):
            end_sessions(connection, ["run"])
            until(lambda: "run" in living(connection))
        until(lambda: "run" not in living(connection))
