"""A whole reading against the double: what is in it, when it counts as whole, and what happens meanwhile."""

from __future__ import annotations

import logging
import threading

import pytest

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, IncompleteError
from asset_ledger.domain.inventory import Caution, TargetFailure
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.pve import errors
from asset_ledger.sources.pve.nodes import MOST_WORKERS, WAITING_FOR_AGENTS, WORKERS_A_NODE, Guest, NodeReader
from asset_ledger.sources.pve.survey import PROBES_AT_ONCE
from tests.doubles.pve import VERSIONS, PveDouble, load
from tests.patience import FOREVER_S, soon, until
from tests.sources.live import complete
from tests.sources.pve.live import TOKENS, WITHOUT_TOKENS, client, collector, config_of, read

AGENTS = "* /nodes/*/qemu/*/agent*"
ACCOUNTS = [
    (version, account)
    for version in VERSIONS
    for account in ("agent@pve", "agent@pve!asset")
    if not (version in WITHOUT_TOKENS and "!" in account)
]


def agent_calls(pve: PveDouble) -> int:
    return sum(each.status != 501 for each in pve.requests.all(AGENTS))


# -- T6-01 to T6-05, T6-B01 to T6-B03: every version × scope × way to log in -------------------------------------


@pytest.mark.parametrize(("version", "account"), ACCOUNTS)
def test_t6_01_and_02_a_good_account_is_healthy_and_the_release_is_told(version: str, account: str) -> None:
    for scenario, scope in (("standalone", "standalone"), ("cluster", "cluster")):
        with PveDouble(load(scenario), version=version) as pve:
            for said in ("auto", scope):
                reader = collector(pve, account, scope=said)
                health = reader.healthcheck(ReadOrder())
                assert health.ok, health.problems
                assert health.checks["complete"] == "proven"
                assert health.checks["account"] == account
                assert pve.requests.count("* /nodes/*") == 0  # no guest is read
                found = reader.detect(ReadOrder())
                assert found.target_version.startswith(version)
                assert found.capabilities["is_cluster"] is (scope == "cluster")
                assert found.capabilities["guest_agent_permitted"] is True
                assert found.driver == ("pve-cap-v1" if version in WITHOUT_TOKENS else "pve-cap-v2")
                assert (f"scope: {scope}" in found.advice) is (said == "auto")
                assert found.capabilities["guest_agent_supported"] is True
                assert found.capabilities["guest_agent_call"] == ("POST" if version == "5.0" else "GET")
                assert pve.requests.count("* /nodes/*") <= 2
                pve.requests.clear()


@pytest.mark.parametrize(("version", "account"), ACCOUNTS)
@pytest.mark.parametrize("scope", ["auto", "standalone"])
def test_t6_03_a_single_node_is_read_whole(version: str, account: str, scope: str) -> None:
    with PveDouble(load("standalone"), version=version) as pve:
        found = complete(read(pve, account, scope=scope))
        assert [raw.target for raw in found.records] == [f"node {pve.cluster.local_node}", "cluster"]
        assert list(found.kind("host")) == [pve.cluster.local_node]
        assert found.kind("cluster") == {}
        guests = found.kind("vm")
        assert len(guests) == len(pve.cluster.guests) == 3
        runs_on = {"kind": "runs_on", "external_kind": "host", "external_id": pve.cluster.local_node}
        assert all(document["relations"] == [runs_on] for document in guests.values())


