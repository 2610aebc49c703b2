"""A pipeline whose own token holds no more: a real Terraform that works on with the one it was exchanged for."""

from __future__ import annotations

import json

from asset_ledger.api.provider_keys import ProviderKeys
from tests.api.identity import RSA_KEYS, Provider, me, trust
from tests.api.site import Site
from tests.terraform.client import Terraform


def test_terraform_works_on_when_the_pipelines_own_token_holds_no_more(
    own: Site, provider: Provider, terraform: Terraform
) -> None:
    trust(own, provider)
    theirs = provider.token()
    asked, headers = json.dumps({"token": theirs, "tenant": "acme"}), {"Content-Type": "application/json"}
    answer = own.ask("POST", "/api/v1/login", asked.encode(), token="", headers=headers)
    terraform.username, terraform.token = "acme", answer.json["token"]
    terraform.module('resource "terraform_data" "a" { input = "one" }').init()
    # as if its minutes were over, without waiting for that
    assert own.service is not None
    provider.keys, own.service.provider_keys = {"k2": RSA_KEYS[1]}, ProviderKeys()
    assert me(own, theirs).status == 401
    terraform.apply()
    terraform.do("taint", "terraform_data.a")
    terraform.do("destroy", "-auto-approve", "-no-color")
    assert not (terraform.folder / "errored.tfstate").exists()
    assert {(row["actor"], row["user_id"]) for row in own.versions()} == {
        (provider.called("project_path:shop/infra:ref_type:branch:ref:main"), None)
    }
    assert [row["flags"] for row in own.versions()] == [[]] * 3
    assert own.rows("SELECT * FROM iac.state_locks") == []
    terraform.token = theirs
    assert terraform.run("plan", "-no-color").code == 1
