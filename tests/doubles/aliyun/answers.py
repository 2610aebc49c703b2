"""Answers and errors as the services write them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.https import wire

JSON_TYPE = "application/json;charset=utf-8"

# code: (status, message)
ERRORS: dict[str, tuple[int, str]] = {
    "DryRunOperation": (400, "Request validation has been passed with DryRun flag set."),
    "Forbidden.RAM": (
        403,
        "User not authorized to operate on the specified resource, or this API doesn't support RAM.",
    ),
    "IncompleteSignature": (400, "The request signature does not conform to Aliyun standards."),
    "InternalError": (500, "The request processing has failed due to some unknown error, exception or failure."),
    "InvalidAccessKeyId.Inactive": (400, "Specified access key is disabled."),
    "InvalidAccessKeyId.NotFound": (404, "Specified access key is not found."),
    "InvalidAction.NotFound": (404, "Specified api is not found, please check your url and method."),
    "InvalidParameter": (400, "The specified parameter is not valid."),
    "InvalidParameter.NextToken": (400, "The specified parameter NextToken is not valid."),
    "InvalidRegionId.NotFound": (404, "The specified RegionId does not exist."),
    "InvalidSecurityToken.Expired": (400, "Specified SecurityToken is expired."),
    "InvalidSecurityToken.Malformed": (400, "Specified SecurityToken is malformed."),
    "InvalidTimeStamp.Expired": (400, "Specified time stamp or date value is expired."),
    "InvalidTimeStamp.Format": (400, "Specified time stamp or date value is not well formatted."),
    "InvalidVersion": (400, "Specified parameter Version is not valid."),
    "MissingParameter": (400, "An input parameter that is mandatory for processing this request is not supplied."),
    "MissingSecurityToken": (400, "SecurityToken is mandatory for this action."),
    "ServiceUnavailable": (503, "The request has failed due to a temporary failure of the server."),
    "SignatureDoesNotMatch": (400, "Specified signature is not matched with our calculation."),
    "SignatureNonceUsed": (400, "Specified signature nonce was used already."),
    "Throttling": (400, "Request was denied due to request throttling."),
    "Throttling.Api": (400, "Request was denied due to api flow control."),
    "Throttling.User": (400, "Request was denied due to user flow control."),
    # of STS
    "EntityNotExist.Role": (404, "The specified Role not exists."),
    "InvalidParameter.DurationSeconds": (400, "The Min/Max value of DurationSeconds is 15min/1hr."),
    "InvalidParameter.RoleSessionName": (400, "The parameter RoleSessionName is wrongly formed."),
    "NoPermission": (403, "You are not authorized to do this action. You should be authorized by RAM."),
}


class ServiceError(Exception):
    """The service refuses."""

    def __init__(
        self, code: str, message: str | None = None, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        usual_status, usual = ERRORS.get(code, (400, f"The request was refused: {code}."))
        super().__init__(usual if message is None else message)
        self.code = code
        self.status = usual_status if status is None else status
        self.headers = headers or {}


@dataclass
class Answer(wire.Answer):
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": JSON_TYPE})
    code: str = ""


def of_json(data: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(data, ensure_ascii=False).encode())


def of_error(error: ServiceError, request_id: str, host: str) -> Answer:
    """Return an error as the gateway writes it."""
    body = {
        "RequestId": request_id,
        "HostId": host,
        "Code": error.code,
        "Message": str(error),
        "Recommend": f"https://api.aliyun.com/troubleshoot?q={error.code}&product=Ecs&requestId={request_id}",
    }
    answer = of_json(body, error.status)
    answer.headers |= error.headers
    answer.code = error.code
    return answer
