"""A server that speaks what we use of Vault's HTTP API: KV 1 and 2, AppRole, mounts, namespaces, its errors.

Status codes and bodies are those of the API reference (developer.hashicorp.com/vault/api-docs): 403 "permission
denied" for a bad token, 404 with the deletion time for a deleted version, 503 "Vault is sealed", 400 for a
wrong secret_id.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class VaultDouble:
    """What the server knows. Change it while it runs; `requests` keeps (method, path, namespace, token)."""

    tokens: set[str] = field(default_factory=set)
    roles: dict[str, str] = field(default_factory=dict)
    mounts: dict[str, str] = field(default_factory=lambda: {"secret/": "2", "old/": "1"})
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    namespace: str = ""
    without_mounts_endpoint: bool = False
    fault: str = ""  # sealed | hang | redirect | html
    requests: list[tuple[str, str, str, str]] = field(default_factory=list)
    url: str = ""
    logins: int = 0

    def answer(self, method: str, path: str, token: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "auth/approle/login" and method == "POST":
            if self.roles.get(body.get("role_id", "")) != body.get("secret_id"):
                return 400, {"errors": ["invalid role or secret ID"]}
            self.logins += 1
            issued = f"hvs.issued-{self.logins}"
            self.tokens = {issued}
            return 200, {"auth": {"client_token": issued, "policies": ["default"], "lease_duration": 3600}}
        if token not in self.tokens:
            return 403, {"errors": ["permission denied"]}
        if path.startswith("sys/internal/ui/mounts/"):
            asked = path.removeprefix("sys/internal/ui/mounts/")
            if self.without_mounts_endpoint:
                return 404, {"errors": []}
            for mount, version in self.mounts.items():
                if asked.startswith(mount):
                    options = {"version": "2"} if version == "2" else None
                    return 200, {"data": {"path": mount, "type": "kv", "options": options}}
            return 403, {"errors": ["preflight capability check returned 403"]}
        for mount, version in self.mounts.items():
            if path.startswith(mount):
                below = path.removeprefix(mount)
                if version == "1":
                    found = self.secrets.get(mount + below)
                    return (200, {"data": found}) if found is not None else (404, {"errors": []})
                if not below.startswith("data/"):
                    return 404, {"errors": [], "warnings": ["Invalid path for a versioned K/V secrets engine"]}
                name = mount + below.removeprefix("data/")
                if name in self.deleted:
                    metadata = {"deletion_time": "2026-01-01T00:00:00Z", "version": 1}
                    return 404, {"data": {"data": None, "metadata": metadata}}
                if name in self.secrets:
                    return 200, {"data": {"data": self.secrets[name], "metadata": {"version": 1}}}
        return 404, {"errors": []}


@contextmanager
def serve(double: VaultDouble, certificate: Path | None = None) -> Iterator[VaultDouble]:
    """Run the double on a free port of 127.0.0.1; with TLS where a PEM file with key and certificate is given."""

    class Handler(BaseHTTPRequestHandler):
        def handle_request(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            namespace, token = self.headers.get("X-Vault-Namespace") or "", self.headers.get("X-Vault-Token") or ""
            path = self.path.removeprefix("/v1/")
            double.requests.append((self.command, path, namespace, token))
            headers = {"Content-Type": "application/json"}
            if double.fault == "hang":
                time.sleep(1)
            if double.fault == "sealed":
                status, document = 503, {"errors": ["Vault is sealed"]}
            elif double.fault == "redirect":
                status, document = 307, {}
                headers["Location"] = double.url + "/elsewhere" + self.path
            elif namespace != double.namespace:
                status, document = 404, {"errors": ["no handler for route"]}
            else:
                status, document = double.answer(self.command, path, token, body)
            content = b"<html>welcome</html>" if double.fault == "html" else json.dumps(document).encode()
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # the client has stopped waiting

        do_GET = do_POST = do_PUT = handle_request  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    double.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """Make a CA and a certificate for 127.0.0.1 signed by it; return the CA's file and the server's."""
    import ipaddress

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named("Ledger Test CA"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - timedelta(days=1))
            .not_valid_after(datetime.now(UTC) + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = builder("Ledger Test CA", ca_key, ca=True).sign(ca_key, hashes.SHA256())
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = builder("vault", key, ca=False).add_extension(address, critical=False).sign(ca_key, hashes.SHA256())
    ca_file, server_file = folder / "ca.pem", folder / "vault.pem"
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server_file.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
    return ca_file, server_file
