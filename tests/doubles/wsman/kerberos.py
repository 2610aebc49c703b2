"""An acceptor of Kerberos tickets with the face of pyspnego's contexts, over the system's own library (gssapi).

Channel bindings are not looked at. Called by signing_in.py; a keytab holds the keys of every host of a double.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Acceptor:
    """One login of one connection."""

    def __init__(self, keytab: Path) -> None:
        import gssapi

        held = gssapi.Credentials(usage="accept", store={"keytab": str(keytab)})
        self._context: Any = gssapi.SecurityContext(creds=held, usage="accept")

    @property
    def complete(self) -> bool:
        return bool(self._context.complete)

    @property
    def client_principal(self) -> str:
        return str(self._context.initiator_name)

    def step(self, token: bytes) -> bytes | None:
        """Take the client's token and return the answer. Raises ValueError where it is none for this host."""
        from gssapi.exceptions import GSSError

        try:
            answer: bytes | None = self._context.step(token)
        except GSSError as error:
            raise ValueError("no ticket for this host") from error
        return answer

    def wrap_winrm(self, data: bytes) -> Any:
        from gssapi.raw import IOV, IOVBufferType, wrap_iov

        parts = IOV(IOVBufferType.header, data, IOVBufferType.padding, std_layout=False)
        wrap_iov(self._context, parts, confidential=True)
        return SimpleNamespace(header=parts[0].value, data=parts[1].value + (parts[2].value or b""))

    def unwrap_winrm(self, header: bytes, data: bytes) -> bytes:
        from gssapi.exceptions import GSSError
        from gssapi.raw import IOV, IOVBufferType, unwrap_iov

        parts = IOV((IOVBufferType.header, False, header), (IOVBufferType.data, False, data), std_layout=False)
        try:
            unwrap_iov(self._context, parts)
        except GSSError as error:
            raise ValueError("not sealed by this session") from error
        return bytes(parts[1].value)
