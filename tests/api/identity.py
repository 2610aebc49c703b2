"""A double of an identity provider: it publishes its keys over real HTTP or HTTPS, and signs tokens with them."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from asset_ledger.domain.roles import Role
from asset_ledger.domain.trusts import Terms
from asset_ledger.store.access import trusts
from asset_ledger.store.database import connect
from asset_ledger.store.tenancy import as_tenant
from tests.api.site import Answer, Site, basic

PATH = "/oauth/discovery/keys"
Mode = Literal[
    "well", "error", "redirect", "huge", "endless", "short", "junk", "no_keys", "closes", "hangs", "trickles"
]
# generated once: RSA keys take long
RSA_KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(2)]


def jwk(key: Any, kid: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a key's public half as it is published."""
    of = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm, ed25519.Ed25519PrivateKey: OKPAlgorithm}  # fmt: skip
    algorithm = next(found for kind, found in of.items() if isinstance(key, kind))
    told = algorithm.to_jwk(key.public_key(), as_dict=True)
    told.pop("key_ops", None)
    return told | ({} if kid is None else {"kid": kid}) | more


class Provider:
    """What is published, how it behaves, and what was asked of it."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"k1": RSA_KEYS[0]}
        self.published: list[Any] | None = None
        self.mode: Mode = "well"
        # what a job of GitHub's asks with, and the token that it is given
        self.job = ("", "")
        self.asked: list[str] = []
        self.ended = threading.Event()
        self.url = ""

    @property
    def issuer(self) -> str:
        return self.url

    @property
    def jwks_url(self) -> str:
        return f"{self.url}{PATH}"

    def token(
        self,
        *,
        kid: str | None = "k1",
        key: Any = None,
        alg: str = "RS256",
        header: dict[str, Any] | None = None,
        without: tuple[str, ...] = (),
        **claims: Any,
    ) -> str:
        """Sign a token as it usually is; what is named is otherwise."""
        now = int(time.time())
        told = {"iss": self.issuer, "aud": "ledger", "sub": "project_path:shop/infra:ref_type:branch:ref:main"}
        told |= {"iat": now, "nbf": now - 5, "exp": now + 300, "project_path": "shop/infra", "ref": "main"} | claims
        told = {name: value for name, value in told.items() if name not in without}
        named = {} if kid is None else {"kid": kid}
        return jwt.encode(told, key or self.keys.get(kid or "k1"), algorithm=alg, headers=named | (header or {}))

    def called(self, name: str, claim: str = "sub") -> str:
        """Return what records call whom it says to be that."""
        return f"oidc:{self.issuer}#{claim}={name}"

    def body(self) -> bytes:
        keys = [jwk(key, kid) for kid, key in self.keys.items()] if self.published is None else self.published
        return json.dumps({"keys": keys}).encode()


def unsigned(header: dict[str, Any], payload: dict[str, Any] | bytes, signature: bytes = b"x") -> str:
    """Write a token by hand, whatever it says."""
    parts = [json.dumps(header).encode(), payload if isinstance(payload, bytes) else json.dumps(payload).encode()]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in [*parts, signature])


@contextmanager
def publishing(chain: Path | None = None) -> Iterator[Provider]:
    """Run a provider on this machine; with a certificate's chain over TLS."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked.append(self.path)
            body, mode = provider.body(), provider.mode
            if self.path.startswith("/job?") and self.path.endswith("&audience=https://ledger.example.com"):
                known = self.headers["Authorization"] == f"Bearer {provider.job[0]}"
                body = json.dumps({"value": provider.job[1] if known else None}).encode()
            match mode:
                case "closes":
                    self.close_connection = True
                    self.connection.close()
                    return
                case "hangs":
                    provider.ended.wait(60)
                    return
                case "trickles":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    while not provider.ended.wait(0.05):
                        self.wfile.write(b"X-A: b\r\n")
                    return
                case "redirect":
                    self.send_response(302)
                    self.send_header("Location", f"{provider.url}/elsewhere")
                case "error":
                    self.send_response(503)
                case _:
                    self.send_response(200)
            body = {"junk": b"<html>", "no_keys": b'{"keys": []}', "redirect": b"", "error": b""}.get(mode, body)
            if mode == "huge":
                body = body[:-1] + b"," + b'"x": "' + b"x" * (1 << 20) + b'"}'
            length = len(body) + (100 if mode == "short" else 0)
            if mode != "endless":
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)
            while mode == "endless" and not provider.ended.is_set():
                self.wfile.write(b" " * 65536)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # whoever asks may go at any time

    server = Server(("127.0.0.1", 0), Handler)
    if chain is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    provider.url = f"{'http' if chain is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(30)


def trust(
    site: Site,
    provider: Provider,
    tenant: str = "acme",
    role: Role = "writer",
    claims: dict[str, Any] | None = None,
    **more: Any,
) -> UUID:
    """Have a tenant trust a provider."""
    told = {"issuer": provider.issuer, "audience": "ledger", "jwks_url": provider.jwks_url} | more
    terms = Terms(claims=claims or {"project_path": "shop/infra"}, role=role, **told)
    tenant_id = site.tenant(tenant)
    with connect(site.database_url) as connection, as_tenant(connection, tenant_id):
        return trusts.add_trust(connection, tenant_id, terms, actor="tests")


def me(site: Site, token: str, username: str | None = None) -> Answer:
    """Ask who one is, with a token as Bearer; with a username as Basic."""
    given = {"Authorization": f"Bearer {token}"} if username is None else basic(username, token)
    return site.ask("GET", "/api/v1/me", headers=given)
