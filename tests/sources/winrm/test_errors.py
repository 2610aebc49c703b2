"""Every way in which the probe of a Windows host fails, provoked over the wire, and the code it ends with."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asset_ledger.domain.errors import ErrorCode, PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution
from asset_ledger.sources.winrm import PLATFORM, errors
from tests.doubles.wsman import Account, WsmanDouble
from tests.patience import FOREVER_S, PATIENCE_S, soon
from tests.sources.winrm.live import PASSWORD, add, probe, target
from tests.sshd import free_port

AT = "127.0.30.1"
SYSTEM = "Enumerate Win32_ComputerSystem"
FAULTS: list[tuple[str, str, dict[str, Any], ErrorCode]] = [
    # what the host refuses, by number alone: its words are in its own language
    (SYSTEM, "wsman", {"code": 5, "locale": "zh"}, errors.PERMISSION_DENIED),
    (SYSTEM, "wsman", {"code": 2150859012, "locale": "de"}, errors.NAMESPACE_DENIED),
    (SYSTEM, "wsman", {"code": 2150859012, "shape": "wmi"}, errors.NAMESPACE_DENIED),
    (SYSTEM, "wsman", {"code": 2150859174}, errors.QUOTA),
    (SYSTEM, "wsman", {"code": 2150859174, "shape": "wmi"}, errors.QUOTA),
    (SYSTEM, "wsman", {"code": 2150858778}, errors.FAULT),
    (SYSTEM, "wsman", {"code": 2147942402}, errors.FAULT),
    (SYSTEM, "expire", {}, errors.AUTH_FAILED),
    # what ends in the middle
    (SYSTEM, "close", {}, errors.CONNECTION_LOST),
    (SYSTEM, "reset", {}, errors.CONNECTION_LOST),
    (SYSTEM, "cut", {}, errors.CONNECTION_LOST),
    ("connect", "reset", {}, errors.CONNECTION_LOST),
    # what never comes
    ("connect", "mute", {}, errors.DEADLINE),
    (SYSTEM, "mute", {}, errors.DEADLINE),
    (SYSTEM, "stall_inside", {"seconds": FOREVER_S}, errors.DEADLINE),
    (SYSTEM, "trickle", {"seconds": 40}, errors.DEADLINE),
    # what is no answer of WS-Management
    (SYSTEM, "truncated_xml", {}, errors.PROTOCOL_ERROR),
    (SYSTEM, "relates_to", {}, errors.PROTOCOL_ERROR),
    (SYSTEM, "replace", {"body": "<a/>"}, errors.PROTOCOL_ERROR),
    (SYSTEM, "replace", {"body": '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'}, errors.PROTOCOL_ERROR),
    (SYSTEM, "no_end", {}, errors.PROTOCOL_ERROR),
    (SYSTEM, "oversized", {"size": 20 << 20}, errors.PROTOCOL_ERROR),
    (SYSTEM, "html", {}, errors.NO_LISTENER),
    (SYSTEM, "redirect", {}, errors.NO_LISTENER),
    (SYSTEM, "status", {"status": 404}, errors.NO_LISTENER),
    (SYSTEM, "status", {"status": 503}, errors.NO_LISTENER),
]


@pytest.mark.parametrize(("match", "kind", "said", "code"), FAULTS, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_what_a_host_does_wrong_has_its_code(
    http: WsmanDouble, https: WsmanDouble, tls: bool, match: str, kind: str, said: dict[str, Any], code: ErrorCode
) -> None:
    double = https if tls else http
    add(double, AT)
    double.faults.add(match, kind, times=None, **said)
    with soon():
        found = probe(double, AT, deadline_s=1 if code is errors.DEADLINE else PATIENCE_S)
    assert found.codes == {AT: code.code}, found.records[0].document["error"]
    assert found.failures[AT].code is code
    assert found.records[0].document["error"]["message"]
    assert PASSWORD.encode() not in found.bytes


@pytest.mark.parametrize("rows", [True, False])
def test_a_listing_that_never_ends_is_given_up_and_given_back(https: WsmanDouble, rows: bool) -> None:
    add(https, AT)
    https.faults.add("* Win32_ComputerSystem", "endless", times=None, rows=rows)
    assert probe(https, AT, deadline_s=4).codes[AT] in ("WINRM_PROTOCOL_ERROR", "WINRM_DEADLINE")
    assert https.contexts(AT) == []


def test_an_answer_that_was_sealed_and_no_longer_fits_its_seal_is_refused(http: WsmanDouble) -> None:
    add(http, AT)
    http.faults.add(SYSTEM, "tampered")
    assert probe(http, AT).codes[AT] in (errors.PROTOCOL_ERROR.code, errors.UNENCRYPTED.code)


def test_an_answer_in_the_clear_to_a_sealed_question_is_not_taken(http: WsmanDouble) -> None:
    add(http, AT)
    http.faults.add(SYSTEM, "plain")
    found = probe(http, AT)
    assert found.codes == {AT: "WINRM_UNENCRYPTED"}
    assert found.assets == {}


def test_a_wrong_password_is_tried_once(http: WsmanDouble, https: WsmanDouble) -> None:
    for double in (http, https):
        add(double, AT)
        fields = {"username": "LAB\\ledger", "password": "canary-wrong"}
        found = probe(double, AT, fields=fields)
        assert found.codes == {AT: "WINRM_AUTH_FAILED"}
        assert double.requests.count("authenticate") == 1
        assert not errors.AUTH_FAILED.retryable


def test_a_wrong_basic_password_is_tried_once(https: WsmanDouble) -> None:
    add(https, AT)
    fields = {"username": "probe", "password": "canary-wrong"}
    assert probe(https, AT, fields=fields, authentication="basic").codes == {AT: "WINRM_AUTH_FAILED"}
    assert https.requests.count("authenticate") == 1


def test_a_method_that_the_host_does_not_offer_sends_no_password(https: WsmanDouble) -> None:
    add(https, AT, authentication=("ntlm",))
    fields = {"username": "probe", "password": "canary-local-horse"}
    found = probe(https, AT, fields=fields, authentication="basic")
    assert found.codes == {AT: "WINRM_AUTH_FAILED"}
    said = 'winrm set winrm/config/service/auth @{Basic="true"}, WSMan:\\localhost\\Service\\Auth'
    assert said in found.failures[AT].message  # to be pasted as it is


def test_a_host_that_an_account_is_kept_from_has_a_code_of_its_own(http: WsmanDouble) -> None:
    addresses = [f"127.0.30.{number}" for number in range(1, 6)]
    for address in addresses:
        add(http, address)
    found = probe(http, *addresses, fields={"username": "LAB\\ledger", "password": "canary-wrong"})
    assert sorted(found.codes.values(), key=str) == ["WINRM_AUTH_FAILED"] * 3 + ["WINRM_NOT_TRIED"] * 2
    assert (errors.NOT_TRIED.category, errors.NOT_TRIED.retryable) == ("auth", False)
    assert "WINRM_AUTH_FAILED" in errors.NOT_TRIED.advice


@pytest.mark.parametrize(
    ("account", "code"),
    [
        (Account(PASSWORD, read=False), "WINRM_PERMISSION_DENIED"),
        (Account(PASSWORD, denied=("root/cimv2",)), "WINRM_NAMESPACE_DENIED"),
        (Account(PASSWORD, execute=False), None),
    ],
)
@pytest.mark.parametrize("release", ["2008r2", "2019"])
def test_a_right_that_is_missing_is_named_and_no_shell_is_needed(
    http: WsmanDouble, account: Account, code: str | None, release: str
) -> None:
    add(http, AT, release=release, account=account)
    assert probe(http, AT).codes == {AT: code}


# --- the way to the host --------------------------------------------------------------------------------------


def test_a_closed_port_is_refused(https: WsmanDouble) -> None:
    assert probe(https, target("127.0.30.2", free_port())).codes == {"127.0.30.2": "WINRM_REFUSED"}


def test_an_address_without_a_way_to_it_is_told_to_look_at_the_way() -> None:
    assert "no way to it" in errors.REFUSED.meaning
    assert "that the address is routed" in errors.REFUSED.advice


@contextmanager
def dropping(address: str) -> Iterator[int]:
    """A full accept queue: the kernel drops further SYNs, as a firewall would."""
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((address, port))
            waiting.append(filler)
        try:
            yield port
        finally:
            for filler in waiting:
                filler.close()


def test_a_host_that_drops_packets_is_a_timeout(https: WsmanDouble) -> None:
    with dropping("127.0.30.3") as port:
        began = time.monotonic()
        with soon():
            found = probe(https, target("127.0.30.3", port), connect_timeout_s=0.5, deadline_s=FOREVER_S)
        assert time.monotonic() - began > 0.4
    assert found.codes == {"127.0.30.3": "WINRM_TIMEOUT"}


@pytest.mark.parametrize("name", [None, "no-such-host.invalid", "财务 服务器", "a" * 70, "x..y"])
def test_a_target_without_an_address_whose_name_means_nothing_is_a_dns_failure(
    https: WsmanDouble, name: str | None
) -> None:
    [raw] = probe(https, target(None, name=name)).records
    assert raw.document["error"]["code"] == "WINRM_DNS"


# --- TLS ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["other_name", "expired"])
def test_a_certificate_that_proves_nothing_ends_it_before_any_credential(https: WsmanDouble, kind: str) -> None:
    add(https, AT, certificate=kind)
    found = probe(https, AT)
    assert found.codes == {AT: "WINRM_TLS_ERROR"}
    assert https.requests.of(AT) == []
    assert found.cautions == []


def test_a_certificate_of_another_authority_is_no_proof(https: WsmanDouble) -> None:
    add(https, AT)
    with WsmanDouble(tls=True) as other:
        found = probe(https, AT, ca_file=other.ca_file)
    assert found.codes == {AT: "WINRM_TLS_ERROR"}


def test_tls_to_a_port_without_it_and_http_to_one_with_it(http: WsmanDouble, https: WsmanDouble) -> None:
    add(http, AT)
    add(https, AT)
    assert probe(http, AT, https=True, ca_file=https.ca_file).codes[AT] in ("WINRM_TLS_ERROR", "WINRM_CONNECTION_LOST")
    assert probe(https, AT, https=False, ca_file=None).codes[AT] in ("WINRM_CONNECTION_LOST", "WINRM_NO_LISTENER")
    assert http.requests.of(AT) == []


def test_a_certificate_that_is_not_verified_is_a_caution_on_every_host_and_run(https: WsmanDouble) -> None:
    add(https, AT, certificate="expired")
    add(https, "127.0.30.2", certificate="other_name")
    for _ in range(2):
        found = probe(https, AT, "127.0.30.2", tls_verify=False)
        assert found.codes == {AT: None, "127.0.30.2": None}
        assert sorted(found.cautions, key=str) == [
            ("WINRM_TLS_UNVERIFIED", AT),
            ("WINRM_TLS_UNVERIFIED", "127.0.30.2"),
        ]


def test_ntlm_over_http_and_basic_are_cautions_too(http: WsmanDouble, https: WsmanDouble) -> None:
    add(http, AT)
    add(https, AT)
    assert probe(http, AT).cautions == [("WINRM_SERVER_UNPROVEN", AT)]
    assert probe(https, AT, authentication="basic").cautions == [("WINRM_BASIC", AT)]
    assert probe(https, AT).cautions == []


# --- what the source or the target says ---------------------------------------------------------------------------


def test_a_ca_file_that_is_none_fails_the_run_and_names_it(https: WsmanDouble, tmp_path: Path) -> None:
    add(https, AT)
    for text in (None, "no certificate"):
        file = tmp_path / "ca.pem"
        if text:
            file.write_text(text)
        found = probe(https, AT, ca_file=file)
        assert isinstance(found.error, PermanentError)
        assert found.error.code is errors.CONFIG_INVALID
        assert str(file) in str(found.error)
        assert found.records == []


def test_a_port_of_5985_does_not_switch_off_the_tls_that_the_source_wants(https: WsmanDouble) -> None:
    found = probe(https, target(AT, 5985))
    assert found.codes == {AT: "WINRM_CONFIG_INVALID"}
    assert "port 5985 is the listener without TLS" in found.failures[AT].message
    assert found.records[0].document["trace"]["connections"] == 0


@pytest.mark.parametrize("fields", [{"username": "LAB\\ledger"}, {"password": "canary-1"}, {}, {"username": ""}])
def test_a_credential_that_is_none_for_winrm_is_said_without_being_shown(
    https: WsmanDouble, fields: dict[str, str]
) -> None:
    add(https, AT)
    found = probe(https, AT, fields=fields or {"private_key": "canary-1"})
    assert found.codes == {AT: "WINRM_CREDENTIAL_INVALID"}
    assert b"canary-1" not in found.bytes


def test_a_target_that_names_no_credential_fails_alone(https: WsmanDouble) -> None:
    add(https, AT)
    found = probe(https, target(AT, reference=None))
    assert found.codes == {AT: "WINRM_CREDENTIAL_INVALID"}


def test_kerberos_without_its_library_is_said(https: WsmanDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "winrm.vendor.requests_kerberos", None)  # as if it could not be imported
    add(https, AT)
    found = probe(https, AT, authentication="kerberos")
    assert found.codes == {AT: "WINRM_KERBEROS_MISSING"}
    assert "asset-ledger[kerberos]" in found.failures[AT].message
    assert https.requests.of(AT) == []


# --- one class of many --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("wsman", {"code": 2147942402}),
        ("wsman", {"code": 2150859012}),
        ("wsman", {"code": 2150859174}),
        ("truncated_xml", {}),
    ],
)
def test_a_class_that_is_not_needed_is_null_and_the_next_is_asked(
    http: WsmanDouble, kind: str, said: dict[str, Any]
) -> None:
    add(http, AT)
    http.faults.add("Enumerate Win32_LogicalDisk", kind, times=None, **said)
    found = probe(http, AT)
    assert found.codes == {AT: None}
    document = found.documents()[AT]
    assert "disk_total_bytes" not in document["hardware"]
    assert document["unknown"]["hardware.disk_total_bytes"].startswith("WINRM_")
    assert document["hardware"]["cpu_count"] == 4
    assert document["identity"]["serial_number"]


@pytest.mark.parametrize(("kind", "code"), [("mute", "WINRM_DEADLINE"), ("close", "WINRM_CONNECTION_LOST")])
def test_where_the_asking_ends_early_what_was_read_stands_and_the_rest_has_a_reason(
    http: WsmanDouble, kind: str, code: str
) -> None:
    add(http, AT)
    http.faults.add("Enumerate Win32_DiskDrive", kind, times=None)
    found = probe(http, AT, deadline_s=1.5)
    assert found.codes == {AT: None}
    document = found.documents()[AT]
    assert document["hardware"]["memory_bytes"]
    assert document["hardware"]["disk_total_bytes"]
    assert code in document["unknown"]["identity.serial_number"]
    assert http.requests.queries(AT)[-1].endswith("Win32_DiskDrive")


@pytest.mark.parametrize("kind", ["expire", "plain"])
def test_a_class_that_the_wrong_one_answers_fails_the_host(http: WsmanDouble, kind: str) -> None:
    add(http, AT)
    http.faults.add("Enumerate Win32_BIOS", kind)
    found = probe(http, AT)
    assert found.codes[AT] in ("WINRM_AUTH_FAILED", "WINRM_UNENCRYPTED")
    assert found.assets == {}


def test_more_than_the_cap_fails_the_host(http: WsmanDouble) -> None:
    add(http, AT)
    http.faults.add("Enumerate Win32_Processor", "oversized", size=100_000)
    assert probe(http, AT, output_cap_bytes=65536).codes == {AT: "WINRM_PROTOCOL_ERROR"}
    assert probe(http, AT, output_cap_bytes=65536).codes == {AT: None}


def test_every_code_of_the_probe_is_met_here_or_is_the_parsers() -> None:
    """The codes that parsing alone gives have their tests with it."""
    parsers = {"WINRM_QUERY_FAILED", "WINRM_EMPTY_ANSWER", "WINRM_FIELD_MISSING", "WINRM_FIELD_INVALID"}
    parsers |= {"WINRM_PARSE_FAILED"}
    text = Path(__file__).read_text()
    met = {code.code for *_, code in FAULTS}
    unmet = [
        code.code for code in errors.ERROR_CODES if code.code not in met | parsers and f'"{code.code}"' not in text
    ]
    assert unmet == []
    assert all(isinstance(kind, type) for kind in (AssetRecord, Caution))
    assert PLATFORM.error_codes == errors.ERROR_CODES
