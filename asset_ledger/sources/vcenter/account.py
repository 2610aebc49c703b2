"""Who asks a vCenter: the fields of a credential, checked before anything is sent. Pure; used by `client`."""

from __future__ import annotations

from collections.abc import Mapping

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.vcenter import errors
from asset_ledger.sources.vcenter.config import VcenterConfig


class Account:
    """A user with a password. Its `repr` shows no secret."""

    def __init__(self, config: VcenterConfig, fields: Mapping[str, str]) -> None:
        """Take both fields. Raises PermanentError(VCENTER_CONFIG_INVALID) naming one that is missing or wrong."""
        for field in ("username", "password"):
            if not fields.get(field, "").strip():
                raise _invalid(config, f"the credential has no field {field}")
        self.name = fields["username"].strip()
        # a line's end of a file the secret was kept in is no part of it
        self.password = fields["password"].rstrip("\r\n")
        for field, value in (("username", self.name), ("password", self.password)):
            # XML cannot hold them, and nothing else could be said of a server that refuses them
            if not all(c.isprintable() or c == " " for c in value):
                raise _invalid(config, f"the credential's {field} has characters that cannot be typed")

    def __repr__(self) -> str:
        return f"Account({self.name})"


def _invalid(config: VcenterConfig, message: str) -> PermanentError:
    return PermanentError(errors.CONFIG_INVALID, message, target=config.credential_ref)
