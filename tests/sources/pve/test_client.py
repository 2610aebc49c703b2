"""The client against the double: who may ask, over which TLS, for how long, and what it gives to others to read."""

from __future__ import annotations

import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from proxmoxer import ProxmoxAPI
from pydantic import ValidationError

from asset_ledger.domain.errors import LedgerError, PermanentError, RetryableError
from asset_ledger.sources.https_session import AbandonedError
from asset_ledger.sources.pve import client as client_module
from asset_ledger.sources.pve import errors
from asset_ledger.sources.pve.account import Account
from asset_ledger.sources.pve.client import PveClient
from asset_ledger.sources.pve.config import PveConfig
from tests.doubles.pve import VERSIONS, PveDouble, load
from tests.patience import FOREVER_S, PATIENCE_S, soon
from tests.sources.pve.live import TOKENS, WITHOUT_TOKENS, client, fields_of


def raised(pve: PveClient, path: str = "/nodes") -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        pve.need(path)
    return caught.value


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_read_is_what_proxmoxer_itself_reads(version: str) -> None:
    account = "ledger@pve" if version in WITHOUT_TOKENS else "ledger@pve!asset"
    user, _, token = account.partition("!")
    login = {"token_name": token, "token_value": TOKENS[account]} if token else {"password": "ledger-password"}
    with PveDouble(load("cluster"), version=version) as pve:
        ours = client(pve, account)
        theirs = ProxmoxAPI("127.0.0.1", port=pve.port, user=user, verify_ssl=str(pve.ca_file), timeout=10, **login)
        resources = ours.need("/cluster/resources").response.data
        guests = [row for row in resources if row["type"] in ("qemu", "lxc")]
        assert len(guests) == 11
        paths = [f"/nodes/{row['node']}/{row['type']}/{row['vmid']}/config" for row in guests]
        nodes = ["/nodes/n1/status", "/nodes/n1/network", "/nodes/n2/qemu", "/nodes/n2/lxc"]
        for path in ["/version", "/nodes", "/cluster/status", "/access/acl", "/access/roles", *nodes, *paths]:
            assert ours.need(path).response.data == theirs(path.strip("/")).get(), path
        assert resources == theirs.cluster.resources.get()
        assert ours.ask("/cluster/nextid", {"vmid": "777"}).response.data == theirs.cluster.nextid.get(vmid=777)
        taken = ours.ask("/cluster/nextid", {"vmid": "100"}).response
        assert (taken.status, dict(taken.errors)) == (400, {"vmid": "VM 100 already exists"})


def test_the_text_of_an_answer_is_what_came_over_the_wire() -> None:
    with PveDouble(load("cluster")) as pve:
        answer = client(pve).need("/cluster/resources")
        assert answer.text is not None
        assert (
            b'{"data":' + answer.text.encode() + b"}"
            == pve.answer(
                "GET", "/api2/json/cluster/resources", {}, {"cookie": f"PVEAuthCookie={pve.ticket_for('agent@pve')[0]}"}
            )[0].body
        )


# -- logging in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [v for v in VERSIONS if v not in WITHOUT_TOKENS])
@pytest.mark.parametrize(
    ("account", "secret"),
    [
        ("ledger@pve!asset", "99999999-9999-4999-8999-999999999999"),
        ("ledger@pve!none", "11111111-1111-4111-8111-111111111111"),
        ("ledger@pve!old", None),
        ("ledger@pve", "not-the-password"),
        ("gone@pve", None),
    ],
)
def test_an_account_that_is_refused_says_so_and_shows_no_secret(version: str, account: str, secret: str | None) -> None:
    with PveDouble(load("one_guest"), version=version) as pve:
        error = raised(client(pve, account, secret))
        assert error.code is errors.AUTH_FAILED
        assert isinstance(error, PermanentError)
        assert account in str(error)
        assert fields_of(account, secret).popitem()[1] not in str(error)


@pytest.mark.parametrize("version", WITHOUT_TOKENS)
def test_a_token_for_a_release_without_tokens_is_told_so(version: str) -> None:
    with PveDouble(load("one_guest"), version=version) as pve:
        error = raised(client(pve, "ledger@pve!asset"))
        assert error.code is errors.AUTH_FAILED
        assert "auth_type: user_password" in error.message


@pytest.mark.parametrize("version", ["6.4", "8.4", "9.1"])
def test_a_user_with_a_second_factor_is_asked_for_a_token_and_not_locked(version: str) -> None:
    with PveDouble(load("one_guest"), version=version) as pve:
        error = raised(client(pve, "tfa@pve"))
        assert error.code is errors.AUTH_FAILED
        assert str(error).count("use an API token") == 1
        # proxmoxer posts a made-up code here, which counts as a failed second factor
        assert pve.requests.count("POST /access/ticket") == 1


