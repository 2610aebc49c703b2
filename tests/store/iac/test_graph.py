"""The graph: what goes with what, over the edges of states and those of the ledger; limits, and tenants apart."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from asset_ledger.store.database import connect
from asset_ledger.store.iac.graph import Graph
from asset_ledger.store.tenancy import SERVICE_ROLE, as_tenant
from tests.plain_owner import plainly_owned
from tests.store.graphing import World, made, owner, serving_graph, world


def radius(graph: Graph, *names: str, most: int = 1000) -> set[Any]:
    return set(graph.blast_radius([made(name) for name in names], most=most))


def test_a_failing_host_takes_its_machines_and_what_they_carry_and_not_its_cluster(one: World, acme: Graph) -> None:
    for name in ("cluster", "host", "vm1", "vm2", "elsewhere"):
        one.machine(name)
    one.on("host", "cluster", "member_of")
    one.on("vm1", "host")
    one.on("vm2", "host")
    one.instance("db", "vm1")
    for name in ("the_vm", "dns_record", "unrelated"):
        one.resource(name)
    one.join("the_vm", "vm1")
    one.needs("dns_record", "the_vm", "value")
    found = acme.impact([made("host")], most=100, deepest=10)
    assert found.counts == {"asset": 2, "instance": 1, "resource": 2}
    assert not found.cut
    told = {found.nodes[step.id].name: (step.depth, step.how) for step in found.steps}
    assert told == {
        "host": (0, None),
        "vm1": (1, "runs_on"),
        "vm2": (1, "runs_on"),
        "db": (2, "instance_on"),
        "the_vm": (2, "joined_by_id"),
        "dns_record": (3, "value"),
    }
    assert one.names(radius(acme, "cluster")) == {"cluster", "host", "vm1", "vm2", "db", "the_vm", "dns_record"}


def test_a_machine_that_moved_goes_with_the_host_it_is_on_now(one: World, acme: Graph) -> None:
    for name in ("host1", "host2", "vm"):
        one.machine(name)
    one.on("vm", "host1", ended=True)
    one.on("vm", "host2")
    assert one.names(radius(acme, "host1")) == {"host1"}
    assert one.names(radius(acme, "host2")) == {"host2", "vm"}


def test_a_machine_that_is_missing_hangs_on_no_host_any_more(one: World, acme: Graph) -> None:
    one.machine("host")
    one.machine("vm", missing_since="2026-03-02")
    one.on("vm", "host")
    assert one.names(radius(acme, "host")) == {"host"}


def test_an_edge_ends_at_the_machine_that_has_the_id_now(one: World, acme: Graph) -> None:
    one.machine("vm")
    one.machine("before", None)
    one.machine("host", None)
    one.run(
        "INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,"
        " record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at, closed_at)"
        " SELECT n, 1, 'vm', 'host', CASE n WHEN 90 THEN %s ELSE %s END::uuid, 1, '', 1, now(), now(), now(), now(), now(),"
        " CASE n WHEN 90 THEN now() END FROM generate_series(90, 91) AS n",
        made("before"), made("host"),
    )  # fmt: skip
    one.on("vm", "host")
    assert one.names(radius(acme, "host")) == {"host", "vm"}
    assert one.names(radius(owner(one), "before")) == {"before"}
    current = "SELECT from_asset_id, to_asset_id FROM ledger.topology WHERE current"
    shown = "SELECT asset_id, needed_id FROM iac.graph_relations"
    assert one.connection.execute(current).fetchall() == one.connection.execute(shown).fetchall()


def test_what_was_merged_is_one_node_under_either_id(one: World, acme: Graph) -> None:
    one.machine("by_hand", 3)
    one.machine("host", 1, merged_into="by_hand")
    one.machine("vm")
    one.on("vm", "host")
    one.instance("db", "by_hand")
    for name in ("host", "by_hand"):
        assert one.names(radius(acme, name)) == {"by_hand", "vm", "db"}
        assert set(acme.known([made(name)])) == {made("by_hand")}
    assert acme.named({made("by_hand"): "asset"})[made("by_hand")].name == "host", "as the tenant's own source calls it"
    assert owner(one).named({made("by_hand"): "asset"})[made("by_hand")].name == "by_hand"
    assert [each.needed for each in acme.edges([made("by_hand"), made("vm")], most=9)] == [made("by_hand")]


def test_a_circle_ends(one: World, acme: Graph) -> None:
    for n in range(3):
        one.resource(f"r{n}")
    for n in range(3):
        one.needs(f"r{n}", f"r{(n + 1) % 3}")
    one.needs("r0", "r0")
    assert one.names(radius(acme, "r1")) == {"r0", "r1", "r2"}
    assert [step.depth for step in acme.walk([made("r1")], "needed_by", most=10, deepest=100)] == [0, 1, 2]
    for name in ("vm", "host"):
        one.machine(name)
    one.on("vm", "host")
    one.on("host", "vm")
    one.join("r0", "vm")
    one.resource("also")
    one.join("also", "host")
    one.needs("r1", "also")
    with as_tenant(acme.connection, made("acme")):
        asked = "SELECT count(*), count(DISTINCT node) FROM iac.blast_radius(%s)"
        for start in (["r2"], ["r2", "r2", "vm"]):
            assert acme.connection.execute(asked, [[made(name) for name in start]]).fetchone() == (6, 6)


def test_a_limit_cuts_and_says_so_and_all_is_counted_still(one: World, acme: Graph) -> None:
    one.resource("root")
    for n in range(9):
        one.resource(f"leaf{n}")
        one.needs(f"leaf{n}", "root")
    one.resource("far")
    one.needs("far", "leaf0")
    found = acme.impact([made("root")], most=5, deepest=10)
    assert (len(found.steps), found.cut, found.counts["resource"]) == (5, True, 10)
    assert {step.depth for step in found.steps} == {0, 1}, "the nearest are told"
    shallow = acme.impact([made("root")], most=100, deepest=1)
    assert (len(shallow.steps), shallow.cut, shallow.counts["resource"]) == (10, True, 10)
    whole = acme.impact([made("root")], most=11, deepest=2)
    assert (len(whole.steps), whole.cut, whole.at_least) == (11, False, False)
    assert len(acme.blast_radius([made("root")], most=4)) == 4
    around = acme.around([made("root")], "needed_by", most=5, deepest=9)
    assert (len(around.nodes), len(around.edges), around.cut) == (5, 4, True)


def test_neighbours_are_told_in_the_direction_that_is_asked_for(one: World, acme: Graph) -> None:
    for name in ("host", "vm"):
        one.machine(name)
    one.on("vm", "host")
    one.instance("db", "vm")
    around = acme.around([made("vm")], "both", most=10, deepest=1)
    assert {each.name for each in around.nodes.values()} == {"host", "vm", "db"}
    assert {(edge.node, edge.needed, edge.how) for edge in around.edges} == {
        (made("vm"), made("host"), "runs_on"),
        (made("db"), made("vm"), "instance_on"),
    }
    assert one.names(acme.around([made("vm")], "needs", most=10, deepest=5).nodes) == {"host", "vm"}
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="needs, needed_by or both"):
        acme.around([made("vm")], "sideways", most=10, deepest=5)  # type: ignore[arg-type]


def test_the_service_sees_of_the_ledger_only_what_is_its_tenants(one: World, acme: Graph, shared_url: str) -> None:
    one.machine("ours", 1)
    one.machine("theirs", 2)
    one.machine("nobodys", 3)
    one.machine("their_host", 2)
    one.on("theirs", "their_host")
    one.instance("their_db", "theirs")
    one.instance("our_db", "ours")
    one.resource("r", "rival")
    one.resource("mine", "acme")
    one.join("r", "theirs", tenant="rival", source=2)
    everything = [made(name) for name in ("ours", "theirs", "nobodys", "their_host", "their_db", "our_db", "r", "mine")]
    assert one.names(acme.known(everything)) == {"ours", "our_db", "mine"}
    assert radius(acme, "their_host", "theirs", "r") == set()
    assert {each.needed for each in acme.edges(everything, most=99)} == {made("ours")}
    with serving_graph(shared_url, "rival") as rival:
        assert one.names(radius(rival, "their_host")) == {"their_host", "theirs", "their_db", "r"}
        # a join that says otherwise shows nothing of a source that is another's
        one.join("mine", "theirs", source=2)
        assert one.names(radius(acme, "mine")) == {"mine"}
    assert one.names(radius(owner(one), "their_host")) == {"their_host", "theirs", "their_db"}
    assert one.names(radius(owner(one, "acme"), "their_host")) == {"their_host", "theirs", "their_db", "mine"}
    assert "r" in one.names(radius(owner(one, "acme", "rival"), "their_host"))


@pytest.mark.parametrize("view", ["graph_assets", "graph_merged", "graph_joins", "graph_relations", "graph_instances"])
def test_no_view_betrays_a_row_of_anothers_to_a_function_of_the_askers(one: World, shared_url: str, view: str) -> None:
    for number, tenant in ((1, "acme"), (2, "rival")):
        for name in ("root", "vm", "host"):
            one.machine(f"{tenant}_{name}", number)
        one.machine(f"{tenant}_merged", number, merged_into=f"{tenant}_root")
        one.on(f"{tenant}_vm", f"{tenant}_host")
        one.instance(f"{tenant}_db", f"{tenant}_vm")
        one.resource(f"{tenant}_r", tenant)
        one.join(f"{tenant}_r", f"{tenant}_vm", tenant=tenant, source=number)
    (foreign,) = one.connection.execute(
        "SELECT array_agg(id) FROM ledger.assets WHERE hostname LIKE 'rival%'"
    ).fetchone()  # type: ignore[misc]
    with connect(shared_url) as connection:
        connection.execute(f"SET ROLE {SERVICE_ROLE}")
        heard: list[str] = []
        connection.add_notice_handler(lambda said: heard.append(said.message_primary or ""))
        with as_tenant(connection, made("acme")):
            # it costs nothing to call, says the one who made it: a planner would call it before any other condition
            connection.execute(
                "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS"
                " $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$"
            )
            shown = connection.execute(f"SELECT v::text FROM iac.{view} AS v WHERE pg_temp.leak(v::text)").fetchall()
        assert shown
        assert heard
        assert not [said for said in heard if any(str(each) in said for each in foreign)]
        assert connection.execute(f"SELECT count(*) FROM iac.{view}").fetchone() == (0,), "nothing without a tenant"


def test_an_owner_who_is_no_superuser_sees_the_same() -> None:
    with plainly_owned() as (url, _, _), world(url) as one:
        for name, source in (("vm", 1), ("host", 1), ("foreign", 2)):
            one.machine(name, source)
        one.on("vm", "host")
        one.resource("r")
        one.join("r", "vm")
        with serving_graph(url) as acme:
            assert one.names(radius(acme, "host", "foreign")) == {"host", "vm", "r"}
        assert one.names(radius(owner(one, "acme"), "host", "foreign")) == {"host", "vm", "r", "foreign"}
        assert one.names(radius(owner(one), "host")) == {"host", "vm"}


def test_thousands_of_machines_are_found_by_the_plans_for_many_too(one: World, acme: Graph) -> None:
    one.machine("host")
    one.run("INSERT INTO ledger.assets (id, zone, platform_type, hostname, created_at, updated_at)"
            " SELECT md5('vm' || n)::uuid, 'default', 'pve', 'vm' || n, now(), now() FROM generate_series(1, 3000) AS n")  # fmt: skip
    one.run(
        "INSERT INTO ledger.asset_source_links (id, source_id, external_kind, external_id, asset_id, normalized_id,"
        " record_digest, inventory_id, first_seen_at, since_date, since_at, last_seen_date, last_seen_at)"
        " SELECT 1000 + n, 1, 'vm', 'vm' || n, md5('vm' || n)::uuid, 1, '', 1, now(), now(), now(), now(), now()"
        " FROM generate_series(1, 3000) AS n"
    )
    one.run(
        "INSERT INTO ledger.asset_relations SELECT 1000 + n, 'runs_on', 'vm', 'host', now(), now()"
        " FROM generate_series(1, 3000) AS n"
    )
    with as_tenant(one.connection, made("acme")):
        one.run(
            "INSERT INTO iac.resources_current SELECT %s, %s, md5('r' || n)::uuid, 'r' || n, '', 'p', '', 't', '',"
            " md5('r' || n)::uuid, NULL, NULL, NULL, NULL, false, '{}', '', '', 1, 1, 'r', now()"
            " FROM generate_series(1, 3000) AS n",
            made("acme"), made("acmeapp"),
        )  # fmt: skip
        one.run(
            "INSERT INTO iac.resource_joins SELECT %s, %s, md5('r' || n)::uuid, 1, md5('vm' || n)::uuid, 1, 'id', 100, now()"
            " FROM generate_series(1, 3000) AS n",
            made("acme"), made("acmeapp"),
        )  # fmt: skip
    found = acme.impact([made("host")], most=100, deepest=9)
    assert found.counts == {"asset": 3000, "instance": 0, "resource": 3000}
    assert len(acme.walk([made("host")], "needed_by", most=10_000, deepest=9)) == 6001
    one.resource("r")
    one.join("r", "host")
    assert radius(acme, "r", most=10_000) == radius(acme, "host", most=10_000)
    assert len(radius(acme, "r", most=3500)) == 3500


def told(graph: Graph, name: str) -> set[tuple[str, str | None]]:
    """Return what is told of a node and of what goes with it: names and addresses."""
    found = graph.impact([made(name)], most=100, deepest=9)
    return {(each.name, each.address) for each in found.nodes.values()}


@pytest.mark.parametrize("how", [{"closed_at": "2026-02-01"}, {"missing_since": "2026-02-01"}])
def test_a_machine_that_was_a_tenants_once_is_the_others_who_has_it_now(
    one: World, acme: Graph, shared_url: str, how: dict[str, str]
) -> None:
    one.machine("box", 1, called="our-old-name", **how)
    one.resource("r")
    one.join("r", "box")
    assert told(acme, "box") == (set() if "closed_at" in how else {("our-old-name", None), ("r", None)})
    one.link("box", 2, called="their-name", address="192.0.2.9")
    one.run("UPDATE ledger.assets SET hostname = 'their-name', mgmt_ip = '192.0.2.9'")
    one.instance("their_db", "box")
    assert told(acme, "box") == set()
    assert one.names(radius(acme, "r")) == {"r"}
    assert acme.answering("their_db") == {}
    assert told(owner(one), "box") == {("their-name", "192.0.2.9"), ("their_db", "box:5432")}
    with serving_graph(shared_url, "rival") as rival:
        instances = {("their_db", "box:5432")} if "closed_at" in how else set()
        assert told(rival, "box") == {("their-name", "192.0.2.9")} | instances


def test_of_a_machine_that_is_merged_with_anothers_each_tenant_is_told_its_own_word_alone(
    one: World, acme: Graph, shared_url: str
) -> None:
    one.machine("root", 2, called="their-name", address="192.0.2.9")
    one.machine("ours", 1, merged_into="root", called="our-name", address="192.0.2.1")
    one.machine("vm", 1)
    one.on("vm", "ours")
    for name in ("root", "ours"):
        one.instance(f"db_on_{name}", name)
    assert told(acme, "ours") == {("our-name", "192.0.2.1"), ("vm", None)}
    with serving_graph(shared_url, "rival") as rival:
        assert told(rival, "root") == {("their-name", "192.0.2.9")}
    assert {name for name, _ in told(owner(one), "root")} == {"root", "vm", "db_on_root", "db_on_ours"}


def test_a_plain_owner_keeps_tenants_apart_as_a_superuser_does() -> None:
    with plainly_owned() as (url, _, _), world(url) as one:
        one.machine("root", 2, called="their-name")
        one.machine("ours", 1, merged_into="root", missing_since="2026-02-01")
        one.machine("shared", 2, called="their-other")
        one.link("shared", 1, called="our-other")
        one.instance("db", "shared")
        with serving_graph(url) as acme:
            assert told(acme, "ours") == set(), "rival has it now"
            assert told(acme, "shared") == {("our-other", None)}
            with as_tenant(acme.connection, made("acme")):
                seen = acme.connection.execute("SELECT source_id FROM iac.tenant_sources").fetchall()
            assert seen == [(1,)], "whose the others are is not told"


def test_a_retired_machine_carries_nothing_and_a_missing_one_what_it_carried(one: World, acme: Graph) -> None:
    for name in ("host", "vm", "away"):
        one.machine(name, missing_since="2026-03-02" if name == "away" else None)
        one.instance(f"db_{name}", name)
        one.resource(f"r_{name}")
        one.join(f"r_{name}", name)
    one.on("vm", "host")
    one.run("UPDATE ledger.assets SET deleted_at = now() WHERE hostname = 'vm'")
    for graph in (acme, owner(one, "acme")):
        assert one.names(radius(graph, "host")) == {"host", "db_host", "r_host"}
        assert one.names(radius(graph, "vm")) == {"vm"}
        assert one.names(radius(graph, "away")) == {"away", "db_away", "r_away"}
        (node,) = graph.named({made("vm"): "asset"}).values()
        assert node.retired_at is not None


def test_a_resource_that_left_its_state_is_no_node_before_findings_are_looked_for(one: World, acme: Graph) -> None:
    one.machine("vm")
    one.resource("r")
    one.join("r", "vm")
    with as_tenant(one.connection, made("acme")):
        one.run("DELETE FROM iac.resources_current")
    assert set(radius(acme, "vm")) == {made("vm")}
    assert [step.id for step in acme.walk([made("vm")], "both", most=9, deepest=9)] == [made("vm")]


def test_a_way_is_found_through_what_a_multitude_hangs_on(one: World, acme: Graph, monkeypatch: Any) -> None:
    monkeypatch.setattr("asset_ledger.store.iac.graph.SEARCHED", 20)
    for name in ("a", "x", "b", "base"):
        one.resource(name)
    one.needs("a", "x")
    one.needs("x", "b")
    for n in range(30):
        one.resource(f"leaf{n}")
        one.needs(f"leaf{n}", "b")
    found = acme.paths(made("a"), made("b"), most=5, deepest=30)
    assert ([[one.names([each]).pop() for each in path] for path in found.paths], found.cut) == (
        [["a", "x", "b"]],
        False,
    )
    # the other way round: what b is needed by is too much, what a needs is not
    for n in range(30):
        one.resource(f"root{n}")
        one.needs("a", f"root{n}")
    one.needs("b", "base")
    found = acme.paths(made("a"), made("base"), most=5, deepest=30)
    assert found.cut, "neither side can be looked through"
    one.resource("lonely")
    one.needs("x", "lonely")
    found = acme.paths(made("a"), made("lonely"), most=5, deepest=30)
    assert ([len(path) for path in found.paths], found.cut) == ([3], False)


def test_a_depth_that_leaves_something_out_says_so(one: World, acme: Graph) -> None:
    for name in ("a", "b", "c"):
        one.resource(name)
    one.needs("a", "b")
    one.needs("b", "c")
    asked = [(1, True), (2, False)]
    for depth, cut in asked:
        found = acme.paths(made("a"), made("c"), most=5, deepest=depth)
        assert (len(found.paths), found.cut) == (depth - 1, cut)
    one.needs("a", "c")
    for depth, cut in asked:
        found = acme.paths(made("a"), made("c"), most=5, deepest=depth)
        assert (len(found.paths), found.cut) == (depth, cut)


def test_a_replaced_resource_is_asked_for_by_its_address_while_the_old_one_waits(one: World, acme: Graph) -> None:
    one.resource("vm.a")
    one.resource("old")
    with as_tenant(one.connection, made("acme")):
        one.run("UPDATE iac.resources_current SET addr = 'vm.a', deposed = 'abcd1234' WHERE addr = 'old'")
        assert set(acme.answering("vm.a")) == {made("vm.a")}
    assert acme.named({made("old"): "resource"})[made("old")].deposed == "abcd1234"
    with as_tenant(one.connection, made("acme")):
        one.run("DELETE FROM iac.resources_current WHERE deposed = ''")
    assert set(acme.answering("vm.a")) == {made("old")}


def test_a_resource_answers_to_its_state_as_it_is_shown(one: World, acme: Graph) -> None:
    one.resource("urn:pulumi:a::b")
    with as_tenant(one.connection, made("acme")):
        one.run("UPDATE iac.state_heads SET tool = 'pulumi'")
    (node,) = acme.named({made("urn:pulumi:a::b"): "resource"}).values()
    assert node.states == ("pulumi:shop/app",)
    for state in ("pulumi:shop/app:", "shop/app:", ""):
        assert set(acme.answering(f"{state}urn:pulumi:a::b")) == {made("urn:pulumi:a::b")}
    for state in ("terraform:shop/app:", "shop/other:", "pulumi:"):
        assert acme.answering(f"{state}urn:pulumi:a::b") == {}


def test_a_resource_of_two_states_is_called_as_one_of_them_has_it(one: World, acme: Graph) -> None:
    one.state("acme", "second")
    one.resource("z")
    with as_tenant(one.connection, made("acme")):
        one.run(
            "INSERT INTO iac.resources_current (tenant_id, state_id, stable_uid, addr, provider, alias, resource_type,"
            " scope, name_digest, tainted, attrs, attrs_hash, digest, first_version, last_version, last_run_id, updated_at)"
            " SELECT tenant_id, %s, stable_uid, 'a', provider, alias, 'z_type', scope, name_digest, tainted, attrs,"
            " attrs_hash, digest, 1, 1, 'r', now() FROM iac.resources_current",
            made("acmesecond"),
        )  # fmt: skip
    (node,) = acme.named({made("z"): "resource"}).values()
    assert (node.name, node.type, node.states) == ("z", "some_type", ("shop/app", "shop/second"))


@pytest.mark.parametrize("asked", ["impact(%s, NULL, 9)", "impact(%s, 9, NULL)", "impact(%s, -1)", "impact(%s, 9, -1)",
                                   "blast_radius(%s, NULL)", "blast_radius(%s, -1)", "walk(%s, NULL, 9, 9)"])  # fmt: skip
def test_a_limit_that_is_no_number_of_nodes_is_refused(one: World, acme: Graph, asked: str) -> None:
    one.resource("a")
    with pytest.raises(psycopg.errors.InvalidParameterValue), as_tenant(acme.connection, made("acme")):
        acme.connection.execute(f"SELECT * FROM iac.{asked}", [[made("a")]])


def test_no_more_is_told_than_was_asked_for_of_several_tenants_and_of_edges(one: World, monkeypatch: Any) -> None:
    for name in ("a", "b", "c"):
        one.resource(name)
        one.resource(f"their_{name}", "rival")
    both = owner(one, "acme", "rival")
    asked = [made(f"{whose}{name}") for whose in ("", "their_") for name in ("a", "b", "c")]
    assert len(both.walk(asked, "both", most=2, deepest=3)) == 2
    for pair in (("a", "b"), ("b", "c"), ("a", "c")):
        one.needs(*pair)
    monkeypatch.setattr("asset_ledger.store.iac.graph.EDGES_TOLD", 2)
    around = both.around([made("a")], "both", most=9, deepest=3)
    assert (len(around.edges), around.cut) == (2, True)
    # a node that a merge made another of meanwhile has no edges to tell
    assert both.edges([made("a")], most=9) == []
