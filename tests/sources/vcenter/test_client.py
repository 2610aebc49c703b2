"""How a vCenter is spoken to: whom to trust, how long to wait, who logs in, and that no secret leaves. Over real TLS."""

from __future__ import annotations

import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from asset_ledger.domain.errors import LedgerError, PermanentError, RetryableError
from asset_ledger.sources.https_session import AbandonedError
from asset_ledger.sources.vcenter import client as client_module
from asset_ledger.sources.vcenter import errors
from asset_ledger.sources.vcenter.account import Account
from asset_ledger.sources.vcenter.bulk import Retrieval, over
from asset_ledger.sources.vcenter.client import VcenterClient
from asset_ledger.sources.vcenter.config import VcenterConfig
from asset_ledger.sources.vcenter.faults import Fault, fault_of
from tests.doubles.vcenter import RELEASES, VcenterDouble, VcSim
from tests.patience import FOREVER_S, soon
from tests.sources.vcenter.live import client, fields_of, read, world


def failing(vc: VcenterDouble, **said: Any) -> LedgerError:
    asking = client(vc, **said)
    with pytest.raises(LedgerError) as caught:
        asking.connect()
    asking.close()
    return caught.value


@pytest.mark.parametrize("release", RELEASES)
def test_the_newest_version_that_both_sides_speak_is_agreed_on(release: str) -> None:
    with VcenterDouble(release=release) as vc:
        asking = client(vc)
        asking.connect()
        assert asking.version == RELEASES[release].api
        assert asking.about["version"] == RELEASES[release].version
        assert asking.about["apiType"] == "VirtualCenter"
        asking.close()
        assert vc.requests.names() == ["GET /sdk/vimServiceVersions.xml", "RetrieveServiceContent", "Login", "Logout"]


def test_the_simulator_itself_is_spoken_to_and_left_without_a_session(vcsim: VcSim) -> None:
    with VcenterDouble(vcsim, release=None) as vc:
        asking = client(vc)
        asking.connect()
        view = asking.view("VirtualMachine")
        assert asking.call(lambda: len(view.view)) == 9
        asking.close()
        assert vc.live_sessions() == 0
        assert vc.requests.names()[-2:] == ["DestroyView", "Logout"]


# -- who asks --------------------------------------------------------------------------------------------------------


def test_a_refused_password_says_so_and_shows_none(vc: VcenterDouble) -> None:
    asking = client(vc, password="wrong-canary-password")
    with pytest.raises(PermanentError) as caught:
        asking.connect()
    asking.close()
    assert caught.value.code is errors.AUTH_FAILED
    assert vc.username in str(caught.value)
    assert "canary" not in f"{caught.value} {caught.value!r} {asking!r} {asking.account!r}"
    assert vc.requests.count("Logout") == 0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"username": "ledger@vsphere.local"}, "no field password"),
        ({"password": "canary"}, "no field username"),
        ({"username": "  ", "password": "canary"}, "no field username"),
        ({"username": "a\x00b", "password": "canary"}, "username has characters"),
        ({"username": "ledger", "password": "can\x07ary"}, "password has characters"),
    ],
)
def test_a_credential_of_the_wrong_shape_is_named_by_its_field(fields: dict[str, str], says: str) -> None:
    config = VcenterConfig.model_validate(
        {"name": "vc", "platform": "vcenter", "endpoint": "https://vc", "credential_ref": "env:VC"}
    )
    with pytest.raises(PermanentError, match=says) as caught:
        VcenterClient(config, fields)
    assert caught.value.code is errors.CONFIG_INVALID
    assert "canary" not in str(caught.value)


def test_a_lines_end_is_no_part_of_a_password_and_markup_is() -> None:
    with VcenterDouble(password="<&>\"' ]]> \u5bc6") as vc:
        asking = VcenterClient(client(vc)._config, {"username": vc.username, "password": vc.password + "\r\n"})
        asking.connect()
        asking.close()
        assert vc.requests.count("Logout") == 1