def test_one_login_serves_every_thread() -> None:
    with PveDouble(load("cluster")) as pve:
        ours = client(pve)
        threads = [threading.Thread(target=ours.need, args=("/nodes",)) for _ in range(16)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert pve.requests.count("POST /access/ticket") == 1
        assert pve.requests.count("GET /nodes") == 16


def test_a_ticket_is_renewed_with_itself_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with PveDouble(load("cluster")) as pve:
        ours = client(pve)
        ours.need("/nodes")
        monkeypatch.setattr(client_module, "RENEW_AFTER_S", -1.0)
        ours.need("/nodes")
        logins = pve.requests.all("POST /access/ticket")
        assert [login.status for login in logins] == [200, 200]
        # the password is used once: a renewal shows the ticket instead
        pve.cluster.users["agent@pve"].password = "changed"
        ours.need("/nodes")
        assert pve.requests.all("POST /access/ticket")[-1].status == 200


def test_a_ticket_that_ended_is_replaced_once_and_the_request_is_made_again() -> None:
    with PveDouble(load("cluster")) as pve:
        ours = client(pve)
        ours.need("/nodes")
        pve.ticket_lifetime = -60.0
        error = raised(ours)  # the new ticket is refused as well: there is no third
        assert error.code is errors.AUTH_FAILED
        assert pve.requests.count("POST /access/ticket") == 2
        pve.ticket_lifetime = 7200.0
        assert ours.need("/nodes").response.data
        assert pve.requests.count("POST /access/ticket") <= 3


@pytest.mark.parametrize(
    ("fields", "auth", "says"),
    [
        ({"username": "u@pve", "password": "p"}, "api_token", "api_token_id"),
        ({"api_token_id": "ledger@pve!asset"}, "api_token", "api_token_secret"),
        ({"api_token_id": "ledger@pve", "api_token_secret": "canary-77"}, "api_token", "user@realm!name"),
        ({"api_token_id": "ledger@pve!asset", "api_token_secret": "canary 77\n1"}, "api_token", "characters"),
        ({"username": "root", "password": "canary-77"}, "user_password", "user@realm"),
        ({"username": "root@pam", "password": " "}, "user_password", "password"),
    ],
)
def test_a_credential_of_the_wrong_shape_is_named_by_its_field(fields: dict[str, str], auth: str, says: str) -> None:
    config = PveConfig(
        name="x", platform="pve", endpoint="https://192.0.2.1", auth_type=auth, credential_ref="file:pve"
    )
    with pytest.raises(PermanentError) as caught:
        Account(config, fields)
    assert caught.value.code is errors.CONFIG_INVALID
    assert says in caught.value.message
    assert caught.value.target == "file:pve"
    assert "canary" not in str(caught.value)


# -- TLS ----------------------------------------------------------------------------------------------------------


def test_a_server_is_trusted_by_its_authority_its_fingerprint_or_not_at_all() -> None:
    with PveDouble(load("one_guest")) as pve:
        for trust in (
            {"ca_file": pve.ca_file},
            {"fingerprint": pve.fingerprint},
            {"fingerprint": pve.fingerprint.replace(":", "").lower()},
            {"tls_verify": False},
        ):
            assert client(pve, **trust).need("/nodes").response.data


@pytest.mark.parametrize("certificate", ["good", "expired", "other_name"])
def test_a_server_that_is_not_trusted_is_sent_nothing(certificate: str) -> None:
    with PveDouble(load("one_guest"), certificate=certificate) as pve:
        trusts = [{"ca_file": pve.wrong_ca_file}, {"fingerprint": "00" * 32}]
        trusts += [{"ca_file": pve.ca_file}] if certificate != "good" else []
        for trust in trusts:
            for account in ("agent@pve", "agent@pve!asset"):
                error = raised(client(pve, account, **trust))
                assert error.code is errors.TLS_ERROR, (trust, error)
                assert isinstance(error, PermanentError)
        assert pve.requests.count() == 0
        # whoever pins the certificate itself needs neither its name nor its dates
        assert client(pve, fingerprint=pve.fingerprint).need("/nodes").response.data


def test_a_ca_file_that_is_none_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("no certificate")
    with PveDouble(load("one_guest")) as pve:
        for file in (nonsense, tmp_path / "missing.pem"):
            with pytest.raises(PermanentError, match="ca_file") as caught:
                client(pve, ca_file=file)
            assert caught.value.code is errors.CONFIG_INVALID


def test_plain_http_behind_the_port_is_a_tls_error_and_nobody_there_a_network_error() -> None:
    with PveDouble(load("one_guest")) as pve, HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as plain:
        server = threading.Thread(target=plain.handle_request)
        server.start()
        error = raised(client(pve, endpoint=f"https://127.0.0.1:{plain.server_address[1]}"))
        server.join()
        assert error.code is errors.TLS_ERROR
        error = raised(client(pve, endpoint="https://127.0.0.1:1"))
        assert error.code is errors.NETWORK_ERROR
        assert error.message == "/nodes: the connection was refused (POST /api2/json/access/ticket)"


# -- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        *(("stall_before", FOREVER_S), ("stall_inside", FOREVER_S)),
        # what was waited for the head is no longer there for the body: each alone would come in time
        *(("stall_before", 0.45), ("stall_inside", 0.45), ("trickle", 0.45)),
    ],
)
def test_a_request_ends_at_its_time_however_its_answer_drags_on(kind: str, seconds: float) -> None:
    with PveDouble(load("cluster")) as pve:
        ours = client(pve, timeout_ms=60_000)
        ours.need("/version")
        ours._session._timeout_s = 0.6
        pve.latency = 0.45
        pve.faults.add("GET /cluster/resources", kind, times=None, seconds=seconds)
        asked, began = ours.requests, time.monotonic()
        with soon():
            answer = ours.ask("/cluster/resources")
        assert answer.error is errors.NETWORK_ERROR
        assert "0.6 s" in answer.response.reason
        assert ours.requests == asked + 2
        assert time.monotonic() - began >= 1.2


