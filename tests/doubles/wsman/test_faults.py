"""Every fault, once, as a client sees it."""

from __future__ import annotations

import socket
import ssl
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import requests
from pypsrp.exceptions import WinRMError as PsrpError
from pypsrp.exceptions import WSManFaultError as PsrpFault
from pypsrp.shell import WinRS
from spnego.exceptions import SpnegoError
from winrm.exceptions import InvalidCredentialsError, WinRMTransportError, WSManFaultError

from tests.doubles.wsman import Result, WsmanDouble, clixml
from tests.doubles.wsman.faults import Registry
from tests.doubles.wsman.talking import ADDRESS, Talk, context_of, has, host, one, psrp, raw, rows
from tests.patience import FOREVER_S, soon, until

QUERY = "SELECT DeviceID FROM Win32_LogicalDisk"


def meet(kind: str, *, tls: bool = False, match: str = "Enumerate", hurry: bool = False, **said: Any) -> Any:
    """Return what a query comes to when it meets a fault: its rows, or what it raised."""
    with one(tls=tls) as double:
        talk = Talk(double)
        talk.ask("SELECT * FROM Win32_BIOS")
        if hurry:
            talk.protocol.transport.read_timeout_sec = 1
        fault = double.faults.add(match, kind, **said)
        try:
            return talk.ask(QUERY)
        except Exception as error:
            return error
        finally:
            assert fault.hits == 1


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("kind", "said", "raised"),
    [
        ("status", {"status": 503}, WinRMTransportError),
        ("status", {"status": 500, "body": ""}, WinRMTransportError),
        ("html", {}, ET.ParseError),
        ("garbled", {}, ET.ParseError),
        ("cut", {}, requests.RequestException),
        ("close", {}, requests.ConnectionError),
        ("reset", {}, requests.ConnectionError),
        ("redirect", {}, (WinRMTransportError, requests.RequestException)),
        ("truncated_xml", {}, ET.ParseError),
        ("expire", {}, Exception),
    ],
)
def test_answers_go_wrong(kind: str, said: dict[str, Any], raised: Any, tls: bool) -> None:
    came = meet(kind, tls=tls, **said)
    if kind == "expire" and tls:  # this client signs in again
        assert came == [{"DeviceID": ["C:"]}, {"DeviceID": ["D:"]}]
    else:
        assert isinstance(came, raised), came


@pytest.mark.parametrize(
    ("kind", "said"),
    [("stall_before", {"seconds": FOREVER_S}), ("stall_inside", {"seconds": FOREVER_S}), ("mute", {})],
)
def test_answers_are_late(kind: str, said: dict[str, Any]) -> None:
    began = time.monotonic()
    with soon():
        came = meet(kind, hurry=True, **said)
    assert isinstance(came, requests.ConnectionError | requests.ReadTimeout), came
    assert time.monotonic() - began > 0.9


def test_a_trickle_takes_its_time_without_a_single_long_silence() -> None:
    began = time.monotonic()
    assert len(meet("trickle", seconds=0.5)) == 2
    assert time.monotonic() - began > 0.4


def test_new_connections_are_refused_silent_or_slow() -> None:
    with one() as double:
        for kind in ("reset", "close"):
            double.faults.add("connect", kind)
            with pytest.raises(requests.ConnectionError):
                Talk(double).ask(QUERY)
        double.faults.add("connect", "mute")
        with pytest.raises(requests.ReadTimeout):
            Talk(double, read_timeout_sec=2, operation_timeout_sec=1).ask(QUERY)
        double.faults.add("connect", "stall_before", seconds=0.2)
        assert len(Talk(double).ask(QUERY)) == 2
    with WsmanDouble(tls=False) as empty, pytest.raises(requests.ConnectionError):
        Talk(empty).ask(QUERY)  # nobody lives there


