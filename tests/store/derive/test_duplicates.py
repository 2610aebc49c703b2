"""Which ledger assets look like one machine, and why: rows by hand, and random ledgers against a plain reading."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest

from asset_ledger.domain.duplicates import HIGHEST, LOWEST, PARTS, SHARED_BY_AT_MOST
from asset_ledger.store.database import Connection, connect, rows
from asset_ledger.store.decide.decisions import decide
from asset_ledger.store.derive.duplicates import compare, find_duplicates, list_candidates
from asset_ledger.store.derive.roots import repoint

DAY = datetime(2026, 1, 10, tzinfo=UTC)
GUEST = "11223344-5566-7788-99aa-bbccddeeff00"
HYPERVISOR = "44332211-6655-8877-99aa-bbccddeeff00"


class Rows:
    """Ledger assets put in by hand: what the search looks at, and nothing else."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.inventories = 0
        connection.execute(
            "INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank) "
            "SELECT 'source' || n, 'x', 'x', 'platform', 'default', n, n FROM generate_series(1, 3) n"
        )

    def asset(
        self, number: int, *identifiers: tuple[str, str], zone: str = "default", mgmt_ip: str | None = None,
        hostname: str | None = None, day: int = 0, source: int = 1,
    ) -> UUID:  # fmt: skip
        asset_id = UUID(int=number)
        self.connection.execute(
            "INSERT INTO ledger.assets (id, zone, platform_type, hostname, mgmt_ip, created_at, updated_at) "
            "VALUES (%s, %s, 'x', %s, %s, %s, %s)",
            [asset_id, zone, hostname, mgmt_ip, DAY, DAY],
        )
        for kind, value in identifiers:
            self.connection.execute(
                "INSERT INTO ledger.asset_identifiers VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [asset_id, source, kind, value, DAY + timedelta(days=day)],
            )
        return asset_id

    def seen(self, inventory: int, *assets: UUID, complete: bool = True, source: int = 1) -> None:
        self.connection.execute(
            "INSERT INTO ledger.inventories (id, source_id, scope, collected_date, collected_at, mode, complete, status) "
            "OVERRIDING SYSTEM VALUE VALUES (%s, %s, 'all', %s, %s, 'collect', %s, 'derived')",
            [inventory, source, DAY, DAY, complete],
        )
        for asset_id in assets:
            self.inventories += 1
            link = self.inventories
            self.connection.execute(
                "INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,"
                " record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at) "
                "VALUES (%s, %s, 'vm', %s, %s, 1, '', %s, %s, %s, %s, %s, %s)",
                [link, source, str(link), asset_id, inventory, DAY, DAY, DAY, DAY, DAY],
            )

    def merge(self, child: UUID, into: UUID) -> None:
        decide(self.connection, kind="merge", asset_id=child, value=str(into), actor="x", at=DAY)
        repoint(self.connection)

    def dismiss(self, one: UUID, other: UUID) -> None:
        decide(self.connection, kind="not_duplicate", asset_id=one, other_id=other, value=True, actor="x", at=DAY)

    def found(self) -> dict[tuple[int, int], dict[str, Any]]:
        """Search; return the candidates by the numbers of their assets, each with its parts by name."""
        find_duplicates(self.connection)
        return {
            (row["asset_id"].int, row["other_asset_id"].int): {
                "score": row["score"],
                "found_at": row["found_at"],
                **{part["part"]: part["values"] for part in row["parts"]},
            }
            for row in rows(self.connection, "SELECT * FROM ledger.duplicate_candidates")
        }


@pytest.fixture
def ledger(database_url: str) -> Iterator[Rows]:
    with connect(database_url) as connection:
        yield Rows(connection)


MAC, SERIAL, BIOS = ("mac", "02:00:00:00:00:01"), ("serial", "S1"), ("smbios_uuid", GUEST)


