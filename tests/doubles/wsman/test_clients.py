"""The double as two clients see it that know nothing of it: pywinrm and pypsrp."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET

import pytest
from pypsrp.exceptions import AuthenticationError, WSManFaultError
from pypsrp.shell import Process, SignalCode, WinRS
from winrm.exceptions import InvalidCredentialsError, WinRMError, WinRMTransportError

from tests.doubles.wsman import Account, Invocation, Result
from tests.doubles.wsman.envelope import IDENTITY, SOAP
from tests.doubles.wsman.talking import (
    ADDRESS,
    DIALECT,
    DOMAIN_USER,
    ENUMERATION,
    LOCAL_USER,
    WMI,
    Talk,
    host,
    one,
    psrp,
    raw,
    rows,
)

IDENTIFY = f'<s:Envelope xmlns:s="{SOAP}" xmlns:i="{IDENTITY}"><s:Header/><s:Body><i:Identify/></s:Body></s:Envelope>'
WAYS = [(False, "ntlm"), (True, "ntlm"), (True, "basic")]


def echo(said: Invocation) -> Result:
    return Result(f"{said.script}|{said.codepage}|{said.noprofile}|{said.skip_cmd_shell}|{said.user}\r\n", "e", 3)


@pytest.mark.parametrize(("tls", "how"), WAYS)
def test_pywinrm_reads_classes_and_runs_a_script_on_one_connection(tls: bool, how: str) -> None:
    with one(tls=tls, shell=echo) as double:
        talk = Talk(double, how)  # type: ignore[arg-type]
        assert talk.ask("SELECT DeviceID,Size FROM Win32_LogicalDisk WHERE DriveType=3") == [
            {"DeviceID": ["C:"], "Size": ["53109321728"]}
        ]
        said, error, status = talk.run("'Größe 汉字'")
        name = DOMAIN_USER if how == "ntlm" else f"APP01\\{LOCAL_USER}"
        assert said.decode() == f"'Größe 汉字'|65001|True|False|{name}\r\n"
        assert (error, status) == (b"e", 3)
        assert double.shells(ADDRESS) == []
        assert double.requests.connections() == 1
        done = [request for request in double.requests if request.status == 200]
        assert {request.sealed for request in done} - {request.name == "setup" for request in done} <= {not tls}
        assert {request.user for request in done} == {name}


@pytest.mark.parametrize(("tls", "how"), [*WAYS, (False, "negotiate"), (True, "negotiate")])
def test_pypsrp_runs_a_command_and_reads_a_class(tls: bool, how: str) -> None:
    with one(tls=tls, shell=echo, page=1) as double, psrp(double, how) as wsman:
        with WinRS(wsman, no_profile=True, codepage=65001) as shell:
            process = Process(shell, "powershell.exe", ["-enc", base64.b64encode("'ä'".encode("utf-16-le")).decode()])
            process.invoke()
            process.signal(SignalCode.CTRL_C)
            assert process.stdout.decode().startswith("'ä'|65001|True|False|")
            assert (process.stderr, process.rc) == (b"e", 3)
            assert len(double.shells(ADDRESS)) == 1
        assert double.shells(ADDRESS) == []
        wanted = ET.Element(f"{{{ENUMERATION}}}Enumerate")
        ET.SubElement(wanted, "{http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd}OptimizeEnumeration")
        filtering = ET.SubElement(wanted, "{http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd}Filter", Dialect=DIALECT)
        filtering.text = "SELECT DeviceID FROM Win32_LogicalDisk"
        answer = wsman.enumerate(f"{WMI}/root/cimv2/*", wanted)
        pulling = ET.Element(f"{{{ENUMERATION}}}Pull")
        context = answer.find(f".//{{{ENUMERATION}}}EnumerationContext")
        assert context is not None
        ET.SubElement(pulling, f"{{{ENUMERATION}}}EnumerationContext").text = context.text
        assert rows(answer) + rows(wsman.pull(f"{WMI}/root/cimv2/*", pulling)) == [
            {"DeviceID": ["C:"]},
            {"DeviceID": ["D:"]},
        ]


@pytest.mark.parametrize(("tls", "how"), WAYS)
def test_a_wrong_password_is_refused_once(tls: bool, how: str) -> None:
    with one(tls=tls) as double:
        with pytest.raises(InvalidCredentialsError):
            Talk(double, how, password="wrong").ask("SELECT * FROM Win32_BIOS")  # type: ignore[arg-type]
        refused = double.requests.all("authenticate")
        assert [(request.status, request.user) for request in refused] == [(401, "")]
        with pytest.raises(AuthenticationError):
            psrp(double, how, "nobody", "any").get_server_config()
        assert double.requests.count("authenticate") == 2


def test_local_accounts_have_three_names_and_hosts_their_own_passwords() -> None:
    with one() as double:
        for name in ("ledger", ".\\ledger", "app01\\LEDGER"):
            Talk(double, user=name, password="local-pw").ask("SELECT * FROM Win32_BIOS")
        assert {request.user for request in double.requests if request.user} == {"APP01\\ledger"}
        double.add(host(address="127.0.3.2", accounts={LOCAL_USER: "another"}))
        Talk(double, address="127.0.3.2", user=LOCAL_USER, password="another").ask("SELECT * FROM Win32_BIOS")
        with pytest.raises(InvalidCredentialsError):
            Talk(double, user=LOCAL_USER, password="another").ask("SELECT * FROM Win32_BIOS")


def test_basic_is_for_local_accounts_over_tls() -> None:
    with one(tls=True) as double, pytest.raises(InvalidCredentialsError):
        Talk(double, "basic", user=DOMAIN_USER).ask("SELECT * FROM Win32_BIOS")
    with one() as double:
        with pytest.raises(InvalidCredentialsError):
            Talk(double, "basic").ask("SELECT * FROM Win32_BIOS")
        assert raw(double)[1].get_all("WWW-Authenticate") == ["Negotiate"]
    with one(double={"allow_unencrypted": True}) as double:
        assert len(Talk(double, "basic").ask("SELECT * FROM Win32_BIOS")) == 1
    with one(tls=True, authentication=("ntlm",)) as double, pytest.raises(InvalidCredentialsError):
        Talk(double, "basic").ask("SELECT * FROM Win32_BIOS")


def test_what_is_not_sealed_is_refused_over_http() -> None:
    with one() as double:
        with pytest.raises(WinRMTransportError) as raised:
            Talk(double, message_encryption="never").ask("SELECT * FROM Win32_BIOS")
        assert raised.value.code == 500
        assert double.requests.names()[-1] == "unencrypted"
        double.allow_unencrypted = True
        assert len(Talk(double, message_encryption="never").ask("SELECT * FROM Win32_BIOS")) == 1


@pytest.mark.parametrize("bound", [True, False])
def test_a_strict_host_wants_the_connection_bound_to_its_certificate(bound: bool) -> None:
    query = "SELECT * FROM Win32_BIOS"
    with one(tls=True) as double:
        assert len(Talk(double, send_cbt=bound).ask(query)) == 1
        double.channel_binding = "strict"
        if bound:
            assert len(Talk(double, send_cbt=bound).ask(query)) == 1
        else:
            with pytest.raises(InvalidCredentialsError):
                Talk(double, send_cbt=bound).ask(query)


def test_a_connection_that_is_bound_to_another_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests_ntlm.requests_ntlm as client

    monkeypatch.setattr(client, "_get_certificate_hash", lambda der: b"\x07" * 32)
    with one(tls=True) as double:
        with pytest.raises(InvalidCredentialsError):
            Talk(double).ask("SELECT * FROM Win32_BIOS")
        double.channel_binding = "none"
        assert len(Talk(double).ask("SELECT * FROM Win32_BIOS")) == 1


def test_identify_tells_the_release_only_to_those_who_sign_in() -> None:
    with one(release="2019") as double:
        answer = ET.fromstring(Talk(double).protocol.send_message(IDENTIFY))
        assert "OS: 10.0.17763 SP: 0.0 Stack: 3.0" in "".join(answer.itertext())
        status, _, text = raw(double, IDENTIFY.encode(), {"WSMANIDENTIFY": "unauthenticated"})
        assert (status, b"OS: 0.0.0 SP: 0.0 Stack: 3.0" in text) == (200, True)
        assert double.requests.count("Identify") == 2


def test_rights_are_those_of_rootsddl_and_of_each_namespace() -> None:
    accounts = {
        "reader": Account("pw", execute=False),
        "nobody": Account("pw", read=False),
        "blind": Account("pw", denied=("root\\cimv2",)),
    }
    with one(accounts=accounts, shell=echo, release="2008r2") as double:
        reader = Talk(double, user="reader", password="pw")
        assert len(reader.ask("SELECT * FROM Win32_BIOS")) == 1
        blind = Talk(double, user="blind", password="pw")
        assert blind.run("1")[2] == 3
        nobody = Talk(double, user="nobody", password="pw")
        for refused, code in (
            (lambda: reader.run("1"), 5),
            (lambda: nobody.run("1"), 5),
            (lambda: nobody.ask("SELECT * FROM Win32_BIOS"), 5),
            (lambda: blind.ask("SELECT * FROM Win32_BIOS"), 2150859012),
        ):
            with pytest.raises(WinRMError) as raised:
                refused()
            assert raised.value.wsman_fault_code == code  # type: ignore[attr-defined]


def test_quotas_of_shells_are_per_user_and_told_as_the_release_does() -> None:
    for release, code, wmi_code in (("2008r2", 2150859173, None), ("2022", None, 2150859173)):
        with one(release=release, max_shells=2) as double:
            talk = Talk(double)
            opened = [talk.protocol.open_shell() for _ in range(2)]
            with pytest.raises(WinRMError) as raised:
                talk.protocol.open_shell()
            said = raised.value
            assert (said.wsman_fault_code, said.wmierror_code) == (code, wmi_code)  # type: ignore[attr-defined]
            Talk(double, user=LOCAL_USER).protocol.open_shell()
            assert len(double.shells(ADDRESS)) == 3  # leaks are seen
            talk.protocol.close_shell(opened[0], close_session=False)
            talk.protocol.open_shell()


def test_operations_are_commands_of_open_shells_and_open_enumerations() -> None:
    with one(max_operations=2, page=1, fault_shape="wsman") as double:
        talk = Talk(double)
        shell = talk.protocol.open_shell()
        talk.protocol.run_command(shell, "hostname")
        talk.enumerate("SELECT * FROM Win32_LogicalDisk")
        with pytest.raises(WinRMError) as raised:
            talk.enumerate("SELECT * FROM Win32_BIOS")
        assert raised.value.wsman_fault_code == 2150859174  # type: ignore[attr-defined]
        assert len(double.contexts(ADDRESS)) == 1


def test_shells_belong_to_who_opened_them() -> None:
    with one() as double:
        shell = Talk(double).protocol.open_shell()
        stranger = Talk(double, user=LOCAL_USER)
        with pytest.raises(WinRMError) as raised:
            stranger.protocol.run_command(shell, "hostname")
        assert raised.value.wsman_fault_code == 2150858843  # type: ignore[attr-defined]


def test_output_comes_in_pieces_and_late() -> None:
    said = b"x" * 1000 + b"end"
    with one(shell=lambda _: Result(said, delay=0.3, chunk=400)) as double:
        assert Talk(double).run("1") == (said, b"", 0)
        assert double.requests.count("Receive") == 3
    with one(shell=lambda _: Result(b"y" * 400_000)) as double, psrp(double) as wsman, WinRS(wsman) as shell:
        process = Process(shell, "cmd")
        process.invoke()
        assert process.stdout == b"y" * 400_000
        assert double.requests.count("Receive") == 4  # 153,600 bytes an envelope
        assert max(request.sent for request in double.requests) < 154_000


def test_a_receive_without_output_ends_with_the_fault_of_a_timeout() -> None:
    with one(shell=lambda _: Result(b"late", delay=1.2)) as double, psrp(double) as wsman, WinRS(wsman) as shell:
        process = Process(shell, "cmd")
        process.begin_invoke()
        with pytest.raises(WSManFaultError) as raised:
            shell.receive(command_id=process.id, timeout=1)
        assert raised.value.code == 2150858793
        process.end_invoke()
        assert process.stdout == b"late"


def test_the_command_line_ends_where_cmd_and_where_windows_ends_it() -> None:
    with one(shell=lambda said: Result(str(len(said.script or ""))), release="2019") as double:
        talk = Talk(double)
        assert talk.run("x" * 3000)[2] == 0
        assert talk.run("x" * 3200) == (b"", b"The command line is too long.\r\n", 1)  # asked to leave out cmd or not
    with one(shell=lambda said: Result(str(len(said.script or ""))), release="2008r2") as double:
        talk = Talk(double)
        assert talk.run("x" * 3000, skip=False) == (b"3000", b"", 0)
        assert talk.run("x" * 3200, skip=False) == (b"", b"The command line is too long.\r\n", 1)
        assert talk.run("x" * 12_000) == (b"12000", b"", 0)
        with pytest.raises(WinRMError) as raised:
            talk.run("x" * 12_300)
        assert raised.value.wsman_fault_code == 206  # type: ignore[attr-defined]


def test_a_code_page_loses_what_it_has_not() -> None:
    with one(shell=lambda _: Result("Größe 汉")) as double:
        talk = Talk(double)
        for codepage, text in ((437, "Größe ?".encode("cp437")), (65001, "Größe 汉".encode())):
            shell = talk.protocol.open_shell(codepage=codepage)
            command = talk.protocol.run_command(shell, "x")
            assert talk.protocol.get_command_output(shell, command)[0] == text


def test_a_host_without_a_shell_knows_no_command() -> None:
    with one() as double:
        _, error, status = Talk(double).run("1")
        assert (status, b"is not recognized" in error) == (1, True)


def test_only_post_to_wsman_is_answered() -> None:
    with one() as double:
        assert [raw(double, path="/other")[0], raw(double, method="GET")[0], raw(double)[0]] == [404, 405, 401]
        assert raw(double)[1]["Server"] == "Microsoft-HTTPAPI/2.0"
