"""What goes over the wire: the status line, keep-alive, who may come in, and every kind of fault once."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
import requests
from urllib3.connectionpool import HTTPSConnectionPool

from tests.doubles.pve import PveDouble, load
from tests.doubles.pve.talking import TOKEN, Talk, raw

AUTHORIZED = f"Authorization: {TOKEN}\r\n".encode()


@pytest.fixture
def pve() -> Iterator[PveDouble]:
    with PveDouble(load("cluster")) as double:
        double.auth_delay = 0.0
        yield double


@pytest.fixture
def talk(pve: PveDouble) -> Talk:
    return Talk(pve, token=TOKEN)


# -- the wire ---------------------------------------------------------------------------------------------------------


def test_an_error_stands_in_the_status_line_and_closes_the_connection(pve: PveDouble) -> None:
    blind = pve.ticket_for("blind@pve")[0].encode()
    answer = raw(
        pve, b"GET /api2/json/nodes/n1/status HTTP/1.1\r\nHost: x\r\nCookie: PVEAuthCookie=" + blind + b"\r\n\r\n"
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 403 Permission check failed (/nodes/n1, Sys.Audit)"
    assert b"Connection: close" in head
    assert b"Server: pve-api-daemon/3.0" in head
    assert b"Cache-Control: max-age=0" in head
    assert b"Pragma: no-cache" in head
    assert b"Content-Type: application/json;charset=UTF-8" in head
    assert json.loads(body) == {"data": None, "message": "Permission check failed (/nodes/n1, Sys.Audit)\n"}


def test_a_good_answer_keeps_the_connection(pve: PveDouble, talk: Talk) -> None:
    assert talk.get("/version").headers["Connection"] == "Keep-Alive"
    talk.get("/nodes")
    assert pve.requests.connections() == 1
    talk.get("/nothing")
    talk.get("/nodes")
    assert pve.requests.connections() == 2


def test_a_silent_connection_is_closed_and_a_busy_one_after_its_share(pve: PveDouble, talk: Talk) -> None:
    pve.idle_timeout = 0.1
    talk.get("/version")
    time.sleep(0.4)
    assert talk.get("/version").status_code == 200
    assert pve.requests.connections() == 2
    pve.idle_timeout, pve.keep_alive = 5.0, 2
    fresh = Talk(pve, token=TOKEN)
    assert [fresh.get("/version").headers["Connection"] for _ in range(3)] == ["Keep-Alive", "close", "Keep-Alive"]


def test_long_answers_are_compressed_for_those_who_take_it(pve: PveDouble, talk: Talk) -> None:
    assert talk.get("/cluster/resources").headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in talk.get("/version").headers
    plain = talk.get("/cluster/resources", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert len(plain.content) > 1024


def test_chunked_bodies_are_refused(pve: PveDouble) -> None:
    answer = raw(
        pve,
        b"POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 501 chunked transfer encoding not supported\r\n")


@pytest.mark.parametrize(("version", "status"), [("5.0", 501), ("9.1", 500)])
def test_without_the_prefix_there_is_no_such_file(version: str, status: int) -> None:
    with PveDouble(load("one_guest"), version=version) as pve:
        answer = raw(pve, b"GET /access/ticket HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(f"HTTP/1.1 {status} no such file '/access/ticket'\r\n".encode())
        assert answer.endswith(b"\r\n\r\n")


def test_a_handshake_that_never_comes_holds_nobody_else_up(pve: PveDouble, talk: Talk) -> None:
    with socket.create_connection(("127.0.0.1", pve.port)) as silent:
        assert talk.get("/version").status_code == 200
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):  # it was not closed before the other was answered
            silent.recv(1)


def test_the_certificate_is_for_the_loopback_and_signed_by_its_authority_only(pve: PveDouble) -> None:
    assert requests.get(pve.endpoint, verify=str(pve.ca_file), timeout=5).status_code == 500
    for trust in (pve.wrong_ca_file, None):
        with pytest.raises(ssl.SSLCertVerificationError):
            socket_to(pve, cafile=trust)
    pinned = HTTPSConnectionPool("127.0.0.1", pve.port, assert_fingerprint=pve.fingerprint, cert_reqs="CERT_NONE")
    assert pinned.request("GET", "/", retries=False).status == 500
    assert Talk(pve, token=TOKEN).rows("/nodes", "node")["n1"]["ssl_fingerprint"] == pve.fingerprint


def socket_to(pve: PveDouble, cafile: object, host: str = "127.0.0.1") -> None:
    context = ssl.create_default_context(cafile=cafile)  # type: ignore[arg-type]
    with socket.create_connection(("127.0.0.1", pve.port), timeout=5) as plain:
        context.wrap_socket(plain, server_hostname=host).close()


@pytest.mark.parametrize(("kind", "text"), [("expired", "expired"), ("other_name", "IP address mismatch")])
def test_a_certificate_may_be_expired_or_another_hosts(kind: str, text: str) -> None:
    with PveDouble(load("one_guest"), certificate=kind) as pve, pytest.raises(ssl.SSLCertVerificationError, match=text):  # type: ignore[arg-type]
        socket_to(pve, pve.ca_file)


# -- who may come in --------------------------------------------------------------------------------------------------


def login(pve: PveDouble, **said: str) -> requests.Response:
    return Talk(pve).post("/access/ticket", data=said)


def test_a_login_gives_a_ticket_that_opens_and_can_be_renewed(pve: PveDouble) -> None:
    said = login(pve, username="ledger@pve", password="ledger-password").json()["data"]
    assert said["ticket"].startswith("PVE:ledger@pve:")
    assert said["clustername"] == "lab"
    assert said["cap"]["vms"]["VM.Audit"] == 1
    again = login(pve, username="ledger@pve", password=said["ticket"]).json()["data"]
    talk = Talk(pve)
    talk.session.cookies.set("PVEAuthCookie", again["ticket"])
    assert talk.get("/nodes").status_code == 200
    assert pve.requests.all("POST /access/ticket")[0].user == "ledger@pve"
    assert pve.requests.all("GET /nodes")[0].user == "ledger@pve"


def test_a_realm_may_be_said_apart(pve: PveDouble) -> None:
    assert login(pve, username="ledger", realm="pve", password="ledger-password").status_code == 200


@pytest.mark.parametrize(
    ("user", "password"), [("ledger@pve", "wrong"), ("nobody@pve", "x"), ("gone@pve", "gone-password")]
)
def test_a_login_that_fails_says_no_more_than_that(pve: PveDouble, user: str, password: str) -> None:
    answer = login(pve, username=user, password=password)
    assert (answer.status_code, answer.reason) == (401, "authentication failure")
    assert answer.json()["data"] is None


def test_every_401_is_late(pve: PveDouble) -> None:
    assert PveDouble(load("one_guest")).auth_delay == 3.0
    pve.auth_delay = 0.3
    for answer in (login(pve, username="ledger@pve", password="wrong"), Talk(pve).get("/nodes")):
        assert answer.status_code == 401
        assert answer.elapsed.total_seconds() > 0.29


def test_a_second_factor_leaves_half_a_ticket_that_opens_nothing(pve: PveDouble) -> None:
    said = login(pve, username="tfa@pve", password="tfa-password").json()["data"]
    assert said["NeedTFA"] == 1
    assert said["ticket"].startswith("PVE:!tfa!")
    assert "cap" not in said
    talk = Talk(pve)
    talk.session.cookies.set("PVEAuthCookie", said["ticket"])
    assert talk.get("/nodes").status_code == 401


def test_a_ticket_expires(pve: PveDouble) -> None:
    talk = Talk(pve, user="ledger@pve")
    pve.cluster.advance(minutes=119)
    assert talk.get("/nodes").status_code == 200
    pve.cluster.advance(minutes=2)
    answer = talk.get("/nodes")
    assert (answer.status_code, answer.reason, answer.content) == (401, "permission denied - invalid PVE ticket", b"")
    pve.ticket_lifetime = 10_000
    assert talk.get("/nodes").status_code == 200


@pytest.mark.parametrize("path", ["/vms/999999999", "/vms"])
def test_an_old_release_says_with_a_login_whether_a_right_holds(path: str) -> None:
    with PveDouble(load("cluster"), version="5.4") as pve:
        pve.auth_delay = 0.0
        for user, status in (("ledger@pve", 200), ("blind@pve", 401)):
            ticket = pve.ticket_for(user)[0]
            answer = login(pve, username=user, password=ticket, path=path, privs="VM.Audit")
            assert answer.status_code == status
        pve.cluster.revoke("/", "PVEAuditor", "ledger@pve")
        pve.cluster.grant("/vms", "PVEAuditor", "ledger@pve", propagate=False)
        answer = login(pve, username="ledger@pve", password="ledger-password", path=path, privs="VM.Audit")
        assert answer.status_code == (200 if path == "/vms" else 401)
        answer = login(pve, username="ledger@pve", password="ledger-password", path=path, privs="VM.Sing")
        assert answer.json()["errors"] == {"privs": "invalid format - invalid privilege 'VM.Sing'\n"}


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("ledger@pve!asset=11111111-1111-4111-8111-00000000", "invalid token value!"),
        ("ledger@pve!none=1", "no such token 'none' for user 'ledger@pve'"),
        ("ledger@pve!old=44444444-4444-4444-8444-444444444444", "token 'old' access expired"),
        ("stranger@pve!xx=1", "no such user ('stranger@pve')"),
    ],
)
def test_a_token_that_is_refused_says_why_and_from_9_1_no_more(token: str, reason: str) -> None:
    for version, said in (("8.4", reason), ("9.1", "Authentication failed!")):
        with PveDouble(load("cluster"), version=version) as pve:
            pve.auth_delay = 0.0
            answer = Talk(pve, token=f"PVEAPIToken={token}").get("/nodes")
            assert (answer.status_code, answer.reason, answer.content) == (401, said, b"")


def test_a_release_without_tokens_does_not_even_look_at_one() -> None:
    with PveDouble(load("cluster"), version="6.1") as pve:
        pve.auth_delay = 0.0
        answer = Talk(pve, token=TOKEN).get("/nodes")
        assert (answer.status_code, answer.reason) == (401, "No ticket")


def test_a_separated_token_without_rights_sees_nodes_only(pve: PveDouble) -> None:
    bare = Talk(pve, token="PVEAPIToken=ledger@pve!bare=22222222-2222-4222-8222-222222222222")
    assert {row["type"] for row in bare.data("/cluster/resources")} == {"node"}
    assert bare.data("/access/permissions") == {}
    full = Talk(pve, token="PVEAPIToken=ledger@pve!full=33333333-3333-4333-8333-333333333333")
    assert len(full.data("/cluster/resources?type=vm")) == 11
    assert pve.requests.all()[-1].user == "ledger@pve!full"


def test_a_token_may_not_log_in(pve: PveDouble, talk: Talk) -> None:
    answer = talk.post("/access/ticket", data={"username": "ledger@pve", "password": "ledger-password"})
    text = "Permission check failed (URI '/access/ticket' not available with API token, need proper ticket."
    assert (answer.status_code, answer.reason) == (403, text)


# -- parameters, permissions, oracle ----------------------------------------------------------------------------------


def test_unknown_missing_and_malformed_parameters_are_named(pve: PveDouble, talk: Talk) -> None:
    errors = {
        "/nodes?full=1": "full",
        "/cluster/resources?type=guest": "type",
        "/nodes/n1/qemu/100/config?current=perhaps": "current",
        "/nodes/n1/qemu/7/config": "vmid",
        "/cluster/nextid?vmid=99": "vmid",
    }
    for path, name in errors.items():
        answer = talk.get(path)
        assert (answer.status_code, answer.reason) == (400, "Parameter verification failed.")
        assert set(answer.json()["errors"]) == {name}
    assert set(login(pve).json()["errors"]) == {"username", "password"}


def test_nextid_tells_a_hidden_guest_from_a_deleted_one_to_anybody(pve: PveDouble) -> None:
    blind = Talk(pve, user="blind@pve")
    answer = blind.get("/cluster/nextid?vmid=101")
    assert (answer.status_code, answer.json()["errors"]) == (400, {"vmid": "VM 101 already exists"})
    pve.cluster.delete(101)
    assert blind.data("/cluster/nextid?vmid=101") == "101"
    assert blind.data("/cluster/nextid") == "101"


def test_permissions_are_told_for_a_path_and_as_a_dump(pve: PveDouble, talk: Talk) -> None:
    assert talk.data("/access/permissions?path=/vms/999999999")["/vms/999999999"]["VM.Audit"] == 1
    pve.cluster.grant("/vms/105", "NoAccess", "ledger@pve")
    assert "/vms/105" not in talk.data("/access/permissions")
    assert talk.data("/access/permissions?path=/vms/105") == {"/vms/105": {}}
    assert 105 not in talk.rows("/cluster/resources?type=vm")
    assert talk.get("/nodes/n2/qemu/105/config").reason == "Permission check failed (/vms/105, VM.Audit)"
    pve.cluster.revoke("/vms/105", "NoAccess", "ledger@pve")
    assert 105 in talk.rows("/cluster/resources?type=vm")


def test_the_entries_are_cut_for_those_who_may_not_audit_them(pve: PveDouble, talk: Talk) -> None:
    rows = talk.data("/access/acl")
    assert {"path": "/", "type": "group", "ugid": "auditors", "roleid": "PVEAuditor", "propagate": 1} in rows
    assert {row["type"] for row in rows} == {"user", "group", "token"}
    assert Talk(pve, user="blind@pve").data("/access/acl") == []
    roles = talk.rows("/access/roles", "roleid")
    assert "VM.Audit" in roles["PVEAuditor"]["privs"].split(",")
    assert (roles["PVEAuditor"]["special"], roles["LedgerAgent"]["special"]) == (1, 0)


# -- faults -----------------------------------------------------------------------------------------------------------

WHERE = "/nodes/n2/qemu/101/config"


def test_a_status_comes_once_and_then_the_true_answer(pve: PveDouble, talk: Talk) -> None:
    fault = pve.faults.add(f"GET {WHERE}", "status", status=429, headers={"Retry-After": "2"}, body="<html>slow</html>")
    answer = talk.get(WHERE)
    assert (answer.status_code, answer.headers["Retry-After"], answer.text) == (429, "2", "<html>slow</html>")
    assert talk.get(WHERE).status_code == 200
    assert (fault.hits, pve.requests.count(f"GET {WHERE}")) == (1, 2)
    pve.faults.add("GET /nodes/*/qemu/*/config", "status", status=596, after=1)
    assert [talk.get(WHERE).status_code for _ in range(3)] == [200, 596, 200]
    assert [row.status for row in pve.requests.all(f"GET {WHERE}")] == [429, 200, 200, 596, 200]


def test_bodies_may_be_truncated_short_or_no_json_at_all(pve: PveDouble, talk: Talk) -> None:
    pve.faults.add(f"GET {WHERE}", "truncated_json")
    cut = talk.get(WHERE)
    assert cut.status_code == 200
    with pytest.raises(requests.exceptions.JSONDecodeError):
        cut.json()
    pve.faults.add(f"GET {WHERE}", "cut")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        talk.get(WHERE)
    pve.faults.add(f"GET {WHERE}", "html")
    page = talk.get(WHERE)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    pve.faults.add(f"GET {WHERE}", "garbled")
    with pytest.raises(requests.exceptions.JSONDecodeError):
        talk.get(WHERE).json()
    pve.faults.add(f"GET {WHERE}", "json", body=[1, 2])
    assert talk.get(WHERE).json() == [1, 2]
    pve.faults.add(f"GET {WHERE}", "error_in_200")
    assert talk.get(WHERE).json()["data"]["result"]["error"]["class"] == "CommandDisabled"


def test_an_answer_may_stall_before_inside_or_trickle(pve: PveDouble, talk: Talk) -> None:
    pve.faults.add(f"GET {WHERE}", "stall_before", seconds=0.6)
    with pytest.raises(requests.exceptions.ReadTimeout):
        talk.get(WHERE, timeout=0.2)
    pve.faults.add(f"GET {WHERE}", "stall_inside", seconds=0.6)
    with pytest.raises(requests.exceptions.ConnectionError, match="timed out"):
        talk.get(WHERE, timeout=0.2)
    pve.faults.add(f"GET {WHERE}", "trickle", seconds=0.6)
    begun = time.monotonic()
    assert talk.get(WHERE, timeout=0.2).json()["data"]["name"] == "db1"
    assert time.monotonic() - begun > 0.5


def test_connections_may_be_reset_closed_or_redirected(pve: PveDouble, talk: Talk) -> None:
    for kind in ("reset", "close"):
        pve.faults.add(f"GET {WHERE}", kind)
        with pytest.raises(requests.exceptions.ConnectionError):
            talk.get(WHERE)
    pve.faults.add(f"GET {WHERE}", "redirect", headers={"Location": "https://elsewhere.example.test/"})
    answer = talk.get(WHERE, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://elsewhere.example.test/")


def test_a_front_proxy_may_drop_the_reason(pve: PveDouble) -> None:
    pve.faults.add("GET /nodes/n1/status", "no_reason")
    answer = Talk(pve, user="blind@pve").get("/nodes/n1/status")
    assert (answer.status_code, answer.reason) == (403, "")
    assert answer.json()["message"] == "Permission check failed (/nodes/n1, Sys.Audit)\n"


def test_a_fault_that_no_one_knows_is_refused(pve: PveDouble) -> None:
    with pytest.raises(ValueError, match="sneeze"):
        pve.faults.add("GET /", "sneeze")  # type: ignore[arg-type]


def test_stopping_ends_what_stalls() -> None:
    pve = PveDouble(load("one_guest")).__enter__()
    pve.faults.add("GET /version", "stall_before", seconds=60)
    ended: list[Exception] = []

    def ask() -> None:
        try:
            Talk(pve, token=TOKEN).get("/version", timeout=60)
        except requests.exceptions.RequestException as error:
            ended.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not pve.requests.count():
        time.sleep(0.01)
    pve.stop()
    asking.join(60)
    assert not asking.is_alive()
    assert len(ended) == 1


def test_latency_is_added_and_requests_overlap(pve: PveDouble) -> None:
    pve.latency = 0.2
    asking = [threading.Thread(target=Talk(pve, token=TOKEN).get, args=("/version",)) for _ in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    rows = pve.requests.all("GET /version")
    assert all(row.finished is not None and row.finished - row.started > 0.19 for row in rows)
    assert pve.requests.peak("GET /version") == 4


# -- in a process of its own ------------------------------------------------------------------------------------------


def test_it_serves_a_generated_cluster_until_standard_input_closes() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.doubles.pve",
        "cluster",
        "--version",
        "9.1",
        "--guests",
        "300",
        "--nodes",
        "4",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        said = json.loads(process.stdout.readline())
        request = urllib.request.Request(
            said["endpoint"] + "/api2/json/cluster/resources?type=vm", headers={"Authorization": TOKEN}
        )
        context = ssl.create_default_context(cafile=said["ca_file"])
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            rows = json.loads(answer.read())["data"]
        process.stdin.close()
        assert process.wait(60) == 0
    assert len(rows) == 300
    assert len({row["node"] for row in rows}) == 4
    assert {row["type"] for row in rows} == {"qemu", "lxc"}


def test_it_also_stops_at_a_signal() -> None:
    command = [sys.executable, "-m", "tests.doubles.pve", "one_guest"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        assert process.wait(60) == 0
