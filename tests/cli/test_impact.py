"""`asset-ledger impact` and `graph path`: over the whole ledger and the resources of every tenant, or of one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from asset_ledger.store.tenancy import as_tenant
from tests.cli.conftest import Cli
from tests.store.graphing import World, made, world


@pytest.fixture
def lab(database_url: str) -> Iterator[World]:
    """Two machines on a host, one of either tenant; a resource that declares each, and what hangs on it."""
    with world(database_url) as one:
        one.machine("host-1", 1)
        one.machine("web", 1)
        one.machine("other", 1)
        one.on("web", "host-1")
        one.on("other", "host-1")
        one.instance("orders", "web")
        for name, tenant in (("web_vm", "acme"), ("dns", "acme"), ("same", "acme"), ("their_vm", "rival")):
            one.resource(name, tenant)
        one.needs("dns", "web_vm", "value")
        one.join("web_vm", "web")
        one.join("their_vm", "other", tenant="rival")
        yield one


def test_everything_that_goes_with_a_host_is_told_as_a_tree(lab: World, cli: Cli) -> None:
    done = cli("impact", "host-1")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "machine host-1",
        "if this goes: 2 machines, 1 database instance, 3 resources",
        "  machine other: runs on it",
        "    resource their_vm (some_type, shop/app, rival): declares it, known by its id",
        "  machine web: runs on it",
        "    database instance orders (postgresql, web:5432): is confirmed to run on it",
        "    resource web_vm (some_type, shop/app, acme): declares it, known by its id",
        "      resource dns (some_type, shop/app, acme): one of its attributes names it",
    ]


def test_of_one_tenant_are_told_its_resources_alone(lab: World, cli: Cli) -> None:
    assert "2 machines, 1 database instance, 2 resources" in cli("impact", "host-1", "--tenant", "acme").out
    assert "2 machines, 1 database instance, 1 resource\n" in cli("impact", "host-1", "--tenant", "rival").out
    assert "there is no such tenant" in cli("impact", "host-1", "--tenant", "nobody").err


def test_a_limit_tells_less_and_counts_all(lab: World, cli: Cli) -> None:
    for options in (("--limit", "2"), ("--depth", "1")):
        done = cli("impact", "host-1", *options)
        assert "2 machines, 1 database instance, 3 resources" in done.out
        assert len(done.out.splitlines()) == 4
        assert "2 of them are told" in done.err
    told = json.loads(cli("impact", "host-1", "--limit", "2", "--json").out)
    assert told["cut"]
    assert told["counts"] == {"asset": 2, "instance": 1, "resource": 3}
    assert {each["name"] for each in told["nodes"]} == {"web", "other"}


@pytest.mark.parametrize(
    "name", ["dns", "shop/app:dns", f"resource:{made('dns')}", str(made("dns")), str(made("dns")).upper()]
)
def test_a_resource_is_named_by_its_address_or_its_id(lab: World, cli: Cli, name: str) -> None:
    assert cli("impact", name).out.splitlines()[0] == "resource dns (some_type, shop/app, acme)"
    assert cli("impact", name, "--tenant", "rival").code == 1


def test_a_name_of_several_things_is_told_apart(lab: World, cli: Cli) -> None:
    lab.machine("twin", 2)
    lab.run("UPDATE ledger.assets SET hostname = 'same' WHERE id = %s", made("twin"))
    done = cli("impact", "same")
    assert done.code == 1
    assert "2 nodes answer to it" in done.err
    assert f"asset:{made('twin')}  machine same" in done.err
    assert cli("impact", f"asset:{made('twin')}").out.startswith("machine same\nif this goes: nothing else")
    assert cli("impact", f"instance:{made('twin')}").code == 1
    missing = cli("impact", "nothing-like-it")
    assert "ASSET_NOT_FOUND" in missing.err


def test_a_way_is_told_step_by_step_whichever_end_is_named_first(lab: World, cli: Cli) -> None:
    expected = [
        "resource dns (some_type, shop/app, acme)",
        "  one of its attributes names it: resource web_vm (some_type, shop/app, acme)",
        "  declares it, known by its id: machine web",
        "  runs on it: machine host-1",
    ]
    assert cli("graph", "path", "dns", "host-1").out.splitlines() == expected
    assert cli("graph", "path", "host-1", "dns").out.splitlines() == expected
    told = json.loads(cli("graph", "path", "dns", "host-1", "--json").out)
    assert [[each["how"] for each in path] for path in told["paths"]] == [[None, "value", "joined_by_id", "runs_on"]]
    assert "neither needs the other" in cli("graph", "path", "dns", "their_vm").out


def test_without_a_tenant_it_is_the_ledger_alone(cli: Cli, lab: World) -> None:
    lab.run("TRUNCATE agent.tenants CASCADE")
    assert "if this goes: 2 machines, 1 database instance\n" in cli("impact", "host-1").out


def test_what_hangs_on_a_missing_machine_is_said_to_be_as_last_known(lab: World, cli: Cli) -> None:
    lab.run("UPDATE ledger.assets SET missing_since = '2026-03-02' WHERE hostname = 'web'")
    assert cli("impact", "web").out.splitlines()[:3] == [
        "machine web (missing since 2026-03-02)",
        "if this goes: 1 database instance, 2 resources",
        "  database instance orders (postgresql, web:5432): is confirmed to run on it, as last known",
    ]


def test_a_search_that_was_cut_does_not_say_that_neither_needs_the_other(
    lab: World, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "neither needs the other" in cli("graph", "path", "dns", "same").out
    monkeypatch.setattr("asset_ledger.store.iac.graph.SEARCHED", 1)
    done = cli("graph", "path", "dns", "host-1")
    assert "neither needs the other" not in done.out
    assert "not all was looked through" in done.err
    done = cli("graph", "path", "web", "dns", "--depth", "1")
    assert "no way was found by which either needs the other, by 1 steps or fewer" in done.out
    assert json.loads(cli("graph", "path", "web", "dns", "--depth", "1", "--json").out) == {"paths": [], "cut": True}


def test_a_deposed_resource_is_shown_as_one(lab: World, cli: Cli) -> None:
    with as_tenant(lab.connection, made("acme")):
        lab.run("UPDATE iac.resources_current SET deposed = 'abcd1234' WHERE addr = 'dns'")
    assert "resource dns (some_type, shop/app, acme, deposed abcd1234)" in cli("impact", "dns").out
