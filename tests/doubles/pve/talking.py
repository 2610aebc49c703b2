"""An independent client for the double's own tests: requests, and nothing of the project's."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import requests

from tests.doubles.pve.server import PveDouble

TOKEN = "PVEAPIToken=ledger@pve!asset=11111111-1111-4111-8111-111111111111"


class Talk:
    """A session with one double: by token, by login, or as nobody."""

    def __init__(self, pve: PveDouble, *, token: str | None = None, user: str | None = None) -> None:
        self.pve = pve
        self.session = requests.Session()
        self.session.trust_env = False  # a REQUESTS_CA_BUNDLE of the environment would win over `verify`
        self.session.verify = str(pve.ca_file)
        if token:
            self.session.headers["Authorization"] = token
        if user:
            ticket, csrf = pve.ticket_for(user)
            self.session.cookies.set("PVEAuthCookie", ticket)
            self.session.headers["CSRFPreventionToken"] = csrf

    def get(self, path: str, **said: Any) -> requests.Response:
        return self.session.get(f"{self.pve.endpoint}/api2/json{path}", timeout=said.pop("timeout", 10), **said)

    def post(self, path: str, **said: Any) -> requests.Response:
        return self.session.post(f"{self.pve.endpoint}/api2/json{path}", timeout=10, **said)

    def data(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.reason)
        return answer.json()["data"]

    def rows(self, path: str, key: str = "vmid") -> dict[Any, dict[str, Any]]:
        """Return a list's rows by one of their keys, as a number where it is one."""
        return {int(row[key]) if key == "vmid" else row[key]: row for row in self.data(path)}


def raw(pve: PveDouble, request: bytes) -> bytes:
    """Send bytes over TLS and return everything until the server closes."""
    context = ssl.create_default_context(cafile=pve.ca_file)
    with (
        socket.create_connection(("127.0.0.1", pve.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wire,
    ):
        wire.sendall(request)
        answer = b""
        while piece := wire.recv(65_536):
            answer += piece
    return answer
