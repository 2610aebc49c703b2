"""Clients over HTTP: listed and shown to their own tenant, compared, and ended by who may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from asset_ledger.store.database import connect
from tests.agents.payloads import GIB
from tests.api.agent_site import Machine, enrolled
from tests.api.site import Site
from tests.patience import until

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
SECOND = timedelta(seconds=1)


def get(site: Site, path: str, **more: Any) -> Any:
    answer = site.ask("GET", f"/api/v1/clients{path}", **more)
    assert answer.status == 200, answer.body
    return answer.json


@pytest.fixture
def fleet(site: Site) -> dict[str, Machine]:
    made = {}
    for os, name in (("linux", "web-01"), ("windows", "win-01"), ("sles", "web-02")):
        made[name] = enrolled(site, hostname=name)
        assert made[name].report(os=os, hostname=name, agent_version=f"1.{len(made)}.0").status == 200
    made["new-01"] = enrolled(site, hostname="new-01")
    return made


@pytest.fixture
def machine(site: Site) -> Machine:
    """A client that said four things at three times, one of them again."""
    made = enrolled(site, hostname="web-01")
    for seconds, told in enumerate(
        ({}, {"uptime": 1}, {"memory_total": 32 * GIB, "kernel_version": "6.1.0"}, {"cores": 8})
    ):
        assert made.report(collected_at=NOW + seconds * SECOND, spooled=True, **told).status == 200
    return made


def test_clients_are_listed_by_hostname_with_what_they_said_last(site: Site, fleet: dict[str, Machine]) -> None:
    found = get(site, "")
    assert [each["hostname"] for each in found] == ["new-01", "web-01", "web-02", "win-01"]
    assert found[0]["collected_at"] is None
    web = found[1]
    assert web == web | {
        "os": "linux", "platform": "ubuntu", "agent_version": "1.1.0", "username": "wim", "enrolled_by": "wim",
        "cpu_count": 4, "memory_total": 16_376_053_760, "waiting": 1, "ip_address": "127.0.0.1", "retired_at": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("os=windows", ["win-01"]),
        ("platform=sles", ["web-02"]),
        ("hostname=WEB", ["web-01", "web-02"]),
        ("hostname=%25", []),
        ("agent_version=1.2.0", ["win-01"]),
        ("status=online&hostname=none", []),
        ("os=linux&hostname=02", ["web-02"]),
        ("retired=yes", []),
    ],
)
def test_clients_are_chosen_by_what_they_are(
    site: Site, fleet: dict[str, Machine], query: str, names: list[str]
) -> None:
    assert [each["hostname"] for each in get(site, f"?{query}")] == names


def test_clients_are_chosen_by_whether_they_are_there(site: Site, fleet: dict[str, Machine]) -> None:
    with connect(site.database_url) as connection:
        connection.execute("UPDATE agent.clients SET status = 'online' WHERE hostname = 'web-02'")
        connection.execute("UPDATE agent.clients SET status = 'offline' WHERE hostname <> 'web-02'")
    assert [each["hostname"] for each in get(site, "?status=online")] == ["web-02"]


def test_a_page_goes_on_after_the_last_client_of_the_one_before(site: Site, fleet: dict[str, Machine]) -> None:
    enrolled(site), enrolled(site)  # two of one name: none
    seen: list[str] = []
    after = ""
    while page := get(site, f"?limit=2{after}"):
        seen += [each["id"] for each in page]
        after = f"&after={page[-1]['id']}"
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize(
    "query", ["status=away", "limit=0", "limit=1001", "after=x", "hostname=", "hostname=%00", "state=x", "retired=x"]
)
def test_what_cannot_be_asked_is_refused(site: Site, query: str) -> None:
    assert site.ask("GET", f"/api/v1/clients?{query}").status == 422


def test_a_client_is_shown_with_all_it_said_last(site: Site, machine: Machine) -> None:
    found = get(site, f"/{machine.id}")
    inventory = found["inventory"]
    assert (inventory["cpu_count"], inventory["memory_usage_percent"]) == (8, 50.0)
    assert len(inventory["raw_data"]["cpu"]) == 8
    assert get(site, f"/{enrolled(site).id}")["inventory"] is None


def test_history_is_the_newest_first_by_type_and_in_pages(site: Site, machine: Machine) -> None:
    found = get(site, f"/{machine.id}/history")
    assert [each["change_type"] for each in found] == [
        ["hardware_change", "os_change"],
        ["hardware_change", "os_change"],
        ["periodic_snapshot"],
    ]
    assert [each["said_again"] for each in found] == [0, 0, 1]
    assert all(each["raw_kept"] for each in found)
    by_type = get(site, f"/{machine.id}/history?change_type=periodic_snapshot&change_type=network_change")
    assert [each["id"] for each in by_type] == [found[2]["id"]]
    assert [each["id"] for each in get(site, f"/{machine.id}/history?limit=1&after={found[0]['id']}")] == [
        found[1]["id"]
    ]
    assert site.ask("GET", f"/api/v1/clients/{machine.id}/history?change_type=x").status == 422


def test_any_two_reports_are_compared(site: Site, machine: Machine) -> None:
    newest, middle, first = (each["id"] for each in get(site, f"/{machine.id}/history"))
    found = get(site, f"/{machine.id}/diff?from={first}&to={middle}")
    assert (found["before_id"], found["after_id"], found["change_type"]) == (
        first,
        middle,
        ["hardware_change", "os_change"],
    )
    assert {"field": "memory_total", "before": 16_376_053_760, "after": 32 * GIB} in found["differences"]
    assert get(site, f"/{machine.id}/diff?from={newest}")["differences"] == []
    back = get(site, f"/{machine.id}/diff?from=latest&to={first}")
    assert {"field": "cpu_count", "before": 8, "after": 4} in back["differences"]
    ask = f"/api/v1/clients/{machine.id}/diff"
    assert site.ask("GET", ask).status == 422
    assert site.ask("GET", f"{ask}?from=0").status == 422
    assert site.ask("GET", f"{ask}?from=999999999").json["code"] == "NO_REPORT"
    silent = enrolled(site)
    assert site.ask("GET", f"/api/v1/clients/{silent.id}/diff?from=latest").json["code"] == "NO_REPORT"


def test_a_row_whose_report_is_not_kept_any_more_says_so(site: Site, machine: Machine) -> None:
    first = get(site, f"/{machine.id}/history")[-1]["id"]
    with connect(site.database_url) as connection:
        connection.execute("UPDATE agent.inventory_history SET raw_data = NULL WHERE id = %s", [first])
    assert get(site, f"/{machine.id}/history")[-1]["raw_kept"] is False
    answer = site.ask("GET", f"/api/v1/clients/{machine.id}/diff?from={first}")
    assert (answer.status, answer.json["code"]) == (409, "REPORT_NOT_KEPT")


def test_another_tenants_client_is_not_there(site: Site, machine: Machine) -> None:
    rob = site.token("rob", tenant="rival")
    assert get(site, "", token=rob) == []
    for path in ("", "/history", "/diff?from=latest"):
        assert site.ask("GET", f"/api/v1/clients/{machine.id}{path}", token=rob).status == 404, path
    for path in ("/token/revoke", "/retire"):
        assert site.ask("POST", f"/api/v1/clients/{machine.id}{path}", token=rob).status == 404, path
    assert get(site, f"?after={machine.id}", token=rob) == []
    assert machine.report().status == 200


def test_nobody_reads_without_a_login(site: Site) -> None:
    for path in ("", f"/{uuid4()}", f"/{uuid4()}/history", f"/{uuid4()}/diff?from=1"):
        assert site.ask("GET", f"/api/v1/clients{path}", token="").status == 401


def test_a_writer_ends_a_clients_tokens_and_a_reader_does_not(site: Site, machine: Machine) -> None:
    path = f"/api/v1/clients/{machine.id}/token/revoke"
    assert site.ask("POST", path, token=site.token("rita", "reader")).status == 403
    assert machine.report().status == 200
    assert site.ask("POST", path, token=site.token("wim", "writer")).json == {"tokens": 1}
    assert machine.report().status == 401
    assert site.ask("POST", path).json == {"tokens": 0}
    told = site.rows("SELECT * FROM audit.audit_logs WHERE event_type = 'security.client' ORDER BY id")
    assert {str(each["client_id"]) for each in told} == {machine.id}
    assert [each["event_result"] for each in told] == ["refused", "success", "success"]


def test_a_retired_client_is_gone_its_history_stays_and_enrolling_it_brings_it_back(site: Site) -> None:
    machine = enrolled(site, hostname="web-01", machine_key="c" * 64)
    machine.report()
    path = f"/api/v1/clients/{machine.id}/retire"
    assert site.ask("POST", path, token=site.token("wim", "writer")).status == 403
    assert site.ask("POST", path).status == 204
    assert site.ask("POST", path).json["code"] == "CLIENT_RETIRED"
    assert machine.report().status == 401
    assert get(site, "") == []
    assert [each["id"] for each in get(site, "?retired=yes")] == [machine.id]
    assert len(get(site, f"/{machine.id}/history")) == 1
    again = enrolled(site, hostname="web-01", machine_key="c" * 64)
    assert again.id == machine.id
    assert [each["retired_at"] for each in get(site, "")] == [None]
    until(lambda: again.report().status == 200)
    assert machine.report().status == 401


def test_every_look_is_recorded_with_its_client(site: Site, machine: Machine) -> None:
    get(site, f"/{machine.id}/history")
    (last,) = site.rows("SELECT * FROM audit.audit_logs ORDER BY id DESC LIMIT 1")
    assert (last["event_type"], str(last["client_id"])) == ("clients.read", machine.id)