@pytest.mark.parametrize(
    ("one", "other", "part", "said"),
    [
        (BIOS, BIOS, "uuid", GUEST),
        (BIOS, ("vmware_uuid", HYPERVISOR), "uuid", f"{GUEST} = {HYPERVISOR}"),
        (("hyperv_guid", HYPERVISOR), BIOS, "uuid", f"{HYPERVISOR} = {GUEST}"),
        (("machine_uuid", GUEST), ("hyperv_guid", GUEST), "uuid", GUEST),
        (MAC, MAC, "mac", MAC[1]),
        (SERIAL, SERIAL, "serial", SERIAL[1]),
    ],
)
def test_one_exact_value_in_common_makes_a_candidate(
    ledger: Rows, one: tuple[str, str], other: tuple[str, str], part: str, said: str
) -> None:
    ledger.asset(1, one, day=1)
    ledger.asset(2, other, day=3, zone="moon")
    ledger.asset(3, ("serial", "S3"), ("mac", "02:00:00:00:00:03"), ("smbios_uuid", str(UUID(int=7))))
    points = PARTS[part].points
    assert ledger.found() == {(1, 2): {"score": points, "found_at": DAY + timedelta(days=3), part: [said]}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BIOS, ("smbios_uuid", "00223344-5566-7788-99aa-bbccddeeff00")),  # the same end, another beginning
        (BIOS, ("smbios_uuid", "44332211-5566-7788-99aa-bbccddeeff00")),  # one field turned round is no byte order
        (("serial", "X"), ("mac", "X")),
        (("machine_id", "m"), ("machine_id", "m")),  # cloned with templates
        (("ip", "10.0.0.9"), ("ip", "10.0.0.9")),  # managed by neither
        (("serial", "12345678901234567890a"), ("serial", "02345678901234567890a")),
    ],
)
def test_what_is_not_the_same_or_says_nothing_makes_none(
    ledger: Rows, one: tuple[str, str], other: tuple[str, str]
) -> None:
    ledger.asset(1, one, hostname="web")
    ledger.asset(2, other, hostname="web")
    assert ledger.found() == {}


def test_a_management_address_counts_within_its_zone_and_more_when_it_manages_both(ledger: Rows) -> None:
    ledger.asset(1, ("ip", "10.0.0.1"), mgmt_ip="10.0.0.1", day=1)
    ledger.asset(2, ("ip", "10.0.0.1"), day=2)
    ledger.asset(3, mgmt_ip="10.0.0.1", zone="moon")
    assert ledger.found() == {
        (1, 2): {"score": PARTS["address"].points, "found_at": DAY + timedelta(days=2), "address": ["10.0.0.1"]}
    }
    ledger.connection.execute("UPDATE ledger.assets SET mgmt_ip = '10.0.0.1' WHERE id = %s", [UUID(int=2)])
    assert ledger.found()[1, 2] == {
        "score": PARTS["mgmt_ip"].points, "found_at": DAY + timedelta(days=2), "mgmt_ip": ["10.0.0.1"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("web", "WEB", ["web"]),
        ("web.example", "web", ["web.example = web"]),
        ("web.example", "web.test", None),
        ("web", "web2", None),
        (None, None, None),
    ],
)
def test_a_hostname_supports_what_is_there(
    ledger: Rows, one: str | None, other: str | None, same: list[str] | None
) -> None:
    ledger.asset(1, SERIAL, hostname=one)
    ledger.asset(2, SERIAL, hostname=other)
    (found,) = ledger.found().values()
    assert found.get("same_hostname") == same
    assert found["score"] == PARTS["serial"].points + (PARTS["same_hostname"].points if same else 0)


