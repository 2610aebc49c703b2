"""What the commands on links and instances say, and what people decide through them, on a ledger the pipeline filled."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from asset_ledger.pipeline.ledger import Ledger
from tests.cli.conftest import Cli

Fill = Callable[[str, str, str], str]
HOSTS = "mgmt_ip,hostname,ip_addresses\n10.0.0.1,db-01,10.0.0.50\n10.0.0.2,db-02,10.0.0.50\n10.0.0.3,db-03,\n"
INSTANCES = (
    "name,host,port,db_type\n"
    "orders,10.0.0.1,5432,postgresql\n"
    "shared,10.0.0.50,3306,mysql\n"
    "named,db-03,1521,oracle\n"
    "twin,10.0.0.2,1,mysql\n"
    "twin,10.0.0.3,1,mysql\n"
    "lost,192.0.2.1,1,mysql\n"
)


@pytest.fixture
def linked(fill: Fill) -> Fill:
    fill("hosts.csv", "2026-01-10", HOSTS)
    fill("instances.csv", "2026-01-10", INSTANCES)
    return fill


def links(cli: Cli, *options: str) -> dict[tuple[str, str], str]:
    found = json.loads(cli("links", "list", "--json", *options).out)
    return {(each["instance"], each["hostname"]): each["match_status"] for each in found}


def test_the_list_begins_with_what_waits_and_says_why(cli: Cli, linked: Fill) -> None:
    done = cli("links", "list")
    lines = done.out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == ["named", "shared", "shared", "orders", "twin", "twin"]
    assert "hostname, 70 %" in lines[0]
    assert "a name alone is not enough: a person must say" in lines[0]
    assert "waits for you" in lines[1]
    assert "2 machines have its address: a person must say which" in lines[1]
    assert "the only machine with the address" in lines[3]
    assert "links confirm" in done.err


def test_the_list_is_filtered(cli: Cli, linked: Fill) -> None:
    candidates = {("named", "db-03"), ("shared", "db-01"), ("shared", "db-02")}
    assert set(links(cli, "--status", "candidate")) == candidates
    assert set(links(cli, "--instance", "10.0.0.1:5432")) == {("orders", "db-01")}
    assert set(links(cli, "--asset", "db-03")) == {("named", "db-03"), ("twin", "db-03")}
    assert set(links(cli, "--asset", "db-03", "--status", "confirmed")) == {("twin", "db-03")}
    assert "next: --offset 2" in cli("links", "list", "--limit", "2").out
    assert "No link is like that" in cli("links", "list", "--status", "rejected").err
    assert cli("links", "list", "--status", "nonsense").code == 2
    assert cli("links", "list", "--instance", "nosuch").err.startswith("INSTANCE_NOT_FOUND: nosuch: ")


def test_an_instance_of_two_names_is_not_guessed(cli: Cli, linked: Fill) -> None:
    done = cli("links", "confirm", "twin", "db-02")
    assert done.code == 1
    assert done.err.startswith("INSTANCE_AMBIGUOUS: twin: 2 database instances answer to it. Use the id of the one")
    assert "twin  10.0.0.2:1  mysql  office  zone default" in done.err
    assert cli("links", "show", "10.0.0.3:1").code == 0


def test_a_confirmation_says_how_it_is_undone_and_that_does_it(cli: Cli, linked: Fill) -> None:
    before = links(cli)
    done = cli("links", "confirm", "shared", "db-02", "--note", "asked the team")
    said, undo = done.out.splitlines()
    assert (done.code, said) == (0, "shared on db-02: confirmed")
    assert links(cli, "--instance", "shared") == {("shared", "db-02"): "confirmed", ("shared", "db-01"): "candidate"}
    assert "already; nothing changed" in cli("links", "confirm", "shared", "db-02").out
    linked("hosts.csv", "2026-01-11", HOSTS)
    assert links(cli, "--instance", "shared")["shared", "db-02"] == "confirmed"
    refused = cli("links", "confirm", "shared", "db-01")
    assert refused.code == 1
    assert "li.lei confirmed db-02" in refused.err
    assert "asset-ledger links clear" in refused.err
    cleared = cli(*undo.removeprefix("undo: asset-ledger ").split())
    assert cleared.out.splitlines()[0] == "shared on db-02: no longer confirmed by a person; candidates: db-01, db-02"
    assert links(cli) == before
    again = cli(*cleared.out.splitlines()[1].removeprefix("undo: asset-ledger ").split())
    assert again.out.splitlines()[0] == "shared on db-02: confirmed"


def test_a_rejection_says_what_the_instance_runs_on_now(cli: Cli, linked: Fill) -> None:
    done = cli("links", "reject", "shared", "db-01")
    assert done.out.splitlines()[0] == "shared on db-01: rejected; it runs on db-02"
    assert "a person rejected it already" in cli("links", "reject", "shared", "db-01").out
    assert "no machine is known" in cli("links", "reject", "named", "db-03").out
    assert "nobody decided anything; nothing changed" in cli("links", "clear", "orders", "db-01").out
    linked("hosts.csv", "2026-01-11", HOSTS)
    assert links(cli, "--status", "rejected") == {("shared", "db-01"): "rejected", ("named", "db-03"): "rejected"}


def test_show_has_every_candidate_with_evidence_in_words_and_every_decision(cli: Cli, linked: Fill) -> None:
    out = cli("links", "show", "shared").out
    assert "10.0.0.50 is one of its addresses (office); db-02 has it too" in out
    cli("links", "reject", "shared", "db-01", "--note", "old cluster")
    linked("hosts.csv", "2026-01-20", HOSTS.replace("db-02,10.0.0.50", "db-02,").replace("db-03,", "db-03,10.0.0.50"))
    out = cli("links", "show", "shared").out
    machines, decisions = out.split("Decisions")
    assert "10.0.0.50 was its address until 2026-01-10 (office); db-01, db-03 have it now" in machines
    assert "former_ip" in machines
    assert "a person rejected it" in machines
    assert "rejected by li.lei on" in machines
    for told in ("li.lei", "rejected", "db-01", "old cluster", "yes"):
        assert told in decisions
    page = json.loads(cli("links", "show", "shared", "--json").out)
    status = {link["hostname"]: (link["match_status"], link["matched_by_rule"]) for link in page["links"]}
    assert status["db-03"] == ("confirmed", "ip_identifier")
    assert status["db-02"] == ("candidate", "former_ip")
    assert page["decisions"][0]["note"] == "old cluster"
    assert "none has its address or name" in cli("links", "show", "lost").out


def test_show_ends_with_what_changed_of_the_instance_from_day_to_day(cli: Cli, linked: Fill) -> None:
    assert "Changes" not in cli("links", "show", "orders").out
    linked("instances.csv", "2026-01-12", "name,host,port,db_type\norders,10.0.0.1,5432,mysql\n")
    _, changes = cli("links", "show", "orders").out.split("Changes")
    assert changes.split()[-4:] == ["2026-01-12", "db_type", "postgresql", "mysql"]
    assert json.loads(cli("links", "show", "orders", "--json").out)["changes"] == [
        {"collected_date": "2026-01-12", "field": "db_type", "before": "postgresql", "after": "mysql"}
    ]


def test_a_bare_name_says_that_it_need_not_be_a_machines(cli: Cli, linked: Fill) -> None:
    linked("instances.csv", "2026-01-11", "name,host,port,db_type\ndb-03,192.0.2.9,1,mysql\n")
    assert (
        "the instance's name, which need not be its machine's, db-03 is its hostname"
        in cli("links", "show", "db-03").out
    )
    assert "the instance's host db-03 is its hostname" in cli("links", "show", "named").out


def test_instances_without_a_machine_are_listed_apart(cli: Cli, linked: Fill) -> None:
    done = cli("instances", "list", "--unlinked")
    assert [line.split()[0] for line in done.out.splitlines()[2:]] == ["lost", "named", "shared"]
    assert "? 2 candidates" in done.out
    assert "links show NAME" in done.err
    found = json.loads(cli("instances", "list", "--search", "10.0.0.5", "--json").out)
    assert [each["name"] for each in found] == ["shared"]
    assert "next: --offset 3" in cli("instances", "list", "--limit", "3").out
    assert "No instance is like that" in cli("instances", "list", "--search", "nosuch").err


def test_a_machine_of_another_zone_is_confirmed_only_by_saying_so(cli: Cli, linked: Fill, ledger: Ledger) -> None:
    with ledger.connect() as connection:
        connection.execute("UPDATE ledger.assets SET zone = 'vpc' WHERE hostname = 'db-03'")
    refused = cli("links", "confirm", "orders", "db-03")
    assert (refused.code, refused.err.split(":")[0]) == (1, "DECISION_INVALID")
    assert "it is in zone default and the machine in zone vpc" in refused.err
    assert "orders on db-03: confirmed" in cli("links", "confirm", "orders", "db-03", "--across-zones").out
    assert "already; nothing changed" in cli("links", "confirm", "orders", "db-03").out
    cleared = cli("links", "clear", "orders", "db-03").out.splitlines()[-1]
    assert cleared.endswith(" --across-zones")
    assert cli(*cleared.removeprefix("undo: asset-ledger ").split()).code == 0
    assert links(cli, "--instance", "orders")["orders", "db-03"] == "confirmed"