@pytest.mark.parametrize(("version", "account"), ACCOUNTS)
@pytest.mark.parametrize("scope", ["auto", "cluster"])
def test_t6_04_05_b01_and_b03_a_cluster_is_read_whole(
    version: str, account: str, scope: str, caplog: pytest.LogCaptureFixture
) -> None:
    with PveDouble(load("cluster"), version=version) as pve:
        found = complete(read(pve, account, scope=scope))
        assert sorted(raw.target for raw in found.records[:-1]) == ["node n1", "node n2", "node n3"]
        hosts, guests = found.kind("host"), found.kind("vm")
        assert list(found.kind("cluster")) == ["lab"]
        assert sorted(hosts) == ["n1", "n2", "n3"]
        member = {"kind": "member_of", "external_kind": "cluster", "external_id": "lab"}
        assert all(document["relations"] == [member] for document in hosts.values())
        expected = {f"{guest.spec.type}/{vmid}": guest.spec.node for vmid, guest in pve.cluster.guests.items()}
        assert {name: document["relations"][0]["external_id"] for name, document in guests.items()} == expected
        # T6-05
        assert "192.0.2.100" in guests["qemu/100"]["network"]["ip_addresses"]
        # T6-B01
        silent = {"qemu/101", "qemu/102", "qemu/103"}
        for name in silent:
            assert guests[name]["unknown"]["network.ip_addresses"].startswith("PVE_GUEST_AGENT_UNAVAILABLE")
        warned = [locator for code, locator in found.cautions if code == "PVE_GUEST_AGENT_UNAVAILABLE"]
        assert len(warned) == 3
        assert found.cluster["agents_asked"] == 5
        assert found.cluster["agents_unavailable"] == 3
        logged = [each.getMessage() for each in caplog.records if each.name == "asset_ledger.sources.pve"]
        assert len(logged) == 3
        for name in silent:
            [line] = [each for each in logged if f'"vm_id": "{name}"' in each]
            assert '"event": "pve.guest_agent_unavailable"' in line
            assert '"source_id": "pve_x"' in line
            assert f'"vm_name": "{pve.cluster.guests[int(name[5:])].config["name"]}"' in line
        # T6-B03
        assert guests["lxc/200"]["network"]["ip_addresses"]
        assert guests["lxc/200"]["custom_fields"]["guest_type"] == "lxc"
        assert guests["qemu/9000"]["custom_fields"]["template"] is True


@pytest.mark.parametrize("version", VERSIONS)
def test_t6_b02_a_cluster_without_guests_is_hosts_and_a_cluster(version: str) -> None:
    with PveDouble(load("empty_cluster"), version=version) as pve:
        found = complete(read(pve))
        assert found.kind("vm") == {}
        assert len(found.kind("host")) == len(pve.cluster.nodes)
        assert all(document["relations"][0]["kind"] == "member_of" for document in found.kind("host").values())
        assert collector(pve).detect(ReadOrder()).capabilities["guest_agent_supported"] is None


@pytest.mark.parametrize("version", VERSIONS)
def test_an_auditor_reads_the_list_whole_and_is_not_sent_to_agents_in_vain(version: str) -> None:
    account = "ledger@pve" if version in WITHOUT_TOKENS else "ledger@pve!asset"
    with PveDouble(load("cluster"), version=version) as pve:
        found = complete(read(pve, account))
        by_audit = version == "9.1"  # from 9 on an auditor may ask
        assert (agent_calls(pve) > 0) is by_audit
        assert found.cluster["agents_forbidden"] is not by_audit
        assert len(found.kind("vm")) == 11


@pytest.mark.parametrize("version", ["5.0", "8.4"])
def test_addresses_are_not_asked_for_where_the_source_says_so(version: str) -> None:
    with PveDouble(load("cluster"), version=version) as pve:
        complete(read(pve, guest_addresses=False))
        assert pve.requests.count(AGENTS) == pve.requests.count("GET /nodes/*/interfaces") == 0


@pytest.mark.parametrize(("scenario", "scope"), [("standalone", "cluster"), ("cluster", "standalone")])
def test_an_endpoint_that_is_not_what_the_source_says_is_not_read(scenario: str, scope: str) -> None:
    with PveDouble(load(scenario)) as pve:
        found = read(pve, scope=scope)
        assert found.error is not None
        assert found.error.code is errors.CONFIG_INVALID
        assert not collector(pve, scope=scope).healthcheck(ReadOrder()).ok
        assert pve.requests.count("GET /nodes/*") == 0


