"""Every way in which a reading can go wrong, and the code that it ends with: once each, over the wire."""

from __future__ import annotations

import base64
import json
import secrets
import socket
from pathlib import Path
from typing import Any

import pytest

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, ErrorCode, IncompleteError, LedgerError
from asset_ledger.sources.hyperv import errors
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.registry import error_codes
from tests.doubles.hyperv import DiskSpec, HypervDouble, VmSpec
from tests.doubles.hyperv.specs import REPLICA
from tests.doubles.wsman import Account
from tests.sources.hyperv.conftest import Named
from tests.sources.hyperv.live import Reading, cluster, collector, read, standalone, vm
from tests.sources.live import complete

MANY_SHELLS = 2150859173
OTHER_FAULT = 2150858770
WIRE: list[tuple[str, dict[str, Any], ErrorCode]] = [
    ("connect", {"kind": "reset"}, errors.CONNECTION_LOST),
    ("Create", {"kind": "close"}, errors.CONNECTION_LOST),
    ("Command", {"kind": "cut"}, errors.CONNECTION_LOST),
    ("Receive", {"kind": "reset"}, errors.CONNECTION_LOST),
    ("Receive", {"kind": "stall_before", "seconds": 10}, errors.DEADLINE),
    ("Create", {"kind": "stall_inside", "seconds": 10}, errors.DEADLINE),
    ("Create", {"kind": "html"}, errors.NO_LISTENER),
    ("Create", {"kind": "redirect"}, errors.NO_LISTENER),
    ("Create", {"kind": "truncated_xml"}, errors.PROTOCOL_ERROR),
    ("Command", {"kind": "relates_to"}, errors.PROTOCOL_ERROR),
    ("Receive", {"kind": "truncated_xml"}, errors.PROTOCOL_ERROR),
    ("Create", {"kind": "wsman", "code": 5}, errors.PERMISSION_DENIED),
    ("Create", {"kind": "wsman", "code": MANY_SHELLS}, errors.QUOTA),
    ("Receive", {"kind": "wsman", "code": OTHER_FAULT}, errors.WSMAN_FAULT),
]
SCRIPT: list[tuple[str, ErrorCode, str]] = [
    ("half", errors.PARSE_ERROR, "cut short"),
    ("garbled", errors.PARSE_ERROR, "no base64"),
    ("nothing", errors.PARSE_ERROR, "printed nothing; PowerShell ended with status 0"),
    ("exit", errors.PARSE_ERROR, "printed nothing; PowerShell ended with status 1"),
    ("stderr", errors.PARSE_ERROR, "ended with status 1"),
    ("unstarted", errors.PARSE_ERROR, "what was to start it says: The command line is too long."),
    ("hang", errors.DEADLINE, ""),
]


def ended(found: Reading, code: ErrorCode) -> LedgerError:
    assert found.error is not None
    assert found.error.code is code, found.error
    assert found.error.code in error_codes()
    assert found.error.message
    assert found.error.target
    return found.error


@pytest.mark.parametrize(("match", "fault", "code"), WIRE, ids=lambda each: str(getattr(each, "code", each))[:50])
def test_what_goes_wrong_on_the_wire_ends_the_reading_with_its_code(
    match: str, fault: dict[str, Any], code: ErrorCode
) -> None:
    with standalone() as hyperv:
        hyperv.wsman.faults.add(match, **{"times": None, **fault})
        error = ended(read(hyperv, deadline_s=1), code)
        assert hyperv.at("HV9") in str(error)
        if match != "Create":  # of whose answer nobody knows which shell to give back
            assert hyperv.shells() == []


@pytest.mark.parametrize(("kind", "code", "said"), SCRIPT)
def test_what_the_script_prints_wrongly_ends_the_reading_with_its_code(kind: str, code: ErrorCode, said: str) -> None:
    with standalone() as hyperv:
        hyperv.fail("HV9", kind, times=None)
        assert said in ended(read(hyperv, deadline_s=1), code).message
        assert hyperv.shells() == []


@pytest.mark.parametrize(("kind", "code", "said"), SCRIPT)
def test_so_it_does_on_the_second_node_of_a_cluster_which_is_named(kind: str, code: ErrorCode, said: str) -> None:
    with cluster(2) as hyperv:
        hyperv.fail("HV2", kind, times=None)
        error = ended(read(hyperv, deadline_s=1), code)
        assert isinstance(error, IncompleteError)
        assert said in error.message
        assert hyperv.at("HV2") in error.message
        assert hyperv.shells() == []


