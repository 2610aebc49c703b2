"""What one host is asked and answers: rows, releases, output, and everything given back."""

from __future__ import annotations

import base64
import threading
import time
from typing import Any

import pytest

from asset_ledger.domain.errors import TargetError
from asset_ledger.sources.https_session import AbandonedError
from asset_ledger.sources.wsman import client as client_module
from asset_ledger.sources.wsman import lockout
from asset_ledger.sources.wsman.client import FaultError, Login, Trials
from asset_ledger.sources.wsman.enumeration import rows
from asset_ledger.sources.wsman.lockout import Trial
from asset_ledger.sources.wsman.messages import BOOTSTRAP
from tests.doubles.wsman import Invocation, Result, WsmanDouble, clixml
from tests.patience import FOREVER_S, PATIENCE_S, Hanging, soon, until
from tests.sources.wsman.conftest import left_open
from tests.sources.wsman.live import ADDRESS, CODES, PASSWORD, USER, account, add, client

SYSTEM = "SELECT * FROM Win32_ComputerSystem"
MANY = {"root/cimv2": {"Win32_Thing": [{"Name": f"物 {number}", "Blob": "x" * 900} for number in range(2000)]}}


@pytest.mark.parametrize("release", ["2003", "2008r2", "2012r2", "2016", "2019", "2022", "2025"])
def test_every_release_is_read_in_one_login(plain: WsmanDouble, release: str) -> None:
    add(plain, release=release)
    with client(plain) as asking:
        assert asking.identify().vendor == "Microsoft Corporation"
        assert rows(asking.enumerate(SYSTEM))[0]["Name"] == ("APP01",)
        assert rows(asking.enumerate("SELECT * FROM Win32_NetworkAdapterConfiguration WHERE IPEnabled=TRUE"))
        assert asking.trace.connections == 1
        assert asking.trace.product is not None
    names = plain.requests.names()
    assert (names.count("negotiate"), names.count("setup")) == (1, 1)
    assert left_open(plain) == (0, 0, 0)


@pytest.mark.parametrize(("authentication", "user"), [("ntlm", USER), ("basic", USER), ("ntlm", "LAB\\domain")])
def test_https_takes_ntlm_and_basic(secure: WsmanDouble, authentication: str, user: str) -> None:
    login = Login(user, PASSWORD)
    with client(secure, authentication=authentication, login=login) as asking:
        assert rows(asking.enumerate(SYSTEM))[0]["Name"] == ("APP01",)
        assert asking.trace.authentication == authentication
        assert len(asking.trace.certificate_sha256 or "") == 64
    assert left_open(secure) == (0, 0, 0)


@pytest.mark.parametrize("scheme", ["plain", "secure"])
def test_waiting_for_other_hosts_to_take_the_account_is_no_time_of_this_one(
    request: pytest.FixtureRequest, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, ahead = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock() + ahead[0])

    class Slow(Trials):
        def admit(self, login: Login, stop: threading.Event, target: str) -> Trial:
            ahead[0] += 1000
            return super().admit(login, stop, target)

    trials, login = Slow(CODES.auth), Login("LAB\\domain", PASSWORD)
    with client(request.getfixturevalue(scheme), login=login, trials=trials, deadline_s=PATIENCE_S) as asking:
        assert rows(asking.enumerate(SYSTEM))[0]["Name"] == ("APP01",)
        assert rows(asking.enumerate("SELECT * FROM Win32_BIOS"))
    turn = sum(step["ms"] for step in asking.trace.steps if step["step"] == "turn")
    assert turn >= 1_000_000


def test_a_host_that_takes_the_account_makes_way_before_its_answer_is_whole(
    secure: WsmanDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockout, "PATIENCE_S", FOREVER_S)
    trials, login, stop = Trials(CODES.auth), Login("LAB\\domain", PASSWORD), threading.Event()
    secure.faults.add("Enumerate*", "stall_inside", seconds=FOREVER_S)

    def ask() -> None:
        with (
            client(secure, login=login, trials=trials, stop=stop, deadline_s=FOREVER_S) as asking,
            pytest.raises(AbandonedError),
        ):
            asking.enumerate(SYSTEM)

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: secure.requests.count("Enumerate*"))
    try:
        with soon():
            for _ in range(10):  # more than are tried at a time
                trials.admit(login, stop, "192.0.2.1")
        assert thread.is_alive()
    finally:
        stop.set()
        thread.join()


def test_two_thousand_rows_in_chinese_come_in_many_answers_and_whole(plain: WsmanDouble) -> None:
    add(plain, wmi=MANY)
    with client(plain) as asking:
        answers = asking.enumerate("SELECT * FROM Win32_Thing")
    found = rows(answers)
    assert [row["Name"] for row in found] == [(f"物 {number}",) for number in range(2000)]
    assert len(answers) > 10
    assert left_open(plain) == (0, 0, 0)


