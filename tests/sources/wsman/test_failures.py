"""Every way in which a host can fail, each with its own code; how long it may take; that no password is told."""

from __future__ import annotations

import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from spnego.exceptions import OperationNotAvailableError

from asset_ledger.domain.errors import PermanentError, TargetError
from asset_ledger.sources.https_session import AbandonedError
from asset_ledger.sources.wsman.causes import failure_of
from asset_ledger.sources.wsman.client import Login, context_of, login_of
from asset_ledger.sources.wsman.enumeration import rows
from tests.doubles.wsman import Result, WsmanDouble
from tests.patience import FOREVER_S, soon, until
from tests.sources.wsman.conftest import left_open
from tests.sources.wsman.live import ADDRESS, CODES, PASSWORD, USER, add, client, config

SYSTEM = "SELECT * FROM Win32_ComputerSystem"
SILENT = "127.1.7.1"


@contextmanager
def silent() -> Iterator[int]:
    """A port at SILENT whose queue of connections is full: whoever connects waits."""
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind((SILENT, 0))
        listening.listen(0)
        port: int = listening.getsockname()[1]
        for _ in range(3):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((SILENT, port))
        yield port


def failed(double: WsmanDouble, **said: Any) -> TargetError:
    """Ask one query and return what went wrong; it holds no password and no other error."""
    with client(double, **said) as asking, pytest.raises(TargetError) as caught:
        asking.enumerate(SYSTEM)
    assert caught.value.target == said.get("address", ADDRESS)
    assert PASSWORD not in f"{caught.value!r} {caught.value} {asking.trace}"
    assert caught.value.__context__ is None
    return caught.value


@pytest.mark.parametrize(
    ("match", "kind", "said", "code"),
    [
        ("POST", "status", {"status": 404}, "no_listener"),
        ("POST", "status", {"status": 405}, "no_listener"),
        ("POST", "status", {"status": 400}, "no_listener"),
        ("POST", "status", {"status": 503}, "no_listener"),
        ("POST", "html", {}, "no_listener"),
        ("POST", "redirect", {"headers": {"Location": "http://127.0.3.9/wsman"}}, "no_listener"),
        ("Enumerate*", "html", {}, "no_listener"),
        (
            "Enumerate*",
            "status",
            {"status": 500, "body": b"", "headers": {"Content-Type": "text/plain"}},
            "unencrypted",
        ),
        ("Enumerate*", "truncated_xml", {}, "protocol"),
        ("Enumerate*", "relates_to", {}, "protocol"),
        ("Enumerate*", "no_end", {}, "protocol"),
        ("Enumerate*", "oversized", {"size": 9 << 20}, "protocol"),
        (
            "Enumerate*",
            "replace",
            {"body": "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope'/>"},
            "protocol",
        ),
        ("Enumerate*", "replace", {"body": "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"}, "protocol"),
        ("Enumerate*", "wsman", {"code": 5}, "permission"),
        ("Enumerate*", "wsman", {"code": 2150859012}, "namespace"),
        ("Enumerate*", "wsman", {"code": 2150859174}, "quota"),
        ("Enumerate*", "wsman", {"code": 2150859173, "shape": "wmi"}, "quota"),
        ("Enumerate*", "wsman", {"code": 2150858793}, "deadline"),
        ("Enumerate*", "wsman", {"code": 87, "text": "Zugriff verweigert, 拒绝访问"}, "fault"),
        ("Enumerate*", "reset", {}, "lost"),
        ("Enumerate*", "close", {}, "lost"),
        ("Enumerate*", "cut", {}, "lost"),
        ("connect", "reset", {}, "lost"),
        ("Enumerate*", "expire", {}, "auth"),
    ],
)
@pytest.mark.parametrize("scheme", ["plain", "secure"])
def test_what_goes_wrong_has_its_code(
    request: pytest.FixtureRequest, scheme: str, match: str, kind: Any, said: dict[str, Any], code: str
) -> None:
    double: WsmanDouble = request.getfixturevalue(scheme)
    double.faults.add(match, kind, times=None, **said)
    error = failed(double)
    assert error.code is getattr(CODES, code), error
    assert double.contexts(ADDRESS) == []


@pytest.mark.parametrize("kind", ["plain", "garbled", "tampered"])
def test_an_answer_that_is_not_sealed_by_the_host_is_not_taken(plain: WsmanDouble, kind: Any) -> None:
    plain.faults.add("Enumerate*", kind)
    error = failed(plain)
    assert error.code is (CODES.protocol if kind == "tampered" else CODES.unencrypted)


@pytest.mark.parametrize(
    "media_type",
    [
        'multipart/encrypted;protocol="application/http-spnego-session-encrypted";boundary="Encrypted Boundary"',
        'multipart/encrypted;protocol="application/HTTP-CredSSP-session-encrypted";boundary="Encrypted Boundary"',
        "application/xhtml+xml",
        "text/html+xml",
        "",
    ],
)
def test_an_answer_that_only_looks_sealed_or_like_a_page_is_not_taken(plain: WsmanDouble, media_type: str) -> None:
    """pywinrm takes the body as it is where the media type is spelt otherwise."""
    taken = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><EnumerateResponse><Items/>'
        "<EndOfSequence/></EnumerateResponse></s:Body></s:Envelope>"
    )
    plain.faults.add("Enumerate*", "status", status=200, headers={"Content-Type": media_type}, body=taken.encode())
    assert failed(plain).code is CODES.unencrypted