def test_unverified_tls_warns_with_every_reading() -> None:
    with PveDouble(load("one_guest")) as pve:
        assert ("PVE_TLS_UNVERIFIED", None) in complete(read(pve, tls_verify=False)).cautions
        assert ("PVE_TLS_UNVERIFIED", None) not in complete(read(pve, fingerprint=pve.fingerprint)).cautions


# -- rights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_t6_e02_an_account_that_sees_no_guest_is_no_empty_cluster(version: str) -> None:
    account = "blind@pve" if version in WITHOUT_TOKENS else "ledger@pve!bare"
    with PveDouble(load("cluster"), version=version) as pve:
        found = read(pve, account)
        assert isinstance(found.error, IncompleteError)
        assert found.error.code is errors.PERMISSION_DENIED
        assert found.error.proof["missing"] == list(found.proof.missing)
        for needed in ("VM.Audit", "PVEAuditor", "propagate", "token"):
            assert needed in str(found.error)
        assert str(found.error).lower().count("grant role pveauditor") == 1, "no advice twice"
        # the evidence is kept, and says the same whenever it is derived
        assert [raw.target for raw in found.records] == ["cluster"]
        assert not found.proof.complete
        assert found.cluster["error"]["code"] == "PVE_PERMISSION_DENIED"
        assert pve.requests.count("GET /nodes/*") == 0
        health = collector(pve, account).healthcheck(ReadOrder())
        assert not health.ok
        assert health.problems
        # what was not asked for lack of rights is no problem of its own
        assert all(each.startswith("PVE_PERMISSION_DENIED") for each in health.problems)
        assert "agents" not in health.checks


@pytest.mark.parametrize("version", VERSIONS)
def test_a_check_names_the_right_that_agents_need(version: str) -> None:
    account = "ledger@pve" if version in WITHOUT_TOKENS else "ledger@pve!asset"
    with PveDouble(load("cluster"), version=version) as pve:
        health = collector(pve, account).healthcheck(ReadOrder())
        assert health.ok
        if version == "9.1":
            assert health.checks["agents"] == "may be asked"
        else:
            assert "VM.Monitor" in health.checks["agents"]
            assert "Install" not in health.checks["agents"]
        assert "agents" not in collector(pve, account, guest_addresses=False).healthcheck(ReadOrder()).checks


@pytest.mark.parametrize(("path", "version"), [("/vms/101", "8.4"), ("/pool/prod", "8.4"), ("/vms/101", "6.1")])
def test_the_entry_that_hides_a_guest_is_named(path: str, version: str) -> None:
    with PveDouble(load("cluster"), version=version) as pve:
        pve.cluster.grant(path, "NoAccess", "ledger@pve")
        found = read(pve, "ledger@pve")
        assert found.error is not None
        assert found.error.code is errors.PERMISSION_DENIED
        assert f"role NoAccess for user ledger@pve on {path}" in found.error.message


def test_a_cluster_without_guests_is_not_walked_by_who_could_not_see_them() -> None:
    with PveDouble(load("empty_cluster")) as pve:
        found = read(pve, "ledger@pve!bare")
        assert found.error is not None
        assert found.error.code is errors.PERMISSION_DENIED
        assert pve.requests.count("GET /nodes/*") == pve.requests.count("GET /cluster/nextid?vmid") == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("how", ["guest", "pool", "not_propagated"])
def test_one_guest_hidden_from_the_account_is_not_passed_over(version: str, how: str) -> None:
    with PveDouble(load("cluster"), version=version) as pve:
        if how == "guest":
            pve.cluster.grant("/vms/101", "NoAccess", "ledger@pve")
        elif how == "pool":
            pve.cluster.grant("/pool/prod", "NoAccess", "ledger@pve")
        else:
            pve.cluster.revoke("/", "PVEAuditor", "ledger@pve")
            pve.cluster.grant("/", "PVEAuditor", "ledger@pve", propagate=False)
        found = read(pve, "ledger@pve")
        assert found.error is not None
        assert found.error.code is errors.PERMISSION_DENIED
        assert not found.proof.complete


