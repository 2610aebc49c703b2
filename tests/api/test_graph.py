"""The graph over HTTP: around a node, ways between two, what goes with one; and of another tenant nothing."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from asset_ledger.pipeline.states import parse_waiting
from asset_ledger.store.database import connect
from asset_ledger.store.tenancy import as_tenant
from tests.api.site import Site, state

AT = "/terraform/state/shop/app"


def resource(name: str, *needs: str, **attributes: Any) -> dict[str, Any]:
    return {
        "mode": "managed", "type": "terraform_data", "name": name, "provider": 'provider["terraform.io/builtin/terraform"]',
        "instances": [{"attributes": {"id": f"id-{name}", **attributes}, "dependencies": list(needs)}],
    }  # fmt: skip


@pytest.fixture
def shop(site: Site) -> Site:
    """A state as Terraform writes it: two disks on a net, and a host that a disk's machine runs on, in the ledger."""
    site.ask("POST", AT, state(resources=[resource("net"), resource("a", "terraform_data.net"), resource("b", "terraform_data.a")]))  # fmt: skip
    acme = site.tenants["acme"]
    with connect(site.database_url) as connection:
        assert [each.said for each in parse_waiting(connection, site.ring)] == [None]
        connection.execute("TRUNCATE ledger.sources, ledger.assets, ledger.asset_relations RESTART IDENTITY CASCADE")
        connection.execute(
            "INSERT INTO ledger.sources (name, platform, platform_type, source_type, zone, naming_rank, specs_rank)"
            " VALUES ('lab', 'pve', 'pve', 'platform', 'default', 1, 1)"
        )
        connection.execute(
            "INSERT INTO ledger.assets (id, zone, platform_type, asset_type, hostname, created_at, updated_at)"
            " SELECT md5(name)::uuid, 'default', 'pve', 'vm', name, now(), now() FROM unnest(ARRAY['vm', 'host']) AS name"
        )
        connection.execute(
            "INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,"
            " record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at)"
            " SELECT n, 1, 'machine', hostname, id, n, '', 1, now(), now(), now(), now(), now()"
            " FROM (SELECT *, row_number() OVER (ORDER BY hostname DESC) AS n FROM ledger.assets) AS a"
        )
        connection.execute("TRUNCATE ledger.normalized_assets")
        connection.execute(
            "INSERT INTO ledger.normalized_assets (id, source_id, external_kind, external_id, digest, record_digest,"
            " parser_version, inventory_id, observation_id, locator, document) OVERRIDING SYSTEM VALUE"
            " SELECT id, 1, 'machine', external_id, external_id::bytea, '', 1, 1, 1, '',"
            " jsonb_build_object('identity', jsonb_build_object('hostname', external_id)) FROM ledger.asset_source_links"
        )
        connection.execute(
            "INSERT INTO ledger.asset_relations VALUES (1, 'runs_on', 'machine', 'host', now(), now(), NULL)"
        )
        with as_tenant(connection, acme):
            connection.execute("INSERT INTO iac.tenant_sources VALUES (%s, 1)", [acme])
            connection.execute(
                "INSERT INTO iac.resource_joins SELECT tenant_id, state_id, stable_uid, 1, md5('vm')::uuid, 1, 'id', 100,"
                " now() FROM iac.resources_current WHERE addr = 'terraform_data.net'"
            )
    return site


def node(site: Site, name: str) -> str:
    if name in ("vm", "host"):
        return f"asset:{site.rows('SELECT md5(%s)::uuid AS id', [name])[0]['id']}"
    found = site.rows("SELECT stable_uid FROM iac.resources_current WHERE addr = %s", [f"terraform_data.{name}"])
    return f"resource:{found[0]['stable_uid']}"


def test_what_goes_with_a_host_is_told_with_its_reasons(shop: Site) -> None:
    found = shop.ask("GET", f"/api/v1/impact?node={node(shop, 'host')}").json
    assert found["counts"] == {"assets": 1, "instances": 0, "resources": 3, "at_least": False}
    assert not found["cut"]
    assert [(each["name"], each["depth"], each["how"], each["via"]) for each in found["nodes"]] == [
        ("vm", 1, "runs_on", node(shop, "host")),
        ("terraform_data.net", 2, "joined_by_id", node(shop, "vm")),
        ("terraform_data.a", 3, "config", node(shop, "net")),
        ("terraform_data.b", 4, "config", node(shop, "a")),
    ]
    assert [each["states"] for each in found["nodes"]] == [[], *[["shop/app"]] * 3]
    near = shop.ask("GET", f"/api/v1/impact?node={node(shop, 'host')}&limit=2").json
    assert (len(near["nodes"]), near["cut"], near["counts"]["resources"]) == (2, True, 3)
    assert shop.audited()[-1][1:3] == ("graph.read", "success")


