"""A certificate authority of a double's own, and the server certificate that it signs. Called by double.py, vcsim.py."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Kind = Literal["good", "expired", "other_name"]


@dataclass(frozen=True)
class Authority:
    """One that signs certificates of servers."""

    common: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def sign(self, name: str, names: Sequence[x509.GeneralName], kind: Kind) -> tuple[bytes, bytes]:
        """Return a server's new key and certificate as PEM, and its certificate as DER."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(name, self.common, key, -1 if kind == "expired" else 365)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return private + certificate.public_bytes(pem), certificate.public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True)
class Certificates:
    ca_file: Path  # what a client should trust
    wrong_ca_file: Path  # an authority that signed nothing here
    chain_file: Path  # the server's key and certificate
    fingerprint: str  # AB:CD:.. SHA-256 of the server's certificate
    authority: Authority  # signs more servers' certificates


def colons(digest: bytes) -> str:
    """Write a digest as AB:CD:.."""
    return ":".join(f"{byte:02X}" for byte in digest)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _authority(common: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        _builder(common, common, key, 365)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(common, key, certificate)


def make_certificates(folder: Path, node: str, kind: Kind = "good", *, authority: str) -> Certificates:
    """Write an authority, a foreign one, and a server certificate for 127.0.0.1, localhost and ::1."""
    ca, foreign = _authority(authority), _authority("Another Authority")
    names: list[x509.GeneralName] = [x509.DNSName(f"{node}.example.test")]
    if kind != "other_name":
        names += [
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
            x509.DNSName("localhost"),
        ]
    chain, der = ca.sign(f"{node}.example.test", names, kind)
    pem = serialization.Encoding.PEM
    written = Certificates(
        folder / "ca.pem",
        folder / "wrong-ca.pem",
        folder / "server.pem",
        colons(hashlib.sha256(der).digest()),
        ca,
    )
    written.ca_file.write_bytes(ca.certificate.public_bytes(pem))
    written.wrong_ca_file.write_bytes(foreign.certificate.public_bytes(pem))
    written.chain_file.write_bytes(chain)
    return written