def test_a_guest_the_ledger_knows_is_asked_for_before_it_may_be_missing() -> None:
    known = frozenset({("vm", "qemu/555"), ("vm", "qemu/100"), ("host", "n1"), ("cluster", "lab")})
    with PveDouble(load("cluster")) as pve:
        complete(read(pve, known=known))
        assert [each.query for each in pve.requests.all("GET /cluster/nextid?vmid")] == ["vmid=555"]
        # it exists and is not shown: no rule of rights sees that, the id itself does
        pve.faults.add(
            "GET /cluster/nextid?vmid=555",
            "status",
            status=400,
            times=None,
            reason="Parameter verification failed.",
            body={"data": None, "errors": {"vmid": "VM 555 already exists"}},
        )
        found = read(pve, known=known)
        assert found.error is not None
        assert found.error.code is errors.PERMISSION_DENIED
        assert "555" in found.error.message


def test_without_the_access_list_every_id_that_may_be_hidden_is_asked_for() -> None:
    with PveDouble(load("standalone")) as pve:
        pve.cluster.roles["VmOnly"] = (
            {"VM.Audit": 1} if isinstance(next(iter(pve.cluster.roles.values())), dict) else frozenset({"VM.Audit"})
        )
        pve.cluster.grant("/", "SysOnly", "blind@pve", propagate=False)
        pve.cluster.grant("/vms", "VmOnly", "blind@pve")
        pve.latency = 0.01
        found = complete(read(pve, "blind@pve"))
        # beyond the ids that were asked for nothing is proven, and that is said
        highest = max(pve.cluster.guests) + 100
        assert found.proof.counts["searched_to"] == highest
        [told] = [item for item in found.items if isinstance(item, Caution) and item.code is errors.RANGE_ONLY]
        assert f"ids above {highest} cannot be excluded" in told.message
        assert f"up to {highest}" in collector(pve, "blind@pve").healthcheck(ReadOrder()).checks["complete"]
        asked = pve.requests.count("GET /cluster/nextid?vmid")
        assert asked >= 100
        assert 1 < pve.requests.peak("GET /cluster/nextid?vmid") <= PROBES_AT_ONCE


def test_a_minority_of_a_cluster_is_refused_and_may_pass() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.cluster.quorate = False
        found = read(pve)
        assert isinstance(found.error, IncompleteError)
        assert found.error.code is INVENTORY_INCOMPLETE
        assert "quorum" in found.error.message
        assert not found.proof.complete


# -- nodes that do not answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("minutes", [1, 60])
def test_guests_of_an_offline_node_stay(version: str, minutes: int) -> None:
    with PveDouble(load("cluster"), version=version) as pve:
        pve.cluster.set_offline("n2", minutes=minutes)
        found = complete(read(pve))
        on_n2 = {f"{g.spec.type}/{vmid}" for vmid, g in pve.cluster.guests.items() if g.spec.node == "n2"}
        guests = found.kind("vm")
        assert on_n2 < guests.keys()
        assert {name for name, document in guests.items() if document["relations"][0]["external_id"] == "n2"} == on_n2
        assert {guests[name]["runtime"]["power_state"] for name in on_n2} == {"unknown"}
        assert found.cautions.count(("PVE_NODE_OFFLINE", "node n2")) == 1
        assert pve.requests.count("* /nodes/n2/*") == 0
        assert found.proof.counts["nodes_offline"] == (["n2"] if version != "5.0" else [])


def test_a_node_that_stops_answering_is_not_asked_guest_by_guest() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.faults.add("* /nodes/n2/*", "status", times=None, status=596, reason="Connection timed out")
        found = complete(read(pve))
        # two questions, each tried twice, and one that was under way meanwhile
        assert pve.requests.count("* /nodes/n2/*") <= 6
        [raw] = [raw for raw in found.records if raw.target == "node n2"]
        assert raw.document["online"] is True
        assert raw.document["unreachable"] is True
        guests = found.kind("vm")
        assert guests["qemu/101"]["unknown"]["hardware.cpu_count"].startswith("PVE_NETWORK_ERROR")
        assert guests["qemu/100"]["hardware"]["cpu_count"] == 8


