"""The life of a stack with a real Terraform: what it asks, in which order, and what is kept of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from asset_ledger.pipeline.states import parse_waiting
from asset_ledger.store.database import connect
from tests.api.site import Site
from tests.terraform.client import Terraform

TWO = """
variable "input" { default = "one" }
resource "terraform_data" "a" { input = var.input }
resource "terraform_data" "b" { input = terraform_data.a.id }
"""


class Asked:
    """The requests since it was asked last, as the audit has them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._seen = 0

    def __call__(self) -> str:
        found = self._site.audited()
        new, self._seen = found[self._seen :], len(found)
        assert {row[2] for row in new} <= {"success", "refused"}
        return " ".join(row[3].split()[0] for row in new)


def events(site: Site) -> list[tuple[int, str, str]]:
    with connect(site.database_url) as connection:
        assert all(parsed.said is None for parsed in parse_waiting(connection, site.ring))
    found = site.rows("SELECT version, action, addr FROM iac.resource_events ORDER BY version, sequence")
    return [(row["version"], row["action"], row["addr"]) for row in found]


def test_a_stack_lives_and_every_step_of_it_is_kept(site: Site, terraform: Terraform) -> None:
    asked = Asked(site)
    terraform.module(TWO).init()
    assert asked() == "GET GET"
    terraform.apply()
    assert asked() == "GET LOCK GET GET POST UNLOCK"
    terraform.apply()
    assert asked() == "GET LOCK GET UNLOCK"
    terraform.do("plan", "-no-color")
    assert asked() == "GET LOCK GET UNLOCK"
    terraform.apply("-var=input=two")
    assert asked() == "GET LOCK GET POST UNLOCK"
    for command in (
        ["taint", "terraform_data.b"],
        ["untaint", "terraform_data.b"],
        ["state", "mv", "terraform_data.a", "terraform_data.moved"],
        ["state", "mv", "terraform_data.moved", "terraform_data.a"],
        ["state", "rm", "terraform_data.b"],
        ["import", "-no-color", "terraform_data.b", "chosen-id"],
    ):
        terraform.do(*command)
        assert asked() in ("GET LOCK GET POST UNLOCK", "GET LOCK GET GET POST UNLOCK"), command
    terraform.do("destroy", "-auto-approve", "-no-color")
    assert asked() == "GET LOCK GET POST UNLOCK"
    assert terraform.pulled()["resources"] == []
    assert asked() == "GET GET"

    kept = site.versions()
    assert [row["version"] for row in kept] == list(range(1, 10))
    assert [row["serial"] for row in kept] == sorted(row["serial"] for row in kept)
    assert len({row["lineage"] for row in kept}) == 1
    assert len({row["run_id"] for row in kept}) == len(kept)
    assert {row["actor"] for row in kept} == {"ann"}
    assert {row["tool_version"] for row in kept} == {"1.15.5"}
    assert [row["flags"] for row in kept] == [[]] * len(kept)
    assert [row["operation"] for row in kept] == [
        "OperationTypeApply", "OperationTypeApply", "taint", "untaint", "state-mv", "state-mv", "state-rm",
        "OperationTypeInvalid", "OperationTypeApply",
    ]  # fmt: skip
    assert site.rows("SELECT * FROM iac.state_locks") == []

    a, b = "terraform_data.a", "terraform_data.b"
    assert events(site) == [
        (1, "create", a), (1, "create", b),
        (2, "update", a),
        (3, "taint", b), (4, "untaint", b),
        (5, "moved", "terraform_data.moved"), (6, "moved", a),
        (7, "forget", b),
        (8, "create", b),
        (9, "delete", a), (9, "delete", b),
    ]  # fmt: skip
    assert site.rows("SELECT * FROM iac.resources_current") == []
    assert site.rows("SELECT * FROM iac.dependency_edges") == []


def test_an_instance_hangs_on_what_it_names(site: Site, terraform: Terraform) -> None:
    terraform.module(TWO).init().apply()
    events(site)
    edges = site.rows(
        "SELECT s.addr AS source, d.addr AS target FROM iac.dependency_edges AS e"
        " JOIN iac.resources_current AS s ON s.stable_uid = src_uid"
        " JOIN iac.resources_current AS d ON d.stable_uid = dst_uid"
    )
    assert edges == [{"source": "terraform_data.b", "target": "terraform_data.a"}]