def test_stopping_ends_requests_that_run() -> None:
    with PveDouble(load("cluster")) as pve:
        ours = client(pve, timeout_ms=120_000)
        ours.need("/version")
        pve.faults.add("GET /nodes", "stall_before", times=None, seconds=FOREVER_S)
        ended: list[BaseException] = []

        def ask() -> None:
            try:
                ours.ask("/nodes")
            except AbandonedError as stopped:
                ended.append(stopped)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for each in threads:
            each.start()
        while pve.requests.count("GET /nodes") < 3:
            time.sleep(0.01)
        ours.stop()
        for each in threads:
            each.join(PATIENCE_S)
        assert len(ended) == 3
        with pytest.raises(AbandonedError):
            ours.ask("/nodes")


# -- trying again -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [502, 504, 595, 596, 597, 598, 599])
def test_what_may_pass_is_tried_once_more(status: int) -> None:
    with PveDouble(load("cluster")) as pve:
        ours = client(pve)
        pve.faults.add("GET /nodes/n2/status", "status", status=status, times=1)
        assert ours.need("/nodes/n2/status").response.data
        pve.faults.add("GET /nodes/n2/status", "status", status=status, times=2)
        pve.requests.clear()
        assert ours.ask("/nodes/n2/status").error is errors.NETWORK_ERROR
        assert pve.requests.count("GET /nodes/n2/status") == 2


@pytest.mark.parametrize("status", [400, 403, 404, 500, 501])
def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    with PveDouble(load("cluster")) as pve:
        ours = client(pve)
        pve.faults.add("GET /nodes/n2/status", "status", status=status, times=1)
        assert ours.ask("/nodes/n2/status").response.status == status
        assert pve.requests.count("GET /nodes/n2/status") == 1


def test_a_proxy_that_says_when_to_come_back_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with PveDouble(load("cluster")) as pve:
        ours = client(pve, zone="hall-2")
        pve.faults.add("GET /nodes", "status", status=429, headers={"Retry-After": "1"}, times=1)
        began = time.monotonic()
        assert ours.need("/nodes").response.data
        assert time.monotonic() - began >= 1.0
        assert ours.rate_limited == 1
    [record] = [each for each in caplog.records if each.name == "asset_ledger.sources.pve"]
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert '"event": "pve.rate_limited"' in said
    assert '"source_id": "pve_x"' in said
    assert '"region": "hall-2"' in said
    assert '"retry_after": 1.0' in said


def test_a_proxy_that_says_to_come_back_too_late_is_not_waited_for() -> None:
    with PveDouble(load("cluster")) as pve:
        ours = client(pve)
        pve.faults.add("GET /nodes", "status", status=503, headers={"Retry-After": "3600"}, times=None)
        with soon():
            error = raised(ours)
        assert error.code is errors.RATE_LIMIT
        assert isinstance(error, RetryableError)
        assert pve.requests.count("GET /nodes") == 1


# -- words and secrets --------------------------------------------------------------------------------------------


def test_the_reason_survives_a_proxy_that_drops_the_status_line() -> None:
    with PveDouble(load("cluster"), version="8.4") as pve:
        ours = client(pve, "blind@pve")
        pve.faults.add("GET /cluster/status", "no_reason")
        assert "Sys.Audit" in ours.ask("/cluster/status").response.reason


