"""Findings where it is not plain which machine a resource is, or whether a machine is anybody's: none is made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import time_machine

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.iac.rules import FAMILIES
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.settings import Settings
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.derive.duplicates import find_duplicates
from tests.doubles.aliyun import AliyunDouble
from tests.doubles.aliyun import estate as cloud
from tests.pipeline.estate import MAPPED, Estate
from tests.pipeline.estate import estate as opened
from tests.sources.aliyun.live import config_of as aliyun_source
from tests.sources.live import Credentials
from tests.sources.pve.live import config_of, fields_of

UUID = "0d2a1f5e-1c2b-4d3e-8f40-000000000100"
"""Of the guest 100 of the double."""


@pytest.fixture
def estate(database_url: str) -> Iterator[Estate]:
    with opened(database_url) as found:
        yield found


def test_a_source_that_was_never_read_keeps_no_ids_of_a_vcenter_of_before_apart(estate: Estate) -> None:
    estate.declare("db", "web")
    estate.declare(x={"vm_id": 1}, y={"vm_id": 2}, z={"vm_id": 3}, state="new/one")
    estate.read()
    now, before = ("@11111111-1111-4111-8111-111111111111", "@22222222-2222-4222-8222-222222222222")
    estate.connection.execute("UPDATE ledger.asset_source_links SET external_id = external_id || %s", [now])
    estate.connection.execute("UPDATE ledger.asset_relations SET to_external_id = to_external_id || %s", [now])
    estate.connection.execute(
        "INSERT INTO ledger.asset_source_links SELECT (jsonb_populate_record(l, jsonb_build_object('id', id + 1000,"
        " 'external_id', replace(external_id, %s, %s), 'missing_since', now(), 'last_seen_at', now()))).*"
        " FROM ledger.asset_source_links AS l WHERE external_kind = 'vm'",
        [now, before],
    )
    estate.map(replace(MAPPED, states=("shop/*",)), replace(MAPPED, source="vc_new", states=("new/*",)))
    assert estate.check()["acme"].unread == ("vc_new",)
    assert estate.findings(kinds=("missing", "double")) == []
    assert len(estate.rows("SELECT FROM iac.resource_joins")) == 2


def test_who_runs_on_two_hosts_at_once_is_still_one_machine(estate: Estate) -> None:
    estate.declare(web={"vm_id": 998, "uuid": UUID})
    estate.read()
    estate.connection.execute(
        "INSERT INTO ledger.asset_relations SELECT from_link_id, kind, to_kind, 'n3', began_date, began_at"
        " FROM ledger.asset_relations WHERE ended_at IS NULL AND from_link_id ="
        " (SELECT id FROM ledger.asset_source_links WHERE external_id = 'qemu/100')"
    )
    estate.check()
    assert estate.rows("SELECT rule FROM iac.resource_joins") == [{"rule": "uuid"}]


def test_a_machine_that_is_registered_anew_is_found_by_its_uuid(estate: Estate) -> None:
    estate.declare(web={"uuid": UUID})
    estate.read()
    estate.check()
    spec = estate.pve.cluster.guests[100].spec.model_dump()
    estate.pve.cluster.delete(100)
    estate.pve.cluster.add_guest(**{**spec, "vmid": 900})
    estate.read()
    estate.check()
    assert estate.findings(kinds=("missing",)) == []
    assert "qemu/900" not in estate.orphans()
    (join,) = estate.rows(
        "SELECT rule, external_id FROM iac.resource_joins JOIN ledger.asset_source_links AS l ON l.id = link_id"
    )
    assert join == {"rule": "uuid", "external_id": "qemu/900"}


def test_who_is_registered_anew_twice_is_not_missing_for_sure(estate: Estate) -> None:
    estate.declare(web={"uuid": UUID})
    estate.read()
    estate.check()
    spec = estate.pve.cluster.guests[100].spec.model_dump()
    estate.pve.cluster.delete(100)
    for vmid in (900, 901):
        estate.pve.cluster.add_guest(**{**spec, "vmid": vmid})
    estate.read()
    estate.check()
    assert estate.findings(kinds=("missing",)) == []
    assert not {"qemu/900", "qemu/901"} & estate.orphans()


def test_a_number_that_was_given_to_another_machine_is_no_drift_of_the_one_before(estate: Estate) -> None:
    estate.declare(web={"uuid": UUID, "memory": 1024})
    estate.read()
    estate.check()
    assert set(estate.drift()) == {("web", "memory_bytes")}
    spec = estate.pve.cluster.guests[100].spec.model_dump()
    estate.pve.cluster.delete(100)
    spec["config"] |= {
        "smbios1": "uuid=77777777-1c2b-4d3e-8f40-000000000999",
        "name": "other",
        "meta": "creation-qemu=9.0.0,ctime=1790000000",
    }
    estate.pve.cluster.add_guest(**spec)
    estate.read()
    estate.check()
    assert estate.drift() == {}
    (missing,) = estate.findings(kinds=("missing",))
    assert (missing.name, missing.observed) == ("web", "another_machine has qemu/100")
    assert "qemu/100" in estate.orphans()


def test_a_machine_that_says_its_uuid_the_other_way_round_is_who_its_number_says(estate: Estate) -> None:
    estate.declare(web={"uuid": "5e1f2a0d-2b1c-3e4d-8f40-000000000100"})
    estate.read()
    estate.check()
    assert estate.rows("SELECT rule FROM iac.resource_joins") == [{"rule": "id"}]


def test_a_host_whose_clock_is_ahead_makes_nothing_missing(estate: Estate) -> None:
    estate.declare("web")
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=2)):
        estate.read()
    estate.declare("web", new={"vm_id": 777})
    found = estate.check()["acme"]
    assert estate.findings(kinds=("missing",)) == []
    assert found.coverage[0].unknown == {"declared_after_reading": 1}


def test_a_claim_by_address_holds_while_the_machine_is_off_and_nobody_else_has_the_address(estate: Estate) -> None:
    estate.write(_of_azure("192.0.2.100"))
    estate.map(replace(MAPPED, provider="azurerm"))
    estate.read()
    estate.check()
    joined = estate.rows("SELECT * FROM iac.resource_joins")
    estate.pve.cluster.guests[100].spec.status = "stopped"
    estate.read()
    estate.check()
    assert "qemu/100" not in estate.orphans()
    assert estate.rows("SELECT * FROM iac.resource_joins") == joined
    estate.connection.execute(
        "UPDATE ledger.normalized_assets SET document = jsonb_set(document, '{network,ip_addresses}', '[\"192.0.2.100\"]')"
        " WHERE id = (SELECT normalized_id FROM ledger.asset_source_links WHERE external_id = 'qemu/102')"
    )
    estate.check()
    (join,) = estate.rows(
        "SELECT external_id FROM iac.resource_joins JOIN ledger.asset_source_links AS l ON l.id = link_id"
    )
    assert join == {"external_id": "qemu/102"}
    assert "qemu/100" in estate.orphans()


def _of_azure(address: str) -> bytes:
    attributes = {"id": "/subscriptions/1/vm/web", "name": "web", "private_ip_address": address}
    return _state("azurerm_linux_virtual_machine", "hashicorp/azurerm", web=attributes)


def _state(kind: str, provider: str, **said: dict[str, Any]) -> bytes:
    resources = [
        {
            "mode": "managed",
            "type": kind,
            "name": name,
            "provider": f'provider["registry.terraform.io/{provider}"]',
            "instances": [{"attributes": attributes}],
        }
        for name, attributes in said.items()
    ]
    return json.dumps({"version": 4, "serial": 1, "lineage": "one", "resources": resources}).encode()


def test_a_machine_in_a_region_that_is_not_read_is_not_missing(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def instance(machine_id: str, zone: str) -> dict[str, Any]:
        return {"id": machine_id, "availability_zone": zone, "instance_name": machine_id, "status": "Running"}

    estate.write(
        _state(
            "alicloud_instance",
            "aliyun/alicloud",
            gone=instance("i-bp1gone000000000001", "cn-hangzhou-h"),
            unread=instance("i-2zebeijing00000000001", "cn-beijing-h"),
        )
    )
    with AliyunDouble(cloud()) as double:
        monkeypatch.setenv("ALI", json.dumps(double.credential))
        source = aliyun_source(double, exclude_regions=("cn-beijing",))
        ledger = Ledger(Settings(tmp_path, tmp_path / "sources.yaml", None, None, tmp_path))
        _read(estate, ledger, source)
    estate.map(replace(MAPPED, source="ali_x", families=FAMILIES["aliyun"], orphans=False))
    found = estate.check()["acme"]
    assert [one.name for one in estate.findings(kinds=("missing",))] == ["i-bp1gone000000000001"]
    assert found.coverage[0].unknown == {"region_not_read": 1}


def _read(estate: Estate, ledger: Ledger, source: SourceConfig) -> None:
    row = source_row(estate.connection, source)
    read_source(ledger, estate.connection, source, row, scope="all", run_id="r", mode="collect")
    day = collected_date(datetime.now(UTC))
    derive_day(estate.connection, source, row, day, run_id="r", mode="collect")


def test_a_template_on_a_node_that_is_offline_is_a_template_still(estate: Estate) -> None:
    estate.read()
    estate.check()
    estate.pve.cluster.set_offline("n1", minutes=60)
    estate.read()
    estate.check()
    assert "qemu/9000" not in estate.orphans()


def test_of_a_machine_whose_config_was_never_read_nobody_knows_that_it_is_an_orphan(estate: Estate) -> None:
    estate.pve.cluster.set_offline("n1", minutes=60)
    estate.read()
    estate.check()
    assert "qemu/9000" not in estate.orphans()
    estate.pve.cluster.set_online("n1")
    estate.read()
    estate.check()
    assert "qemu/100" in estate.orphans()
    assert "qemu/9000" not in estate.orphans()


def test_a_machine_that_the_platform_made_for_itself_is_no_orphan(estate: Estate) -> None:
    estate.read()
    estate.check()
    assert "qemu/102" in estate.orphans()
    estate.connection.execute(
        "UPDATE ledger.normalized_assets SET document ="
        ' document || \'{"custom_fields": {"agent_vm": "vcls", "managed_by": "VirtualCenter"}}\''
        " WHERE id = (SELECT normalized_id FROM ledger.asset_source_links WHERE external_id = 'qemu/102')"
    )
    found = estate.check()["acme"]
    assert "qemu/102" not in estate.orphans()
    assert estate.closed() == {("orphan", "qemu/102"): "agent_vm"}
    assert found.coverage[0].observed == len(estate.orphans())


def test_a_machine_that_two_sources_declare_counts_in_both(estate: Estate) -> None:
    estate.declare("web")
    estate.declare("web", state="other/one")
    estate.read()
    second = config_of(estate.pve, estate.account, name="pve_y")
    _read(estate, cast("Ledger", SimpleNamespace(credentials=Credentials(fields_of(estate.account)))), second)
    estate.connection.execute(
        "UPDATE ledger.assets AS a SET merged_into_asset_id = x.asset_id"
        " FROM ledger.asset_source_links AS y"
        " JOIN ledger.asset_source_links AS x ON x.external_id = y.external_id AND x.source_id < y.source_id"
        " WHERE a.id = y.asset_id AND x.asset_id <> y.asset_id"
    )
    estate.map(replace(MAPPED, states=("shop/*",)), replace(MAPPED, source="pve_y", states=("other/*",)))
    found = estate.check()["acme"]
    assert found.open["double"] == 1
    assert [(row.source, row.declared, row.managed) for row in found.coverage] == [("pve_x", 1, 1), ("pve_y", 1, 1)]


def test_what_a_second_source_reads_of_the_same_cluster_is_no_orphan(estate: Estate) -> None:
    estate.declare("web", "db")
    estate.write(_state("proxmox_lxc", "telmate/proxmox", box={"id": "n1/lxc/200", "vmid": 200}), state="shop/boxes")
    estate.read()
    second = config_of(estate.pve, estate.account, name="pve_y")
    _read(estate, cast("Ledger", SimpleNamespace(credentials=Credentials(fields_of(estate.account)))), second)
    find_duplicates(estate.connection)
    estate.map(MAPPED, replace(MAPPED, source="pve_y", states=("other/*",)))
    estate.check()
    of_second = {one.external_id for one in estate.findings(kinds=("orphan",)) if one.source == "pve_y"}
    # the virtual machines have UUIDs, and a container may be a duplicate
    assert not {"qemu/100", "qemu/101", "lxc/200"} & of_second
    assert "qemu/102" in of_second


def test_a_merge_of_a_machine_that_just_left_its_state_makes_no_orphan_of_it(estate: Estate) -> None:
    estate.declare("web", "db")
    estate.read()
    estate.check()
    estate.declare("db")
    estate.connection.execute(
        "UPDATE ledger.assets SET merged_into_asset_id ="
        " (SELECT asset_id FROM ledger.asset_source_links WHERE external_id = 'qemu/102')"
        " WHERE id = (SELECT asset_id FROM ledger.asset_source_links WHERE external_id = 'qemu/100')"
    )
    estate.check()
    assert "qemu/100" not in estate.orphans()
