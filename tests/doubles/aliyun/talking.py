"""A small client that tests of the double speak through: signs in both styles, and shows status, headers and body."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import http.client
import json
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

from tests.doubles.aliyun import AliyunDouble


@dataclass(frozen=True)
class Said:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["Code"])


class Talk:
    """Speaks to a double as one who has a key."""

    def __init__(
        self,
        double: AliyunDouble,
        key_id: str | None = None,
        secret: str | None = None,
        token: str = "",
        style: Literal["acs3", "rpc"] = "acs3",
    ) -> None:
        self.double = double
        self.key_id, self.secret, self.token = key_id or double.access_key_id, secret or double.access_key_secret, token
        self.style = style
        self.tls = ssl.create_default_context(cafile=str(double.ca_file))
        self.version = "2014-05-26"
        self.endpoint = double.endpoint
        self.path = "/"
        self.timeout = 10.0
        self.nonce: Callable[[], str] = lambda: uuid.uuid4().hex
        self.when: Callable[[], float] = time.time
        self.more: dict[str, str] = {}  # headers that are sent and not signed
        self.host = ""  # a Host header in place of the endpoint's

    def __call__(self, action: str, region: str = "", **said: Any) -> Said:
        """Call an action and return what came back."""
        parameters = {name: str(value) for name, value in said.items()} | ({"RegionId": region} if region else {})
        date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.when()))
        if self.style == "rpc":
            return self.send("GET", f"{self.path}?{self._rpc(action, parameters, date)}", self.more)
        query, headers = self._acs3(action, parameters, date)
        return self.send("POST", f"{self.path}?{query}", headers | self.more)

    def send(self, method: str, target: str, headers: Mapping[str, str], endpoint: str = "") -> Said:
        parts = urlsplit(endpoint or self.endpoint)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, context=self.tls, timeout=self.timeout
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.timeout)
        try:
            connection.request(method, target, b"" if method == "POST" else None, dict(headers))
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return Said(answer.status, dict(answer.headers), body)

    def rows(self, action: str, region: str, **said: Any) -> tuple[list[str], str]:
        """Return the ids of one page and its token."""
        answer = self(action, region, **said).json
        rows = next(iter((answer.get("Instances") or answer.get("Disks")).values()))
        return [row.get("InstanceId") if "Instances" in answer else row["DiskId"] for row in rows], answer["NextToken"]

    def chain(self, action: str, region: str, size: int = 100) -> list[str]:
        """Return every id, following the tokens to the end."""
        ids, token = self.rows(action, region, MaxResults=size)
        while token:
            more, token = self.rows(action, region, MaxResults=size, NextToken=token)
            ids += more
        return ids

    def _acs3(self, action: str, parameters: Mapping[str, str], date: str) -> tuple[str, dict[str, str]]:
        query = urlencode(sorted(parameters.items()), quote_via=quote, safe="~")
        empty = hashlib.sha256(b"").hexdigest()
        headers = {
            "host": self.host or urlsplit(self.endpoint).netloc,
            "x-acs-action": action,
            "x-acs-content-sha256": empty,
            "x-acs-date": date,
            "x-acs-signature-nonce": self.nonce(),
            "x-acs-version": self.version,
        }
        if self.token:
            headers["x-acs-security-token"] = self.token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        digest = hashlib.sha256(f"POST\n{self.path}\n{query}\n{lines}\n{names}\n{empty}".encode()).hexdigest()
        key = self.secret.encode()
        signature = hmac.new(key, f"ACS3-HMAC-SHA256\n{digest}".encode(), hashlib.sha256).hexdigest()
        headers["Authorization"] = (
            f"ACS3-HMAC-SHA256 Credential={self.key_id},SignedHeaders={names},Signature={signature}"
        )
        return query, headers

    def _rpc(self, action: str, parameters: Mapping[str, str], date: str) -> str:
        said = {
            **parameters,
            "Action": action,
            "AccessKeyId": self.key_id,
            "Format": "JSON",
            "SignatureMethod": "HMAC-SHA1",
            "SignatureNonce": self.nonce(),
            "SignatureVersion": "1.0",
            "Timestamp": date,
            "Version": self.version,
        } | ({"SecurityToken": self.token} if self.token else {})
        query = urlencode(sorted(said.items()), quote_via=quote, safe="~")
        text = f"GET&%2F&{quote(query, safe='~')}"
        signature = base64.b64encode(
            hmac.new(f"{self.secret}&".encode(), text.encode(), hashlib.sha1).digest()
        ).decode()
        return f"{query}&Signature={quote(signature, safe='')}"