def test_a_host_without_the_module_is_named() -> None:
    with standalone() as hyperv:
        hyperv.hosts["HV9"].module = False
        assert "hv9" in ended(read(hyperv), errors.MODULE_MISSING).message


def test_powershell_2_has_no_module() -> None:
    with standalone(release="2008r2") as hyperv:
        ended(read(hyperv), errors.MODULE_MISSING)


def test_a_management_service_that_hangs_is_a_script_that_failed() -> None:
    with standalone() as hyperv:
        hyperv.hosts["HV9"].vmms_error = "Ein Fehler ist aufgetreten"
        assert "Ein Fehler" in ended(read(hyperv), errors.SCRIPT_FAILED).message


def test_who_may_not_see_is_told_the_group() -> None:
    with standalone(rights="none") as hyperv:
        error = ended(read(hyperv), errors.PERMISSION_DENIED)
        assert "S-1-5-32-578" in str(error)


def test_who_may_have_no_shell_is_told_the_right() -> None:
    with standalone() as hyperv:
        spec = hyperv.wsman.hosts[hyperv.hosts["HV9"].address].spec
        accounts = {name: Account(str(password), execute=False) for name, password in hyperv.accounts.items()}
        hyperv.wsman.add(type(spec)(**{**spec.__dict__, "accounts": accounts}))
        error = ended(read(hyperv), errors.PERMISSION_DENIED)
        assert "RootSDDL" in str(error)


def test_a_cluster_without_the_powershell_of_clusters_is_not_proven() -> None:
    with cluster(2) as hyperv:
        for host in hyperv.hosts.values():
            host.cluster_module = False
        assert "RSAT-Clustering-PowerShell" in ended(read(hyperv), INVENTORY_INCOMPLETE).message


def test_a_wrong_password_is_not_retried() -> None:
    with standalone() as hyperv:
        error = ended(read(hyperv, password="another"), errors.AUTH_FAILED)
        assert not error.code.retryable
        assert len(hyperv.wsman.requests.all("authenticate")) == 1


@pytest.mark.parametrize("fields", [{}, {"username": "x"}, {"password": "y"}, {"username": "", "password": "y"}])
def test_a_credential_that_is_none_is_refused_before_anybody_is_dialled(fields: dict[str, str]) -> None:
    from asset_ledger.sources.hyperv.collector import HypervCollector
    from tests.sources.hyperv.live import config_of
    from tests.sources.live import Credentials

    with standalone() as hyperv:
        reading = Reading.of(HypervCollector(config_of(hyperv), Credentials(fields)), ReadOrder())
        ended(reading, errors.CREDENTIAL_INVALID)
        assert hyperv.wsman.requests.all() == []


def test_a_ca_file_that_is_none_is_a_wrong_source(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("no certificate")
    with standalone() as hyperv:
        ended(read(hyperv, ca_file=empty), errors.CONFIG_INVALID)
        ended(read(hyperv, ca_file=tmp_path / "missing.pem"), errors.CONFIG_INVALID)
        assert hyperv.wsman.requests.all() == []


def test_a_certificate_of_nobody_known_ends_it_before_the_login() -> None:
    with standalone() as hyperv:
        ended(read(hyperv, ca_file=hyperv.wsman.wrong_ca_file), errors.TLS_ERROR)
        assert hyperv.wsman.requests.all("POST") == []


def test_who_is_not_checked_is_a_caution_of_every_reading() -> None:
    with standalone() as hyperv:
        found = complete(read(hyperv, tls_verify=False))
        assert errors.TLS_UNVERIFIED.code in {code for code, _ in found.cautions}


def test_a_host_that_answers_in_the_clear_is_not_listened_to() -> None:
    with standalone(machines=1) as hyperv:
        plain = HypervDouble(*hyperv.hosts.values(), tls=False)
    with plain as hyperv:
        hyperv.wsman.faults.add("Create", "plain", times=None)
        ended(read(hyperv, https=False), errors.UNENCRYPTED)


def test_a_port_that_nobody_listens_on_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with standalone() as hyperv:
        ended(read(hyperv, hosts=[f"127.0.0.1:{port}"]), errors.REFUSED)


def test_a_port_that_never_answers_is_a_timeout() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        with standalone() as hyperv:
            ended(read(hyperv, hosts=[f"127.0.0.1:{port}"], connect_timeout_s=0.5), errors.TIMEOUT)
        for each in waiting:
            each.close()


def test_a_name_that_nobody_knows_is_a_matter_of_dns(named: Named) -> None:
    with standalone() as hyperv:
        ended(read(hyperv, hosts=["nobody.invalid"]), errors.DNS)


def test_kerberos_without_its_library_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "winrm.vendor.requests_kerberos", None)
    monkeypatch.setitem(sys.modules, "kerberos", None)
    with standalone() as hyperv:
        ended(read(hyperv, authentication="kerberos"), errors.KERBEROS_MISSING)


