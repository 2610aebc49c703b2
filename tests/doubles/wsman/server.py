"""The double that tests hold: many Windows hosts behind one port, each at a loopback address of its own.

How a request is answered is decided in wire.py, enumeration.py and shells.py.
"""

from __future__ import annotations

import ipaddress
import ssl
import threading
from pathlib import Path

from cryptography import x509

from tests.doubles.https.certificates import Kind as CertificateKind
from tests.doubles.https.double import HttpsDouble
from tests.doubles.wsman.faults import Registry
from tests.doubles.wsman.hosts import Host, HostSpec
from tests.doubles.wsman.log import RequestLog
from tests.doubles.wsman.signing_in import Hardening, Method
from tests.doubles.wsman.wire import Connection


class WsmanDouble(HttpsDouble):
    """Windows hosts that speak WS-Management, for the length of a `with`."""

    requests: RequestLog
    faults: Registry

    def __init__(
        self,
        *,
        tls: bool = True,
        authentication: tuple[Method, ...] = ("ntlm", "basic"),
        allow_unencrypted: bool = False,
        channel_binding: Hardening = "relaxed",
        certificate: CertificateKind = "good",
        port: int = 0,
        keytab: Path | None = None,
    ) -> None:
        """Without TLS: port 5985's manners, messages are sealed by NTLM, and Basic is not taken.

        channel_binding is CbtHardeningLevel: relaxed looks at what a client binds itself to, strict wants it bound.
        keytab: the keys of the hosts' services, for authentication kerberos, which excludes ntlm.
        """
        self.lock = threading.RLock()
        self.hosts: dict[str, Host] = {}
        self.requests, self.faults = RequestLog(), Registry()
        self.authentication, self.allow_unencrypted = authentication, allow_unencrypted
        self.channel_binding, self.keytab = channel_binding, keytab
        self._identities: dict[str, tuple[ssl.SSLContext, bytes]] = {}
        super().__init__(
            "wsman",
            Connection,
            host="*.windows",
            authority="Double Windows CA",
            certificate=certificate,
            port=port,
            tls=tls,
            bind="0.0.0.0",  # every address of 127/8; connections to other addresses find no host there
        )
        self.certificate = certificate
        self.compression = False

    def add(self, spec: HostSpec) -> Host:
        """Put a host at its address, which is one of 127.0.0.0/8; one that is there is changed."""
        if not ipaddress.ip_address(spec.address).is_loopback:
            raise ValueError(f"not a loopback address: {spec.address}")
        with self.lock:
            self._identities.pop(spec.address, None)
            known = self.hosts.get(spec.address)
            if known is not None:
                known.change(spec)
                return known
            host = self.hosts[spec.address] = Host(spec)
            return host

    def remove(self, address: str) -> None:
        """Let nobody live at an address: new connections to it are reset."""
        with self.lock:
            self.hosts.pop(address, None)

    def shells(self, address: str) -> list[str]:
        """Return the ids of the shells that are open at a host."""
        host = self.hosts[address]
        with host.lock:
            return list(host.shells)

    def contexts(self, address: str) -> list[str]:
        """Return the enumeration contexts that nobody has used up or given back."""
        host = self.hosts[address]
        with host.lock:
            return list(host.contexts)

    def connections(self, address: str) -> int:
        """Return how many connections to a host are open."""
        return self.hosts[address].connections

    def url(self, address: str) -> str:
        """Return a host's endpoint."""
        return f"{'https' if self.tls else 'http'}://{address}:{self.port}/wsman"

    def identity_of(self, host: Host) -> tuple[ssl.SSLContext, bytes]:
        """Return a host's own certificate, made when it is first asked for: the context, and the certificate as DER."""
        with self.lock:
            address = host.spec.address
            if address not in self._identities:
                self._identities[address] = self._made(host)
            return self._identities[address]

    def _made(self, host: Host) -> tuple[ssl.SSLContext, bytes]:
        kind = host.spec.certificate if host.spec.certificate != "good" else self.certificate
        name = f"{host.name.lower()}.example.test"
        names: list[x509.GeneralName] = [x509.DNSName("elsewhere.example.test")]
        if kind != "other_name":
            names = [x509.IPAddress(ipaddress.ip_address(host.spec.address))]
            if host.name.isascii():  # another name is in no certificate
                names += [x509.DNSName(name), x509.DNSName(host.name)]
        pem, der = self.authority.sign(name, names, kind)
        file = Path(self._folder.name) / f"{host.spec.address}.pem"
        file.write_bytes(pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context, der
