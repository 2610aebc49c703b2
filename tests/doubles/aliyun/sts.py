"""The Security Token Service: AssumeRole and GetCallerIdentity. Called by api.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.doubles.aliyun.answers import Answer, ServiceError, of_json
from tests.doubles.aliyun.principals import ACCOUNT_ID, Key, stamp

if TYPE_CHECKING:
    from tests.doubles.aliyun.server import AliyunDouble

_SHORTEST_S = 900


class Sts:
    """Makes keys of roles that last for a while."""

    def __init__(self, double: AliyunDouble) -> None:
        self._double = double

    def answer(self, key: Key, action: str, said: Mapping[str, str]) -> Answer:
        """Answer a call. Raises ServiceError."""
        if action == "AssumeRole":
            return self._assume(key, said)
        if action == "GetCallerIdentity":
            who = key.principal
            kind = "AssumedRoleUser" if who.kind == "role" else "RAMUser"
            return of_json({
                "AccountId": ACCOUNT_ID, "Arn": who.arn, "IdentityType": kind, "PrincipalId": "28877424437521****",
                "UserId": "28877424437521****", "RequestId": "",
            })  # fmt: skip
        raise ServiceError("InvalidAction.NotFound")

    def _assume(self, key: Key, said: Mapping[str, str]) -> Answer:
        for name in ("RoleArn", "RoleSessionName"):
            if not said.get(name):
                raise ServiceError(
                    "MissingParameter", f'The input parameter "{name}" that is mandatory is not supplied.'
                )
        session = said["RoleSessionName"]
        if re.fullmatch(r"[A-Za-z0-9.@_-]{2,64}", session) is None:
            raise ServiceError("InvalidParameter.RoleSessionName")
        roles = {role.arn: role for role in self._double.keyring.roles.values()}
        role = roles.get(said["RoleArn"])
        if role is None:
            raise ServiceError("EntityNotExist.Role", f"The specified Role not exists: {said['RoleArn']}.")
        trusted = "*" in role.trusted or key.principal.name in role.trusted
        if (
            not trusted
            or key.principal.denial("AssumeRole", "")
            or role.external_id not in (None, said.get("ExternalId"))
        ):
            raise ServiceError("NoPermission")
        seconds = int(said.get("DurationSeconds", "3600"))
        if not _SHORTEST_S <= seconds <= role.longest_s:
            raise ServiceError("InvalidParameter.DurationSeconds")
        lasts = self._double.session_lifetime if self._double.session_lifetime is not None else seconds
        made = self._double.keyring.session(role, lasts)
        return of_json({
            "RequestId": "",
            "AssumedRoleUser": {
                "Arn": f"acs:ram::{ACCOUNT_ID}:role/{role.name}/{session}",
                "AssumedRoleId": f"34458433936495****:{session}",
            },
            "Credentials": {
                "AccessKeyId": made.id, "AccessKeySecret": made.secret, "SecurityToken": made.security_token,
                "Expiration": stamp(made.expires or 0),
            },
        })  # fmt: skip
