"""The process that sends one notice by apprise: the message comes as JSON on its input, what came of it goes out.

    python -m asset_ledger.notify.speaking < {"url": …, "title": …, "body": …, "severity": …}

apprise takes an answer of 200 for a success; DingTalk, Feishu and WeCom refuse with 200 and a code in the body. So what
comes over the wire is looked at as well (`hearing`). All that is said here is ours: no word of a service, which may say
back the address it was asked at. Called by `notify.people` alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote

_ANSWER_MOST = 65_536
_TIMEOUT_S = 10.0
_OK = 300
_LONGEST_RETRY_S = 86_400
DINGTALK_BLOCKED_S = 600
"""A robot that says more than 20 messages a minute is silenced for ten minutes."""

_REFUSALS: dict[tuple[str, str], tuple[str, int]] = {
    ("dingtalk", "310000"): ("its security settings refuse the message: keyword, signature (the secret) or address", 0),
    ("dingtalk", "130101"): (
        "it was sent more than 20 messages in a minute, and is silent for a while",
        DINGTALK_BLOCKED_S,
    ),
    ("dingtalk", "130103"): ("it was sent too much, and is silent for a while", DINGTALK_BLOCKED_S),
    ("dingtalk", "300001"): ("it knows no such access token", 0),
    ("dingtalk", "300005"): ("it knows no such access token", 0),
    ("dingtalk", "40035"): ("it knows no such access token, or does not take the message", 0),
    ("dingtalk", "400101"): ("it has no access token", 0),
    ("dingtalk", "400102"): ("the robot was stopped", 0),
    ("dingtalk", "400013"): ("its group was dissolved", 0),
    ("feishu", "19001"): ("it knows no such token", 0),
    ("feishu", "19021"): (
        "it asks for a signature, which apprise does not make; choose a keyword or an address instead",
        0,
    ),
    ("feishu", "19022"): ("it does not take messages from this address", 0),
    ("feishu", "19024"): ("its keyword is not in the message; `asset_ledger` is in each", 0),
    ("feishu", "9499"): ("it does not take the message, or too many came", 60),
    ("feishu", "11232"): ("too many messages came to it", 60),
    ("wecombot", "93000"): ("it knows no such key", 0),
    ("wecombot", "45009"): ("it was sent more than 20 messages in a minute", 60),
    ("wecombot", "40058"): ("it does not take the message", 0),
}
_MAIL = {
    421: "it is busy or closing",
    450: "it does not take mail for a recipient now",
    451: "it had an error of its own",
    452: "it has no room now",
    454: "its login does not work now",
    530: "it asks for a login",
    534: "it does not take this kind of login",
    535: "it refused the login",
    550: "it does not take mail for a recipient, or from the sender",
    552: "the mail is too large for it, or a box is full",
    553: "it does not take the sender's or a recipient's address",
    554: "it refused the mail",
}
_SHOWN = frozenset({"dingtalk", "feishu", "lark", "wecombot", "slack", "mailto", "mailtos", "json", "jsons"})
_SAY_BY_CODE = frozenset({"dingtalk", "feishu", "lark", "wecombot"})


@dataclass
class Heard:
    """What came over the wire last. `code` is a service's own, `mail` that of a mail server."""

    status: int | None = None
    code: str | None = None
    retry_after: str = ""
    failed: str | None = None
    mail: int | None = None


def main() -> None:
    """Read the message, send it, and print what came of it."""
    asked = json.load(sys.stdin)
    said = sys.stdout
    # whatever a library prints or logs may hold the address
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):  # noqa: PTH123
        logging.disable(logging.CRITICAL)
        answer = speak(asked["url"], asked["title"], asked["body"], asked["severity"])
    said.write(json.dumps(answer))


def speak(url: str, title: str, body: str, severity: str) -> dict[str, Any]:
    """Send a message and return `status`, `why` (None where it arrived) and `retry_after_s`, or what is `unusable`."""
    import apprise

    asset = apprise.AppriseAsset(app_id="asset_ledger", app_desc="asset_ledger", http_redirects=False)
    to: Any = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if why := _unusable(to, url):
        return {"unusable": why}
    if str(to.schema) == "dingtalk":
        _sign_once(to)
    to.socket_connect_timeout = to.socket_read_timeout = _TIMEOUT_S
    kinds = {"critical": apprise.NotifyType.FAILURE, "error": apprise.NotifyType.FAILURE}
    with hearing() as heard:
        sender = apprise.Apprise(asset=asset)
        sender.add(to)
        arrived = sender.notify(
            body=body,
            title=title,
            notify_type=kinds.get(severity, apprise.NotifyType.WARNING),
            body_format=apprise.NotifyFormat.MARKDOWN,
        )
    return judged(str(to.schema), bool(arrived), heard)


def judged(schema: str, arrived: bool, heard: Heard) -> dict[str, Any]:
    """Return what came of a message, in our own words."""
    told, wait_s = _REFUSALS.get(("feishu" if schema == "lark" else schema, heard.code or ""), (None, 0))
    if heard.retry_after.isascii() and heard.retry_after.isdigit():
        wait_s = max(wait_s, min(int(heard.retry_after), _LONGEST_RETRY_S))
    why: str | None = None
    if schema in _SAY_BY_CODE and heard.code not in (None, "0"):
        why = f"answered with the code {heard.code}" + (f": {told}" if told else "")
    elif heard.status is not None and heard.status >= _OK:
        why = f"answered {heard.status}"
        if heard.status < 400:
            why += ", a redirect, which is not followed"
    elif schema in _SAY_BY_CODE and heard.status is not None and heard.code is None:
        why = "something else answers in its place"
    elif not arrived:
        mail = "" if heard.mail is None else f"answered {heard.mail}"
        if heard.mail in _MAIL:
            mail += f": {_MAIL[heard.mail]}"
        why = heard.failed or mail or "it was not taken"
    return {"status": heard.status if heard.status is not None else heard.mail, "why": why, "retry_after_s": wait_s}


