"""`vault:MOUNT/PATH`: a secret of HashiCorp Vault's KV engine, version 1 or 2, whole. Needs the extra `vault`.

Settings are Vault's own variables: VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT, and VAULT_TOKEN or an AppRole's
VAULT_ROLE_ID and VAULT_SECRET_ID. Only reads; Vault's own tools write.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asset_ledger.credentials.secret import Secret, as_secret, unreadable
from asset_ledger.domain.errors import (
    CONFIG_INVALID,
    CREDENTIAL_NOT_FOUND,
    CREDENTIAL_STORE_UNAVAILABLE,
    LedgerError,
    PermanentError,
    RetryableError,
)

if TYPE_CHECKING:
    from hvac import Client

TIMEOUT_SECONDS = 10
_PART = re.compile(r"[\w.@+=-]+")  # no `..`, `#field` or `?version`: one reference, one request, one whole secret


class Vault:
    """One Vault server and one login, made at the first read. Safe to share between threads."""

    def __init__(self, environ: Mapping[str, str], timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._environ = environ
        self._timeout = timeout_seconds
        self._client: Client | None = None
        self._lock = threading.Lock()

    def read(self, path: str) -> Secret:
        """Return the fields of the secret at MOUNT/PATH, in its newest version."""
        reference = f"vault:{path}"
        parts = path.strip("/").split("/")
        if len(parts) < 2 or not all(_PART.fullmatch(part) and part.strip(".") for part in parts):
            raise PermanentError(
                CREDENTIAL_NOT_FOUND,
                "a vault: reference is MOUNT/PATH of a whole secret: letters, digits and _ . @ + = - between slashes",
                target=reference,
            )
        with self._lock:
            if self._client is None:
                self._client = self._login(reference)
                return self._read(self._client, path.strip("/"), reference)
            try:
                return self._read(self._client, path.strip("/"), reference)
            except _DeniedError:
                if not self._environ.get("VAULT_ROLE_ID"):
                    raise
                # an AppRole's token has an end; a long run logs in anew, once
                self._client = self._login(reference)
                return self._read(self._client, path.strip("/"), reference)

    def _login(self, reference: str) -> Client:
        try:
            import hvac
        except ImportError:
            raise PermanentError(
                CONFIG_INVALID,
                "reading from Vault needs the package hvac; install asset-ledger[vault]",
                target=reference,
            ) from None
        env = self._environ
        address, certificates = env.get("VAULT_ADDR"), env.get("VAULT_CACERT")
        if not address:
            raise PermanentError(CONFIG_INVALID, "VAULT_ADDR is not set", target=reference)
        if certificates and not Path(certificates).is_file():
            raise PermanentError(
                CONFIG_INVALID, f"VAULT_CACERT names no readable file: {certificates}", target=reference
            )
        token, role, secret = env.get("VAULT_TOKEN"), env.get("VAULT_ROLE_ID"), env.get("VAULT_SECRET_ID")
        if not token and not (role and secret):
            raise PermanentError(
                CONFIG_INVALID,
                "set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID",
                target=reference,
            )
        # Everything is said here, so that hvac takes nothing from the process environment or ~/.vault-token.
        # Redirects are not followed: they would carry the token to whatever host an answer names.
        client = hvac.Client(
            url=address,
            token=token or "",
            verify=certificates or True,
            timeout=self._timeout,
            namespace=env.get("VAULT_NAMESPACE") or None,
            allow_redirects=False,
        )
        if not token:
            with self._failures(reference, "the AppRole login"):
                answer = client.auth.approle.login(role_id=role, secret_id=secret, use_token=False)
                client.token = _part(answer, "auth", "client_token")
        return client

    def _read(self, client: Client, path: str, reference: str) -> Secret:
        mount, version = self._mount_of(client, path, reference)
        below = path.removeprefix(mount).strip("/")
        with self._failures(reference, "reading it"):
            if version == 2:
                answer = client.secrets.kv.v2.read_secret_version(
                    path=below, mount_point=mount, raise_on_deleted_version=True
                )
                return as_secret(_part(answer, "data", "data"), reference)
            answer = client.secrets.kv.v1.read_secret(path=below, mount_point=mount)
            return as_secret(_part(answer, "data"), reference)

    def _mount_of(self, client: Client, path: str, reference: str) -> tuple[str, int]:
        """Ask where the engine of a path is mounted and of which version it is, as the vault command does."""
        from hvac.exceptions import InvalidPath

        with self._failures(reference, "looking up its mount"):
            try:
                answer = client.adapter.get(f"/v1/sys/internal/ui/mounts/{path}")
            except InvalidPath:
                return path.split("/", maxsplit=1)[0], 1  # a server from before this endpoint knows only version 1
            mount = _part(answer, "data", "path")
            options = answer["data"].get("options") or {}
            return str(mount).strip("/"), 2 if options.get("version") == "2" else 1

    @contextmanager
    def _failures(self, reference: str, what: str) -> Iterator[None]:
        """Turn hvac's and requests' errors into ours. Never chained: an answer's body may ride on them."""
        import requests
        from hvac import exceptions

        address = self._environ["VAULT_ADDR"]
        try:
            yield
        except LedgerError:
            raise
        except exceptions.InvalidPath:
            raise PermanentError(
                CREDENTIAL_NOT_FOUND, "Vault has no secret there, or its newest version is deleted", target=reference
            ) from None
        except (exceptions.Forbidden, exceptions.Unauthorized):
            raise _DeniedError(
                reference, f"Vault refused {what}: the token lacks `read` on the path, or has ended"
            ) from None
        except exceptions.InvalidRequest:
            raise unreadable(
                reference, f"Vault refused {what}: wrong VAULT_ROLE_ID or VAULT_SECRET_ID, or path"
            ) from None
        except exceptions.VaultError as error:
            raise _unavailable(reference, f"{address} failed at {what} ({_reason(error)})") from None
        except requests.exceptions.SSLError:
            raise _unavailable(
                reference, f"the certificate of {address} is not trusted; set VAULT_CACERT to the CA's file"
            ) from None
        except requests.exceptions.Timeout:
            raise _unavailable(reference, f"{address} did not answer within {self._timeout:g} s") from None
        except requests.exceptions.RequestException as error:
            raise _unavailable(reference, f"{address} cannot be reached ({type(error).__name__})") from None
        except _StrangeAnswerError as strange:
            raise _unavailable(reference, f"{address} answered to {what} with {strange}") from None


class _DeniedError(PermanentError):
    def __init__(self, reference: str, message: str) -> None:
        error = unreadable(reference, message)
        super().__init__(error.code, error.message, target=error.target)


class _StrangeAnswerError(Exception):
    """Not JSON, or without the part it should have: a proxy, a redirect, another service."""


def _part(answer: Any, *keys: str) -> Any:
    for key in keys:
        if not isinstance(answer, dict) or answer.get(key) is None:
            redirect = getattr(answer, "is_redirect", False)
            raise _StrangeAnswerError("a redirect; name the active node" if redirect else "what Vault does not say")
        answer = answer[key]
    return answer


def _reason(error: Exception) -> str:
    return {"VaultDown": "sealed or in maintenance", "VaultNotInitialized": "not initialised"}.get(
        type(error).__name__, type(error).__name__
    )


def _unavailable(reference: str, message: str) -> RetryableError:
    return RetryableError(CREDENTIAL_STORE_UNAVAILABLE, message, target=reference)