def test_no_secret_is_in_any_log_even_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("proxmoxer", "proxmoxer.core", "proxmoxer.backends.https", "urllib3", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        with PveDouble(load("cluster"), version="6.1") as pve:
            ours = client(pve)
            ours.need("/cluster/resources")
            ours.holds("/vms", "VM.Audit")
            ours.need("/nodes/n1/qemu/100/config")
            ticket = ours._signed_in()
            assert repr(ours.account) == "Account(agent@pve)"
        with PveDouble(load("cluster")) as pve:
            client(pve, "agent@pve!asset").need("/nodes/n1/qemu/100/config")
    finally:
        for name in ("proxmoxer.core", "urllib3.connectionpool", "proxmoxer", "urllib3", "proxmoxer.backends.https"):
            logging.getLogger(name).setLevel(logging.NOTSET)
    assert "GET https" in caplog.text  # proxmoxer did write what it writes
    for secret in ("agent-password", TOKENS["agent@pve!asset"], ticket.ticket, ticket.csrf, "swordfish"):
        assert secret not in caplog.text


def test_a_server_that_repeats_the_secret_does_not_bring_it_into_a_message() -> None:
    secret = TOKENS["agent@pve!asset"]
    with PveDouble(load("cluster")) as pve:
        ours = client(pve, "agent@pve!asset")
        pve.faults.add("GET /nodes", "status", status=500, reason=f"bad token {secret}", body={"message": secret})
        error = raised(ours)
        assert secret not in str(error)
        assert "[redacted]" in str(error)
        pve.faults.add("GET /version", "json", body={"data": {"version": f"8 {secret}"}})
        answer = ours.ask("/version")
        assert secret not in repr(answer)


# -- sources.yaml -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://pve.example.com", "https://pve.example.com:8006"),
        ("https://PVE.example.com:443/", "https://pve.example.com:443"),
        ("https://[2001:db8::1]:8006", "https://[2001:db8::1]:8006"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]:8006"),
        (" https://192.0.2.11:8006 ", "https://192.0.2.11:8006"),
    ],
)
def test_an_endpoint_has_one_spelling(given: str, kept: str) -> None:
    assert PveConfig(name="x", platform="pve", endpoint=given, credential_ref="file:pve").endpoint == kept


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"endpoint": "http://pve.example.com:8006"}, "https"),
        ({"endpoint": "pve.example.com:8006"}, "https"),
        ({"endpoint": "https://"}, "https"),
        ({"endpoint": "https://pve.example.com:8006/api2/json"}, "no path"),
        ({"endpoint": "https://root:canary@pve.example.com"}, "credential_ref"),
        ({"endpoint": "https://pve.example.com:99999"}, "not a URL"),
        ({"endpoint": "https://pve example.com"}, "neither a name"),
        ({"fingerprint": "AB:CD"}, "64 hexadecimal"),
        ({"fingerprint": "ab" * 32, "tls_verify": False}, "drop one"),
        ({"ca_file": "ca.pem", "tls_verify": False}, "drop one"),
        ({"ca_file": "ca.pem", "fingerprint": "ab" * 32}, "keep one"),
        ({"timeout_ms": 0}, "greater than"),
        ({"scope": "datacenter"}, "standalone"),
        ({"auth_type": "cookie"}, "api_token"),
        ({"max_parallel_nodes": 0}, "greater than"),
        ({"credential_ref": "secret"}, "pattern"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused_with_the_reason(said: dict[str, object], says: str) -> None:
    given = {"name": "x", "platform": "pve", "endpoint": "https://192.0.2.1", "credential_ref": "file:pve"}
    with pytest.raises(ValidationError, match=says) as caught:
        PveConfig.model_validate({**given, **said})
    assert "canary" not in str([each["msg"] for each in caught.value.errors()])


class _OneNode(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f'{{"data": [{{"node": "n1", "asked": "{self.headers["Host"]}"}}]}}'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _OverIPv6(HTTPServer):
    address_family = socket.AF_INET6


def test_an_ipv6_endpoint_is_reached_by_its_address() -> None:
    with PveDouble(load("one_guest")) as pve, _OverIPv6(("::1", 0), _OneNode) as server:
        server.socket = pve.tls.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        at = f"[::1]:{server.server_address[1]}"
        ours = client(pve, "ledger@pve!asset", endpoint=f"https://{at}")
        assert ours.need("/nodes").response.data == [{"node": "n1", "asked": at}]
        ours.stop()
        serving.join(PATIENCE_S)


def test_an_endpoint_is_reached_by_its_name() -> None:
    with PveDouble(load("one_guest")) as pve:
        assert client(pve, endpoint=f"https://localhost:{pve.port}").need("/nodes").response.data
