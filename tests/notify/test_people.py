"""Messages to people over real HTTPS and SMTP: apprise itself sends, to robots and a mail server that speak as theirs do."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from asset_ledger.domain.errors import CREDENTIAL_UNREADABLE, NOTICE_RECEIVER_INVALID, PermanentError
from asset_ledger.domain.notices.text import Message
from asset_ledger.notify.people import send, url_of
from asset_ledger.notify.speaking import Heard, judged, speak
from tests.doubles.mail import MailServer
from tests.doubles.robots import DINGTALK, FEISHU, HOSTS, SLACK, WECOM, Answer, Robots

BODY = "**pve_lab** collect: failure\n\n- ERROR pve_lab `PVE_TIMEOUT`: 3 targets failed: `数据库-02`, `web_01`\n\nnotice 0a1b2c3d"
MESSAGE = Message("[asset_ledger] pve_lab: 3 targets failed", BODY, "error")
OK = {"why": None, "retry_after_s": 0}


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Robots, MailServer]]:
    with Robots() as robots, MailServer() as mail:
        yield robots, mail


@pytest.fixture
def robots(shared: tuple[Robots, MailServer], monkeypatch: pytest.MonkeyPatch) -> Robots:
    robots = shared[0]
    robots.asked.clear()
    for said in robots.said.values():
        said.clear()
    for times in robots._times.values():
        times.clear()
    robots.fault, robots.keyword, robots.most_a_minute = lambda _host: None, None, 20
    for name, value in robots.environment().items():
        monkeypatch.setenv(name, value)
    return robots


@pytest.fixture
def mail(shared: tuple[Robots, MailServer], monkeypatch: pytest.MonkeyPatch) -> MailServer:
    mail = shared[1]
    mail.taken.clear()
    mail.logins.clear()
    mail.refuse.clear()
    monkeypatch.setenv("SSL_CERT_FILE", str(mail.ca_file))
    return mail


def said(url: str) -> dict[str, object]:
    """Send in this process: what the process of its own does, without its start."""
    return speak(url, MESSAGE.title, MESSAGE.body, MESSAGE.severity)


def test_each_service_takes_the_message_in_its_own_shape(robots: Robots) -> None:
    for url in (robots.dingtalk, robots.feishu, robots.wecom, robots.slack):
        assert said(url) == {"status": 200, **OK}
    (ding,), (feishu,), (wecom,), (slack,) = (robots.said[host] for host in HOSTS)
    assert ding["markdown"]["title"] == MESSAGE.title
    assert ding["markdown"]["text"] == f"# {MESSAGE.title}\n{BODY}"
    assert not ding["at"]["isAtAll"]
    plain = f"{MESSAGE.title}\r\n{BODY}"
    assert feishu["content"]["text"] == plain
    assert wecom["text"]["content"] == plain
    assert slack["attachments"][0]["text"] == BODY.replace("**", "*")
    assert slack["attachments"][0]["title"] == MESSAGE.title


def test_a_robot_that_asks_for_a_signature_gets_one_that_it_takes(robots: Robots) -> None:
    assert robots.secret is not None
    assert said(robots.dingtalk)["why"] is None
    other = robots.dingtalk.replace(robots.secret, "SEC" + "b2" * 30)
    assert "310000" in str(said(other)["why"])
    assert len(robots.said[DINGTALK]) == 1


@pytest.mark.parametrize(
    ("service", "host", "code"),
    [("dingtalk", DINGTALK, "130101"), ("feishu", FEISHU, "11232"), ("wecom", WECOM, "45009")],
)
def test_an_answer_of_200_that_refuses_did_not_arrive(robots: Robots, service: str, host: str, code: str) -> None:
    robots.most_a_minute = 0
    answer = said(getattr(robots, service))
    assert answer["status"] == 200
    assert f"code {code}: " in str(answer["why"])
    assert answer["retry_after_s"] == {"130101": 600}.get(code, 60)
    assert not robots.said[host]


def test_slack_says_itself_how_long_to_wait(robots: Robots) -> None:
    robots.most_a_minute = 0
    assert said(robots.slack) == {"status": 429, "why": "answered 429", "retry_after_s": 30}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("dingtalk://SECaaaaaaaa@0000aaaa/", "300005: it knows no such access token"),
        ("feishu://somewhere-else", "19001: it knows no such token"),
        ("wecombot://somewhere-else", "93000: it knows no such key"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7XX", "answered 404"),
    ],
)
def test_an_address_that_is_not_known_is_said_without_it(robots: Robots, wrong: str, words: str) -> None:
    why = str(said(wrong)["why"])
    assert words in why
    assert not any(piece in why for piece in wrong.replace("//", "/").split("/")[1:] if len(piece) > 5)


def test_a_keyword_that_is_not_in_the_message_is_said(robots: Robots) -> None:
    robots.keyword = "紧急"
    assert "keyword" in str(said(robots.dingtalk)["why"])
    assert "keyword" in str(said(robots.feishu)["why"])
    robots.keyword = "asset_ledger"
    assert said(robots.dingtalk)["why"] is None


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Answer(502, "bad gateway"), "answered 502"),
        (Answer(302, "", {"Location": "https://hooks.slack.com/elsewhere"}), "answered 302, a redirect"),
        (Answer(0), "the connection was closed"),
        (Answer(200, "<html>log in to this network"), "something else answers in its place"),
    ],
)
def test_what_comes_over_the_wire_decides(robots: Robots, fault: Answer, words: str) -> None:
    robots.fault = lambda _host: fault
    assert words in str(said(robots.wecom)["why"])
    assert len(robots.asked) == 1


def test_certificates_are_checked(robots: Robots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(robots.wrong_ca_file))
    assert said(robots.wecom) == {"status": None, "why": "its certificate is not trusted", "retry_after_s": 0}
    assert not robots.asked


def test_a_mail_comes_with_its_title_as_subject_over_tls_and_a_login(mail: MailServer) -> None:
    assert said(mail.url) == {"status": None, **OK}
    (one,) = mail.taken
    assert one.recipients == ["ops@example.test"]
    assert one.message["Subject"] == MESSAGE.title
    assert "<code>数据库-02</code>" in one.text
    assert "<li>ERROR pve_lab" in one.text
    assert mail.logins == [mail.user]


@pytest.mark.parametrize(
    ("verb", "line", "words"),
    [
        ("AUTH", "535 5.7.8 no: pa55-of-the-mailbox", "answered 535: it refused the login"),
        ("RCPT", "550 5.1.1 who?", "answered 550: it does not take mail for a recipient, or from the sender"),
        ("DATA", "452 full", "answered 452: it has no room now"),
        ("CONNECT", "421 later", "answered 421: it is busy or closing"),
        ("STARTTLS", "454 not now", "answered 454: its login does not work now"),
    ],
)
def test_a_mail_server_that_refuses_is_told_by_its_code(mail: MailServer, verb: str, line: str, words: str) -> None:
    mail.refuse[verb] = line
    assert said(mail.url)["why"] == words
    assert not mail.taken


def test_nobody_listens(mail: MailServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert said(mail.url.replace(f":{mail.port}", f":{port}"))["why"] == "the connection was refused"
    assert said(f"jsons://127.0.0.1:{port}/")["why"] == "the connection was refused"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("hunter2isasecret", "is no whole apprise URL"),
        ("slack://only-one-part", "is no whole apprise URL of slack://"),
        ("jsons://example.com/?verify=no", "verify=no"),
        ("jsons://example.com/?redirect=yes", "redirect=yes"),
        ("json://example.com/path-secret", "without TLS"),
        ("mmost://chat.example.com/3ccdd113474722377935511fc85d3dd4", "without TLS"),
        ("gotify://example.com/path-secret", "without TLS"),
        ("ntfy://example.com/path-secret", "without TLS"),
        ("rocket://u:hunter2isasecret@example.com/#ops", "without TLS"),
        ("matrix://u:hunter2isasecret@example.com/#ops", "without TLS"),
        ("apprise://example.com/path-secret", "without TLS"),
        ("rsyslog://example.com", "without TLS"),
        ("kodi://example.com", "without TLS"),
        ("mailto://u:hunter2isasecret@example.com?smtp=mail.example.com&mode=insecure", "without TLS"),
    ],
)
def test_an_address_that_cannot_be_used_is_said_without_it(url: str, words: str) -> None:
    why = str(speak(url, "t", "b", "error")["unusable"])
    assert words in why
    assert "hunter2" not in why
    assert "path-secret" not in why


def test_a_code_that_nobody_wrote_down_is_still_a_refusal() -> None:
    assert judged("feishu", True, Heard(status=200, code="77"))["why"] == "answered with the code 77"
    assert judged("jsons", True, Heard(status=200, code="77"))["why"] is None, "only these three say it so"
    assert judged("lark", True, Heard(status=200, code="11232"))["retry_after_s"] == 60


def test_the_process_of_its_own_sends_the_same_and_says_nothing_else(
    robots: Robots, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = {"ASSET_LEDGER_CREDENTIALS_KEY": "not for it"}
    answered = send(robots.dingtalk, MESSAGE, receiver="ops", environ={**os.environ, **secret})
    assert answered.arrived
    assert robots.said[DINGTALK][0]["markdown"]["text"].endswith("notice 0a1b2c3d")
    refused = send(robots.slack.replace("T1JJ", "T2JJ"), MESSAGE, receiver="ops")
    assert (refused.status, refused.why, refused.away) == (404, "answered 404", True)
    assert robots.said[SLACK] == []
    heard = caplog.text + "".join(capfd.readouterr())
    assert not [one for one in robots.secrets if one in heard]


def test_an_error_about_an_address_does_not_hold_it(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PermanentError) as caught:
        send("dingtalk://SECRET-with-signs!@x y/", MESSAGE, receiver="ops")
    assert caught.value.code is NOTICE_RECEIVER_INVALID
    assert "receiver ops" in str(caught.value)
    assert "SECRET" not in repr((caught.value, caught.value.__cause__, caught.value.__context__))


def test_a_service_that_does_not_answer_ends_in_its_time() -> None:
    with ExitStack() as stack:
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        threading.Thread(target=lambda: stack.callback(mute.accept()[0].close), daemon=True).start()
        url = f"json://127.0.0.1:{mute.getsockname()[1]}/token-of-it"
        answered = send(url, MESSAGE, receiver="ops", timeout_s=2.5)
    assert answered.away
    assert answered.why == "no answer within 2.5 s"


def test_a_credential_without_an_address_is_said() -> None:
    with pytest.raises(PermanentError, match="no field url") as caught:
        url_of({"token": "hunter2"}, "env:OPS")
    assert caught.value.code is CREDENTIAL_UNREADABLE
    assert "hunter2" not in str(caught.value)