@pytest.mark.parametrize(("locale", "word"), [("en", "refuses"), ("zh", "拒绝"), ("de", "Überprüfen")])
def test_faults_are_told_in_the_language_of_the_host(locale: Any, word: str) -> None:
    with one(locale=locale) as double:
        double.faults.add("Enumerate Win32_Logical*", "wsman", code=2150859000)
        double.faults.add("Create", "wsman", code=2150859173, shape="wmi")
        talk = Talk(double)
        with pytest.raises(WSManFaultError) as raised:
            talk.ask(QUERY)
        assert (raised.value.wsman_fault_code, word in raised.value.reason) == (2150859000, True)
        with pytest.raises(WSManFaultError) as raised:
            talk.protocol.open_shell()
        assert (raised.value.wmierror_code, double.shells(ADDRESS)) == (2150859173, [])
        double.faults.add("Create", "wsman", code=87, text="<own & words>")
        with psrp(double) as wsman, pytest.raises(PsrpFault, match="<own & words>"):
            WinRS(wsman).open()


def test_a_tampered_or_unsealed_answer_is_noticed_by_who_looks() -> None:
    assert isinstance(meet("tampered"), SpnegoError)
    with one() as double, psrp(double) as wsman:
        double.faults.add("Create", "tampered")
        with pytest.raises((SpnegoError, PsrpError)):
            WinRS(wsman).open()
    with one() as double:
        double.faults.add("Enumerate", "plain", after=1)
        talk, types = Talk(double), []
        for _ in range(2):
            assert len(talk.ask(QUERY)) == 2  # this client takes either
            talk.protocol.transport.session.hooks["response"] = [
                lambda answer, **_: types.append(answer.headers["Content-Type"].partition(";")[0])
            ]
        talk.ask(QUERY)
        assert types == ["application/soap+xml", "multipart/encrypted"]
        assert all(request.sealed for request in double.requests.all("Enumerate"))


def test_relates_to_is_another_messages() -> None:
    with one() as double, psrp(double) as wsman:
        double.faults.add("Create", "relates_to")
        with pytest.raises(PsrpError, match="00000000-0000-0000-0000-000000000000"):
            WinRS(wsman).open()
        assert len(double.shells(ADDRESS)) == 1  # what was answered has been done


def test_an_answer_is_replaced_or_blown_up() -> None:
    assert len(meet("oversized", size=3_000_000)) == 2
    assert meet("replace", body="<a/>") == []
    with one() as double:
        double.faults.add("Enumerate", "oversized", size=3_000_000)
        Talk(double).ask(QUERY)
        assert double.requests.all("Enumerate")[0].sent > 3_000_000


@pytest.mark.parametrize("with_rows", [True, False])
def test_a_listing_never_ends(with_rows: bool) -> None:
    with one(page=1) as double:
        double.faults.add("Pull", "endless", times=None, rows=with_rows)
        talk = Talk(double)
        context, seen = context_of(talk.enumerate(QUERY)), set()
        for _ in range(30):
            answer = talk.pull(context)
            seen.add(context)
            context = context_of(answer)
            assert len(rows(answer)) == (2 if with_rows else 0)
            assert has(answer, "EndOfSequence") == []
        assert len(seen) == 30


def test_a_context_is_the_same_for_everybody() -> None:
    with one(page=1) as double:
        double.faults.add("Enumerate", "same_context", times=None)
        talk = Talk(double)
        first, second = (
            context_of(talk.enumerate(f"SELECT DeviceID FROM {cls}"))
            for cls in ("Win32_LogicalDisk", "Win32_DiskDrive")
        )
        assert first == second
        talk.pull(first)
        with pytest.raises(WSManFaultError):
            talk.pull(second)


def test_a_listing_ends_without_saying_so() -> None:
    with one() as double:
        double.faults.add("Enumerate", "no_end")
        answer = Talk(double).enumerate(QUERY)
        assert (has(answer, "EndOfSequence"), context_of(answer), len(rows(answer))) == ([], "", 2)