def test_a_node_that_does_not_answer_leaves_the_power_of_its_guests_unknown() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.faults.add("* /nodes/n2/*", "status", times=None, status=595, reason="No route to host")
        found = complete(read(pve))
        on_n2 = [one for one in found.kind("vm").values() if one["relations"][0]["external_id"] == "n2"]
        assert len(on_n2) == 4
        assert {one["runtime"]["power_state"] for one in on_n2} == {"unknown"}
        assert found.kind("host")["n2"]["runtime"]["power_state"] == "unknown"
        assert found.kind("vm")["qemu/100"]["runtime"]["power_state"] == "running"


@pytest.mark.parametrize("version", ["5.0", "8.4"])
def test_agents_that_hang_say_nothing_of_their_node(version: str) -> None:
    with PveDouble(load("cluster"), version=version) as pve:
        pve.faults.add("* /nodes/n2/*/agent*", "status", times=None, status=596, reason="Connection timed out")
        pve.faults.add("GET /nodes/n2/lxc/201/interfaces", "status", times=None, status=596, reason="timed out")
        found = complete(read(pve))
        guests = found.kind("vm")
        for name in ("qemu/101", "qemu/102", "qemu/105", "lxc/201"):
            assert "hardware" in guests[name], name
        for vmid in (101, 102):
            calls = [one for one in pve.requests.all(f"* /nodes/n2/qemu/{vmid}/agent*") if one.status == 596]
            assert len(calls) == 1, "silence is not tried again"
            assert guests[f"qemu/{vmid}"]["unknown"]["network.ip_addresses"].startswith("PVE_GUEST_AGENT_UNAVAILABLE")
        assert pve.requests.count("GET /nodes/n2/lxc/201/interfaces") <= 1
        [raw] = [raw for raw in found.records if raw.target == "node n2"]
        assert raw.document["unreachable"] is False


def test_a_node_that_dies_while_its_agents_are_asked_is_found_out_by_its_status() -> None:
    with PveDouble(load("cluster")) as pve:
        for vmid in range(300, 320):
            config = {"name": f"g{vmid}", "agent": "1"}
            pve.cluster.add_guest(vmid, "n2", status="running", agent="addresses", config=config)
        pve.faults.add("GET /nodes/n2/*/agent/*", "status", times=None, status=595)
        pve.faults.add("GET /nodes/n2/status", "status", times=None, status=595, after=1)
        found = complete(read(pve))
        assert pve.requests.count("GET /nodes/n2/*/agent/*") < 10
        [raw] = [raw for raw in found.records if raw.target == "node n2"]
        assert raw.document["unreachable"] is True


def test_only_silence_in_a_row_gives_a_node_up() -> None:
    with PveDouble(load("cluster")) as pve:
        reader = NodeReader(config_of(pve), client(pve), ask_agents=True)
        pve.faults.add("GET /nodes/n2/qemu/101/config", "status", times=None, status=596)
        silent = Guest({"type": "qemu", "vmid": 101, "node": "n2"})
        heard = Guest({"type": "qemu", "vmid": 102, "node": "n2"})
        for _ in range(3):
            assert reader._config_of(silent).response.status == 596
            assert reader._config_of(heard).error is None
        reader._config_of(silent)
        assert reader._config_of(silent).response.status == 596
        assert "not asked" in reader._config_of(heard).response.reason, "now it was two in a row"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hung_pvestatd_hides_no_guests_state_and_no_address(version: str) -> None:
    with PveDouble(load("cluster"), version=version) as pve:
        whole = complete(read(pve))
        pve.cluster.hang_pvestatd("n1")
        pve.cluster.hang_pvestatd("n2")
        found = complete(read(pve))
        assert found.proof.complete
        before, after = whole.kind("vm"), found.kind("vm")
        for name in before:
            assert after[name]["runtime"] == before[name]["runtime"], name
            assert after[name].get("network") == before[name].get("network"), name
        assert "192.0.2.100" in after["qemu/100"]["network"]["ip_addresses"]