def test_an_answer_that_is_compressed_is_not_taken(plain: WsmanDouble) -> None:
    plain.faults.add("Enumerate*", "status", status=200, headers={"Content-Encoding": "gzip"}, body=b"x")
    error = failed(plain)
    assert error.code is CODES.protocol
    assert "compressed" in error.message


def test_encryption_that_the_host_does_not_agree_to_has_its_code() -> None:
    said = OperationNotAvailableError(context_msg="no seal")
    error = failure_of(said, "Enumerate", CODES, target="h", deadline_s=1, logged_in=True)
    assert error.code is CODES.unencrypted


def test_a_fault_that_is_not_sealed_is_not_believed_either(plain: WsmanDouble) -> None:
    plain.faults.add("Enumerate*", "plain")
    with client(plain) as asking, pytest.raises(TargetError) as caught:
        asking.enumerate("SELECT * FROM NoSuchClass")
    assert caught.value.code is CODES.unencrypted


def test_a_host_that_asks_for_no_login_is_sent_nothing_over_http(plain: WsmanDouble) -> None:
    """Whoever answers 200 to everybody could read what follows."""
    plain.faults.add("unauthenticated", "status", status=200, body=b"", times=None)
    error = failed(plain)
    assert error.code is CODES.unencrypted
    assert plain.requests.names() == ["unauthenticated"]


@pytest.mark.parametrize("authentication", ["ntlm", "basic"])
@pytest.mark.parametrize("kind", ["html", "status"])
def test_a_page_of_another_server_proves_no_login(secure: WsmanDouble, authentication: str, kind: Any) -> None:
    secure.faults.add("POST", kind, status=404 if kind == "status" else None, times=None)
    with client(secure, authentication=authentication) as asking, pytest.raises(TargetError) as caught:
        asking.enumerate(SYSTEM)
    assert caught.value.code is CODES.no_listener
    assert asking.trace.authentication == ""


def test_a_wrong_password_is_tried_once_however_often_the_client_is_asked(plain: WsmanDouble) -> None:
    add(plain, shell=lambda _: Result())
    with client(plain, login=Login(USER, "wrong")) as asking:
        for ask in (asking.identify, lambda: asking.enumerate(SYSTEM), lambda: asking.powershell("x")):
            with pytest.raises(TargetError) as caught:
                ask()
            assert caught.value.code is CODES.auth
            assert USER in caught.value.message
    assert plain.requests.names().count("authenticate") == 1
    assert asking.trace.leaks == []


def test_basic_with_a_wrong_password_is_tried_once(secure: WsmanDouble) -> None:
    assert failed(secure, authentication="basic", login=Login(USER, "wrong")).code is CODES.auth
    assert secure.requests.names() == ["authenticate"]


@pytest.mark.parametrize(("offered", "wanted"), [("basic", "ntlm"), ("ntlm", "basic")])
def test_a_login_that_the_host_does_not_offer_names_what_it_offers(
    secure: WsmanDouble, offered: Any, wanted: str
) -> None:
    add(secure, authentication=(offered,))
    error = failed(secure, authentication=wanted)
    assert error.code is CODES.auth
    assert f"offers {'Basic' if offered == 'basic' else 'Negotiate'}, not {wanted}" in error.message
    assert "Service\\Auth" in error.message


def test_a_closed_port_and_a_name_without_address_and_a_silent_address(plain: WsmanDouble) -> None:
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        closed = free.getsockname()[1]
    assert failed(plain, port=closed).code is CODES.refused
    assert failed(plain, address="no-such-host.invalid", deadline_s=10).code is CODES.dns
    for name in ("a" * 70 + ".example.test", "财务 服务器", "a b", "a/b", "[x"):
        assert failed(plain, address=name, deadline_s=10).code is CODES.dns, name
    with silent() as port:
        with soon():
            error = failed(plain, address=SILENT, port=port, connect_timeout_s=0.4)
        assert (error.code, "0.4 s" in error.message) == (CODES.timeout, True)
        assert failed(plain, address=SILENT, port=port, deadline_s=0.3).code is CODES.deadline


