"""One message to one receiver over real HTTP and HTTPS: signed, to the right one, and over in its time."""

from __future__ import annotations

import base64
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asset_ledger.domain.errors import CONFIG_INVALID, CREDENTIAL_UNREADABLE, PermanentError
from asset_ledger.notify.webhooks import Answered, Receiver, checked, secrets_of, send
from tests.doubles import webhooks

PAYLOAD = '{"type": "finding.opened", "data": {"name": "数据库-02"}}'


@pytest.fixture(scope="module")
def shared() -> Iterator[webhooks.Receiver]:
    with webhooks.Receiver() as there:
        yield there


@pytest.fixture
def there(shared: webhooks.Receiver) -> webhooks.Receiver:
    shared.faults.clear()
    shared.taken.clear()
    shared.again.clear()
    shared.refused.clear()
    return shared


def to(there: webhooks.Receiver, *secrets: str, **said: object) -> Receiver:
    keys = tuple(base64.b64decode(one.removeprefix("whsec_")) for one in secrets or (there.secret,))
    return replace(Receiver("tickets", there.url, keys, there.ca_file), **said)  # type: ignore[arg-type]


def sent(receiver: Receiver, payload: str = PAYLOAD, *, message_id: str = "", timeout_s: float = 10.0) -> Answered:
    return send(receiver, message_id or str(uuid4()), payload, now=datetime.now(UTC), timeout_s=timeout_s)


def test_a_message_arrives_signed_as_the_receiver_works_it_out_by_hand(there: webhooks.Receiver) -> None:
    answered = sent(to(there), message_id="one")
    assert answered == Answered(204)
    assert answered.arrived
    assert there.taken["one"].text == PAYLOAD
    assert there.requests.names()[-1] == "POST /hook?from=ledger"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.text(st.characters(exclude_categories=["Cs"])), secret=st.binary(min_size=24, max_size=64))
def test_whatever_is_said_the_signature_is_over_its_bytes(
    there: webhooks.Receiver, payload: str, secret: bytes
) -> None:
    was, there.secret = there.secret, "whsec_" + base64.b64encode(secret).decode()
    try:
        assert sent(Receiver("tickets", there.url, (secret,), there.ca_file), payload).arrived
    finally:
        there.secret = was


def test_the_time_that_is_signed_is_that_of_the_message_in_whatever_zone_it_is_said(there: webhooks.Receiver) -> None:
    here = datetime.now(timezone(timedelta(hours=8)))
    assert send(to(there), "zone", PAYLOAD, now=here).arrived
    assert there.taken["zone"].timestamp == int(here.timestamp())


def test_a_receiver_that_knows_another_secret_refuses_the_message(there: webhooks.Receiver) -> None:
    answered = sent(to(there, webhooks.new_secret()))
    assert (answered.status, answered.why) == (400, "answered 400")
    assert there.refused == ["the signature is another"]
    assert not there.taken


def test_while_a_secret_is_changed_either_is_enough(there: webhooks.Receiver) -> None:
    new = webhooks.new_secret()
    assert sent(to(there, new, there.secret)).arrived
    assert sent(to(there, there.secret, new)).arrived


def test_a_message_that_comes_again_is_known_by_its_id(there: webhooks.Receiver) -> None:
    assert sent(to(there), message_id="same").arrived
    assert sent(to(there), message_id="same").arrived
    assert [one.id for one in there.again] == ["same"]


@pytest.mark.parametrize(("status", "away"), [(500, True), (503, True), (404, True), (429, True), (422, False)])
def test_what_is_not_a_success_did_not_arrive(there: webhooks.Receiver, status: int, away: bool) -> None:
    there.faults.add("POST *", "status", status=status, headers={"Retry-After": "120"}, body="not to be repeated")
    answered = sent(to(there))
    assert answered == Answered(status, f"answered {status}", away=away, retry_after_s=120)


def test_a_receiver_that_says_gone_wants_no_more(there: webhooks.Receiver) -> None:
    there.faults.add("POST *", "status", status=410)
    answered = sent(to(there))
    assert answered.gone
    assert answered.status == 410


def test_a_redirect_is_not_followed(there: webhooks.Receiver) -> None:
    there.faults.add("POST *", "redirect", headers={"Location": there.endpoint + "/elsewhere"})
    before = there.requests.count()
    answered = sent(to(there))
    assert "redirect (302), which is not followed" in (answered.why or "")
    assert there.requests.count() == before + 1


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("close", "the connection was closed before an answer"),
        ("reset", "the connection was closed before an answer"),
        ("stall_before", "no answer within 0.5 s"),
    ],
)
def test_a_receiver_that_goes_away_or_says_nothing_is_away(there: webhooks.Receiver, kind: str, why: str) -> None:
    there.faults.add("POST *", kind)
    assert sent(to(there), timeout_s=0.5) == Answered(None, why, away=True)


def test_the_body_of_an_answer_is_not_waited_for(there: webhooks.Receiver) -> None:
    there.faults.add("POST *", "stall_inside", status=200)
    assert sent(to(there), timeout_s=5).arrived


def test_a_receiver_whose_certificate_nobody_knows_gets_nothing(there: webhooks.Receiver) -> None:
    before = there.requests.count()
    for ca_file in (None, there.wrong_ca_file):
        answered = sent(to(there, ca_file=ca_file))
        assert (answered.why or "").startswith("its certificate is not trusted: ")
        assert answered.away
    assert there.requests.count() == before


