"""The keys that sign, as they are now: given, of this instance's role, or of a role that is assumed; renewed in time.

Used by `client`, from several threads. What brings keys is never kept, and no message quotes it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.aliyun import errors
from asset_ledger.sources.aliyun.account import Account, Keys
from asset_ledger.sources.aliyun.config import AliyunConfig
from asset_ledger.sources.aliyun.metadata_client import role_keys

RENEW_BEFORE = timedelta(minutes=5)
SESSION_NAME = "asset-ledger"
_TEXT = re.compile(r"[\x21-\x7e]{4,16384}")

Assume = Callable[[Keys, Mapping[str, str]], Any]
"""Calls AssumeRole with these keys and parameters, and returns the data of its answer."""


class KeyRing:
    """The keys of one run. Nothing is asked before the first `current`."""

    def __init__(self, config: AliyunConfig, account: Account, assume: Assume) -> None:
        self._config, self._account, self._assume = config, account, assume
        self._lock = threading.Lock()
        self._held: Keys | None = None
        # no secret in itself, and nobody else's business
        self._every: list[str] = [account.external_id] if account.external_id else []
        self._note(account.keys)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may stand in no message: of every key there was."""
        return tuple(self._every)

    def current(self, instead_of: Keys | None = None) -> Keys:
        """Return keys that are good for some minutes, and are not those that were refused. Raises a LedgerError."""
        with self._lock:
            held = self._held
            late = (
                held is not None and held.expires_at is not None and held.expires_at - datetime.now(UTC) < RENEW_BEFORE
            )
            if held is None or held is instead_of or (late and self._account.renewable):
                held = self._fetched()
                self._note(held)
                self._held = held
            return held

    def _fetched(self) -> Keys:
        account, keys = self._account, self._account.keys
        if account.ram_role:
            keys = self._keys(role_keys(self._config, account.ram_role), "the metadata service")
            self._note(keys)
        assert keys is not None
        if not account.role_arn:
            return keys
        said = {"RoleArn": account.role_arn, "RoleSessionName": SESSION_NAME}
        if account.external_id:
            said["ExternalId"] = account.external_id
        data = self._assume(keys, said)
        return self._keys(data.get("Credentials") if isinstance(data, dict) else None, "AssumeRole")

    def _keys(self, data: object, where: str) -> Keys:
        found = data if isinstance(data, dict) else {}
        texts = [found.get(name) for name in ("AccessKeyId", "AccessKeySecret", "SecurityToken")]
        expires = _time(found.get("Expiration"))
        if expires is None or not all(isinstance(text, str) and _TEXT.fullmatch(text) for text in texts):
            raise PermanentError(errors.PARSE_ERROR, f"{where} brought no keys", target=self._config.name)
        return Keys(str(texts[0]), str(texts[1]), str(texts[2]), expires)

    def _note(self, keys: Keys | None) -> None:
        self._every += [one for one in (keys.secrets if keys else ()) if one not in self._every]


def _time(value: object) -> datetime | None:
    try:
        return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
