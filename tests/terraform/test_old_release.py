"""Terraform 1.0.3, years older than the one of the other tests: what it does otherwise is taken all the same."""

from __future__ import annotations

import json
from pathlib import Path

from tests.api.site import Site, lock_info
from tests.terraform.client import Terraform, old
from tests.terraform.test_life import Asked, events

OUTPUTS = 'variable "input" { default = "one" }\noutput "told" { value = var.input }\n'
VSPHERE = 'provider["registry.terraform.io/hashicorp/vsphere"]'


def machines(*names: str) -> bytes:
    """A state of machines of a provider that is not installed: enough for whatever only moves them about."""
    instances = [
        {
            "mode": "managed", "type": "vsphere_virtual_machine", "name": name, "provider": VSPHERE,
            "instances": [{"schema_version": 3, "attributes": {"id": f"uuid-{name}", "moid": f"vm-{name}", "name": name}, "sensitive_attributes": [], "private": "e30="}],
        }
        for name in names
    ]  # fmt: skip
    told = {"version": 4, "terraform_version": "1.0.3", "serial": 1, "lineage": "old", "outputs": {}}
    return json.dumps({**told, "resources": instances}, indent=2).encode()


def test_an_old_release_lives_its_life_too(site: Site, tmp_path: Path) -> None:
    asked = Asked(site)
    stack = Terraform.of(site, tmp_path / "module", program=old()).module(OUTPUTS).init()
    assert asked() == "GET"
    stack.apply()
    assert asked() == "LOCK GET GET POST UNLOCK"
    stack.apply("-var=input=two")
    assert asked() == "LOCK GET POST UNLOCK"
    stack.do("destroy", "-auto-approve", "-no-color")
    kept = site.versions()
    assert [row["version"] for row in kept] == [1, 2, 3]
    assert {row["tool_version"] for row in kept} == {"1.0.3"}
    assert [row["serial"] for row in kept] == sorted({row["serial"] for row in kept})
    assert [row["flags"] for row in kept] == [[]] * 3
    assert site.rows("SELECT 1 FROM iac.state_locks") == []


def test_machines_of_a_provider_that_is_not_there_are_pushed_moved_tainted_and_let_go(
    site: Site, tmp_path: Path
) -> None:
    stack = Terraform.of(site, tmp_path / "module", program=old()).module("").init()
    (stack.folder / "one.tfstate").write_bytes(machines("web", "db"))
    stack.do("state", "push", "one.tfstate")
    served = site.ask("GET", "/terraform/state/shop/app").body
    assert stack.pulled() == json.loads(served)
    stack.do("state", "mv", "vsphere_virtual_machine.web", "vsphere_virtual_machine.front")
    stack.do("taint", "vsphere_virtual_machine.front")
    stack.do("untaint", "vsphere_virtual_machine.front")
    stack.do("state", "rm", "vsphere_virtual_machine.db")
    assert stack.do("state", "list").split()[-1:] == ["vsphere_virtual_machine.front"]
    assert len(stack.pulled()["resources"]) == 1  # type: ignore[arg-type]
    web, front, db = (f"vsphere_virtual_machine.{name}" for name in ("web", "front", "db"))
    assert events(site) == [
        (1, "create", db), (1, "create", web), (2, "moved", front), (3, "taint", front), (4, "untaint", front),
        (5, "forget", db),
    ]  # fmt: skip
    assert web not in {row["addr"] for row in site.rows("SELECT addr FROM iac.resources_current")}


def test_an_old_release_is_shown_which_lock_is_held_and_forces_it_open(site: Site, tmp_path: Path) -> None:
    stack = Terraform.of(site, tmp_path / "module", program=old()).module(OUTPUTS).init()
    assert site.ask("LOCK", "/terraform/state/shop/app", lock_info("held-by-li")).status == 200
    asked = Asked(site)
    asked()
    refused = stack.run("apply", "-auto-approve", "-no-color", "-lock-timeout=3s")
    assert refused.code == 1
    assert "held-by-li" in refused.said  # of the holder it shows no more
    assert asked() == "LOCK"  # and it does not wait
    stack.do("force-unlock", "-force", "held-by-li")
    stack.apply()
    assert len(site.versions()) == 1


def test_both_releases_keep_one_state(site: Site, tmp_path: Path) -> None:
    first = Terraform.of(site, tmp_path / "old", program=old()).module(OUTPUTS).init()
    first.apply()
    second = Terraform.of(site, tmp_path / "new").module(OUTPUTS).init()
    second.apply("-var=input=two")
    assert [row["tool_version"] for row in site.versions()] == ["1.0.3", "1.15.5"]
    assert len({row["lineage"] for row in site.versions()}) == 1
    first.apply("-var=input=three")  # 1.0.3 reads what a newer one wrote, as the format is the same
    assert [row["version"] for row in site.versions()] == [1, 2, 3]
