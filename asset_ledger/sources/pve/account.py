"""Who asks a Proxmox VE: the fields of a credential, checked before anything is sent. Pure; used by `client`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.pve import errors
from asset_ledger.sources.pve.config import PveConfig


class Account:
    """Who asks: a token, or a user with a password. Its `repr` shows no secret."""

    def __init__(self, config: PveConfig, fields: Mapping[str, str]) -> None:
        """Take the fields that `auth_type` asks for. Raises PermanentError(PVE_CONFIG_INVALID) naming a wrong one."""
        self.by_token = config.auth_type == "api_token"
        name, secret = ("api_token_id", "api_token_secret") if self.by_token else ("username", "password")
        for field in (name, secret):
            if not fields.get(field, "").strip():
                raise _invalid(config, f"the credential has no field {field}, which auth_type {config.auth_type} needs")
        self.name = fields[name].strip()
        # a line's end of a file the secret was kept in is no part of it
        self.secret = fields[secret].rstrip("\r\n")
        shape, example = (
            (r"[^\s@!=]+(@[^\s@!=]+)+![A-Za-z][\w.-]+", "user@realm!name")
            if self.by_token
            else (r"[^\s:/]+@[A-Za-z][\w.-]+", "user@realm")
        )
        if re.fullmatch(shape, self.name) is None:
            raise _invalid(config, f"the credential's {name} is not of the form {example}")
        if self.by_token and re.fullmatch(r"[\x21-\x7e]+", self.secret) is None:
            raise _invalid(config, "the credential's api_token_secret has characters that no token has")

    @property
    def user(self) -> str:
        """The user, `name@realm`, without the token."""
        return self.name.partition("!")[0] if self.by_token else self.name

    def __repr__(self) -> str:
        return f"Account({self.name})"


def _invalid(config: PveConfig, message: str) -> PermanentError:
    return PermanentError(errors.CONFIG_INVALID, message, target=config.credential_ref)
