"""Who asks Aliyun: the fields of a credential, checked before anything is sent, keys that sign, and whose. Pure.

Used by `client` and `keys`. No `repr` here shows a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.aliyun import errors
from asset_ledger.sources.aliyun.config import AliyunConfig

_ID = re.compile(r"[A-Za-z0-9._-]{4,128}")
_SECRET = re.compile(r"[\x21-\x7e]{4,8192}")
_ROLE_ARN = re.compile(r"acs:ram::[0-9]{1,32}:role/[A-Za-z0-9._-]{1,64}")
_ACCOUNT_ID = re.compile(r"[0-9]{1,32}")
_ARN = re.compile(r"acs:[a-z]{2,8}::[0-9*]{1,32}:[\w.@/:+=,-]{1,512}")
_KIND = re.compile(r"[A-Za-z]{1,32}")
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9=,.@:/_-]{2,1224}")


@dataclass(frozen=True, slots=True)
class Keys:
    """An AccessKey that signs. `token` and `expires_at` (UTC) are those of temporary ones."""

    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    expires_at: datetime | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may stand in no message."""
        return tuple(one for one in (self.secret, self.token, self.key_id) if one)


@dataclass(frozen=True, slots=True)
class Account:
    """Where keys come from: an AccessKey or the role of this ECS instance, then perhaps a role to assume."""

    keys: Keys | None = None
    ram_role: str = ""
    role_arn: str = ""
    external_id: str = field(default="", repr=False)

    @property
    def kind(self) -> str:
        """In words what reads."""
        first = f"RAM role {self.ram_role} of this instance" if self.ram_role else "AccessKey"
        if self.keys is not None and self.keys.token:
            first = "temporary AccessKey"
        return f"{first}, assuming {self.role_arn}" if self.role_arn else first

    @property
    def renewable(self) -> bool:
        """Say whether new keys can be fetched when these expire."""
        return bool(self.ram_role or self.role_arn)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose keys sign, as Aliyun tells: the account, the ARN of who asks, and what that is (`RAMUser` and others)."""

    account_id: str
    arn: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} {self.arn} of account {self.account_id}"


def identity_of(data: object) -> Identity | None:
    """Return the identity in an answer to GetCallerIdentity, None where there is none."""
    match data:
        case {"AccountId": str(account), "Arn": str(arn), "IdentityType": str(kind)} if (
            _ACCOUNT_ID.fullmatch(account) and _ARN.fullmatch(arn) and _KIND.fullmatch(kind)
        ):
            return Identity(account, arn, kind)
    return None


def account_of(config: AliyunConfig, fields: Mapping[str, str]) -> Account:
    """Return who asks. Raises PermanentError(ALIYUN_CONFIG_INVALID) naming a field that is missing, odd or too many."""
    given = {name: value.strip() for name, value in fields.items() if value.strip()}
    role_arn, external_id = given.get("role_arn", ""), given.get("external_id", "")
    if role_arn and _ROLE_ARN.fullmatch(role_arn) is None:
        raise _invalid(config, "the credential's role_arn is not of the form acs:ram::ACCOUNT:role/NAME")
    if external_id and not role_arn:
        raise _invalid(config, "the credential has external_id, which only means something with role_arn")
    if external_id and _EXTERNAL_ID.fullmatch(external_id) is None:
        raise _invalid(config, "the credential's external_id has characters that none has")
    if config.ram_role:
        if named := [name for name in ("access_key_id", "access_key_secret", "security_token") if name in given]:
            raise _invalid(config, f"ram_role is in place of an AccessKey, and the credential has {named[0]}; keep one")
        return Account(None, config.ram_role, role_arn, external_id)
    if not config.credential_ref:
        raise _invalid(config, "nothing says who asks: give credential_ref, or ram_role on an ECS instance")
    for name in ("access_key_id", "access_key_secret"):
        if name not in given:
            raise _invalid(config, f"the credential has no field {name}")
    for name, shape in (("access_key_id", _ID), ("access_key_secret", _SECRET), ("security_token", _SECRET)):
        if name in given and shape.fullmatch(given[name]) is None:
            raise _invalid(config, f"the credential's {name} has characters that none has")
    keys = Keys(given["access_key_id"], given["access_key_secret"], given.get("security_token", ""))
    return Account(keys, "", role_arn, external_id)


def _invalid(config: AliyunConfig, message: str) -> PermanentError:
    return PermanentError(errors.CONFIG_INVALID, message, target=config.credential_ref or config.name)
