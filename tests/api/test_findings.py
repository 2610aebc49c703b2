"""Findings and coverage over HTTP: of one's own tenant alone, in pages, and recorded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from asset_ledger.store.database import connect
from tests.api.site import Site

AT = datetime(2026, 11, 20, 1, tzinfo=UTC)
ROUTES = ("/api/v1/findings", "/api/v1/coverage", f"/api/v1/findings/{uuid4()}")


@pytest.fixture
def site(site: Site) -> Iterator[Site]:
    site.token()
    site.token("rob", tenant="rival")
    with connect(site.database_url) as connection:
        for tenant_id in site.tenants.values():
            connection.execute("INSERT INTO iac.state_heads (tenant_id, tool, project, stack) VALUES (%s, 'terraform', 'shop', 'prod'), (%s, 'pulumi', 'shop', 'prod')", [tenant_id] * 2)  # fmt: skip
            connection.execute(
                """
                INSERT INTO iac.drift_findings (tenant_id, kind, state_id, stable_uid, addr, attribute, source_id, source,
                    name, declared, observed, rule, score, opened_at, seen_at, closed_at, closed_because)
                SELECT h.tenant_id, 'drift', h.state_id, gen_random_uuid(), 'vm[' || n || ']', 'memory_bytes', 1, 'pve_lab',
                       'web', '8', '4', 'id', 100, %(at)s::timestamptz + n * interval '1 minute', %(at)s,
                       CASE WHEN n = 0 THEN %(at)s END, CASE WHEN n = 0 THEN 'agrees' END
                FROM iac.state_heads AS h, generate_series(0, 3) AS n
                WHERE h.tenant_id = %(tenant)s AND h.tool = 'terraform'
                """,
                {"tenant": tenant_id, "at": AT},
            )
            connection.execute(
                "INSERT INTO iac.cloud_orphans (tenant_id, source_id, source, external_kind, external_id, link_id,"
                " asset_id, name, observed_at, opened_at, seen_at, unsure_since, unsure_because) VALUES"
                " (%s, 1, 'pve_lab', 'vm', 'qemu/9', 1, gen_random_uuid(), 'lost', %s, %s, %s, %s, 'why')",
                [tenant_id, AT, AT, AT, AT],
            )
            connection.execute(
                "INSERT INTO iac.coverage SELECT %s, 1, 'pve_lab', day, %s, NULL, false, 'why', 5, 3, 4, 0, 3, 0, 0, 1,"
                " '{\"not_seen\": 1}' FROM unnest('{2026-11-19,2026-11-20}'::date[]) AS day",
                [tenant_id, AT],
            )
    yield site
    with connect(site.database_url) as connection:
        connection.execute("TRUNCATE iac.drift_findings, iac.cloud_orphans, iac.coverage")


def get(site: Site, path: str, **more: Any) -> Any:
    answer = site.ask("GET", f"/api/v1/{path}", **more)
    assert answer.status == 200, answer.body
    return answer.json


def test_what_is_open_is_told_those_opened_last_first(site: Site) -> None:
    found = get(site, "findings")
    assert [one["addr"] or one["external_id"] for one in found] == ["vm[3]", "vm[2]", "vm[1]", "qemu/9"]
    assert (
        found[0] | {"declared": 8, "observed": 4, "source": "pve_lab", "project": "shop", "stack": "prod"} == found[0]
    )
    assert (found[3]["kind"], found[3]["unsure_because"], found[3]["project"]) == ("orphan", "why", None)


def test_findings_are_chosen_by_kind_source_state_and_whether_they_hold(site: Site) -> None:
    def told(query: str) -> list[str]:
        return [one["addr"] or one["external_id"] for one in get(site, f"findings?{query}")]

    assert told("kind=orphan") == ["qemu/9"]
    assert told("kind=missing&kind=double") == []
    assert told("status=closed") == ["vm[0]"]
    assert len(told("status=all")) == 5
    assert told("source=other") == []
    assert len(told("state=shop/prod")) == 3
    assert told("state=pulumi:shop/prod") == []


def test_a_page_goes_on_after_the_last_finding_of_the_one_before(site: Site) -> None:
    seen: list[str] = []
    after = ""
    while page := get(site, f"findings?status=all&limit=2{after}"):
        seen += [one["id"] for one in page]
        after = f"&after={page[-1]['id']}"
    assert len(seen) == len(set(seen)) == 5


def test_a_finding_is_shown_and_that_of_another_tenant_is_not_there(site: Site) -> None:
    mine = get(site, "findings")[0]
    assert get(site, f"findings/{mine['id']}") == mine
    rob = site.token("rob", tenant="rival")
    assert site.ask("GET", f"/api/v1/findings/{mine['id']}", token=rob).status == 404
    assert {one["id"] for one in get(site, "findings?status=all", token=rob)}.isdisjoint({mine["id"]})
    assert len(get(site, f"findings?after={mine['id']}", token=rob)) == 0


def test_coverage_has_the_last_day_of_each_source_or_more(site: Site) -> None:
    (last,) = get(site, "coverage")
    assert (last["day"], last["observed"], last["unknown"], last["complete"]) == (
        "2026-11-20",
        5,
        {"not_seen": 1},
        False,
    )
    assert [one["day"] for one in get(site, "coverage?days=9")] == ["2026-11-20", "2026-11-19"]
    assert get(site, "coverage?source=else") == []
    assert last["managed_percent"] == 60.0
    assert site.ask("GET", "/api/v1/coverage?sourc=else").status == 422


@pytest.mark.parametrize(
    "query",
    ["kind=x", "source=%00", "state=shop", "state=a/b%00", "limit=0", "after=x", "status=x", "stat=open", "limit=-1"],
)
def test_what_cannot_be_asked_is_refused(site: Site, query: str) -> None:
    assert site.ask("GET", f"/api/v1/findings?{query}").status == 422


def test_every_look_is_recorded_and_nobody_else_looks(site: Site) -> None:
    get(site, "findings")
    get(site, "coverage")
    assert site.audited()[-2:] == [
        ("acme/ann", "findings.read", "success", "GET /api/v1/findings"),
        ("acme/ann", "findings.read", "success", "GET /api/v1/coverage"),
    ]
    for route in ROUTES:
        assert site.ask("GET", route, token="").status == 401