# -- whom to trust ---------------------------------------------------------------------------------------------------


def test_a_server_is_trusted_by_its_authority_its_fingerprint_or_not_at_all(vc: VcenterDouble) -> None:
    for trust in ({"ca_file": vc.ca_file}, {"fingerprint": vc.fingerprint}, {"tls_verify": False}):
        asking = client(vc, **trust)
        asking.connect()
        asking.close()
    assert vc.requests.count("Login") == 3


@pytest.mark.parametrize("certificate", ["good", "expired", "other_name"])
def test_a_server_that_is_not_trusted_is_sent_nothing_on_loopback_too(certificate: Any) -> None:
    with VcenterDouble(certificate=certificate) as vc:
        wrong: list[dict[str, Any]] = [
            {"ca_file": vc.wrong_ca_file},
            {"fingerprint": "00" * 32},
            {"ca_file": None},  # the system's own authorities
        ]
        if certificate != "good":
            wrong.append({"ca_file": vc.ca_file})
        for trust in wrong:
            error = failing(vc, **trust)
            assert error.code is errors.TLS_ERROR, (certificate, trust)
            assert isinstance(error, PermanentError)
        assert len(vc.requests) == 0
        # pinning asks for this very certificate, and for nothing that an authority would say of it
        asking = client(vc, fingerprint=vc.fingerprint)
        asking.connect()
        asking.close()


def test_a_ca_file_that_is_none_is_said_before_anything_is_asked(vc: VcenterDouble, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing here")
    for name, says in (("empty.pem", "no certificate"), ("absent.pem", "No such file")):
        with pytest.raises(PermanentError, match=says) as caught:
            client(vc, ca_file=tmp_path / name)
        assert caught.value.code is errors.CONFIG_INVALID
    assert len(vc.requests) == 0


# -- how long to wait ------------------------------------------------------------------------------------------------

CALLS = ["GET /sdk/vimServiceVersions.xml", "RetrieveServiceContent", "Login"]


@pytest.mark.parametrize("kind", ["stall_before", "stall_inside", "trickle"])
@pytest.mark.parametrize("match", CALLS)
def test_every_call_ends_at_its_time_the_probe_of_the_version_too(vc: VcenterDouble, match: str, kind: Any) -> None:
    # of a trickle no single silence is as long as a call may take
    seconds, limit_s = (40.0, 1.0) if kind == "trickle" else (FOREVER_S, 0.4)
    vc.faults.add(match, kind, seconds=seconds, times=None)
    with soon():
        error = failing(vc, timeout_ms=int(limit_s * 1000))
    assert error.code is errors.NETWORK_ERROR
    assert isinstance(error, RetryableError)
    assert f"within {limit_s:g} s" in error.message


def test_a_server_that_accepts_and_never_speaks_is_given_up(vc: VcenterDouble) -> None:
    vc.mute = True
    with soon():
        assert failing(vc, timeout_ms=300).code is errors.NETWORK_ERROR


def test_a_reading_has_a_longest_time_beside_that_of_each_call(vc: VcenterDouble) -> None:
    vc.latency = 0.2
    vc.faults.add("Retrieve*", "stall_before", seconds=FOREVER_S, after=4)
    with soon():
        found = read(vc, reading_timeout_s=1, timeout_ms=120_000)
    assert isinstance(found.error, RetryableError)
    assert found.error.code is errors.NETWORK_ERROR
    assert "longer than reading_timeout_s, 1 s" in found.error.message
    assert vc.live_sessions() == 0


def test_what_is_done_between_two_parts_of_an_answer_is_not_the_servers_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ahead = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock() + ahead[0])
    with VcenterDouble() as vc:
        world(vc, vms=600)
        asking = client(vc, timeout_ms=60_000)
        asking.connect()
        view = asking.view("VirtualMachine")
        slow = Retrieval(asking, over(view), "VirtualMachine", ("name", "config.hardware.device"), page_size=5000)
        count = 0
        for number, (slices, _) in enumerate(slow):
            count += len(slices)
            if number in (1, 3):
                ahead[0] += 100
        assert count == 600
        asking.close()