def test_a_connection_drops_between_two_requests() -> None:
    with one() as double:
        double.idle_timeout = FOREVER_S  # none is closed for being silent
        talk = Talk(double)
        double.faults.add("Create", "drop")
        shell = talk.protocol.open_shell()
        until(lambda: double.connections(ADDRESS) == 0)
        with pytest.raises(WinRMTransportError) as raised:  # what was sealed for one connection, sent on another
            talk.protocol.run_command(shell, "hostname")
        assert raised.value.code == 400
        assert double.shells(ADDRESS) == [shell]
        assert double.requests.connections() == 2


def test_a_session_is_over_after_a_while() -> None:
    with one() as double:
        talk = Talk(double)
        double.faults.add("Enumerate", "expire", after=2)
        assert [len(talk.ask(QUERY)) for _ in range(2)] == [2, 2]
        with pytest.raises((InvalidCredentialsError, WinRMTransportError, SpnegoError)):
            talk.ask(QUERY)
        double.faults.add("setup", "expire")
        with pytest.raises(InvalidCredentialsError):
            Talk(double).ask(QUERY)
        assert double.requests.all("setup")[-1].status == 401


@pytest.mark.parametrize("certificate", ["expired", "other_name", "foreign"])
def test_certificates_are_wrong(certificate: Any) -> None:
    with one(tls=True, certificate="good" if certificate == "foreign" else certificate) as double:
        trusted = double.wrong_ca_file if certificate == "foreign" else double.ca_file
        with pytest.raises(requests.exceptions.SSLError):
            Talk(double, ca_trust_path=str(trusted)).ask(QUERY)
    with one(tls=True, double={"certificate": "expired"}) as double, pytest.raises(requests.exceptions.SSLError):
        Talk(double).ask(QUERY)


def test_a_certificate_names_its_host_and_its_address_and_no_other() -> None:
    with one(tls=True) as double:
        double.add(host(address="127.0.3.2", name="APP02"))
        double.add(host(address="127.0.3.3", name="财务部", accounts={"ledger": "local-pw"}))
        trusting = ssl.create_default_context(cafile=str(double.ca_file))
        for address, name, fits in (
            (ADDRESS, ADDRESS, True),
            (ADDRESS, "app01.example.test", True),
            (ADDRESS, "app02.example.test", False),
            ("127.0.3.2", "app02.example.test", True),
            ("127.0.3.2", ADDRESS, False),
            ("127.0.3.3", "127.0.3.3", True),
        ):
            with socket.create_connection((address, double.port), timeout=5) as plain:
                try:
                    trusting.wrap_socket(plain, server_hostname=name).close()
                except ssl.SSLCertVerificationError:
                    assert not fits, name
                else:
                    assert fits, name


def test_faults_are_for_one_host_and_any_operation() -> None:
    with one(shell=lambda _: Result(b"out", clixml())) as double:
        double.add(host(address="127.0.3.2"))
        double.faults.add("POST", "status", status=502, address="127.0.3.2", times=None)
        assert raw(double, address="127.0.3.2")[0] == 502
        said, error, _ = Talk(double).run("1")
        assert (said, error.startswith(b"#< CLIXML\r\n<Objs")) == (b"out", True)
        for match in ("Create", "Command", "Receive", "Signal", "Delete"):
            fault = double.faults.add(match, "wsman", code=995)
            with pytest.raises(WSManFaultError) as raised:
                Talk(double).run("1")
            assert (fault.hits, raised.value.wsman_fault_code) == (1, 995)
        # Receive, Signal: the client cleans up; Command too; after Delete failed the shell is left
        assert len(double.shells(ADDRESS)) == 1


def test_something_moves_between_two_requests() -> None:
    with one() as double:
        double.on("Enumerate Win32_BIOS", lambda shown: shown.add(host(wmi={"root/cimv2": {}})), address=ADDRESS)
        talk = Talk(double)
        talk.ask("SELECT * FROM Win32_BIOS")
        with pytest.raises(WSManFaultError):
            talk.ask("SELECT * FROM Win32_BIOS")


def test_every_kind_of_fault_is_met_in_this_file() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [kind for kind in Registry.kinds if f'"{kind}"' not in source] == []