def test_a_name_that_the_resolver_never_answers_holds_nobody_up(
    plain: WsmanDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()

    def slow(*_: object, **__: object) -> list[Any]:
        answer.wait(FOREVER_S)
        raise socket.gaierror(socket.EAI_AGAIN, "at last")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with soon():
        assert failed(plain, address="slow.example.test", connect_timeout_s=0.4).code is CODES.dns
    answer.set()
    until(lambda: not any(one.name.startswith("looking up") for one in threading.enumerate()))


@pytest.mark.parametrize("scheme", ["plain", "secure"])
@pytest.mark.parametrize(
    ("match", "kind"),
    [
        ("connect", "mute"),
        ("POST", "mute"),
        ("Enumerate*", "stall_before"),
        ("Enumerate*", "stall_inside"),
        ("Enumerate*", "trickle"),
    ],
)
def test_neither_silence_nor_a_trickle_outlasts_the_deadline(
    request: pytest.FixtureRequest, scheme: str, match: str, kind: Any
) -> None:
    double: WsmanDouble = request.getfixturevalue(scheme)
    # of a trickle no single silence is as long as the deadline
    seconds, deadline_s = (40.0, 1.0) if kind == "trickle" else (FOREVER_S, 0.5)
    double.faults.add(match, kind, seconds=seconds)
    with soon():
        assert failed(double, deadline_s=deadline_s).code is CODES.deadline


def test_an_endless_enumeration_ends_with_the_deadline(plain: WsmanDouble) -> None:
    add(plain, wmi={"root/cimv2": {"Win32_ComputerSystem": [{"Name": str(n)} for n in range(3)]}}, page=1)
    plain.faults.add("Pull*", "endless", times=None)
    with soon():
        assert failed(plain, deadline_s=0.5).code is CODES.deadline
    shells, contexts, connections = left_open(plain)
    assert (shells, connections) == (0, 0)
    assert contexts <= 1, "that of an answer which the deadline cut off is known to nobody"


@pytest.mark.parametrize("scheme", ["plain", "secure"])
@pytest.mark.parametrize(("match", "kind"), [("connect", "mute"), ("POST", "mute"), ("Enumerate*", "stall_inside")])
def test_a_stopped_run_ends_wherever_it_waits(
    request: pytest.FixtureRequest, scheme: str, match: str, kind: Any
) -> None:
    double: WsmanDouble = request.getfixturevalue(scheme)
    double.faults.add(match, kind, seconds=FOREVER_S)
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    with soon(), client(double, stop=stop, deadline_s=FOREVER_S) as asking, pytest.raises(AbandonedError):
        asking.enumerate(SYSTEM)
    timer.join()
    with client(double, stop=stop) as asking, pytest.raises(AbandonedError):
        asking.identify()


def test_a_stopped_run_does_not_wait_for_an_address_that_is_silent(plain: WsmanDouble) -> None:
    stop = threading.Event()
    timer = threading.Timer(0.2, stop.set)
    with silent() as port, client(plain, address=SILENT, port=port, stop=stop, connect_timeout_s=60) as asking:
        timer.start()
        with soon(), pytest.raises(AbandonedError):
            asking.identify()
    timer.join()


def test_kerberos_without_its_library_says_what_to_install(plain: WsmanDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "winrm.vendor.requests_kerberos", None)  # as if it could not be imported
    error = failed(plain, authentication="kerberos")
    assert error.code is CODES.kerberos_missing
    assert "pip install 'asset-ledger[kerberos]'" in error.message


def test_kerberos_without_its_library_is_said_by_each_of_many_threads(
    plain: WsmanDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kerberos", "winkerberos"):
        monkeypatch.setitem(sys.modules, name, None)
    for _ in range(20):
        for name in [name for name in sys.modules if name.startswith("winrm.vendor.requests_kerberos")]:
            del sys.modules[name]
        ready = threading.Barrier(16)

        def one(ready: threading.Barrier = ready) -> bool:
            ready.wait(5)
            return failed(plain, authentication="kerberos").code is CODES.kerberos_missing

        with ThreadPoolExecutor(16) as pool:
            assert all(future.result() for future in [pool.submit(one) for _ in range(16)])


def test_a_credential_that_lacks_a_part_is_not_quoted() -> None:
    for fields, lacking in (({"username": "u"}, "password"), ({"password": PASSWORD}, "username")):
        with pytest.raises(TargetError, match=f"lacks {lacking}") as caught:
            login_of(fields, "env:WINDOWS", CODES.credential)
        assert caught.value.code is CODES.credential
        assert PASSWORD not in str(caught.value)
    assert PASSWORD not in repr(login_of({"username": "u", "password": PASSWORD}, "env:X", CODES.credential))


def test_a_ca_file_that_is_none_is_the_sources_own_fault(plain: WsmanDouble, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for file in (tmp_path / "missing.pem", empty):
        with pytest.raises(PermanentError, match="cannot be used") as caught:
            context_of(config(plain, https=True, ca_file=file), CODES)
        assert caught.value.code is CODES.config


def test_the_environment_and_the_warnings_of_the_process_are_left_alone(
    plain: WsmanDouble, secure: WsmanDouble, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {ADDRESS} login other password other\n")
    for name, value in {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "REQUESTS_CA_BUNDLE": "/nowhere.pem",
        "CURL_CA_BUNDLE": "/nowhere.pem",
        "NETRC": str(netrc),
    }.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        for double, said in (
            (plain, {}),
            (secure, {}),
            (secure, {"tls_verify": False}),
            (secure, {"authentication": "basic"}),
        ):
            with client(double, **said) as asking:
                assert rows(asking.enumerate(SYSTEM))
        assert list(warnings.filters) == before
    assert [str(one.message) for one in warned] == []