def test_a_node_that_refuses_the_ticket_others_take_is_a_node_in_error() -> None:
    for account in ("agent@pve", "agent@pve!asset"):
        with PveDouble(load("cluster")) as pve:
            pve.faults.add("* /nodes/n2/*", "status", times=None, status=401, reason="invalid PVE ticket")
            found = complete(read(pve, account))
            [failure] = [item for item in found.items if isinstance(item, TargetFailure)]
            assert (failure.external_id, failure.code) == ("n2", errors.NETWORK_ERROR)
            for said in ("node n2", "/nodes/n2/status", "check its clock"):
                assert said in failure.message
            assert pve.requests.count("* /nodes/n2/*") <= 8
            assert len(found.kind("vm")) == 11


def test_a_container_keeps_its_addresses_where_nobody_could_be_asked() -> None:
    with PveDouble(load("cluster"), version="8.4") as pve:
        pve.faults.add("GET /nodes/n1/lxc/200/interfaces", "status", times=None, status=500, reason="got timeout")
        told = complete(read(pve)).kind("vm")["lxc/200"]
        assert "ip_addresses" not in told["network"]
        assert "got timeout" in told["unknown"]["network.ip_addresses"]
    with PveDouble(load("cluster"), version="6.4") as pve:
        told = complete(read(pve)).kind("vm")["lxc/200"]
        assert told["network"]["ip_addresses"] == ["192.0.2.200", "2001:db8::200"]
        assert pve.requests.count("GET /nodes/n1/lxc/*/interfaces") == 1, "a node that cannot tell is asked once"


def test_a_node_that_hangs_costs_its_time_twice_not_once_a_guest() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.faults.add("* /nodes/n2/*", "stall_before", times=None, seconds=FOREVER_S)
        with soon():
            complete(read(pve, timeout_ms=400))
        assert pve.requests.count("* /nodes/n2/*") <= 8


def test_a_guest_made_meanwhile_on_an_offline_node_is_listed_and_not_asked() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.cluster.set_offline("n2", minutes=60)
        pve.on("GET /nodes/n1/status", lambda cluster: cluster.add_guest(777, "n2", config={"name": "late"}))
        found = complete(read(pve))
        assert "qemu/777" in found.kind("vm")
        assert pve.requests.count("* /nodes/n2/*") == 0


def test_a_paused_guest_is_not_asked_what_it_cannot_answer() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.cluster.guests[104].config["agent"] = "1"
        document = complete(read(pve)).kind("vm")["qemu/104"]
        assert pve.requests.count("* /nodes/n1/qemu/104/agent*") == 0
        assert pve.requests.count("GET /nodes/n1/qemu/104/config") == 1
        assert document["runtime"]["power_state"] == "paused"


def test_a_guest_whose_config_fails_takes_nothing_from_the_others() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.faults.add("GET /nodes/n1/qemu/100/config", "truncated_json", times=None)
        pve.faults.add("GET /nodes/n2/qemu/101/config", "status", status=500, reason="got timeout", times=None)
        found = complete(read(pve))
        guests = found.kind("vm")
        assert guests["qemu/100"]["unknown"]["hardware.memory_bytes"].startswith("PVE_PARSE_ERROR")
        assert guests["qemu/101"]["unknown"]["hardware.memory_bytes"].startswith("PVE_API_ERROR")
        assert guests["qemu/102"]["hardware"]["memory_bytes"] == 4096 << 20