def test_a_certificate_of_another_name_is_not_taken() -> None:
    with webhooks.Receiver(certificate="other_name") as other:
        assert "certificate is not trusted" in (sent(to(other)).why or "")
        assert not other.requests.count()


def test_nobody_who_listens_is_refused(there: webhooks.Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert sent(to(there, url=f"https://127.0.0.1:{port}/")).why == "the connection was refused"
    assert sent(to(there, url="https://no-such-host.invalid/")).why == "its name has no address"


@contextmanager
def one_answer(text: bytes, pause_s: float) -> Iterator[str]:
    """Listen, and answer sign by sign: no single read takes long."""
    stop = threading.Event()

    def serve(listening: socket.socket) -> None:
        with listening.accept()[0] as wire:
            wire.recv(65536)
            for sign in text:
                if stop.wait(pause_s):
                    return
                try:
                    wire.sendall(bytes([sign]))
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            stop.set()
            thread.join(10)


def test_a_receiver_that_trickles_does_not_outlast_the_time_of_the_message(there: webhooks.Receiver) -> None:
    with one_answer(b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 100 + b"\r\n\r\n", 0.05) as url:
        answered = sent(to(there, url=url, ca_file=None), timeout_s=0.5)
    assert answered == Answered(None, "no answer within 0.5 s", away=True)


def test_what_is_no_http_is_said_to_be_none(there: webhooks.Receiver) -> None:
    with one_answer(b"220 mail.example ESMTP secret-banner\r\n", 0) as url:
        answered = sent(to(there, url=url, ca_file=None), timeout_s=5)
    assert answered.why == "its answer is no HTTP (BadStatusLine)"


def test_plain_http_is_for_this_machine_alone() -> None:
    with webhooks.Receiver(tls=False) as plain:
        assert sent(to(plain, ca_file=None)).arrived
        assert f"127.0.0.1:{plain.port}" in plain.seen_headers[0]["host"]
    for url in (
        "http://tickets.example/hook",
        "ftp://127.0.0.1/",
        "https://user:pass@tickets.example/",
        "https:///hook",
        "https://tickets.example/häk",
        "https://tickets.example:port/",
        "https://tickets.example/a b",
    ):
        with pytest.raises(PermanentError) as caught:
            checked(url)
        assert caught.value.code is CONFIG_INVALID
        assert "pass" not in str(caught.value).replace("password", "")
    assert checked("https://tickets.example/hook") == ("tickets.example", 443)
    assert checked("https://[2001:db8::1]:8443/hook") == ("2001:db8::1", 8443)


def test_a_ca_file_that_cannot_be_used_is_named(there: webhooks.Receiver, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for name, why in (("gone.pem", "No such file"), ("empty.pem", "it holds no certificate")):
        with pytest.raises(PermanentError, match=why) as caught:
            sent(to(there, ca_file=tmp_path / name))
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "secret",
    ["", "plain-text-secret-of-some-length", "whsec_", "whsec_c2hvcnQ=", "whsec_not*base64*at*all*not*base64*at*all"],
)
def test_a_secret_that_is_none_is_refused_without_being_said(secret: str) -> None:
    with pytest.raises(PermanentError) as caught:
        secrets_of({"secret": secret}, "env:TICKETS")
    assert caught.value.code is CREDENTIAL_UNREADABLE
    assert caught.value.target == "env:TICKETS"
    assert secret in ("", "whsec_") or secret not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_credential_without_the_field_secret_is_told_what_it_lacks() -> None:
    with pytest.raises(PermanentError, match="no field secret"):
        secrets_of({"password": "x"}, "env:TICKETS")
    one, two = webhooks.new_secret(), webhooks.new_secret()
    assert len(secrets_of({"secret": one, "old_secret": two, "username": "x"}, "env:TICKETS")) == 2
    # as some write it, without the signs at the end
    assert secrets_of({"secret": one.rstrip("=")}, "env:TICKETS") == secrets_of({"secret": one}, "env:TICKETS")


def test_neither_secret_nor_signature_is_logged_or_shown(
    there: webhooks.Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver = to(there)
    sent(receiver)
    sent(to(there, webhooks.new_secret()))
    assert there.secret.removeprefix("whsec_") not in caplog.text + repr(receiver)
    assert repr(receiver.secrets) not in repr(receiver)
    assert there.seen_headers[-1]["webhook-signature"] not in caplog.text


def test_no_proxy_of_the_environment_is_asked(there: webhooks.Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert sent(to(there)).arrived


def test_a_message_that_lay_for_long_would_be_refused_if_its_time_were_not_that_of_the_attempt(
    there: webhooks.Receiver,
) -> None:
    assert not send(to(there), "old", PAYLOAD, now=datetime.fromtimestamp(time.time() - 600, UTC)).arrived
    assert there.refused == ["the message is too old"]


def test_a_resolver_that_does_not_answer_does_not_outlast_the_time_of_the_message(
    there: webhooks.Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers.wait() and [])
    try:
        answered = sent(to(there), timeout_s=0.2)
    finally:
        answers.set()
    assert answered == Answered(None, "no answer within 0.2 s", away=True)


def test_an_address_that_is_silent_leaves_time_to_the_next_one(
    there: webhooks.Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", there.port))]
    with socket.socket() as full, ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # whoever comes now is not heard
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        silent = (socket.AF_INET, socket.SOCK_STREAM, 0, "", full.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [silent])
        assert sent(to(there), timeout_s=0.3) == Answered(None, "no answer within 0.3 s", away=True)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [silent, *told])
        assert sent(to(there), timeout_s=8).arrived
