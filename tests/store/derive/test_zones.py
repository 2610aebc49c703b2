"""Address spaces that a platform tells of: a machine's own zone counts before its source's, for everything by address."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from asset_ledger.domain.as_of import AsOf
from asset_ledger.store.query.asset_as_of import asset_as_of
from tests.store.telling import MACHINE, Telling, document, rebuilt, telling


def of_vpc(vpc: str, **facts: Any) -> dict[str, Any]:
    made = document(**facts)
    made["identity"]["zone"] = vpc
    return made


@pytest.fixture
def cloud(database_url: str) -> Any:
    with telling(database_url) as told:
        yield told


def test_a_machine_of_a_private_network_is_in_its_zone_and_not_in_that_of_its_source(cloud: Telling) -> None:
    cloud.tell(
        "2026-11-01",
        {
            "i-1": of_vpc("vpc-a", hostname="one", ip="10.0.0.1", uuid="u1"),
            "i-2": of_vpc("vpc-b", hostname="two", ip="10.0.0.1", uuid="u2"),
            "i-3": document(hostname="classic", ip="10.0.0.1", uuid="u3"),
        },
        complete=True,
    )
    zones = "SELECT hostname, zone FROM ledger.assets ORDER BY 1"
    expected = [
        {"hostname": "classic", "zone": "default"},
        {"hostname": "one", "zone": "vpc-a"},
        {"hostname": "two", "zone": "vpc-b"},
    ]
    assert cloud.rows(zones) == expected
    rebuilt(cloud)
    assert cloud.rows(zones) == expected


def test_who_is_met_by_address_is_met_in_the_zone_of_the_machine(cloud: Telling, database_url: str) -> None:
    cloud.tell(
        "2026-11-01",
        {name: of_vpc(f"vpc-{name}", hostname=name, ip="10.0.0.1", uuid=name) for name in ("a", "b")},
        complete=True,
    )
    settings: dict[str, Any] = {"platform": False, "naming_rank": 40, "specs_rank": 20}
    with telling(database_url, "probe", zone="vpc-b", **settings) as probe:
        outcome = probe.tell(
            "2026-11-01", {"10.0.0.1": document(ip="10.0.0.1", cores=8)}, hour=2, external_kind=MACHINE
        )
    with telling(database_url, "elsewhere", **settings) as stranger:
        other = stranger.tell("2026-11-01", {"10.0.0.1": document(ip="10.0.0.1")}, hour=3, external_kind=MACHINE)

    assert (outcome.attached, outcome.created) == (1, 0)
    assert (other.attached, other.created) == (0, 1)
    found = cloud.rows("SELECT hostname, zone, cpu_cores FROM ledger.assets WHERE hostname IS NOT NULL ORDER BY 1")
    assert found == [
        {"hostname": "a", "zone": "vpc-a", "cpu_cores": None},
        {"hostname": "b", "zone": "vpc-b", "cpu_cores": 8},
    ]


def test_a_machine_that_changes_its_network_was_in_the_other_one_before(cloud: Telling) -> None:
    cloud.tell("2026-11-01", {"i-1": of_vpc("vpc-a", hostname="one", ip="10.0.0.1", uuid="u1")}, complete=True)
    cloud.tell("2026-11-02", {"i-1": of_vpc("vpc-b", hostname="one", ip="10.0.0.1", uuid="u1")}, complete=True)

    assert cloud.one("SELECT zone FROM ledger.assets") == "vpc-b"
    (asset,) = cloud.rows("SELECT id FROM ledger.assets")
    zones = [asset_as_of(cloud.connection, asset["id"], AsOf(date(2026, 11, day)))["zone"] for day in (1, 2)]
    assert zones == ["vpc-a", "vpc-b"]