@contextlib.contextmanager
def hearing() -> Iterator[Heard]:
    """Note what comes over the wire, of HTTP and of mail, meanwhile. In this process nothing else sends."""
    import smtplib
    import ssl

    import requests

    heard = Heard()
    send, reply = requests.Session.send, smtplib.SMTP.getreply

    def noting_send(session: requests.Session, request: Any, **said: Any) -> Any:
        try:
            answer = send(session, request, **said)
        except requests.RequestException as error:
            heard.failed = _words(error)
            raise
        heard.status, heard.retry_after = answer.status_code, answer.headers.get("Retry-After", "")
        heard.code = _code(answer.content[:_ANSWER_MOST])
        return answer

    def noting_reply(server: smtplib.SMTP) -> tuple[int, bytes]:
        try:
            code, words = reply(server)
        except smtplib.SMTPServerDisconnected:
            heard.failed = heard.failed or "the connection was closed before an answer"
            raise
        if code >= 400:
            heard.mail = code
        return code, words

    def noting_errors(does: Any) -> Any:
        def noting(*args: Any, **said: Any) -> Any:
            try:
                return does(*args, **said)
            except OSError as error:
                if not said.get("server_side"):  # of a server in the same process, in tests
                    heard.failed = _words(error)
                raise

        return noting

    with (
        _instead(requests.Session, "send", noting_send),
        _instead(smtplib.SMTP, "getreply", noting_reply),
        _instead(smtplib.SMTP, "connect", noting_errors(smtplib.SMTP.connect)),
        _instead(ssl.SSLContext, "wrap_socket", noting_errors(ssl.SSLContext.wrap_socket)),
    ):
        yield heard


@contextlib.contextmanager
def _instead(owner: type, name: str, does: Any) -> Iterator[None]:
    """Let a class of a library do something else for a while: of no answer does apprise say more than yes or no."""
    before = getattr(owner, name)
    setattr(owner, name, does)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _unusable(to: Any, url: str) -> str | None:
    """Return why an address cannot be used, without any of it."""
    if to is None:
        schema = url.partition("://")[0].lower()
        # whatever else stands there may be the secret
        known = f" of {schema}://" if schema in _SHOWN else ""
        return f"the url of its credential is no whole apprise URL{known}"
    if not to.verify_certificate:
        return "its url says verify=no; certificates are checked: name an authority of your own by REQUESTS_CA_BUNDLE"
    if to.redirects:
        return "its url says redirect=yes; redirects are not followed"
    host = getattr(to, "smtp_host", None) or getattr(to, "host", None) or ""
    if _goes_plain(to) and not _is_here(str(host)):
        return "its url sends without TLS, which is for this machine alone; take the scheme that ends in s"
    return None


def _goes_plain(to: Any) -> bool:
    """Say whether it goes over the wire as it is. A service that has no scheme for that has one address, with TLS."""
    if hasattr(to, "secure_mode"):  # mail: STARTTLS begins without
        return str(to.secure_mode) == "insecure"
    return type(to).protocol is not None and getattr(to, "secure", True) is False


def _sign_once(to: Any) -> None:
    """Let a signature of DingTalk be percent-encoded once.

    apprise 2.2.0 encodes it, and requests does so again: DingTalk answers 310000, `sign not match`, each time. It can
    go when the test of a signed message passes without it; of one that is not encoded yet it changes nothing.
    """
    made = to.get_signature

    def signature() -> tuple[str, str]:
        at, signed = made()
        return at, unquote(signed)

    to.get_signature = signature


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _code(body: bytes) -> str | None:
    """Return the code by which DingTalk, WeCom (errcode) and Feishu (code) say whether they took a message."""
    try:
        said = json.loads(body)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    found = next((said[name] for name in ("errcode", "code", "StatusCode") if name in said), None)
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else None


def _words(error: BaseException) -> str:
    """Return why nothing was answered, by what caused it. Never its own words: they quote the address."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        one = one.__cause__ or one.__context__
    text = " ".join(type(each).__name__ for each in seen) + " " + str(error)[:2000]
    for sign, words in (
        ("CertificateVerif", "its certificate is not trusted"),
        ("CERTIFICATE_VERIFY", "its certificate is not trusted"),
        ("SSLEOF", "the connection was closed before an answer"),
        ("UNEXPECTED_EOF", "the connection was closed before an answer"),
        ("RemoteDisconnected", "the connection was closed before an answer"),
        ("ProxyError", "the proxy did not let it through"),
        ("SSLError", "TLS failed"),
        ("NameResolution", "its name has no address"),
        ("gaierror", "its name has no address"),
        ("ConnectTimeout", f"no connection within {_TIMEOUT_S:g} s"),
        ("Timeout", f"no answer within {_TIMEOUT_S:g} s"),
        ("ConnectionRefused", "the connection was refused"),
        ("Connection", "the connection was closed before an answer"),
    ):
        if sign in text:
            return words
    return "it could not be reached"


if __name__ == "__main__":
    main()
