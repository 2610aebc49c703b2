"""Several services over one database, and the database that goes away under load: nothing is lost, nothing is twice."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_ledger.store.database import connect, ensure_database, migrate
from asset_ledger.store.embedded.server import EmbeddedServer
from asset_ledger.store.iac.states import opened, stored
from asset_ledger.store.tenancy import as_tenant
from tests.api.site import Site, free_port
from tests.terraform.client import Terraform
from tests.terraform.test_mishaps import service_process, wait_for

ONE = 'variable "input" {}\nresource "terraform_data" "a" { input = var.input }\n'
NAMES = ("one", "two", "three")


def inputs_kept(site: Site, stack: str) -> list[str]:
    """Return what the versions of a stack say of its one resource, in their order."""
    found = []
    tenant = site.tenant("acme")
    with connect(site.database_url) as connection, as_tenant(connection, tenant):
        for row in site.versions(stack):
            body = opened(site.ring, tenant, stored(connection, tenant, row["state_id"], row["version"]))
            (resource,) = json.loads(body)["resources"]
            found.append(resource["instances"][0]["attributes"]["input"]["value"])
    return found


def test_applies_over_two_service_processes_come_one_after_the_other(database_url: str, tmp_path: Path) -> None:
    ports = (free_port(), free_port())
    sites = [Site(database_url, port) for port in ports]
    (tmp_path / "other").mkdir()
    with service_process(database_url, ports[0], tmp_path), service_process(database_url, ports[1], tmp_path / "other"):
        token = sites[0].token()
        racers = [
            Terraform.of(sites[number % 2], tmp_path / str(number), token=token).module(ONE).init()
            for number in range(4)
        ]
        running = [
            racer.start("apply", "-auto-approve", "-no-color", "-lock-timeout=120s", f"-var=input={number}")
            for number, racer in enumerate(racers)
        ]
        said = [process.communicate(timeout=200)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    site = sites[0]
    assert [row["version"] for row in site.versions()] == [1, 2, 3, 4]
    assert sorted(inputs_kept(site, "app")) == ["0", "1", "2", "3"]
    assert {tuple(row["flags"]) for row in site.versions()} == {()}
    assert held(site) == []


def held(site: Site) -> list[tuple[str, str]]:
    """Return the stack and the id of every lock."""
    found = site.rows("SELECT stack, lock_id FROM iac.state_locks JOIN iac.state_heads USING (tenant_id, state_id)")
    return [(str(row["stack"]), str(row["lock_id"])) for row in found]


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A PostgreSQL that only this test has, as durable as an installation's."""
    home = Path(tempfile.mkdtemp(prefix="asset-ledger-outage-"))
    home.chmod(0o711)  # under root the server runs as another user
    server = EmbeddedServer(home)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def test_applies_live_through_restarts_of_the_database(own_server: EmbeddedServer, tmp_path: Path) -> None:
    url = own_server.url("asset_ledger")
    ensure_database(url)
    migrate(url)
    site = Site(url, free_port())
    with service_process(url, site.port, tmp_path):
        stacks = [Terraform.of(site, tmp_path / name, stack=name).module(ONE).init() for name in NAMES]
        done: dict[str, list[str]] = {stack.folder.name: [] for stack in stacks}
        for turn in range(3):
            running = {
                stack.folder.name: stack.start(
                    "apply", "-auto-approve", "-no-color", "-lock-timeout=60s", f"-var=input={turn}"
                )
                for stack in stacks
            }
            time.sleep(0.15 * turn)  # each time somewhere else in their work
            own_server.stop()
            own_server.start()
            for name, process in running.items():
                said = process.communicate(timeout=200)[0]
                # who gave up keeps what it did in a file of its own, and says so
                kept_it = (tmp_path / name / "errored.tfstate").exists()
                assert process.returncode == 0 or "503" in said or kept_it, said
                if process.returncode == 0:
                    done[name].append(str(turn))
            wait_for(lambda: site.ask("GET", "/readyz", token="").status == 200)
            for name, lock_id in held(site):  # of who gave up alone: it is seen, and can be forced open
                assert done[name][-1:] != [str(turn)]
                stacks[NAMES.index(name)].do("force-unlock", "-force", lock_id)
        for name, turns in done.items():
            versions = site.versions(name)
            assert [row["version"] for row in versions] == list(range(1, len(versions) + 1))
            kept = inputs_kept(site, name)
            assert [turn for turn in kept if turn in turns] == turns, "what was answered with success is kept, once"
            assert len(kept) == len(set(kept))
        assert sum(map(len, done.values())) > 0
        final = [stack.run("apply", "-auto-approve", "-no-color", "-var=input=last") for stack in stacks]
        assert [each.code for each in final] == [0, 0, 0], final
