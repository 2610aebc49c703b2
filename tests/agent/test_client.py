"""The way to the server: proven, direct, in its time, and never saying a secret to anybody else."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_ledger.agent import client as client_module
from asset_ledger.agent.client import Answer, BackOff, Client, retry_after, server_url
from asset_ledger.agent.verdicts import NotNowError, NotThisError, NotYouError, TooOldError, taken
from asset_ledger.domain.errors import PermanentError, RetryableError
from tests.agent.server import TOKEN, Reported
from tests.patience import soon

HEARTBEAT = "/api/v1/agents/heartbeat"


@pytest.fixture
def client(server: Reported) -> Iterator[Client]:
    made = Client(server.endpoint, str(server.ca_file))
    yield made
    made.close()


def beat(client: Client) -> Answer:
    return client.ask("POST", HEARTBEAT, token=TOKEN, document={"inventory": ""})


def test_an_answer_comes_over_a_proven_connection_that_is_kept(client: Client, server: Reported) -> None:
    assert beat(client).status == 200
    assert beat(client).document == {"send_inventory": False, "heartbeat_s": None, "latest_agent": None}
    assert server.requests.connections() == 1


def test_a_connection_that_the_server_closed_meanwhile_is_no_failure(client: Client, server: Reported) -> None:
    server.keep_alive = 1
    for _ in range(3):
        assert beat(client).status == 200


@pytest.mark.parametrize("ca", ["wrong_ca_file", None])
def test_a_certificate_that_is_not_proven_ends_it_before_the_token_is_sent(server: Reported, ca: str | None) -> None:
    client = Client(server.endpoint, str(getattr(server, ca)) if ca else None)
    with pytest.raises(RetryableError, match="its certificate is not trusted") as caught:
        beat(client)
    assert TOKEN not in str(caught.value)
    assert server.requests.count() == 0


@pytest.mark.parametrize("content", ["", "no certificate\n"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(PermanentError, match=r"ca\.pem: the CA file cannot be used: No such file"):
        Client("https://ledger.example.com", str(path))
    path.write_text(content)
    with pytest.raises(PermanentError, match=r"ca\.pem: the CA file cannot be used: it holds no certificate"):
        Client("https://ledger.example.com", str(path))


def test_a_redirect_is_not_followed(client: Client, server: Reported) -> None:
    server.faults.add("*", "redirect", headers={"Location": f"{server.endpoint}/thief"})
    assert beat(client).status == 302
    assert server.requests.count() == 1


def test_no_proxy_of_the_environment_gets_the_token(server: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert beat(Client(server.endpoint, str(server.ca_file))).status == 200


def test_a_large_body_is_packed_and_a_small_one_is_not(client: Client, server: Reported) -> None:
    body = json.dumps({"text": "x" * 5000}).encode()
    assert client.ask("POST", "/api/v1/agents/report", token=TOKEN, body=body).status == 200
    assert server.bodies == [body]
    assert server.requests.all("*report")[0].received < 500
    beat(client)
    assert server.beats == [{"inventory": ""}]


def test_an_answer_without_an_end_is_not_read_to_it(
    client: Client, server: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults.add("*", "status", status=200, body=b"x" * (2 << 20))
    with pytest.raises(RetryableError, match="more than 1048576 bytes"):
        beat(client)
    monkeypatch.setattr(client_module, "WHOLE_S", 0.2)
    server.faults.add("*", "trickle", body=b"x" * 200_000, seconds=60)
    server.faults.add("*", "trickle", seconds=60)
    with soon(), pytest.raises(RetryableError, match="took longer than"):
        client.ask("POST", HEARTBEAT, token=TOKEN, document={"inventory": ""})


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "closed before its answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "its answer is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "closed before its answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "its answer is no HTTP"),
    ],
)
def test_whoever_speaks_no_http_is_no_server(said: bytes, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            wire, _ = listening.accept()
            with wire:
                wire.recv(65536)
                wire.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        client = Client(f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(RetryableError, match=why):
            beat(client)


def test_a_server_that_is_not_there_is_told_in_words() -> None:
    with pytest.raises(RetryableError, match=r"https://127\.0\.0\.1:9: Connection refused"):
        beat(Client("https://127.0.0.1:9"))
    with pytest.raises(RetryableError, match="its name has no address"):
        beat(Client("https://ledger.invalid"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://ledger.example.com", "https://ledger.example.com"),
        (" https://Ledger.example.com:8443/ ", "https://ledger.example.com:8443"),
        ("https://ledger.example.com/under/it/", "https://ledger.example.com/under/it"),
        ("http://127.0.0.1:8300", "http://127.0.0.1:8300"),
        ("http://[::1]:8300", "http://[::1]:8300"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_a_server_has_one_spelling(text: str, found: str) -> None:
    assert server_url(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ledger.example.com",
        "http://ledger.example.com",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "https://",
        "https://ann:secret@ledger.example.com",
        "https://ledger.example.com/?a=b",
        "https://ledger.example.com/#a",
        "https://ledger.example.com:99999",
        "https://[::1",
        "https://ledger.example.com/\x1b[31m",
        "https://bücher.example",
    ],
)
def test_what_would_send_a_token_in_clear_or_to_nobody_is_refused(text: str) -> None:
    with pytest.raises(PermanentError) as caught:
        server_url(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "9" * 30}, 3600),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 03 Mar 2027 08:01:30 GMT", "Date": "Wed, 03 Mar 2027 08:00:00 GMT"}, 90),
        ({"Retry-After": "Wed, 03 Mar 2027 07:00:00 GMT", "Date": "Wed, 03 Mar 2027 08:00:00 GMT"}, 0),
        ({"Retry-After": "Wed, 03 Mar 2027 08:01:30 GMT", "Date": "yesterday"}, None),
        ({"Retry-After": "Wed, 03 Mar 2027 08:01:30 -0000", "Date": "Wed, 03 Mar 2027 08:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_by_the_servers_own_clock(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_no_pause_is_shorter_than_the_server_asked_for_and_no_two_are_alike() -> None:
    waits = {BackOff().failed(100.0) for _ in range(50)}
    assert min(waits) >= 100
    assert max(waits) <= 125
    assert len(waits) > 40


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>", NotNowError),
        (204, b"", NotNowError),
        (301, b"", NotNowError),
        (400, b'{"message": "no"}', NotThisError),
        (400, b"<html>", NotNowError),
        (400, b'{"code": "BODY_DAMAGED"}', NotNowError),
        (401, b"", NotYouError),
        (403, b"{}", NotYouError),
        (404, b"{}", NotNowError),
        (409, b"{}", NotThisError),
        (413, b"{}", NotThisError),
        (426, b"{}", TooOldError),
        (429, b"{}", NotNowError),
        (500, b"{}", NotNowError),
        (503, b"{}", NotNowError),
        (600, b"{}", NotNowError),
    ],
)
def test_every_status_has_its_meaning(status: int, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        taken(Answer(status, body), TOKEN)
    assert taken(Answer(201, b"{}"), TOKEN) == {}


def test_a_deeply_nested_answer_is_no_object() -> None:
    assert Answer(200, b"[" * 100_000).document is None
    assert gzip.decompress(gzip.compress(b"x", mtime=0)) == b"x"