def test_a_clone_seen_beside_its_original_is_a_candidate_with_what_speaks_against_it(ledger: Rows) -> None:
    one = ledger.asset(1, BIOS, MAC, hostname="web")
    other = ledger.asset(2, BIOS, ("mac", "02:00:00:00:00:02"), hostname="web")
    ledger.seen(1, one, other)
    (found,) = ledger.found().values()
    assert found.keys() == {"score", "found_at", "uuid", "same_hostname", "other_mac", "side_by_side"}
    assert found["side_by_side"] == ["source1"]
    assert found["score"] == sum(PARTS[part].points for part in ("uuid", "same_hostname", "other_mac", "side_by_side"))


def test_only_one_complete_reading_that_saw_both_last_sets_them_side_by_side(ledger: Rows) -> None:
    one, other, third = (ledger.asset(number, BIOS) for number in (1, 2, 3))
    ledger.seen(1, one, other, complete=False)  # a list of files or targets may well name one machine twice
    ledger.seen(2, third)
    ledger.seen(3, one, source=2)
    assert [found for found in ledger.found().values() if "side_by_side" in found] == []


def test_another_firmware_uuid_speaks_against_it_and_another_sort_of_uuid_does_not(ledger: Rows) -> None:
    ledger.asset(1, SERIAL, BIOS)
    ledger.asset(2, SERIAL, ("smbios_uuid", str(UUID(int=5))))
    ledger.asset(3, SERIAL, ("hyperv_guid", str(UUID(int=6))))
    found = ledger.found()
    assert "other_uuid" in found[1, 2]
    assert "other_uuid" not in found[1, 3]


def test_a_value_that_many_share_makes_no_pairs_and_is_counted(ledger: Rows) -> None:
    for number in range(1, SHARED_BY_AT_MOST + 1):
        ledger.asset(number, MAC, BIOS)
    counts = find_duplicates(ledger.connection)
    assert (counts["candidates"], counts["shared_widely"]) == (SHARED_BY_AT_MOST * (SHARED_BY_AT_MOST - 1) // 2, 0)
    more = ledger.asset(50, MAC, SERIAL)
    ledger.asset(51, SERIAL, ("mac", MAC[1]))
    found = ledger.found()
    assert found[50, 51].keys() == {"score", "found_at", "serial"}  # that both have the worn MAC is no difference
    assert "mac" not in found[1, 2]
    assert find_duplicates(ledger.connection)["shared_widely"] == 1
    ledger.connection.execute("UPDATE ledger.assets SET deleted_at = now() WHERE id = ANY(%s)", [[more, UUID(int=51)]])
    assert "mac" in ledger.found()[1, 2]


def test_closed_identifiers_and_retired_assets_make_none(ledger: Rows) -> None:
    one = ledger.asset(1, SERIAL)
    ledger.asset(2, SERIAL)
    assert ledger.found()
    ledger.connection.execute("UPDATE ledger.assets SET deleted_at = now() WHERE id = %s", [one])
    assert ledger.found() == {}
    ledger.connection.execute("UPDATE ledger.assets SET deleted_at = NULL")
    assert ledger.found()
    ledger.connection.execute("UPDATE ledger.asset_identifiers SET last_seen_at = now() WHERE asset_id = %s", [one])
    assert ledger.found() == {}


def test_what_a_merged_machine_has_counts_for_its_root(ledger: Rows) -> None:
    root, child = ledger.asset(9, ("serial", "S9")), ledger.asset(1, SERIAL, MAC)
    ledger.asset(2, SERIAL)
    ledger.asset(3, ("serial", "S9"), MAC)
    assert ledger.found().keys() == {(1, 2), (1, 3), (3, 9)}
    ledger.merge(child, root)
    found = ledger.found()
    assert found.keys() == {(2, 9), (3, 9)}
    assert found[3, 9]["score"] == PARTS["serial"].points + PARTS["mac"].points


def test_what_was_dismissed_never_comes_back_whatever_is_merged(ledger: Rows) -> None:
    assets = [ledger.asset(number, SERIAL) for number in (1, 2, 3)]
    ledger.dismiss(assets[1], assets[0])  # the other order than the one decisions have
    assert ledger.found().keys() == {(1, 3), (2, 3)}
    ledger.merge(assets[0], assets[2])
    assert ledger.found() == {}
    assert find_duplicates(ledger.connection)["dismissed"] == 1


def test_a_candidate_that_stays_as_it_is_is_not_written(ledger: Rows) -> None:
    ledger.asset(1, SERIAL)
    ledger.asset(2, SERIAL)
    ledger.asset(3, MAC)
    ledger.asset(4, MAC)
    assert find_duplicates(ledger.connection) == {
        "candidates": 2, "new": 2, "changed": 0, "gone": 0, "dismissed": 0, "shared_widely": 0,
    }  # fmt: skip
    ledger.connection.execute(
        "UPDATE ledger.assets SET hostname = 'same' WHERE id = ANY(%s)", [[UUID(int=3), UUID(int=4)]]
    )
    query = "SELECT asset_id, xmin::text FROM ledger.duplicate_candidates ORDER BY 1"
    before = rows(ledger.connection, query)
    counts = find_duplicates(ledger.connection)
    assert (counts["new"], counts["changed"], counts["gone"]) == (0, 1, 0)
    after = rows(ledger.connection, query)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False]