# -- what happens while it is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_guest_that_moves_meanwhile_is_found_on_its_new_node(version: str) -> None:
    with PveDouble(load("cluster"), version=version) as pve:
        pve.on("GET /cluster/resources", lambda cluster: cluster.migrate(100, "n3"))
        found = complete(read(pve))
        document = found.kind("vm")["qemu/100"]
        assert document["relations"] == [{"kind": "runs_on", "external_kind": "host", "external_id": "n3"}]
        assert document["hardware"]["cpu_count"] == 8
        assert "192.0.2.100" in document["network"]["ip_addresses"]


def test_a_guest_that_moves_between_its_config_and_its_agent_is_asked_on_its_new_node() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.on("GET /nodes/n1/qemu/100/config", lambda cluster: cluster.migrate(100, "n2"))
        found = complete(read(pve))
        document = found.kind("vm")["qemu/100"]
        assert "192.0.2.100" in document["network"]["ip_addresses"]
        assert document["relations"][0]["external_id"] == "n2"


def test_many_guests_that_move_are_found_with_one_more_list() -> None:
    with PveDouble(load("cluster")) as pve:

        def evacuate(cluster: object) -> None:
            for vmid, guest in pve.cluster.guests.items():
                if guest.spec.node == "n2":
                    pve.cluster.migrate(vmid, "n3")

        pve.on("GET /cluster/resources", evacuate)
        found = complete(read(pve))
        assert len(found.kind("vm")) == 11
        assert pve.requests.count("GET /cluster/resources") <= 2 + WORKERS_A_NODE


def test_a_guest_deleted_meanwhile_is_gone_once_its_id_is_free() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.on("GET /cluster/resources", lambda cluster: cluster.delete(105))
        found = complete(read(pve))
        assert "qemu/105" not in found.kind("vm")
        assert len(found.kind("vm")) == 10
        assert pve.requests.count("GET /cluster/nextid?vmid=105") >= 1


def test_a_guest_made_meanwhile_is_read_too() -> None:
    with PveDouble(load("cluster")) as pve:
        config = {"name": "late", "memory": "1024", "smbios1": "uuid=0d2a1f5e-1c2b-4d3e-8f40-000000000777"}
        pve.on("GET /nodes/n1/status", lambda cluster: cluster.add_guest(777, "n2", config=config))
        found = complete(read(pve))
        assert [raw.target for raw in found.records[-2:]] == ["guests", "cluster"]
        assert found.kind("vm")["qemu/777"]["identity"]["hostname"] == "late"
        assert found.kind("vm")["qemu/777"]["hardware"]["memory_bytes"] == 1024 << 20


def test_a_guest_deleted_and_made_again_meanwhile_is_not_lost() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.on("GET /cluster/resources", lambda cluster: cluster.delete(105))
        pve.on("GET /cluster/nextid?vmid=105", lambda cluster: cluster.add_guest(105, "n1", config={"name": "again"}))
        found = read(pve)
        if found.error is None:
            assert found.kind("vm")["qemu/105"]["identity"]["hostname"] == "again"
        else:
            assert found.error.code is INVENTORY_INCOMPLETE


def test_an_id_given_to_another_machine_meanwhile_is_that_machine() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.on("GET /cluster/resources", lambda cluster: cluster.replace(105))
        found = complete(read(pve))
        assert found.kind("vm")["qemu/105"]["identity"]["hostname"] == "successor-of-105"


def test_rights_lost_meanwhile_end_the_reading() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.on("GET /nodes/n1/status", lambda cluster: cluster.grant("/vms/105", "NoAccess", "agent@pve"))
        found = read(pve)
        assert found.error is not None
        assert found.error.code in (errors.PERMISSION_DENIED, INVENTORY_INCOMPLETE)
        assert not found.proof.complete


# -- load, secrets, and being stopped -----------------------------------------------------------------------------


