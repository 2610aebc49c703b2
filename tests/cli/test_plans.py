"""`asset-ledger state plan --upload` and `state plans`: kept with a state, and told with what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.test_service import STATE, acme, keep, resource

__all__ = ["acme"]


def change(action: str, name: str, before: object = None, after: object = None) -> dict[str, object]:
    return {
        "address": f"terraform_data.{name}", "mode": "managed", "type": "terraform_data", "name": name,
        "provider_name": "terraform.io/builtin/terraform",
        "change": {"actions": [action], "before": before, "after": after},
    }  # fmt: skip


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    changes = [
        change("update", "a", {"input": "one", "password": "canary-1"}, {"input": "two", "password": "canary-2"}),
        change("delete", "b", {"input": "one"}),
    ]
    path = tmp_path / "plan.json"
    path.write_text(
        json.dumps({"format_version": "1.2", "planned_values": {}, "errored": False, "resource_changes": changes})
    )
    return path


def test_a_plan_is_kept_followed_and_told(acme: Cli, plan: Path, tmp_path: Path) -> None:
    assert acme("state", "plans", "shop/app").code == 1, "there is no such state yet"
    keep(acme, tmp_path, 1, resource("a", input="one"), resource("b", input="one"))
    assert "No plan is kept with shop/app" in acme("state", "plans", "shop/app").err
    done = acme("state", "plan", str(plan), "--upload", "shop/app")
    assert done.code == 0, done.err
    assert "update terraform_data.a" in done.out
    assert "shop/app: kept, over version 1, as " in done.out
    plan_id = done.out.split()[-1]
    assert f"kept already, over version 1, as {plan_id}" in acme("state", "plan", str(plan), "--upload", "shop/app").out
    assert "it was not read yet" in acme("state", "plans", "shop/app", plan_id).err
    assert "1 plans read: 2 events" in acme("state", "parse").out
    assert "no run followed it" in acme("state", "plans", "shop/app", plan_id[:6]).err

    keep(acme, tmp_path, 2, resource("a", input="two"), resource("b", input="one"), resource("c"))
    acme("state", "parse")
    shown = acme("state", "plans", "shop/app", plan_id)
    assert shown.code == 0, shown.err
    assert "followed by run version 2, up to version 2" in shown.out
    assert "as predicted: update terraform_data.a (version 2)" in shown.out
    assert 'input: now "two"' in shown.out
    assert "NOT DONE: delete terraform_data.b" in shown.out
    assert "NOT PREDICTED: create terraform_data.c (version 2)" in shown.out
    (listed,) = json.loads(acme("state", "plans", "shop/app", "--json").out)
    assert (listed["id"], listed["predicted"], listed["as_predicted"], listed["not_done"]) == (plan_id, 2, 1, 1)
    whole = json.loads(acme("state", "plans", "shop/app", plan_id, "--json").out)
    assert [each["outcome"] for each in whole["events"]] == ["as_predicted", "not_done"]
    assert [each["addr"] for each in whole["unpredicted"]] == ["terraform_data.c"]
    assert whole["more"] is False
    table = acme("state", "plans", "shop/app").out
    assert plan_id in table
    assert "canary" not in done.out + shown.out + table + json.dumps(whole)

    rebuilt = acme("state", "rebuild")
    assert "2 versions read" in rebuilt.out
    assert "1 plans read" in rebuilt.out
    assert json.loads(acme("state", "plans", "shop/app", plan_id, "--json").out)["events"] == whole["events"]
    (entry, *_) = json.loads(acme("audit", "list", "--type", "plan.write", "--json").out)[1:]
    assert entry["details"] == {"state": "shop/app", "plan": plan_id, "base_version": 1, "again": False}


def test_what_cannot_be_kept_is_said_and_not_kept(acme: Cli, plan: Path, tmp_path: Path) -> None:
    keep(acme, tmp_path, 1, resource("a"))
    assert "the newest of the state is 1" in acme("state", "plan", str(plan), "--upload", "shop/app", "--base", "2").err
    assert "plans are Terraform's" in acme("state", "plan", str(plan), "--upload", "pulumi:shop/app").err
    assert "goes with --upload" in acme("state", "plan", str(plan), "--base", "1").err
    assert json.loads(acme("state", "plans", "shop/app", "--json").out) == []
    kept = json.loads(acme("state", "plan", str(plan), "--upload", "shop/app", "--base", "0", "--json").out)
    assert kept["base_version"] == 0
    assert "after" not in kept["events"][0]
    assert "no plan of this state begins so" in acme("state", "plans", "shop/app", "zzz").err


def test_a_plan_that_is_not_there_is_named_with_how_it_is_made(acme: Cli, tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        done = acme("state", "plan", str(path), "--upload", "shop/app")
        assert done.code == 1
        said = " ".join(done.err.split())
        assert str(path) in done.err.replace("\n", "")
        assert "make it with `terraform show -json PLAN > FILE`" in said
        assert "writable" not in said
        assert "`terraform state pull > FILE`" in " ".join(acme("state", "import", "shop/app", str(path)).err.split())
    assert json.loads(acme("state", "list", "--json").out) == []


@pytest.mark.parametrize(
    "name",
    [
        "shop/a b",
        "shop/a;b",
        "-shop/app",
        "shop/.app",
        "shop/é",
        "x" * 101 + "/app",
        "shop/app\n",
        "a:shop/app",
        "shop/",
        "/app",
        "shop/app/x",
    ],
)
def test_no_state_is_made_or_asked_for_by_a_name_that_the_service_does_not_take(
    acme: Cli, plan: Path, tmp_path: Path, name: str
) -> None:
    state = tmp_path / "state.json"
    state.write_text(json.dumps({**STATE, "resources": []}))
    for asked in (("import", "--", name, str(state)), ("plan", str(plan), f"--upload={name}"), ("show", "--", name)):
        done = acme("state", *asked)
        assert done.code == 2, asked
        assert "PROJECT/STACK" in done.err
    assert json.loads(acme("state", "list", "--json").out) == []


def test_a_plan_that_cannot_be_read_is_told_of_and_keys_are_changed_for_plans_too(
    acme: Cli, plan: Path, tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(acme, tmp_path, 1, resource("a"))
    odd = json.loads(plan.read_text())
    odd["resource_changes"][0]["change"]["actions"] = ["explode"]
    plan.write_text(json.dumps(odd))
    acme("state", "plan", str(plan), "--upload", "shop/app")
    assert "is read, but: resource_changes[0]" in " ".join(acme("state", "parse").err.split())
    keys = project / "home" / "state_keys"
    keys.write_text(acme("state", "new-key").out.strip() + "\n" + keys.read_text())
    assert "acme: 1 versions and 1 plans are encrypted with" in acme("state", "rekey").out