def test_the_list_shows_only_what_still_waits_for_a_person(ledger: Rows) -> None:
    one, two, three, four = (ledger.asset(number, SERIAL, hostname=f"h{number}") for number in (1, 2, 3, 4))
    ledger.seen(1, one)
    find_duplicates(ledger.connection)
    page, total = list_candidates(ledger.connection, limit=2, offset=1)
    assert (len(page), total) == (2, 6)
    ledger.dismiss(*sorted((one, two)))
    ledger.merge(three, two)
    page, total = list_candidates(ledger.connection, limit=9)
    assert [{machine["hostname"] for machine in each["machines"]} for each in page] == [{"h1", "h4"}, {"h2", "h4"}]
    assert total == 2
    assert page[0]["machines"][0]["sources"] == ["source1"]
    beside = compare(ledger.connection, four, one)
    assert [machine["hostname"] for machine in beside["machines"]] == ["h4", "h1"]
    assert beside["candidate"]["score"] == PARTS["serial"].points


# --- random ledgers ----------------------------------------------------------------------------------------------


def swapped(value: str) -> str:
    return str(uuid.UUID(bytes_le=uuid.UUID(value).bytes))


Machine = Mapping[str, Any]


def plainly(machines: Mapping[UUID, Machine], roots: Mapping[UUID, UUID], dismissed: set[frozenset[UUID]]) -> Any:
    """Return the pairs and their scores, found by comparing every machine with every other."""
    has: dict[UUID, dict[str, set[Any]]] = {}
    for asset_id, machine in machines.items():
        root = roots.get(asset_id, asset_id)
        if machines[root]["retired"]:
            continue
        mine = has.setdefault(
            root, {"uuid": set(), "serial": set(), "mac": set(), "ip": set(), "managed": set(), "bios": set()}
        )
        for kind, value in machine["identifiers"]:
            match kind:
                case "ip":
                    mine["ip"].add((machine["zone"], value))
                case "mac" | "serial":
                    mine[kind].add(value)
                case _:
                    mine["uuid"].add(frozenset((value, swapped(value))))
            if kind == "smbios_uuid":
                mine["bios"].add(frozenset((value, swapped(value))))
        if machine["mgmt_ip"]:
            mine["managed"].add((machine["zone"], machine["mgmt_ip"]))
            mine["ip"].add((machine["zone"], machine["mgmt_ip"]))
    worn = {
        (kind, value)
        for kind in ("uuid", "serial", "mac", "ip")
        for value in set().union(*(each[kind] for each in has.values()))
        if sum(value in each[kind] for each in has.values()) > SHARED_BY_AT_MOST
    }
    found = {}
    for one, other in combinations(sorted(has), 2):
        a, b = has[one], has[other]
        if frozenset((one, other)) in dismissed:
            continue
        parts = [
            kind for kind in ("uuid", "serial", "mac") if any((kind, value) not in worn for value in a[kind] & b[kind])
        ]
        addresses = {value for value in a["ip"] & b["ip"] if ("ip", value) not in worn}
        if addresses & a["managed"] & b["managed"]:
            parts.append("mgmt_ip")
        elif addresses & (a["managed"] | b["managed"]):
            parts.append("address")
        if not parts:
            continue
        if machines[one]["hostname"] == machines[other]["hostname"]:
            parts.append("same_hostname")
        for told, kind, part in (("mac", "mac", "other_mac"), ("bios", "uuid", "other_uuid")):
            if kind not in parts and all(any((kind, value) not in worn for value in each[told]) for each in (a, b)):
                parts.append(part)
        found[one, other] = (max(LOWEST, min(HIGHEST, sum(PARTS[part].points for part in parts))), set(parts))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_a_random_ledger_has_the_candidates_that_comparing_each_with_each_finds(ledger: Rows, seed: int) -> None:
    rng = random.Random(seed)
    uuids = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(12)]
    uuids += [swapped(value) for value in uuids]
    machines: dict[UUID, Machine] = {}
    for number in range(1, 41):
        identifiers = [
            *(
                ("smbios_uuid" if rng.random() < 0.6 else "vmware_uuid", rng.choice(uuids))
                for _ in range(rng.randint(0, 1))
            ),
            *(("mac", f"02:00:00:00:00:{rng.randint(0, 20):02x}") for _ in range(rng.randint(0, 2))),
            *(("serial", f"S{rng.randint(0, 40)}") for _ in range(rng.randint(0, 1))),
            *(("ip", f"10.0.0.{rng.randint(1, 25)}") for _ in range(rng.randint(0, 2))),
        ]
        machine = {
            "identifiers": identifiers, "zone": rng.choice(["default", "default", "moon"]),
            "mgmt_ip": f"10.0.0.{rng.randint(1, 25)}" if rng.random() < 0.4 else None,
            "hostname": f"h{rng.randint(1, 5)}", "retired": rng.random() < 0.1,
        }  # fmt: skip
        asset_id = ledger.asset(
            number, *identifiers, zone=machine["zone"], mgmt_ip=machine["mgmt_ip"], hostname=machine["hostname"],
        )  # fmt: skip
        machines[asset_id] = machine
        if machine["retired"]:
            ledger.connection.execute("UPDATE ledger.assets SET deleted_at = now() WHERE id = %s", [asset_id])
    for _ in range(6):
        free = [
            asset
            for (asset,) in ledger.connection.execute("SELECT id FROM ledger.assets WHERE merged_into_asset_id IS NULL")
        ]
        ledger.merge(*rng.sample(free, 2))
    roots = dict(
        ledger.connection.execute(
            "SELECT id, merged_into_asset_id FROM ledger.assets WHERE merged_into_asset_id IS NOT NULL"
        ).fetchall()
    )
    dismissed = set()
    for _ in range(8):
        pair = rng.sample(sorted(machines), 2)
        ledger.dismiss(*pair)
        dismissed.add(frozenset(roots.get(each, each) for each in pair))
    expected = plainly(machines, roots, dismissed)
    found = {
        (UUID(int=one), UUID(int=other)): (each["score"], each.keys() - {"score", "found_at"})
        for (one, other), each in ledger.found().items()
    }
    assert found == expected
    assert len(found) > 10
    whole = rows(ledger.connection, "SELECT * FROM ledger.duplicate_candidates ORDER BY 1, 2")
    ledger.connection.execute("TRUNCATE ledger.duplicate_candidates")
    find_duplicates(ledger.connection)
    assert rows(ledger.connection, "SELECT * FROM ledger.duplicate_candidates ORDER BY 1, 2") == whole