def test_what_is_around_a_node_comes_with_every_edge_between(shop: Site) -> None:
    found = shop.ask("GET", f"/api/v1/graph?node={node(shop, 'a')}").json
    assert [each["name"] for each in found["nodes"]] == ["terraform_data.a", "terraform_data.b", "terraform_data.net"]
    assert {(each["node"], each["needed"]) for each in found["edges"]} == {
        (node(shop, "b"), node(shop, "a")),
        (node(shop, "a"), node(shop, "net")),
    }
    needs = shop.ask("GET", f"/api/v1/graph?node={node(shop, 'a')}&direction=needs&depth=9").json
    assert {each["name"] for each in needs["nodes"]} == {"terraform_data.a", "terraform_data.net", "vm", "host"}
    assert shop.ask("GET", f"/api/v1/graph?node={node(shop, 'a')}&direction=needs&depth=9&limit=2").json["cut"]


def test_a_way_is_told_in_the_direction_of_the_need_alone(shop: Site) -> None:
    first, last = node(shop, "b"), node(shop, "host")
    found = shop.ask("GET", f"/api/v1/graph/paths?from={first}&to={last}").json
    assert found["paths"] == [[node(shop, each) for each in ("b", "a", "net", "vm", "host")]]
    assert [each["how"] for each in found["edges"]].count("runs_on") == 1
    assert shop.ask("GET", f"/api/v1/graph/paths?from={last}&to={first}").json["paths"] == []
    assert shop.ask("GET", f"/api/v1/graph/paths?from={first}&to={last}&depth=3").json["paths"] == []


def test_a_dense_part_costs_no_more_than_looking_through_it(site: Site) -> None:
    of = "terraform_data.{}".format
    dense = [f"d{n}" for n in range(40)]
    circle = [resource(each, of("x"), *[of(other) for other in dense if other != each]) for each in dense]
    beside = [resource("s", of("x")), resource("e"), resource("x", of("e"), *map(of, dense))]
    site.ask("POST", AT, state(resources=[*beside, *circle]))
    with connect(site.database_url) as connection:
        assert [each.said for each in parse_waiting(connection, site.ring)] == [None]
    found = site.ask("GET", f"/api/v1/graph/paths?from={node(site, 's')}&to={node(site, 'e')}").json
    assert found["paths"] == [[node(site, each) for each in ("s", "x", "e")]]
    assert not found["cut"], "all was looked through"


def test_another_tenant_is_told_of_none_of_it(shop: Site) -> None:
    rival = shop.token("rob", "reader", "rival")
    for name in ("host", "vm", "net"):
        for path in (f"{asked}?node={node(shop, name)}" for asked in ("graph", "impact", "topology.svg")):
            answer = shop.ask("GET", f"/api/v1/{path}", token=rival)
            assert (answer.status, answer.json["code"]) == (404, "NO_NODE")
    own = node(shop, "host")
    assert shop.ask("GET", f"/api/v1/graph/paths?from={own}&to={own}", token=rival).status == 404
    assert shop.ask("GET", f"/api/v1/impact?node={own}", token="").status == 401


@pytest.mark.parametrize(
    "asked", ["node=host", "node=asset:1", "node=resource:%00", "", "node={0}&depth=0", "node={0}&limit=10001", "node={0}&direction=up"]
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(shop: Site, asked: str) -> None:
    at = node(shop, "host")
    assert shop.ask("GET", f"/api/v1/graph?{asked.format(at)}").status == 422
    assert shop.ask("GET", f"/api/v1/impact?node={at.replace('asset', 'instance')}").status == 404


def test_the_graph_is_in_the_openapi(shop: Site) -> None:
    paths = json.loads(shop.ask("GET", "/openapi.json").body)["paths"]
    assert {"/api/v1/graph", "/api/v1/graph/paths", "/api/v1/impact"} <= set(paths)


def test_a_picture_of_what_hangs_together_is_svg_that_a_browser_runs_nothing_of(shop: Site) -> None:
    found = shop.ask("GET", f"/api/v1/topology.svg?node={node(shop, 'host')}")
    assert found.status == 200
    assert found.headers["content-type"] == "image/svg+xml"
    assert found.headers["content-security-policy"].startswith("default-src 'none'")
    texts = {each.text for each in ElementTree.fromstring(found.body).iter("{http://www.w3.org/2000/svg}text")}
    assert {"host", "vm", "terraform_data.net", "terraform_data.a", "terraform_data.b"} <= texts
    assert shop.ask("GET", "/api/v1/topology.svg?node=nonsense").status == 422
