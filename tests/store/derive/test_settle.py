"""What the store makes of words and decisions: identity, carried values, identifiers, relations, absence, corrections."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, LedgerError
from asset_ledger.domain.history import CARRY_DAYS
from asset_ledger.domain.inventory import MACHINE, TargetFailure
from asset_ledger.sources.ssh.errors import ERROR_CODES
from asset_ledger.store.decide.decisions import retire
from asset_ledger.store.decide.merges import merge
from tests.store.telling import Telling, document, telling

SILENT = {"network.ip_addresses": "AGENT_SILENT"}


@pytest.fixture
def lab(database_url: str) -> Iterator[Telling]:
    with telling(database_url) as told:
        yield told


@pytest.fixture
def probe(database_url: str) -> Iterator[Telling]:
    with telling(database_url, "probe", platform=False, naming_rank=40, specs_rank=20) as told:
        yield told


def current(lab: Telling, column: str) -> object:
    return lab.one(f"SELECT {column} FROM ledger.assets")


def test_an_id_given_to_another_machine_begins_another_asset_and_closes_the_link(lab: Telling) -> None:
    lab.tell("2026-11-01", {"100": document(hostname="a", uuid="u1")}, complete=True)
    outcome = lab.tell("2026-11-02", {"100": document(hostname="b", uuid="u2")}, complete=True)

    assert (outcome.created, outcome.reused_ids) == (1, 1)
    assert lab.rows(
        "SELECT a.hostname, l.closed_at IS NOT NULL AS closed, a.missing_since IS NOT NULL AS missing "
        "FROM ledger.asset_source_links l JOIN ledger.assets a ON a.id = l.asset_id ORDER BY 1"
    ) == [
        {"hostname": "a", "closed": True, "missing": True},
        {"hostname": "b", "closed": False, "missing": False},
    ]
    assert lab.one("SELECT rule, inputs -> 'generation' ->> 'uuid' FROM ledger.identity_resolutions WHERE id = 2") == (
        "generation",
        "u2",
    )


def test_a_machine_that_gets_its_id_back_is_the_asset_it_was(lab: Telling) -> None:
    for day, uuid in (("2026-11-01", "u1"), ("2026-11-02", "u2"), ("2026-11-03", "u1")):
        lab.tell(day, {"100": document(hostname=uuid, uuid=uuid)}, complete=True)

    assert lab.rows(
        "SELECT a.hostname, l.closed_at IS NULL AS open FROM ledger.asset_source_links l "
        "JOIN ledger.assets a ON a.id = l.asset_id ORDER BY 1"
    ) == [{"hostname": "u1", "open": True}, {"hostname": "u2", "open": False}]


def test_a_generation_that_is_not_told_is_no_other_machine(lab: Telling) -> None:
    for day, uuid in (("2026-11-01", None), ("2026-11-02", "u1"), ("2026-11-03", None)):
        lab.tell(day, {"100": document(hostname="a", uuid=uuid)}, complete=True)

    assert lab.one("SELECT count(*), count(DISTINCT asset_id) FROM ledger.asset_source_links") == (1, 1)
    assert lab.one("SELECT generation ->> 'uuid' FROM ledger.asset_source_links") == "u1"


def test_a_value_that_is_not_told_is_carried_with_its_day_until_it_is_too_old(lab: Telling) -> None:
    first = date(2026, 9, 1)
    lab.tell(first.isoformat(), {"1": document(hostname="a", ip="10.0.0.1", cores=4)}, complete=True)
    silent = {"1": document(hostname="a", cores=4, unknown=SILENT)}

    lab.tell((first + timedelta(1)).isoformat(), silent, complete=True)
    assert current(lab, "host(mgmt_ip), carried") == ("10.0.0.1", {"mgmt_ip": "2026-09-01"})

    lab.tell((first + timedelta(CARRY_DAYS)).isoformat(), silent, complete=True)
    assert current(lab, "host(mgmt_ip)") == "10.0.0.1"

    lab.tell((first + timedelta(CARRY_DAYS + 1)).isoformat(), silent, complete=True)
    assert current(lab, "host(mgmt_ip), carried") == (None, {})


def test_what_is_not_told_closes_no_identifier_and_what_is_gone_does(lab: Telling) -> None:
    lab.tell("2026-11-01", {"1": document(hostname="a", ip="10.0.0.1")}, complete=True)
    lab.tell("2026-11-02", {"1": document(hostname="a", unknown=SILENT)}, complete=True)
    assert lab.rows("SELECT value FROM ledger.asset_identifiers WHERE last_seen_at IS NULL") == [{"value": "10.0.0.1"}]

    lab.tell("2026-11-03", {"1": document(hostname="a", ip="10.0.0.2")}, complete=True)
    assert lab.rows("SELECT value, last_seen_at::date::text AS last FROM ledger.asset_identifiers ORDER BY value") == [
        {"value": "10.0.0.1", "last": "2026-11-01"},
        {"value": "10.0.0.2", "last": None},
    ]


def test_a_relation_has_an_interval_for_each_stay_and_unknown_ends_none(lab: Telling) -> None:
    for day, hosts in (("2026-11-01", ["h1"]), ("2026-11-02", ["h2"]), ("2026-11-03", None), ("2026-11-04", ["h1"])):
        told = {} if hosts is None else {"on": hosts}
        lab.tell(day, {"1": document(hostname="a", **told), "h1": document(kind="host")}, complete=True)

    assert lab.rows(
        "SELECT to_external_id AS on, began_date::text AS began, ended_at::date::text AS ended "
        "FROM ledger.asset_relations ORDER BY began_date"
    ) == [
        {"on": "h1", "began": "2026-11-01", "ended": "2026-11-02"},
        {"on": "h2", "began": "2026-11-02", "ended": "2026-11-04"},
        {"on": "h1", "began": "2026-11-04", "ended": None},
    ]
    # the far end is looked up whenever it is asked for: h2 was never read
    assert lab.rows("SELECT to_external_id AS on FROM ledger.topology WHERE to_asset_id IS NULL") == [{"on": "h2"}]


def test_only_a_complete_reading_makes_missing_and_being_seen_revives(lab: Telling) -> None:
    both = {str(number): document(hostname=f"vm-{number}") for number in range(10)}
    lab.tell("2026-11-01", both, complete=True)
    with pytest.raises(LedgerError) as refused:
        lab.tell("2026-11-02", {}, complete=False)
    assert refused.value.code is INVENTORY_INCOMPLETE
    assert lab.one("SELECT count(*) FROM ledger.assets WHERE missing_since IS NOT NULL") == 0

    gone = {number: made for number, made in both.items() if number != "3"}
    assert lab.tell("2026-11-03", gone, complete=True).missing == 1
    assert lab.one("SELECT hostname FROM ledger.assets WHERE missing_since = '2026-11-03 01:00+00'") == "vm-3"

    assert lab.tell("2026-11-04", both, complete=True).revived == 1
    assert lab.one("SELECT count(*), count(missing_since) FROM ledger.assets") == (10, 0)


@pytest.mark.parametrize(
    ("known", "seen", "new", "held"),
    [
        (10, 7, 0, False),  # 30 % is not more than 30 %
        (20, 13, 0, True),  # 35 %
        (10, 6, 0, False),  # 40 %, but fewer than five
        (3, 0, 1, True),  # none of a kind is never taken for the truth
        (20, 13, 100, True),  # many new ones do not make up for what is lost
    ],
)
def test_too_much_missing_at_once_is_held(lab: Telling, known: int, seen: int, new: int, held: bool) -> None:
    every = {str(number): document(hostname=f"vm-{number}") for number in range(known)}
    lab.tell("2026-11-01", every, complete=True)
    others = {f"new-{number}": document(hostname=f"new-{number}") for number in range(new)}

    outcome = lab.tell("2026-11-02", dict(list(every.items())[:seen]) | others, complete=True)

    assert outcome.absences_held is held
    assert outcome.missing == (0 if held else known - seen)
    # what was seen is written all the same
    assert lab.one("SELECT count(*) FROM ledger.asset_daily_specs WHERE collected_date = '2026-11-02'") == seen + new


def test_a_reading_speaks_only_of_the_kinds_it_covers(lab: Telling) -> None:
    hosts = {f"h{number}": document(kind="host", hostname=f"h{number}") for number in range(9)}
    guests = {f"vm{number}": document(hostname=f"vm{number}") for number in range(9)}
    lab.tell("2026-11-01", hosts | guests, complete=True)

    outcome = lab.tell("2026-11-02", dict(list(guests.items())[1:]), complete=True, covers=["vm"])

    assert outcome.missing == 1
    assert lab.rows("SELECT hostname FROM ledger.assets WHERE missing_since IS NOT NULL") == [{"hostname": "vm0"}]


def test_a_complete_reading_that_comes_late_makes_nothing_missing_that_was_seen_since(lab: Telling) -> None:
    every = {str(number): document(hostname=f"vm-{number}") for number in range(10)}
    lab.tell("2026-11-01", every, complete=True)
    lab.tell("2026-11-03", every, complete=True)

    lab.tell("2026-11-02", dict(list(every.items())[1:]), complete=True)

    assert lab.one("SELECT count(*) FROM ledger.assets WHERE missing_since IS NOT NULL") == 0


def test_a_probe_attaches_to_the_asset_that_has_the_address_and_not_to_a_missing_one(
    lab: Telling, probe: Telling
) -> None:
    every = {str(number): document(hostname=f"vm-{number}", ip=f"10.0.0.{number}") for number in range(1, 9)}
    lab.tell("2026-11-01", every, complete=True)
    lab.tell(
        "2026-11-02", dict(list(every.items())[1:]) | {"99": document(hostname="heir", ip="10.0.0.1")}, complete=True
    )

    outcome = probe.tell("2026-11-03", {"10.0.0.1": document(kind="machine", ip="10.0.0.1")}, external_kind=MACHINE)

    assert outcome.attached == 1
    assert (
        probe.one(
            "SELECT a.hostname FROM ledger.asset_source_links l JOIN ledger.assets a ON a.id = l.asset_id "
            "WHERE l.external_kind = 'machine'"
        )
        == "heir"
    )


def test_an_address_of_two_is_a_conflict_kept_once_and_settled_when_it_is_answered(
    lab: Telling, probe: Telling
) -> None:
    two = {"1": document(hostname="a", ip="10.0.0.1"), "2": document(hostname="b", ip="10.0.0.1")}
    lab.tell("2026-11-01", two, complete=True)
    seen = {"10.0.0.1": document(kind="machine", ip="10.0.0.1")}

    assert len(probe.tell("2026-11-01", seen, external_kind=MACHINE).conflicts) == 1
    probe.tell_again("2026-11-01")
    assert probe.one("SELECT count(*) FROM ledger.identity_resolutions WHERE outcome = 'conflict'") == 1
    assert probe.one("SELECT count(*) FROM ledger.asset_daily_specs WHERE source_id = %s", probe.row.id) == 0

    lab.tell("2026-11-02", {"1": two["1"], "2": document(hostname="b", ip="10.0.0.2")}, complete=True)
    probe.tell_again("2026-11-01")
    assert probe.one("SELECT settled_at IS NOT NULL FROM ledger.identity_resolutions WHERE outcome = 'conflict'")
    assert probe.one("SELECT count(*) FROM ledger.asset_daily_specs WHERE source_id = %s", probe.row.id) == 1


def test_the_same_address_in_another_zone_is_another_machine(lab: Telling, database_url: str) -> None:
    lab.tell("2026-11-01", {"1": document(hostname="a", ip="10.0.0.1")}, complete=True)
    with telling(database_url, "branch", platform=False, zone="branch") as branch:
        outcome = branch.tell(
            "2026-11-01", {"10.0.0.1": document(kind="machine", ip="10.0.0.1")}, external_kind=MACHINE
        )
    assert outcome.created == 1


def test_a_corrected_day_keeps_what_it_answered_before_and_until_when(lab: Telling) -> None:
    lab.tell("2026-11-01", {"1": document(hostname="a", cores=4), "2": document(hostname="b")}, complete=True)
    recorded = lab.one("SELECT max(recorded_at) FROM ledger.asset_daily_specs")

    corrections = lab.tell_again("2026-11-01", **{"1": document(hostname="a", cores=8), "2": {}})

    assert {(one.hostname, one.what, one.fields) for one in corrections} == {
        ("a", "changed", (("hardware.cpu_count", 4, 8),)),
        ("b", "removed", ()),
    }
    assert current(lab, "hostname, cpu_cores") == ("a", 8)
    kept = lab.rows(
        "SELECT n.hostname, n.cpu_cores, c.recorded_at, c.superseded_at > c.recorded_at AS later "
        "FROM ledger.asset_daily_corrections c JOIN ledger.normalized_assets n ON n.id = c.normalized_id ORDER BY 1"
    )
    assert kept == [
        {"hostname": "a", "cpu_cores": 4, "recorded_at": recorded, "later": True},
        {"hostname": "b", "cpu_cores": None, "recorded_at": recorded, "later": True},
    ]
    # told as before again, the day is as before; that it was otherwise for a while stays known
    assert {one.what for one in lab.tell_again("2026-11-01")} == {"changed", "added"}
    assert lab.one("SELECT count(*) FROM ledger.assets") == 2


def test_deriving_a_day_of_several_readings_again_corrects_nothing(lab: Telling) -> None:
    for hour, cores in ((1, 2), (2, 4), (3, 2)):
        lab.tell("2026-11-01", {"1": document(hostname="a", cores=cores)}, hour=hour, complete=True)
    before = lab.rows("SELECT * FROM ledger.asset_daily_specs")
    kept = lab.one("SELECT count(*) FROM ledger.asset_daily_corrections")

    assert lab.tell_again("2026-11-01") == ()

    assert lab.rows("SELECT * FROM ledger.asset_daily_specs") == before
    assert lab.one("SELECT count(*) FROM ledger.asset_daily_corrections") == kept


def test_a_machine_that_was_never_read_has_a_day_of_failure_until_it_is_read(lab: Telling, probe: Telling) -> None:
    lab.tell("2026-11-01", {"1": document(hostname="a", ip="10.0.0.1", cores=4)}, complete=True)
    failure = TargetFailure(MACHINE, "10.0.0.1", "10.0.0.1", ERROR_CODES[0], "no answer")

    probe.tell("2026-11-01", {}, failures=[failure])
    day = "SELECT link_id, unknown FROM ledger.asset_daily_specs WHERE source_id = %s"
    link_id, unknown = probe.one(day, probe.row.id)
    assert unknown == {"*": ERROR_CODES[0].code}
    # who it is was answered then, and the link that begins later bears that number
    outcome = probe.tell(
        "2026-11-01", {"10.0.0.1": document(kind="machine", ip="10.0.0.1")}, hour=2, external_kind=MACHINE
    )
    assert outcome.attached == 1
    assert probe.one(day, probe.row.id) == (link_id, {})
    assert probe.one("SELECT id FROM ledger.asset_source_links WHERE source_id = %s", probe.row.id) == link_id


def test_what_one_source_misses_and_another_sees_since_is_not_missing(lab: Telling, probe: Telling) -> None:
    every = {str(number): document(hostname=f"vm-{number}", ip=f"10.0.0.{number}") for number in range(1, 9)}
    seen = {"10.0.0.1": document(kind="machine", ip="10.0.0.1")}
    lab.tell("2026-11-01", every, complete=True)
    probe.tell("2026-11-01", seen, external_kind=MACHINE)

    lab.tell("2026-11-02", dict(list(every.items())[1:]), complete=True)
    assert lab.one("SELECT missing_since IS NOT NULL FROM ledger.assets WHERE hostname = 'vm-1'")

    probe.tell("2026-11-03", seen, external_kind=MACHINE)
    assert lab.one("SELECT missing_since FROM ledger.assets WHERE hostname = 'vm-1'") is None
    # to the platform it is missing all the same
    assert lab.one("SELECT count(*) FROM ledger.asset_source_links WHERE missing_since IS NOT NULL") == 1


def test_a_failure_is_booked_on_the_machine_it_was_booked_on_first(lab: Telling, probe: Telling) -> None:
    lab.tell("2026-11-01", {"1": document(hostname="a", ip="10.0.0.1")}, complete=True)
    failure = TargetFailure(MACHINE, "10.0.0.1", "10.0.0.1", ERROR_CODES[0], "no answer")
    unknown = TargetFailure(MACHINE, "10.0.0.2", "10.0.0.2", ERROR_CODES[0], "no answer")
    probe.tell("2026-11-01", {}, failures=[failure, unknown])
    before = probe.rows("SELECT * FROM ledger.asset_daily_specs WHERE source_id = %s", probe.row.id)
    assert len(before) == 1

    both = {"1": document(hostname="a", ip="10.0.0.9"), "2": document(hostname="b", ip="10.0.0.2")}
    lab.tell("2026-11-02", both, complete=True)

    assert probe.tell_again("2026-11-01") == ()
    assert probe.rows("SELECT * FROM ledger.asset_daily_specs WHERE source_id = %s", probe.row.id) == before


def test_a_file_with_rows_that_were_not_taken_makes_nothing_missing_by_itself(probe: Telling) -> None:
    every = {str(number): document(kind="machine", hostname=f"m-{number}") for number in range(10)}
    probe.tell("2026-11-01", every, external_kind=MACHINE)
    failure = TargetFailure(MACHINE, "3", None, ERROR_CODES[0], "a row that could not be taken")

    rest = {number: made for number, made in every.items() if number != "3"}
    outcome = probe.tell("2026-11-02", rest, complete=True, failures=[failure], external_kind=MACHINE)

    assert (outcome.missing, outcome.absences_held) == (0, True)


def test_what_was_held_is_not_released_by_a_mended_parser(lab: Telling) -> None:
    every = {str(number): document(hostname=f"vm-{number}") for number in range(10)}
    lab.tell("2026-11-01", every, complete=True)
    assert lab.tell("2026-11-02", {}, complete=True).absences_held
    lab.tell("2026-11-03", every, complete=True)

    lab.version = 2
    lab.tell_again("2026-11-02")

    assert lab.one("SELECT absences FROM ledger.inventories WHERE collected_date = '2026-11-02'") == "held"


def test_a_machine_whose_facts_change_one_after_the_other_is_one_when_its_days_are_derived_again(lab: Telling) -> None:
    def made(uuid: str, created: str) -> dict[str, object]:
        told = document(hostname="a")
        told["identity"]["generation"] = {"uuid": uuid, "created": created}
        return told

    days = {"2026-11-01": made("u1", "c1"), "2026-11-02": made("u1", "c2"), "2026-11-03": made("u2", "c2")}
    for day, told in days.items():
        lab.tell(day, {"1": told}, complete=True)
    for day in days:
        assert lab.tell_again(day) == ()
    assert lab.one("SELECT count(*) FROM ledger.identity_resolutions") == 1


def test_of_two_sources_of_one_rank_the_one_that_spoke_last_counts(probe: Telling, database_url: str) -> None:
    probe.tell("2026-11-01", {"10.0.0.1": document(kind="machine", ip="10.0.0.1", hostname="a")}, external_kind=MACHINE)
    with telling(database_url, "other", platform=False, naming_rank=40, specs_rank=20) as other:
        said = {"10.0.0.1": document(kind="machine", ip="10.0.0.1", hostname="b")}
        other.tell("2026-11-01", said, external_kind=MACHINE)
        other.tell("2026-11-02", said, external_kind=MACHINE)
    assert current(probe, "hostname") == "b"


def merged(lab: Telling, child: str, into: str) -> None:
    ids = {row["hostname"]: row["id"] for row in lab.rows("SELECT hostname, id FROM ledger.assets")}
    merge(lab.connection, ids[child], ids[into], actor="ann", at=datetime.now(UTC))


def test_a_retired_machine_answers_to_its_address_no_more(lab: Telling, probe: Telling) -> None:
    lab.tell("2026-11-01", {"1": document(hostname="a", ip="10.0.0.1")}, complete=True)
    retire(lab.connection, lab.one("SELECT id FROM ledger.assets"), actor="ann", at=datetime.now(UTC))

    outcome = probe.tell("2026-11-02", {"10.0.0.1": document(kind="machine", ip="10.0.0.1")}, external_kind=MACHINE)

    assert outcome.created == 1


def test_of_two_words_of_a_day_the_assets_own_comes_before_that_of_one_merged_into_it(lab: Telling) -> None:
    both = {"1": document(hostname="own", cores=2), "2": document(hostname="other", cores=4)}
    lab.tell("2026-11-01", both, complete=True)
    merged(lab, "other", "own")

    assert lab.one("SELECT hostname, cpu_cores FROM ledger.assets WHERE merged_into_asset_id IS NULL") == ("own", 2)

    # the newest word counts, whoever's it is
    lab.tell("2026-11-02", {"2": both["2"]}, complete=True)
    assert lab.one("SELECT hostname, cpu_cores FROM ledger.assets WHERE merged_into_asset_id IS NULL") == ("other", 4)


def test_a_machine_that_is_back_with_its_day_is_still_merged(lab: Telling) -> None:
    both = {"1": document(hostname="a"), "2": document(hostname="b")}
    lab.tell("2026-11-01", both, complete=True)
    merged(lab, "b", "a")

    lab.tell_again("2026-11-01", **{"2": {}})
    assert lab.one("SELECT count(*) FROM ledger.assets") == 1
    lab.tell_again("2026-11-01")

    assert lab.one("SELECT count(*), count(merged_into_asset_id) FROM ledger.assets") == (2, 1)


def test_what_runs_inside_a_machine_knows_its_operating_system_best(lab: Telling, probe: Telling) -> None:
    listed = document(hostname="a", ip="10.0.0.1", cores=4) | {"os": {"family": "linux"}}
    probed = document(kind="machine", ip="10.0.0.1", cores=3) | {"os": {"family": "debian"}}
    lab.tell("2026-11-01", {"1": listed}, complete=True)
    probe.tell("2026-11-01", {"10.0.0.1": probed}, external_kind=MACHINE)

    assert lab.one("SELECT os_family, cpu_cores FROM ledger.assets") == ("debian", 4)
