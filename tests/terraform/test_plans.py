"""Real plans of a real Terraform: saved, shown as JSON, sent, applied; and what is told of them afterwards."""

from __future__ import annotations

import json
from typing import Any

from asset_ledger.pipeline.plans import catch_up
from asset_ledger.pipeline.states import parse_waiting
from asset_ledger.store.database import connect
from tests.api.site import Site
from tests.api.test_keeping import dumped
from tests.terraform.client import Terraform

AT = "/terraform/plans/shop/app"
MODULE = """
variable "input" { default = "one" }
variable "keys" {
  type    = set(string)
  default = ["a/\\"1", "ü", "gone"]
}
variable "secret" {
  default   = "planted-in-a-variable"
  sensitive = true
}
resource "terraform_data" "grows" { input = var.input }
resource "terraform_data" "reads" { input = { id = terraform_data.grows.output, p = var.secret, n = 1.50 } }
resource "terraform_data" "replaced" {
  for_each         = var.keys
  triggers_replace = [var.input, each.key, "password=planted-in-a-trigger"]
}
resource "terraform_data" "overlaps" {
  triggers_replace = var.input
  lifecycle { create_before_destroy = true }
}
"""
PLANTED = ["planted-in-a-variable", "planted-in-a-trigger"]


def planned(site: Site, terraform: Terraform, *arguments: str, **headers: str) -> str:
    """Save a plan, send what `show -json` prints of it, and return its id."""
    terraform.do("plan", "-no-color", "-out=plan", *arguments)
    body = terraform.do("show", "-json", "plan").encode()
    if any(name in terraform.folder.joinpath("main.tf").read_text() for name in PLANTED):
        assert any(text.encode() in body for text in PLANTED), "Terraform prints them in clear"
    answer = site.ask("POST", AT, body, token=site.token(), headers=headers)
    assert answer.status in (200, 201), answer.body
    return str(answer.json["id"])


def told(site: Site, plan_id: str) -> dict[str, Any]:
    with connect(site.database_url) as connection:
        assert all(each.said is None for each in parse_waiting(connection, site.ring))
        assert all(each.said is None for each in catch_up(connection, site.ring).read)
    found: dict[str, Any] = site.ask("GET", f"/api/v1/plans/{plan_id}").json
    return found


def outcomes(found: dict[str, Any]) -> dict[str, list[str]]:
    """Return the addresses of a plan's predictions by what was predicted and came of it."""
    by: dict[str, list[str]] = {}
    for each in found["events"]:
        by.setdefault(f"{each['action']} {each['outcome']}", []).append(each["addr"].removeprefix("terraform_data."))
    return {name: sorted(addresses) for name, addresses in by.items()}