def test_a_disk_and_a_guest_that_tell_nothing_are_reasons_and_no_failure() -> None:
    with standalone(0) as hyperv:
        hyperv.hosts["HV9"].vms = [vm(1, disks=(DiskSpec(passthrough=True),), guest=None)]
        [document] = complete(read(hyperv)).kind("vm").values()
        assert document["unknown"]["hardware.disk_total_bytes"].startswith(errors.DISK_UNKNOWN.code)
        silent = document["unknown"]["network.ip_addresses"]
        assert silent.startswith(errors.INTEGRATION_SERVICES_UNAVAILABLE.code)


def test_two_machines_of_one_id_are_a_caution() -> None:
    with cluster(2, 2) as hyperv:
        hyperv.hosts["HV2"].vms.append(VmSpec("copy", id=hyperv.vm("vm-1").vm_id))
        assert errors.DUPLICATE_ID.code in {code for code, _ in complete(read(hyperv)).cautions}


def test_a_replica_that_runs_is_a_caution() -> None:
    with standalone(1) as hyperv:
        hyperv.change("vm-1", replication=REPLICA)
        assert errors.FAILED_OVER.code in {code for code, _ in complete(read(hyperv)).cautions}


def test_a_node_that_is_away_is_unreachable() -> None:
    with cluster(2) as hyperv:
        hyperv.wsman.faults.add("connect", "reset", address=hyperv.hosts["HV2"].address, times=None)
        ended(read(hyperv), errors.NODE_UNREACHABLE)


def test_every_code_of_the_platform_is_provoked_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    names = {
        name for name, value in vars(errors).items() if isinstance(value, ErrorCode) and value.code[:7] == "HYPERV_"
    }
    assert len(names) > 20
    assert [name for name in sorted(names) if f"errors.{name}" not in text] == []


# -- whatever is printed --------------------------------------------------------------------------------------------

ODD: list[Any] = [None, True, 0, -1, 10**400, "", "\x00\ud800\u202e", [], [None], [[]], {}, {"": None}, [{"id": 7}]]


@pytest.mark.parametrize("path", ["v", "ask", "ok", "count", "items", "host", "second", "cluster", "errors"])
def test_no_answer_however_odd_ends_in_an_error_nobody_knows_or_in_a_shorter_list(path: str) -> None:
    with cluster(1, 3) as hyperv:
        whole = set(complete(read(hyperv)).kind("vm"))
        for odd in ODD:
            hyperv.change_printed = lambda told, odd=odd: {**told, path: odd}  # type: ignore[misc]
            found = read(hyperv)
            if found.error is not None:
                assert found.error.code in error_codes(), odd
            else:
                assert set(found.kind("vm")) == whole, odd


# -- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authentication", ["ntlm", "basic"])
def test_the_password_is_in_no_record_and_no_message(authentication: str) -> None:
    password = f"Cnry{secrets.token_hex(8)}Z\"\\ü'%"
    core = password[:20]
    faults: list[tuple[str, dict[str, Any]]] = [
        ("", {}),
        ("Create", {"kind": "wsman", "code": 5, "text": password}),
        ("Receive", {"kind": "truncated_xml"}),
        ("Create", {"kind": "status", "status": 401}),
        ("connect", {"kind": "reset"}),
    ]
    for name, fault in faults:
        with cluster(2, 2, accounts={"ledger": password}) as hyperv:
            if name:
                hyperv.wsman.faults.add(name, times=None, **fault)
            reader = collector(hyperv, user="ledger", password=password, authentication=authentication)
            found = Reading.of(reader, ReadOrder())
            written = found.bytes + str(found.error).encode() + repr(reader).encode() + repr(found).encode()
            written += json.dumps([dict(raw.document) for raw in found.records]).encode()
            try:
                written += repr(reader.healthcheck(ReadOrder())).encode()
            except LedgerError as error:
                written += str(error).encode() + repr(error).encode()
            for dress in (core, core.encode().hex(), base64.b64encode(core.encode()).decode()[:20]):
                assert dress.encode() not in written, name