def test_the_endpoint_is_asked_no_more_at_once_than_it_is_promised() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.latency = 0.02
        complete(read(pve))
        for node in ("n1", "n2", "n3"):
            assert pve.requests.peak(f"* /nodes/{node}/*") <= MOST_WORKERS
        assert WORKERS_A_NODE < pve.requests.peak("* /nodes/*") <= 5 * WORKERS_A_NODE
        waiting = [*pve.requests.all(AGENTS), *pve.requests.all("GET /nodes/*/interfaces")]
        assert 1 <= len(waiting) <= 8
        pve.requests.clear()
        complete(read(pve, max_parallel_nodes=1))
        assert pve.requests.peak("* /nodes/*") <= WORKERS_A_NODE


def test_few_agents_are_asked_at_once() -> None:
    scenario = load("cluster")
    with PveDouble(scenario) as pve:
        for vmid in range(300, 330):
            pve.cluster.add_guest(
                vmid,
                f"n{vmid % 3 + 1}",
                status="running",
                agent="addresses",
                addresses={"eth0": ["192.0.2.9/24"]},
                config={"name": f"g{vmid}", "agent": "1"},
            )
        pve.latency = 0.01
        found = complete(read(pve))
        assert 1 < pve.requests.peak(AGENTS) <= WAITING_FOR_AGENTS == 4
        for node in ("n1", "n2", "n3"):
            assert pve.requests.peak(f"* /nodes/{node}/qemu/*/agent*") <= 2
        assert found.cluster["agents_asked"] == 35
        assert found.cluster["requests"] == pve.requests.count()


def test_a_single_node_is_sent_two_agents_at_once_whoever_has_time() -> None:
    with PveDouble(load("standalone")) as pve:
        node = pve.cluster.local_node
        for vmid in range(300, 320):
            config = {"name": f"g{vmid}", "agent": "1"}
            pve.cluster.add_guest(vmid, node, status="running", agent="addresses", config=config)
        pve.latency = 0.02
        complete(read(pve))
        assert pve.requests.peak(f"* /nodes/{node}/*") == 4
        assert pve.requests.peak(AGENTS) == 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("account", ["agent@pve", "agent@pve!asset"])
def test_no_secret_reaches_raw_or_a_log(version: str, account: str, caplog: pytest.LogCaptureFixture) -> None:
    if version in WITHOUT_TOKENS and "!" in account:
        return
    caplog.set_level(logging.DEBUG)
    with PveDouble(load("cluster"), version=version) as pve:
        pve.cluster.guests[200].config["lxc.environment"] = "TOKEN=canary-lxc"
        pve.cluster.guests[102].config["sshkeys"] = "canary-sshkeys"
        pve.cluster.guests[102].config["cicustom"] = "user=local:snippets/canary-cicustom"
        found = complete(read(pve, account))
        canaries = ["swordfish", "proxy-password", "$5$hash", "vfio-pci", "agent-password", TOKENS["agent@pve!asset"]]
        canaries += ["canary-lxc", "canary-sshkeys", "canary-cicustom", "PVE:agent@pve:"]
        for canary in canaries:
            assert canary.encode() not in found.bytes, canary
            assert canary not in caplog.text, canary
        assert b"[redacted]" in found.bytes
        assert any(raw.redacted for raw in found.records)


def test_a_reading_that_is_given_up_ends_its_requests_and_threads() -> None:
    before = threading.active_count()
    with PveDouble(load("cluster")) as pve:
        inside = threading.active_count()
        pve.faults.add("* /nodes/n2/*", "stall_before", times=None, seconds=FOREVER_S)
        reading = collector(pve, timeout_ms=120_000).collect(ReadOrder())
        next(reading)
        with soon():
            reading.close()
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("pve-pve_x")]
        assert names == []
        assert inside > before


def test_a_reading_that_ended_leaves_no_connection_open() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.idle_timeout = FOREVER_S
        found = complete(read(pve))
        kept_alive = found  # the collector may live on; its connections may not
        until(lambda: not pve._server._open)
        assert kept_alive


def test_two_readings_of_the_same_cluster_are_the_same_but_for_counters() -> None:
    with PveDouble(load("cluster")) as pve:
        assert complete(read(pve)).assets == complete(read(pve)).assets