def test_every_saved_plan_that_is_applied_comes_as_it_was_predicted(site: Site, terraform: Terraform) -> None:
    terraform.module(MODULE).init()
    first = planned(site, terraform)
    terraform.apply("plan")
    whole = told(site, first)
    keys = ['replaced["a/\\"1"]', 'replaced["gone"]', 'replaced["ü"]']
    assert outcomes(whole) == {"create as_predicted": sorted(["grows", "overlaps", "reads", *keys])}
    assert (whole["base_version"], whole["tool_version"], whole["unpredicted"]) == (0, "1.15.5", [])
    assert {each["provider"] for each in whole["events"]} == {"builtin/terraform"}

    changes = ("-var=input=two", '-var=keys=["a/\\"1", "ü"]', "-var=secret=planted-in-a-variable-again")
    second = planned(site, terraform, *changes)
    terraform.apply("plan")
    whole = told(site, second)
    assert outcomes(whole) == {
        "update as_predicted": ["grows", "reads"],
        "replace as_predicted": sorted(["overlaps", 'replaced["a/\\"1"]', 'replaced["ü"]']),
        "delete as_predicted": ['replaced["gone"]'],
    }
    assert whole["unpredicted"] == []
    assert all(each["event_version"] and each["stable_uid"] for each in whole["events"])
    events = site.ask("GET", "/api/v1/states/terraform/shop/app/events").json
    by_number = {(each["version"], each["sequence"]): each for each in events}
    for each in whole["events"]:
        happened = by_number[each["event_version"], each["event_sequence"]]
        assert happened["addr"] == each["addr"]
        assert each["action"] in (happened["action"], "replace")

    (terraform.folder / "main.tf").write_text(
        (terraform.folder / "main.tf").read_text().replace('"terraform_data" "grows"', '"terraform_data" "moved"')
        .replace("terraform_data.grows", "terraform_data.moved")
        + "moved {\n  from = terraform_data.grows\n  to   = terraform_data.moved\n}\n"
        + 'removed {\n  from = terraform_data.overlaps\n  lifecycle {\n    destroy = false\n  }\n}\n'
    )  # fmt: skip
    text = (terraform.folder / "main.tf").read_text()
    at = text.index('resource "terraform_data" "overlaps"')
    (terraform.folder / "main.tf").write_text(text[:at] + text[text.index("moved {") :])
    third = planned(site, terraform, *changes)
    terraform.apply("plan")
    whole = told(site, third)
    assert outcomes(whole) == {"moved as_predicted": ["moved"], "forget as_predicted": ["overlaps"]}
    assert whole["unpredicted"] == []

    fourth = planned(site, terraform, "-destroy", *changes)
    terraform.do("destroy", "-auto-approve", "-no-color", *changes)
    whole = told(site, fourth)
    assert outcomes(whole) == {"delete as_predicted": sorted(["moved", "reads", 'replaced["a/\\"1"]', 'replaced["ü"]'])}

    listed = site.ask("GET", "/api/v1/states/terraform/shop/app/plans").json
    assert [each["id"] for each in listed] == [fourth, third, second, first]
    assert all(each["predicted"] == each["as_predicted"] > 0 for each in listed)
    dump = dumped(site) + json.dumps([told(site, each["id"]) for each in listed]).encode()
    for text in PLANTED:
        assert text.encode() not in dump
        assert text.encode().hex().encode() not in dump
    assert b"redacted:" in dump


TWO = """
variable "input" { default = "one" }
variable "fail" { default = "0" }
resource "terraform_data" "a" { input = var.input }
resource "terraform_data" "b" {
  input = terraform_data.a.output
  triggers_replace = var.fail
  provisioner "local-exec" { command = "exit ${var.fail}" }
}
"""


def test_another_apply_than_the_planned_one_comes_otherwise(site: Site, terraform: Terraform) -> None:
    terraform.module(TWO).init().apply()
    plan = planned(site, terraform, "-var=input=two")
    terraform.apply("-var=input=three")
    found = outcomes(told(site, plan))
    assert found == {"update otherwise": ["a"], "update as_predicted": ["b"]}, "what b would be was not known before"


def test_an_apply_that_fails_half_way_has_done_half(site: Site, terraform: Terraform) -> None:
    terraform.module(TWO).init().apply()
    plan = planned(site, terraform, "-var=input=two", "-var=fail=3")
    assert terraform.run("apply", "-no-color", "plan").code == 1
    assert outcomes(told(site, plan)) == {"update as_predicted": ["a"], "replace otherwise": ["b"]}


def test_a_plan_that_is_sent_after_its_apply_is_joined_to_it(site: Site, terraform: Terraform) -> None:
    terraform.module(TWO).init().apply()
    terraform.do("plan", "-no-color", "-out=plan", "-var=input=two")
    body = terraform.do("show", "-json", "plan").encode()
    terraform.apply("plan")
    terraform.apply("-var=input=three")
    answer = site.ask("POST", AT, body, headers={"X-State-Version": "1"})
    whole = told(site, str(answer.json["id"]))
    assert (whole["base_version"], whole["followed_by"]) == (1, 2)
    assert outcomes(whole) == {"update as_predicted": ["a", "b"]}


def test_what_somebody_else_does_after_a_plan_leaves_it_to_nobody(site: Site, terraform: Terraform) -> None:
    terraform.module(TWO).init().apply()
    plan = planned(site, terraform, "-var=input=two")
    terraform.do("taint", "terraform_data.a")
    assert terraform.run("apply", "-no-color", "plan").code == 1, "Terraform finds it stale too"
    terraform.apply()
    whole = told(site, plan)
    assert (whole["followed_by"], outcomes(whole)) == (None, {"update None": ["a", "b"]})
