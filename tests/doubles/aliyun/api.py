"""What is answered: who asks (signature, nonce, session, time), may they, and then the action.

Answers are made from state.py; how they go over the wire, and what goes wrong there, is in wire.py.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.doubles.aliyun import paging, shapes
from tests.doubles.aliyun.answers import Answer, ServiceError, of_error, of_json
from tests.doubles.aliyun.faults import Fault
from tests.doubles.aliyun.log import Request
from tests.doubles.aliyun.principals import Key
from tests.doubles.aliyun.signatures import Received, Signed, UnsignedError, read, seconds_of
from tests.doubles.aliyun.sts import Sts

if TYPE_CHECKING:
    from tests.doubles.aliyun.server import AliyunDouble

VERSIONS = {"ecs": "2014-05-26", "sts": "2015-04-01"}
LONGEST_SKEW_S = 15 * 60
# what a caller may say and the double heeds; anything else of an action is refused, so that nothing is silently ignored
_COMMON = frozenset({
    "AccessKeyId", "Action", "Format", "RegionId", "SecurityToken", "Signature", "SignatureMethod", "SignatureNonce",
    "SignatureType", "SignatureVersion", "Timestamp", "Version",
})  # fmt: skip
_PAGING = frozenset({"DryRun", "MaxResults", "NextToken", "PageNumber", "PageSize"})
_HEEDED = {
    "DescribeRegions": frozenset({"AcceptLanguage", "InstanceChargeType", "ResourceType"}),
    "DescribeInstances": _PAGING | {"InstanceIds", "Status", "VpcId", "ZoneId", "InstanceNetworkType"},
    "DescribeDisks": _PAGING | {"InstanceId", "DiskIds", "Status", "ZoneId"},
    "AssumeRole": frozenset({"DurationSeconds", "ExternalId", "Policy", "RoleArn", "RoleSessionName"}),
    "GetCallerIdentity": frozenset(),
}


class Api:
    """The signed services of one double."""

    def __init__(self, double: AliyunDouble) -> None:
        self._double = double
        self._lock = threading.Lock()
        self._nonces: set[tuple[str, str]] = set()
        self._actions: dict[str, Callable[[Key, Mapping[str, str], Fault | None], Answer]] = {
            "DescribeRegions": self._regions,
            "DescribeInstances": self._listed("DescribeInstances"),
            "DescribeDisks": self._listed("DescribeDisks"),
        }
        self._sts = Sts(double)

    def answer(
        self, received: Received, paths: Sequence[str], request: Request, host: str
    ) -> tuple[Answer, Fault | None]:
        """Answer one request and fill in its line of the log; also say which fault on the wire is due."""
        fault: Fault | None = None
        try:
            signed = read(received, paths)
            parameters = dict(received.parameters)
            request.style, request.key_id, request.nonce = signed.style, signed.key_id, signed.nonce
            request.parameters = {
                name: value for name, value in parameters.items() if name not in {"Signature", "SecurityToken"}
            }
            dry = parameters.get("DryRun", "").lower() == "true"
            request.name = f"DryRun:{signed.action}" if dry else signed.action
            request.region = parameters.get("RegionId", "") if request.service == "ecs" else ""
            if signed.action == "DescribeRegions":
                request.region = ""
            key = self._who(signed)
            self._double.limits.spend(signed.action, request.region, self._double.now())
            fault = self._double.faults.fault_for(request)
            answer = self._done(key, signed, parameters, request, fault)
        except (ServiceError, UnsignedError) as error:
            refusal = error if isinstance(error, ServiceError) else ServiceError(error.code, str(error))
            answer = of_error(refusal, request.request_id, host)
            request.code = refusal.code
        self._double.faults.move(request, self._double.cloud, self._double.cloud.lock)
        return answer, fault

    def _who(self, signed: Signed) -> Key:
        key = self._double.keyring.keys.get(signed.key_id)
        if key is None:
            raise ServiceError("InvalidAccessKeyId.NotFound")
        if key.disabled:
            raise ServiceError("InvalidAccessKeyId.Inactive")
        if key.security_token and not signed.security_token:
            raise ServiceError("MissingSecurityToken")
        if signed.security_token != key.security_token:
            raise ServiceError("InvalidSecurityToken.Malformed")
        when = seconds_of(signed.when)
        if when is None:
            raise ServiceError("InvalidTimeStamp.Format")
        if abs(when - self._double.now()) > LONGEST_SKEW_S:
            raise ServiceError("InvalidTimeStamp.Expired")
        if not signed.verify(key.secret):
            # the real ones quote what they calculated, the caller's security token with it
            calculated = signed.texts[0].replace("\n", "\\n")
            raise ServiceError(
                "SignatureDoesNotMatch",
                f"Specified signature is not matched with our calculation. server string to sign is:{calculated}",
            )
        with self._lock:
            if (signed.key_id, signed.nonce) in self._nonces:
                raise ServiceError("SignatureNonceUsed")
            self._nonces.add((signed.key_id, signed.nonce))
        if self._double.keyring.is_over(key):
            raise ServiceError("InvalidSecurityToken.Expired")
        return key

    def _done(self, key: Key, signed: Signed, said: Mapping[str, str], request: Request, fault: Fault | None) -> Answer:
        match fault.kind if fault is not None else None:
            case "error":
                assert fault is not None
                raise ServiceError(fault.code or "InternalError", fault.message, fault.status, fault.headers)
            case "throttle":
                assert fault is not None
                headers = dict(fault.headers)
                if fault.retry_after_ms is not None:
                    headers["x-acs-retry-after"] = str(fault.retry_after_ms)
                raise ServiceError(fault.code or "Throttling.User", fault.message, fault.status or 429, headers)
            case "expire_credentials":
                key.expires = self._double.now() - 1
                raise ServiceError("InvalidSecurityToken.Expired")
            case "replace":
                assert fault is not None
                return of_json(fault.body, fault.status or 200)
        if signed.version != VERSIONS[request.service]:
            raise ServiceError("InvalidVersion")
        if request.service == "sts":
            self._heed(signed.action, said)
            answer = self._sts.answer(key, signed.action, said)
        elif (action := self._actions.get(signed.action)) is not None:
            self._heed(signed.action, said)
            if signed.action != "DescribeRegions":
                self._region(request)
            answer = action(key, said, fault)
        else:
            raise ServiceError("InvalidAction.NotFound")
        return _altered(answer, fault, said, request)

    def _heed(self, action: str, said: Mapping[str, str]) -> None:
        unheeded = sorted(set(said) - _COMMON - _HEEDED.get(action, frozenset()))
        if action in _HEEDED and unheeded:
            raise ServiceError("Double.NotHeeded", f"The double does not know {', '.join(unheeded)} of {action}.", 400)

    def _region(self, request: Request) -> None:
        cloud = self._double.cloud
        if not request.region:
            raise ServiceError(
                "MissingParameter",
                'The input parameter "RegionId" that is mandatory for processing this request is not supplied.',
            )
        if request.region not in cloud.regions or (request.addressed and request.addressed != request.region):
            raise ServiceError("InvalidRegionId.NotFound")
        if request.region in cloud.refused:
            status, code = cloud.refused[request.region]
            raise ServiceError(code, status=status)

    def _regions(self, key: Key, said: Mapping[str, str], fault: Fault | None) -> Answer:
        if key.principal.denial("DescribeRegions", "") is not None:
            raise ServiceError("Forbidden.RAM")
        language = said.get("AcceptLanguage", "zh-CN")
        with self._double.cloud.lock:
            rows = [
                shapes.region(one, language, self._double.region_endpoint.format(region=one.id))
                for one in self._double.cloud.regions.values()
            ]
        return of_json({"Regions": {"Region": rows}, "RequestId": ""})

    def _listed(self, action: str) -> Callable[[Key, Mapping[str, str], Fault | None], Answer]:
        kind = "instance" if action == "DescribeInstances" else "disk"

        def answer(key: Key, said: Mapping[str, str], fault: Fault | None) -> Answer:
            region = said["RegionId"]
            denial = key.principal.denial(action, region)
            if said.get("DryRun", "").lower() == "true":
                raise ServiceError("Forbidden.RAM" if denial is not None else "DryRunOperation")
            if denial is not None and denial.loudly:
                raise ServiceError("Forbidden.RAM")
            page = paging.wanted(said, action, self._double)
            if fault is not None and fault.kind == "expire_token":
                raise ServiceError(fault.code or self._double.token_error)
            with self._double.cloud.lock:
                rows: paging.Rows = [] if denial is not None else self._double.cloud.rows(kind, region)
                rows = [row for row in rows if row[1] not in key.principal.hidden] if key.principal.hidden else rows
                rows = paging.filtered(rows, kind, said, self._double.cloud)
                found, token, total = page.cut(rows)
                texts = [self._double.cloud.told(kind, row_id) for _, row_id in found]
            outer = "Instances" if kind == "instance" else "Disks"
            inner = "Instance" if kind == "instance" else "Disk"
            if page.by_token and isinstance(self._double.token_total, int):
                total = self._double.token_total
            rest = {"TotalCount": total, "NextToken": token, "PageSize": page.size, "PageNumber": page.number}
            return Answer(
                200,
                f'{{"{outer}":{{"{inner}":[{",".join(texts)}]}},{json.dumps(rest)[1:-1]},"RequestId":""}}'.encode(),
            )

        return answer


def _altered(answer: Answer, fault: Fault | None, said: Mapping[str, str], request: Request) -> Answer:
    """Put the request's id into an answer, and what a fault makes of it."""
    answer.body = answer.body.replace(b'"RequestId": ""', b'"RequestId":""').replace(
        b'"RequestId":""', f'"RequestId":"{request.request_id}"'.encode()
    )
    if fault is None or fault.kind not in _ALTERING:
        return answer
    data = json.loads(answer.body)
    rows: list[Any] = next(
        (next(iter(data[name].values())) for name in ("Instances", "Disks", "Regions") if name in data), []
    )
    match fault.kind:
        case "drop_token":
            data["NextToken"] = ""
        case "no_token":
            data.pop("NextToken", None)
        case "repeat":
            rows.extend(rows[-1:])
        case "repeat_token":
            data["NextToken"] = said.get("NextToken") or data["NextToken"]
        case "no_rows":
            rows.clear()
        case "edit":
            assert fault.edit is not None
            data = fault.edit(data) or data
    return of_json(data)


_ALTERING = frozenset({"drop_token", "no_token", "repeat", "repeat_token", "no_rows", "edit"})