def test_a_pushed_state_is_served_byte_for_byte(site: Site, terraform: Terraform) -> None:
    terraform.module(TWO).init().apply()
    served = site.ask("GET", "/terraform/state/shop/app").body
    assert terraform.do("state", "pull").encode().rstrip() == served.rstrip()
    (kept,) = site.versions()
    assert kept["sha256"] == hashlib.sha256(served).digest()
    assert kept["size_bytes"] == len(served)


def test_push_force_goes_back_and_elsewhere_and_says_so(site: Site, terraform: Terraform) -> None:
    terraform.module(TWO).init().apply()
    (terraform.folder / "first.tfstate").write_text(terraform.do("state", "pull"))
    terraform.apply("-var=input=two")
    terraform.apply("-var=input=three")
    refused = terraform.run("state", "push", "first.tfstate")
    assert refused.code == 1
    assert "serial" in refused.said
    terraform.do("state", "push", "-force", "first.tfstate")
    other = json.loads((terraform.folder / "first.tfstate").read_text()) | {"lineage": "another", "serial": 100}
    (terraform.folder / "other.tfstate").write_text(json.dumps(other))
    assert terraform.run("state", "push", "other.tfstate").code == 1
    terraform.do("state", "push", "-force", "other.tfstate")
    assert [(row["version"], row["flags"]) for row in site.versions()] == [
        (1, []), (2, []), (3, []), (4, ["serial_back"]), (5, ["lineage_changed"]),
    ]  # fmt: skip
    assert terraform.pulled()["lineage"] == "another"


def test_a_state_moves_in_from_a_file_and_is_read_by_another_stack(site: Site, terraform: Terraform) -> None:
    (terraform.folder / "main.tf").write_text(TWO + 'output "told" {\n  value = terraform_data.a.input\n}\n')
    terraform.init().apply()
    (terraform.folder / "backend.tf").write_text('terraform {\n  backend "http" {}\n}\n')
    terraform.do("init", "-migrate-state", "-force-copy", "-no-color")
    assert len(site.versions()) == 1

    reader = Terraform.of(site, terraform.folder.parent / "reader", "reader", token=site.token("rita", "writer"))
    reader.username = "acme/rita"
    config = f'{{ address = "{terraform.url}", username = "acme/rita", password = "{reader.token}" }}'
    reader.module(
        f'data "terraform_remote_state" "app" {{\n  backend = "http"\n  config = {config}\n}}\n'
        'output "seen" {\n  value = data.terraform_remote_state.app.outputs.told\n}\n'
    ).init().apply()
    assert reader.do("output", "-raw", "seen") == "one"
    reads = [row for row in site.audited() if row[0] == "acme/rita" and row[3] == "GET /terraform/state/shop/app"]
    assert reads


def test_a_reader_cannot_plan_and_is_told_why_but_can_read(site: Site, terraform: Terraform) -> None:
    terraform.module(TWO).init().apply()
    reader = Terraform.of(site, terraform.folder, token=site.token("rita", "reader"))
    reader.username = "acme/rita"
    refused = reader.run("plan", "-no-color")
    assert refused.code == 1
    assert "forbidden" in refused.said.lower() or "403" in refused.said or "invalid auth" in refused.said.lower()
    assert "No changes" in reader.do("plan", "-no-color", "-lock=false")
    wrong = Terraform.of(site, terraform.folder, token="al_wrong")
    assert wrong.run("plan", "-no-color").code == 1


def test_workspaces_are_stacks_of_their_own_address(site: Site, terraform: Terraform, tmp_path: Path) -> None:
    terraform.module(TWO).init().apply()
    assert terraform.run("workspace", "new", "blue").code == 1
    Terraform.of(site, tmp_path / "blue", "app-blue").module(TWO).init().apply()
    assert sorted(row["stack"] for row in site.rows("SELECT stack FROM iac.state_heads")) == ["app", "app-blue"]
