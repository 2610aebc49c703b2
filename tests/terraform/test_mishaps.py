"""What goes wrong around an apply: races, kills, lost answers, restarts. Nothing is lost and no lock is invisible."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asset_ledger.api import bodies
from asset_ledger.api.service import Limits
from asset_ledger.domain.iac.exact_json import loads
from asset_ledger.domain.iac.skimming import outline
from tests.api.site import RING, Site, bare_environment, free_port, serving
from tests.patience import calls_of
from tests.terraform.client import Terraform
from tests.terraform.proxy import losing

ONE = 'variable "input" { default = "one" }\nresource "terraform_data" "a" { input = var.input }\n'
SLOW = """
resource "terraform_data" "a" { input = "a" }
resource "terraform_data" "b" {
  depends_on = [terraform_data.a]
  provisioner "local-exec" { command = "sleep %s" }
}
"""


def locks(site: Site) -> list[dict[str, object]]:
    return site.rows("SELECT lock_id, who, operation FROM iac.state_locks")


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_four_applies_at_once_come_one_after_the_other(site: Site, tmp_path: Path) -> None:
    racers = [Terraform.of(site, tmp_path / str(number)).module(ONE).init() for number in range(4)]
    running = [
        racer.start("apply", "-auto-approve", "-no-color", "-lock-timeout=90s", f"-var=input={number}")
        for number, racer in enumerate(racers)
    ]
    said = [process.communicate(timeout=150)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    kept = site.versions()
    assert [row["version"] for row in kept] == [1, 2, 3, 4]
    assert [row["serial"] for row in kept] == sorted({row["serial"] for row in kept})
    assert len({row["lineage"] for row in kept}) == 1
    assert {tuple(row["flags"]) for row in kept} == {()}
    assert locks(site) == []


def test_a_killed_apply_leaves_its_lock_shows_who_it_was_and_is_forced_open(site: Site, tmp_path: Path) -> None:
    killed = Terraform.of(site, tmp_path / "killed").module(SLOW % 60).init()
    process = killed.start("apply", "-auto-approve", "-no-color")
    wait_for(lambda: locks(site))
    time.sleep(1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    ((held),) = locks(site)

    other = Terraform.of(site, tmp_path / "other", token=site.token("will", "writer")).module(SLOW % 0)
    other.username = "acme/will"
    other.init()
    refused = other.run("plan", "-no-color")
    assert refused.code == 1
    assert str(held["lock_id"]) in refused.said
    assert str(held["who"]) in refused.said
    forbidden = other.run("force-unlock", "-force", str(held["lock_id"]))
    assert forbidden.code == 1
    assert len(locks(site)) == 1
    killed.do("force-unlock", "-force", str(held["lock_id"]))
    assert locks(site) == []
    other.apply()
    told = site.rows(
        "SELECT actor, event_result, details FROM audit.audit_logs WHERE event_type = 'security.force_unlock' ORDER BY id"
    )
    assert [(row["actor"], row["event_result"]) for row in told] == [("acme/will", "refused"), ("acme/ann", "success")]
    assert told[1]["details"]["lock_id"] == held["lock_id"]


def test_answers_that_are_lost_are_asked_for_again_and_done_once(site: Site, tmp_path: Path) -> None:
    with losing(site.port, lambda verb, before: verb in ("LOCK", "POST", "UNLOCK") and before == 0) as port:
        stack = Terraform.of(site, tmp_path / "module", port=port).module(ONE).init()
        stack.apply()
    (kept,) = site.versions()
    assert kept["flags"] == []
    assert locks(site) == []
    asked = [row[3].split()[0] for row in site.audited()]
    assert (asked.count("LOCK"), asked.count("POST"), asked.count("UNLOCK")) == (2, 2, 2)


@contextmanager
def service_process(database_url: str, port: int, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `asset-ledger serve` as people do; killed at the end if it still runs."""
    import base64

    environment = bare_environment() | {
        "ASSET_LEDGER_DATABASE_URL": database_url,
        "ASSET_LEDGER_HOME": str(home),
        "ASSET_LEDGER_STATE_KEYS": f"k1:{base64.b64encode(RING.keys['k1']).decode()}",
    }
    with (home / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "asset_ledger.cli.main", "serve", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    probe = Site(database_url, port)
    try:

        def answers() -> bool:
            assert process.poll() is None, (home / "service.log").read_text()
            try:
                return probe.ask("GET", "/readyz", token="").status == 200
            except OSError:
                return False

        wait_for(answers)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_service_that_is_killed_between_lock_and_write_knows_the_lock_when_it_is_back(
    database_url: str, tmp_path: Path
) -> None:
    port = free_port()
    site = Site(database_url, port)
    stack = Terraform.of(site, tmp_path / "module").module(SLOW % 8)
    with service_process(database_url, port, tmp_path):
        stack.init()
        process = stack.start("apply", "-auto-approve", "-no-color")
        wait_for(lambda: locks(site))
    (before,) = locks(site)
    with service_process(database_url, port, tmp_path):
        assert locks(site) == [before]
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert [row["run_id"] for row in site.versions()] == [before["lock_id"]]
        assert locks(site) == []
    assert "al_" not in (tmp_path / "service.log").read_text()


def test_a_long_apply_is_several_versions_and_one_run(site: Site, tmp_path: Path) -> None:
    text = """
resource "terraform_data" "a" {}
resource "terraform_data" "b" {
  depends_on = [terraform_data.a]
  provisioner "local-exec" { command = "sleep 21" }
}
resource "terraform_data" "c" {
  depends_on = [terraform_data.b]
  provisioner "local-exec" { command = "sleep 2" }
}
"""
    Terraform.of(site, tmp_path / "module").module(text).init().apply()
    kept = site.versions()
    assert [row["version"] for row in kept] == [1, 2]
    assert len({row["run_id"] for row in kept}) == 1


def test_a_state_over_the_limit_is_left_with_terraform(database_url: str, tmp_path: Path) -> None:
    with serving(database_url, limits=Limits(body_bytes=2000)) as site:
        stack = Terraform.of(site, tmp_path / "module").module(ONE).init()
        refused = stack.run("apply", "-auto-approve", "-no-color", f"-var=input={'x' * 3000}")
        assert refused.code == 1
        assert "413" in refused.said
        assert "errored.tfstate" in refused.said
        assert (stack.folder / "errored.tfstate").exists()
        assert site.versions() == []
        assert locks(site) == []


def large_state() -> bytes:
    """46 MB: one root, forty modules of ten networks and 240 machines."""
    provider = 'provider["terraform.io/builtin/terraform"]'

    def block(name: str, count: int, module: str | None, dependencies: list[str]) -> dict[str, object]:
        def instance(number: int) -> dict[str, object]:
            value = f"{module}{name}{number}" + "abcdefgh" * 250
            return {
                "index_key": number, "schema_version": 0, "dependencies": dependencies,
                "attributes": {"id": f"{module}-{name}-{number}", "input": {"value": value, "type": "string"}, "output": {"value": value, "type": "string"}, "triggers_replace": None},
                "sensitive_attributes": [],
            }  # fmt: skip

        found: dict[str, object] = {"mode": "managed", "type": "terraform_data", "name": name, "provider": provider}
        return found | ({"module": module} if module else {}) | {"instances": [instance(n) for n in range(count)]}

    resources = [block("root", 1, None, [])]
    for number in range(40):
        module = f"module.m[{number}]"
        resources.append(block("net", 10, module, ["terraform_data.root"]))
        resources.append(block("vm", 240, module, ["module.m.terraform_data.net", "terraform_data.root"]))
    told = {"version": 4, "terraform_version": "1.15.5", "serial": 1, "lineage": "large", "outputs": {}, "resources": resources, "check_results": None}  # fmt: skip
    return json.dumps(told, indent=2).encode()


def test_a_state_of_46_mb_is_kept_and_others_are_answered_meanwhile(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = large_state()
    assert 40 << 20 < len(body) < 60 << 20
    reading, answered = threading.Event(), threading.Event()
    others: list[bool] = []
    steps: list[int] = []
    sent = b""

    def held(text: bytes, *more: Any) -> object:
        nonlocal sent
        sent, found = text, list[object]()
        reading.set()
        others.append(answered.wait(60))
        steps.append(calls_of(lambda: found.append(outline(text, *more))))
        return found.pop()

    monkeypatch.setattr(bodies, "outline", held)
    stack = Terraform.of(site, tmp_path / "module").module("")
    (stack.folder / "large.tfstate").write_bytes(body)
    stack.init()
    pushing = stack.start("state", "push", "large.tfstate")
    try:
        wait_for(lambda: reading.is_set() or pushing.poll() is not None)
        for _ in range(50):
            assert site.ask("GET", "/healthz", token="").status == 200
        assert site.versions() == []
        assert pushing.poll() is None, pushing.communicate()[0]
    finally:
        answered.set()
        said, _ = pushing.communicate(timeout=120)
    assert pushing.returncode == 0, said
    assert others == [True], "nobody was answered before the state was read"
    # json.loads is one step, in which no other thread of the process has its turn
    assert sum(steps) > 10_000
    (kept,) = site.versions()
    served = site.ask("GET", "/terraform/state/shop/app").body
    assert len(served) == kept["size_bytes"] > 40 << 20
    assert served == sent
    assert sum(len(each["instances"]) for each in loads(served)["resources"]) == 1 + 40 * 250