def test_a_query_that_the_host_refuses_leaves_the_connection_good_for_the_next(plain: WsmanDouble) -> None:
    for release in ("2008r2", "2019"):
        add(plain, release=release)
        with client(plain) as asking:
            with pytest.raises(FaultError) as caught:
                asking.enumerate("SELECT NoSuchThing FROM Win32_ComputerSystem")
            assert caught.value.code is CODES.fault
            assert caught.value.fault.code == 2150858778
            assert "2150858778" in caught.value.message
            assert rows(asking.enumerate(SYSTEM))
            assert asking.trace.connections == 1


def test_an_enumeration_that_never_ends_is_given_up_and_given_back(
    plain: WsmanDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MOST_ROUNDS", 40)
    plain.faults.add("Enumerate Win32_ComputerSystem", "endless", times=None)
    plain.faults.add("Pull", "endless", times=None, rows=False)
    with client(plain) as asking:
        plain.faults.add("Pull*", "endless", times=None, rows=False)
        add(plain, wmi=MANY, page=1)
        with pytest.raises(TargetError, match="does not end: 40 answers") as caught:
            asking.enumerate("SELECT * FROM Win32_Thing")
        assert caught.value.code is CODES.protocol
        assert asking.trace.leaks == []
    assert left_open(plain) == (0, 0, 0)


def test_more_bytes_than_the_caller_takes_are_given_up(plain: WsmanDouble) -> None:
    add(plain, wmi=MANY)
    with client(plain) as asking, pytest.raises(TargetError, match="does not end") as caught:
        asking.enumerate("SELECT * FROM Win32_Thing", cap_bytes=300_000)
    assert caught.value.code is CODES.protocol
    assert left_open(plain) == (0, 0, 0)
    with client(plain) as asking, pytest.raises(TargetError, match="too much"):
        asking.enumerate("SELECT * FROM Win32_Thing WHERE Name='物 7'", cap_bytes=500)


def test_a_login_that_is_taken_back_is_not_tried_again_to_tidy_up(plain: WsmanDouble) -> None:
    add(plain, wmi=MANY, page=500)
    plain.faults.add("Pull*", "expire")
    with client(plain) as asking, pytest.raises(TargetError) as caught:
        asking.enumerate("SELECT * FROM Win32_Thing")
    assert caught.value.code is CODES.auth
    assert plain.requests.names().count("negotiate") == 1
    assert len(asking.trace.leaks) == 1


def test_the_same_context_for_everybody_is_what_the_host_makes_of_it(plain: WsmanDouble) -> None:
    """What a host hands out is given back as it is, so that one which always says the same is read too."""
    add(plain, wmi=MANY, page=500)
    plain.faults.add("Enumerate Win32_Thing", "same_context")
    with client(plain) as asking:
        assert len(rows(asking.enumerate("SELECT * FROM Win32_Thing"))) == 2000


def test_a_script_comes_over_standard_input_and_its_output_is_whole_in_any_language(plain: WsmanDouble) -> None:
    seen: list[Invocation] = []

    def shell(asked: Invocation) -> Result:
        seen.append(asked)
        sent = base64.b64decode(asked.stdin or b"").decode()
        return Result(stdout=f"{sent}\r\n" * 300, stderr=clixml(), exit_status=7, chunk=5000)

    add(plain, shell=shell)
    script = "Write-Output '主机 – Größe ✓ \U0001f5a5'"
    with client(plain) as asking:
        output = asking.powershell(script)
        assert asking.trace.leaks == []
    assert output.stdout.decode() == f"{script}\r\n" * 300
    assert output.stderr == clixml()
    assert output.exit_status == 7
    assert (seen[0].script, seen[0].codepage, seen[0].noprofile) == (BOOTSTRAP, 65001, True)
    assert seen[0].line.startswith("powershell.exe -NoProfile -NonInteractive -EncodedCommand ")
    assert left_open(plain) == (0, 0, 0)


def test_a_script_that_is_silent_for_long_is_waited_for_and_no_longer_than_the_deadline(
    plain: WsmanDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_LONGEST_RECEIVE_S", 0.5)
    add(plain, shell=lambda _: Result(stdout="late", delay=1.2))
    with client(plain) as asking:
        assert asking.powershell("sleep").stdout == b"late"
    assert plain.requests.names().count("Receive") >= 3
    add(plain, shell=lambda _: Result(stdout="never", delay=FOREVER_S))
    with soon(), client(plain, deadline_s=1.3) as asking, pytest.raises(TargetError) as caught:
        asking.powershell("sleep")
    assert caught.value.code is CODES.deadline
    assert asking.trace.leaks == []
    assert left_open(plain) == (0, 0, 0)


def test_a_script_that_no_message_takes_is_refused_before_anything_is_sent(plain: WsmanDouble) -> None:
    with client(plain) as asking, pytest.raises(ValueError, match="too long"):
        asking.powershell("x" * 75_001)
    assert plain.requests.names() == []


@pytest.mark.parametrize(
    ("match", "kind", "said"),
    [
        ("Command", "wsman", {"code": 5}),
        ("Command", "stall_before", {"seconds": FOREVER_S}),
        ("Command", "reset", {}),
        ("Receive", "wsman", {"code": 2147942402}),
        ("Receive", "truncated_xml", {}),
        ("Receive", "stall_inside", {"seconds": FOREVER_S}),
        ("Receive", "close", {}),
        ("Receive", "plain", {}),
        ("Signal", "reset", {}),
    ],
)
def test_whatever_goes_wrong_with_a_command_its_shell_is_closed(
    plain: WsmanDouble, match: str, kind: Any, said: dict[str, Any]
) -> None:
    add(plain, shell=lambda _: Result(stdout="here"))
    plain.faults.add(match, kind, **said)
    plain.stopping = hanging = Hanging()
    with soon(), client(plain, deadline_s=FOREVER_S) as asking:
        if kind in ("stall_before", "stall_inside"):  # what is left once the shell is there
            plain.on("Create", lambda _: setattr(asking, "_limit", time.monotonic() + 0.8))
        if match == "Signal":
            assert asking.powershell("x").stdout == b"here"
        else:
            with pytest.raises(TargetError):
                asking.powershell("x")
    assert asking.trace.leaks == []
    assert not plain.shells(ADDRESS)
    hanging.over.set()
    assert left_open(plain) == (0, 0, 0)


def test_a_shell_that_cannot_be_closed_is_told(plain: WsmanDouble) -> None:
    add(plain, shell=lambda _: Result(stdout="here"))
    plain.faults.add("Delete", "wsman", code=87)
    with client(plain) as asking:
        assert asking.powershell("x").stdout == b"here"
    assert len(asking.trace.leaks) == 1
    assert plain.shells(ADDRESS)[0] in asking.trace.leaks[0]


def test_a_shell_whose_id_never_came_is_told(plain: WsmanDouble) -> None:
    add(plain, shell=lambda _: Result())
    plain.faults.add("Create", "close")
    with client(plain) as asking, pytest.raises(TargetError) as caught:
        asking.powershell("x")
    assert caught.value.code is CODES.lost
    assert asking.trace.leaks == ["a shell that may have been made: the answer to Create did not come whole"]


def test_stopping_from_another_thread_ends_all_at_once_and_closes_what_is_open(plain: WsmanDouble) -> None:
    add(plain, shell=lambda _: Result(stdout="never", delay=FOREVER_S))
    add(plain, "127.0.3.2", shell=lambda _: Result(stdout="never", delay=FOREVER_S))
    plain.faults.add("Receive", "mute", address="127.0.3.2", times=None)
    stop = threading.Event()
    ended: dict[str, BaseException] = {}

    def run(address: str) -> None:
        with client(plain, address=address, stop=stop, deadline_s=FOREVER_S) as asking:
            try:
                asking.powershell("sleep")
            except (AbandonedError, TargetError) as error:
                ended[address] = error

    threads = [threading.Thread(target=run, args=(address,)) for address in (ADDRESS, "127.0.3.2")]
    for one in threads:
        one.start()
    while not (plain.shells(ADDRESS) and plain.shells("127.0.3.2")):
        time.sleep(0.01)
    time.sleep(0.3)
    stop.set()
    for one in threads:
        one.join(PATIENCE_S)
    assert not any(one.is_alive() for one in threads)
    assert {type(error) for error in ended.values()} == {AbandonedError}
    assert (plain.shells(ADDRESS), plain.shells("127.0.3.2")) == ([], [])


def test_a_run_that_is_stopped_once_the_output_is_there_still_closes_its_shell(plain: WsmanDouble) -> None:
    class AfterReceive(threading.Event):
        def is_set(self) -> bool:
            return any(step["step"] == "receive" for step in asking.trace.steps)

    add(plain, shell=lambda _: Result(stdout="x"))
    with client(plain, stop=AfterReceive()) as asking:
        assert asking.powershell("x").stdout == b"x"
    assert asking.trace.leaks == []
    assert asking.trace.connections == 1
    assert left_open(plain) == (0, 0, 0)


def test_rights_that_are_missing_have_codes_of_their_own(plain: WsmanDouble) -> None:
    asked: list[tuple[dict[str, Any], str, Any]] = [
        ({"read": False}, "enumerate", CODES.permission),
        ({"execute": False}, "powershell", CODES.permission),
        ({"denied": ("root/cimv2",)}, "enumerate", CODES.namespace),
        ({"denied": ("root/cimv2",), "denied_code": 2150859014}, "enumerate", CODES.namespace),
    ]
    for shape in ("wsman", "wmi"):
        for rights, what, code in asked:
            add(plain, accounts=account(**rights), fault_shape=shape, shell=lambda _: Result(), locale="zh")
            with client(plain) as asking:
                with pytest.raises(FaultError) as caught:
                    asking.enumerate(SYSTEM) if what == "enumerate" else asking.powershell("x")
                assert caught.value.code is code
                assert asking.trace.leaks == []
                assert caught.value.message.isascii(), "no word of the host, which speaks its own language"
