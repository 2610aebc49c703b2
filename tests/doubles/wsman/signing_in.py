"""Authentication of one connection: Basic by request, NTLM and Kerberos by connection, sealed messages.

Called by wire.py.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import spnego
from spnego._ntlm_raw.messages import Authenticate, AvId, NTClientChallengeV2
from spnego.channel_bindings import GssChannelBindings
from spnego.exceptions import SpnegoError

from tests.doubles.wsman.accounts import Accounts, Principal, accepting
from tests.doubles.wsman.kerberos import Acceptor

Method = Literal["ntlm", "basic", "kerberos"]
Hardening = Literal["none", "relaxed", "strict"]
SEALED = "application/HTTP-SPNEGO-session-encrypted"
SEALED_TYPE = f'multipart/encrypted;protocol="{SEALED}";boundary="Encrypted Boundary"'
_EDGE = b"--Encrypted Boundary"
_SEALED_BODY = re.compile(
    _EDGE + rb"\r\n\s*Content-Type: [^\r\n]+\r\n\s*OriginalContent: [^\r\n]*Length=(\d+)\r\n" + _EDGE + rb"\r\n"
    rb"\s*Content-Type: application/octet-stream\r\n(.*)" + _EDGE + rb"--(?:\r\n)?\Z",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True)
class Step:
    """What one Authorization header came to."""

    principal: Principal | None = None
    token: str = ""  # the WWW-Authenticate that goes on with the exchange, or with somebody found, ends it


class Session:
    """The authentication of one connection."""

    def __init__(self, certificate: bytes | None, hardening: Hardening) -> None:
        """`certificate`: the one that the connection was opened with, as DER; None without TLS."""
        self._context: Any = None
        self._bindings: GssChannelBindings | None = None
        self._hardening = hardening
        if certificate is not None:
            digest = hashlib.sha256(certificate).digest()
            self._bindings = GssChannelBindings(application_data=b"tls-server-end-point:" + digest)
        self.principal: Principal | None = None  # who the connection belongs to

    def forget(self) -> None:
        """Let the connection be nobody's again."""
        self._context, self.principal = None, None

    def basic(self, token: str, accounts: Accounts) -> Principal | None:
        """Return who a Basic header is, if the account is local: Windows takes no other there."""
        try:
            name, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except (ValueError, binascii.Error):
            return None
        found = accounts.with_password(name, password)
        return found if found is not None and found.local else None

    def ntlm(self, scheme: str, token: str, accounts: Accounts) -> Step:
        """Take the next token of the exchange, raw or within SPNEGO."""
        try:
            given = base64.b64decode(token, validate=True)
        except (ValueError, binascii.Error):
            return Step()
        with accepting(accounts):
            if self._context is None or self._context.complete:
                self.forget()
                options = spnego.NegotiateOptions
                if given.startswith(b"NTLMSSP\0"):
                    self._context = spnego.server(protocol="ntlm", options=options.use_ntlm)
                else:
                    self._context = spnego.server(protocol="negotiate", options=options.use_negotiate)
            try:
                bindings = self._expected(given)
                answer = self._context.step(given, channel_bindings=bindings)
            except (SpnegoError, LookupError, ValueError, struct.error):
                self.forget()
                return Step()
        if not self._context.complete:
            return Step(token=f"{scheme} {base64.b64encode(answer).decode()}")
        self.principal = accounts.named(self._context.client_principal)
        said = f"{scheme} {base64.b64encode(answer).decode()}" if answer else ""
        return Step(self.principal, said)

    def kerberos(self, scheme: str, token: str, accounts: Accounts, keytab: Path) -> Step:
        """Take a ticket; the account is the name in it, whoever has it."""
        self.forget()
        try:
            self._context = Acceptor(keytab)
            answer = self._context.step(base64.b64decode(token, validate=True))
        except ValueError:  # of base64 too
            self.forget()
            return Step()
        if self._context.complete:
            self.principal = accounts.named(self._context.client_principal)
        return Step(self.principal, f"{scheme} {base64.b64encode(answer or b'').decode()}")

    def _expected(self, token: bytes) -> GssChannelBindings | None:
        """Return the bindings that the last token has to have, or None where they are not looked at."""
        if self._bindings is None or self._hardening == "none" or token[8:12] != b"\3\0\0\0":
            return None
        told = Authenticate.unpack(token).nt_challenge_response or b""
        pairs = NTClientChallengeV2.unpack(told[16:]).av_pairs if len(told) > 24 else {}
        value = pairs.get(AvId.channel_bindings, b"") if pairs else b""
        if value.strip(b"\0"):
            return self._bindings
        if self._hardening == "strict":
            raise ValueError("no channel bindings")
        return None

    def unseal(self, body: bytes) -> bytes:
        """Return what a sealed body says. Raises ValueError where it is not one of this session."""
        found = _SEALED_BODY.match(body)
        if found is None or self._context is None:
            raise ValueError("not a sealed message of this session")
        length, sealed = int(found[1]), found[2]
        size = struct.unpack("<i", sealed[:4])[0]
        try:
            opened = bytes(self._context.unwrap_winrm(sealed[4 : 4 + size], sealed[4 + size :]))
        except SpnegoError as error:
            raise ValueError("not sealed by this session") from error
        if len(opened) != length:
            raise ValueError("the length is not the one that was told")
        return opened

    def seal(self, body: bytes, *, tampered: bool = False) -> bytes:
        """Seal an answer; a tampered one has a bit of its ciphertext turned."""
        made = self._context.wrap_winrm(body)
        data = made.data[:-1] + bytes([made.data[-1] ^ 1]) if tampered else made.data
        head = f"\tContent-Type: {SEALED}\r\n\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={len(body)}\r\n"
        parts = [_EDGE, b"\r\n", head.encode(), _EDGE, b"\r\n\tContent-Type: application/octet-stream\r\n"]
        parts += [struct.pack("<i", len(made.header)), made.header, data, _EDGE, b"--\r\n"]
        return b"".join(parts)