def test_nobody_at_the_address_is_a_network_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with VcenterDouble() as vc:
        error = failing(vc, endpoint=f"https://127.0.0.1:{port}")
    assert error.code is errors.NETWORK_ERROR
    assert "refused" in error.message


def test_stopping_ends_a_call_that_runs(vc: VcenterDouble) -> None:
    asking = client(vc, timeout_ms=120_000)
    asking.connect()
    vc.faults.add("CreateContainerView", "stall_before", seconds=FOREVER_S)
    threading.Timer(0.3, asking._session.stop).start()
    with soon(), pytest.raises(AbandonedError):
        asking.view("VirtualMachine")
    asking.close()


def test_saying_goodbye_takes_no_longer_than_it_may(vc: VcenterDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "GOODBYE_S", 0.3)
    asking = client(vc, timeout_ms=120_000)
    asking.connect()
    asking.view("VirtualMachine")
    vc.faults.add("DestroyView", "stall_before", seconds=FOREVER_S)
    with soon():
        asking.close()


# -- what no answer may do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (
            b"<namespaces version='1.0'><namespace><name>urn:vim25</name><version>99.9</version></namespace></namespaces>",
            errors.PARSE_ERROR,
        ),
        (b"<namespaces version='1.0'/>", errors.PARSE_ERROR),
        (b"<definitions/>", errors.PARSE_ERROR),
        (b"", errors.PARSE_ERROR),
        (b"\xff\xfe\x00", errors.PARSE_ERROR),
    ],
)
def test_a_list_of_versions_that_is_none_is_said(vc: VcenterDouble, body: bytes, code: Any) -> None:
    vc.faults.add("GET /sdk/*", "replace", status=200, body=body, times=None)
    error = failing(vc)
    assert error.code is code
    assert "vimServiceVersions.xml" in error.message
    assert vc.requests.count("Login") == 0


def test_no_secret_is_in_any_log_even_at_debug(vc: VcenterDouble, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        asking = client(vc)
        asking.connect()
        cookies = [one.strip('"') for one in asking._cookies.values()]
        asking.close()
    assert cookies
    logged = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for secret in (vc.password, *cookies):
        assert secret not in logged


def test_a_server_that_repeats_the_secret_does_not_bring_it_into_a_message(vc: VcenterDouble) -> None:
    vc.faults.add("Login", "soap", fault="SystemError", message=f"login of {vc.username} with {vc.password} failed")
    error = failing(vc)
    assert vc.password not in f"{error} {error!r}"
    assert "[redacted]" in error.message


def test_a_fault_of_a_type_that_nobody_knows_is_read_all_the_same() -> None:
    body = (
        b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>x</faultcode>'
        b"<faultstring>no  such\nthing</faultstring><detail><BrandNewFault xmlns='urn:vim25' "
        b"xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:type='v:BrandNewThing'>"
        b"<object type='Folder'>group-d1</object><privilegeId>System.Read</privilegeId><deep><er>x</er></deep>"
        b"</BrandNewFault></detail></s:Fault></s:Body></s:Envelope>"
    )
    fault = fault_of(body)
    assert fault == Fault(
        "BrandNewThing", "no such thing", {"privilegeId": "System.Read"}, {"object": "Folder:group-d1"}
    )
    assert fault_of(b"<html/>") is None
    assert fault_of(b"no xml") is None


def test_an_account_says_its_name_only() -> None:
    config = VcenterConfig.model_validate(
        {"name": "vc", "platform": "vcenter", "endpoint": "https://vc", "credential_ref": "env:VC"}
    )
    assert repr(Account(config, {"username": "ledger", "password": "canary"})) == "Account(ledger)"


def test_a_login_is_made_with_the_credential_and_nothing_else(vc: VcenterDouble) -> None:
    asking = VcenterClient(client(vc)._config, fields_of(vc) | {"token": "unused"})
    asking.connect()
    assert asking.user
    asking.close()
