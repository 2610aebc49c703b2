"""From a reference to its secret: which backend answers for which prefix."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from asset_ledger.credentials import environment
from asset_ledger.credentials.encrypted_file import EncryptedFile
from asset_ledger.credentials.secret import Secret
from asset_ledger.domain.errors import CREDENTIAL_NOT_FOUND, PermanentError
from asset_ledger.domain.secrecy import holds_secret

if TYPE_CHECKING:
    from asset_ledger.credentials.vault import Vault


class CredentialStore:
    """The credentials of one installation: a `sources.platform.Secrets`. Safe to share between threads.

    `home` holds credentials.json; `environ` holds the variables of `env:` references and the settings of
    the other two kinds. Nothing is opened before a reference asks for it, and no value is kept.
    """

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._home = home
        self._environ = environ

    def __repr__(self) -> str:
        return f"CredentialStore({str(self._home)!r})"

    @cached_property
    def file(self) -> EncryptedFile:
        """The encrypted file behind `file:` references."""
        return EncryptedFile(self._home / "credentials.json", self._environ)

    @cached_property
    def _vault(self) -> Vault:
        from asset_ledger.credentials.vault import Vault

        return Vault(self._environ)

    def resolve(self, reference: str) -> Secret:
        """Return the fields of a credential.

        Raises PermanentError with CREDENTIAL_NOT_FOUND or CREDENTIAL_UNREADABLE, and RetryableError with
        CREDENTIAL_STORE_UNAVAILABLE. None of them holds a value.
        """
        kind, colon, name = reference.strip().partition(":")
        if not colon or not name or kind not in ("env", "file", "vault") or holds_secret(reference):
            # not repeated: what stands where a reference should be may be the secret itself
            raise PermanentError(
                CREDENTIAL_NOT_FOUND, "the credential reference is not of the form env:NAME, file:NAME or vault:PATH"
            )
        if kind == "env":
            return environment.read(name, self._environ)
        if kind == "file":
            return self.file.read(name)
        return self._vault.read(name)
