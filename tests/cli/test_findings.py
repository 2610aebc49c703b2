"""`asset-ledger findings` and `coverage`: looked for, listed, shown, and what is wrong with iac.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from asset_ledger.pipeline.ledger import Ledger
from tests.cli.conftest import Cli

Fill = Callable[[str, str, str], str]
AZURE = 'provider["registry.terraform.io/hashicorp/azurerm"]'
HOSTS = "mgmt_ip,hostname,asset_type,cpu_cores,memory_gb\n10.0.0.1,web,vm,4,8\n10.0.0.2,db,vm,4,8\n"


@pytest.fixture
def mapped(cli: Cli, project: Path, fill: Fill) -> Cli:
    """A tenant whose state declares one machine of a file, and a second under the same address."""
    (project / "iac.yaml").write_text("mappings:\n  - {tenant: acme, source: office, provider: azurerm}\n")
    fill("hosts.csv", "2026-11-20", HOSTS)
    assert cli("tenants", "add", "acme").code == 0
    resources = [
        {"mode": "managed", "type": "azurerm_linux_virtual_machine", "name": name, "provider": AZURE,
         "instances": [{"attributes": {"id": f"/vm/{name}", "name": name, "private_ip_address": address}}]}
        for name, address in (("web", "10.0.0.1"), ("lost", "10.0.0.9"))
    ]  # fmt: skip
    path = project / "state.json"
    path.write_text(json.dumps({"version": 4, "serial": 1, "lineage": "l", "resources": resources}))
    assert cli("state", "import", "shop/app", str(path)).code == 0
    assert cli("state", "parse").code == 0
    return cli


def open_finding(ledger: Ledger) -> str:
    """Write a finding as an evaluation does, and return its id."""
    with ledger.connect() as connection:
        row = connection.execute(
            "INSERT INTO iac.drift_findings (tenant_id, kind, state_id, stable_uid, addr, attribute, source_id, source,"
            " name, declared, observed, opened_at, seen_at)"
            " SELECT d.tenant_id, 'drift', d.state_id, d.stable_uid, d.addr, 'memory_bytes', s.id, s.name, d.name,"
            " to_jsonb(8589934592), to_jsonb(4294967296), now(), now()"
            " FROM iac.declared_machines AS d, ledger.sources AS s WHERE s.name = 'office' AND d.name = 'web' RETURNING id"
        ).fetchone()
    assert row is not None
    return str(row[0])


def test_findings_are_looked_for_now_and_what_cannot_be_said_is_said(mapped: Cli) -> None:
    done = mapped("findings", "check")
    assert done.code == 0
    assert done.out == "acme: 0 opened, 0 closed; open are 0 drift, 0 missing, 0 double, 0 orphan\n"
    assert "nobody can say all of office: the last reading of office is not complete" in done.err
    (row,) = json.loads(mapped("coverage", "--json").out)
    assert (row["declared"], row["managed"], row["complete"]) == (2, 1, False)
    assert (row["observed"], row["managed_percent"]) == (1, 100.0)
    assert "office" in mapped("coverage").out
    assert " 100 " in mapped("coverage").out


def test_a_finding_is_listed_and_shown_with_its_sides_in_units(mapped: Cli, ledger: Ledger) -> None:
    finding = open_finding(ledger)
    listed = mapped("findings", "list")
    assert listed.code == 0
    assert all(word in listed.out for word in ("drift", "shop/app", "memory_bytes", "8 GiB", "4 GiB", "open"))
    shown = mapped("findings", "show", finding[:8])
    assert "8 GiB" in shown.out
    (row,) = json.loads(mapped("findings", "list", "--json", "--kind", "drift", "--state", "shop/app").out)
    assert (row["id"], row["declared"]) == (finding, 8589934592)
    assert json.loads(mapped("findings", "show", finding, "--json").out)["id"] == finding
    assert mapped("findings", "list", "--closed").out == ""


def test_a_finding_that_there_is_not_and_words_that_exclude_one_another_are_refused(mapped: Cli) -> None:
    refused = mapped("findings", "show", "zzzz")
    assert refused.code == 1
    assert "FINDING_NOT_FOUND: zzzz: there is no such finding" in refused.err
    assert "yaml" not in refused.err
    assert mapped("findings", "list", "--open", "--closed").code == 2


def test_a_source_that_was_never_compared_is_refused_by_its_name(mapped: Cli) -> None:
    assert mapped("findings", "check").code == 0
    assert mapped("findings", "list", "--source", "office").code == 0
    for words in (("findings", "list"), ("coverage",)):
        done = mapped(*words, "--source", "nope")
        assert (done.code, done.out) == (1, "")
        assert (
            "--source nope: no source of this name was ever compared with states of acme; there are: office" in done.err
        )


def test_a_file_that_went_closes_nothing_and_is_missed(mapped: Cli, project: Path) -> None:
    assert mapped("findings", "check").code == 0
    text = (project / "iac.yaml").read_text()
    (project / "iac.yaml").unlink()
    done = mapped("findings", "check")
    assert done.code == 1
    assert f"CONFIG_INVALID: {project / 'iac.yaml'}: the file is gone" in done.err
    assert json.loads(mapped("coverage", "--json").out)[0]["declared"] == 2
    # an empty file says that nothing is mapped, and then it may go
    (project / "iac.yaml").write_text("")
    assert mapped("findings", "check").code == 0
    (project / "iac.yaml").unlink()
    assert mapped("findings", "check").code == 0
    (project / "iac.yaml").write_text(text)
    assert mapped("findings", "check").code == 0


def test_a_mapping_of_a_tenant_that_there_is_not_is_an_error_before_the_look(mapped: Cli, project: Path) -> None:
    (project / "iac.yaml").write_text(
        "mappings:\n  - {tenant: acme, source: office, provider: azurerm}\n  - {tenant: acmee, source: probe, provider: azurerm}\n"
    )
    done = mapped("findings", "check")
    assert done.code == 1
    assert done.out == ""
    assert "there is no tenant acmee; there are: acme" in done.err
    assert "docs/iac-yaml.md" in done.err


def test_the_marts_are_not_begun_with_a_file_that_is_wrong(mapped: Cli, project: Path) -> None:
    (project / "iac.yaml").write_text("mappings: [{source: nobody}]")
    done = mapped("marts", "build", "--day", "2026-01-10")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"CONFIG_INVALID: {project / 'iac.yaml'}: ")
    assert "exit code" not in done.err
    assert not (project / "home" / "dagster").exists(), "Dagster was started"


def test_without_a_mapping_there_is_nothing_to_compare(cli: Cli, mapped: Cli, project: Path) -> None:
    (project / "iac.yaml").unlink()
    done = cli("findings", "check")
    assert done.code == 0
    assert "maps no state to a source" in done.err
    assert "iac.yaml does not say which source knows the machines of shop/app" in done.err
