"""The robots of DingTalk, Feishu and WeCom and the webhooks of Slack, as their pages say, behind a proxy.

Their addresses stand fixed in apprise, so this is an HTTP proxy (CONNECT) that answers in the place of those hosts: a
client goes through it by HTTPS_PROXY and trusts it by REQUESTS_CA_BUNDLE, as it would a proxy of its company. TLS is
real, with the hosts' names in the certificate. Written from the services' own descriptions of their protocols.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509

from tests.doubles.https.certificates import make_certificates

DINGTALK, FEISHU, WECOM, SLACK = "oapi.dingtalk.com", "open.feishu.cn", "qyapi.weixin.qq.com", "hooks.slack.com"
HOSTS = (DINGTALK, FEISHU, WECOM, SLACK)


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Robots:
    """One robot of each service, for the length of a `with`. `said` is what each took, in order; `asked` every request.

    `fault` answers in the place of all of them where it returns an answer. `keyword` is what the robots want in a text.
    """

    token: str = "d1ngt0ken" + "0" * 55
    secret: str | None = "SEC" + "a1" * 30
    feishu_token: str = "feishu-0a1b2c3d-token"
    wecom_key: str = "wecom-693a91f6-7xxx-key"
    slack_path: str = "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    keyword: str | None = None
    most_a_minute: int = 20
    said: dict[str, list[Any]] = field(default_factory=lambda: {host: [] for host in HOSTS})
    asked: list[str] = field(default_factory=list)
    fault: Callable[[str], Answer | None] = lambda _host: None
    certified: tuple[str, ...] = HOSTS

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="robots-")
        folder = Path(self._folder.name)
        made = make_certificates(folder, "proxy", authority="Robots' Authority")
        self.ca_file, self.wrong_ca_file, self.authority = made.ca_file, made.wrong_ca_file, made.authority
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in self.certified]
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        (folder / "robots.pem").write_bytes(made.authority.sign("robots.example.test", names, "good")[0])
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(folder / "robots.pem")
        self._lock = threading.Lock()
        self._times: dict[str, list[float]] = {host: [] for host in HOSTS}
        robots = self

        class Handler(_Handler):
            double = robots

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.proxy = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()

    def environment(self) -> dict[str, str]:
        """The variables by which a client comes here."""
        return {"HTTPS_PROXY": self.proxy, "REQUESTS_CA_BUNDLE": str(self.ca_file), "NO_PROXY": ""}

    @property
    def dingtalk(self) -> str:
        return f"dingtalk://{self.secret}@{self.token}/" if self.secret else f"dingtalk://{self.token}/"

    @property
    def feishu(self) -> str:
        return f"feishu://{self.feishu_token}"

    @property
    def wecom(self) -> str:
        return f"wecombot://{self.wecom_key}"

    @property
    def slack(self) -> str:
        return "slack://" + self.slack_path.removeprefix("/services/")

    @property
    def secrets(self) -> list[str]:
        """Everything of the addresses that nobody may read anywhere."""
        last = self.slack_path.rsplit("/", 1)[1]
        return [self.token, self.secret or self.token, self.feishu_token, self.wecom_key, last]

    def answer(self, host: str, path: str, headers: Any, body: bytes) -> Answer:
        with self._lock:
            self.asked.append(f"{host} {path}")
            if (fault := self.fault(host)) is not None:
                return fault
            does = {DINGTALK: self._dingtalk, FEISHU: self._feishu, WECOM: self._wecom, SLACK: self._slack}[host]
            if not str(headers.get("Content-Type", "")).startswith("application/json"):
                return Answer(200, {"errcode": 43004, "errmsg": "invalid content type"})
            return does(urlsplit(path), json.loads(body))

    def _too_many(self, host: str) -> bool:
        now = time.monotonic()
        times = self._times[host] = [at for at in self._times[host] if now - at < 60]
        times.append(now)
        return len(times) > self.most_a_minute

    def _dingtalk(self, path: Any, said: Any) -> Answer:
        asked = {name: values[0] for name, values in parse_qs(path.query).items()}
        if path.path != "/robot/send" or asked.get("access_token") != self.token:
            return Answer(200, {"errcode": 300005, "errmsg": f"token is not exist: {asked.get('access_token')}"})
        if self._too_many(DINGTALK):
            return Answer(200, {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"})
        text = (
            said["markdown"]["text"] if said.get("msgtype") == "markdown" else said.get("text", {}).get("content", "")
        )
        if self.secret is not None:
            at = asked.get("timestamp", "0")
            wanted = hmac.new(self.secret.encode(), f"{at}\n{self.secret}".encode(), hashlib.sha256).digest()
            # decoded once, by whatever reads the query: who encoded it twice does not match (x-cold/dingtalk-robot#7)
            same = hmac.compare_digest(asked.get("sign", ""), base64.b64encode(wanted).decode())
            if abs(time.time() * 1000 - int(at)) > 3_600_000 or not same:
                return Answer(
                    200, {"errcode": 310000, "errmsg": "sign not match, more: [https://ding-doc.dingtalk.com]"}
                )
        if self.keyword is not None and self.keyword not in text:
            return Answer(200, {"errcode": 310000, "errmsg": "keywords not in content, more: […]"})
        if said.get("msgtype") == "markdown" and not said["markdown"].get("title"):
            return Answer(200, {"errcode": 40035, "errmsg": "缺少参数 markdown.title"})
        self.said[DINGTALK].append(said)
        return Answer(200, {"errcode": 0, "errmsg": "ok"})

    def _feishu(self, path: Any, said: Any) -> Answer:
        if path.path.rstrip("/") != f"/open-apis/bot/v2/hook/{self.feishu_token}":
            return Answer(200, {"code": 19001, "msg": "param invalid: incoming webhook access token invalid"})
        if self._too_many(FEISHU):
            return Answer(200, {"code": 11232, "msg": "frequency limited psm[lark.oapi.app_platform_runtime]"})
        if said.get("msg_type") != "text" or not said.get("content", {}).get("text"):
            return Answer(400, {"code": 9499, "msg": "Bad Request", "data": {}})
        if self.keyword is not None and self.keyword not in said["content"]["text"]:
            return Answer(200, {"code": 19024, "msg": "Key Words Not Found"})
        self.said[FEISHU].append(said)
        return Answer(200, {"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"})

    def _wecom(self, path: Any, said: Any) -> Answer:
        if path.path != "/cgi-bin/webhook/send" or parse_qs(path.query).get("key") != [self.wecom_key]:
            return Answer(200, {"errcode": 93000, "errmsg": "invalid webhook url, hint: [1612345678]"})
        if self._too_many(WECOM):
            return Answer(200, {"errcode": 45009, "errmsg": "api freq out of limit"})
        if len(said["text"]["content"].encode()) > 2048:
            return Answer(200, {"errcode": 40058, "errmsg": "text.content exceed max length 2048"})
        self.said[WECOM].append(said)
        return Answer(200, {"errcode": 0, "errmsg": "ok"})

    def _slack(self, path: Any, said: Any) -> Answer:
        if path.path != self.slack_path:
            return Answer(404, "no_service")
        if self._too_many(SLACK):
            return Answer(429, "rate_limited", {"Retry-After": "30"})
        if not said.get("text") and not said.get("attachments") and not said.get("blocks"):
            return Answer(400, "no_text")
        self.said[SLACK].append(said)
        return Answer(200, "ok")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: Robots
    host = ""

    def do_CONNECT(self) -> None:
        self.host = self.path.rpartition(":")[0]
        if self.host not in HOSTS:
            self.send_error(403)
            return
        self.send_response_only(200, "Connection established")
        self.end_headers()
        try:
            wrapped = self.double.tls.wrap_socket(self.connection, server_side=True)
        except (OSError, ssl.SSLError):
            self.close_connection = True
            return
        self.connection = wrapped
        self.rfile = wrapped.makefile("rb", -1)
        self.wfile = wrapped.makefile("wb", 0)
        self.close_connection = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.double.answer(self.host, self.path, self.headers, body)
        if answer.status == 0:  # hang up without a word
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body, ensure_ascii=False)
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(text.encode())), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
