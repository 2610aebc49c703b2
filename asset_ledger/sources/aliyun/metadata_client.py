"""The metadata service of the ECS instance that this program runs on: where the keys of its RAM role come from.

Plain HTTP to a link-local server, as Aliyun has it, with a token of the hardened mode (IMDSv2). Beside the HTTPS
session the one other place of the platform that opens a connection. Called by `keys`.
"""

from __future__ import annotations

import http.client
from urllib.parse import quote, urlsplit

from asset_ledger.domain.errors import PermanentError, RetryableError
from asset_ledger.sources.aliyun import errors
from asset_ledger.sources.aliyun.config import AliyunConfig
from asset_ledger.sources.aliyun.raw import decoded

TIMEOUT_S = 5.0
_KEYS = "/latest/meta-data/ram/security-credentials/"
_MOST_BYTES = 1 << 16


def role_keys(config: AliyunConfig, role: str) -> object:
    """Return what the service says of a role's keys, as JSON data.

    Raises RetryableError(ALIYUN_NETWORK_ERROR) where nothing answers, PermanentError(ALIYUN_CONFIG_INVALID) where this
    instance has no such role, PermanentError(ALIYUN_PARSE_ERROR) for what is no answer of the service.
    """
    parts = urlsplit(config.metadata_endpoint)
    where = parts.netloc
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        lifetime = {"X-aliyun-ecs-metadata-token-ttl-seconds": "60", "Content-Length": "0"}
        token = _asked(connection, "PUT", "/latest/api/token", lifetime)
        headers = (
            {"X-aliyun-ecs-metadata-token": token[1].decode("ascii", "replace").strip()} if token[0] == 200 else {}
        )
        if not all(value.isprintable() for value in headers.values()):
            raise _odd("its token cannot be one", where)
        status, body = _asked(connection, "GET", _KEYS + quote(role, safe=""), headers)
    except (OSError, http.client.HTTPException) as error:
        said = "no answer" if isinstance(error, TimeoutError) else type(error).__name__
        message = f"the metadata service: {said}; this machine may be no ECS instance"
        raise RetryableError(errors.NETWORK_ERROR, message, target=where) from None
    finally:
        connection.close()
    if status == 404:
        raise PermanentError(errors.CONFIG_INVALID, f"this instance has no RAM role {role}", target=where)
    if status >= 500:
        raise RetryableError(errors.NETWORK_ERROR, f"the metadata service: {status}", target=where)
    if status != 200:
        raise _odd(f"it answers {status}", where)
    try:
        return decoded(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _odd("its answer is no JSON", where) from None


def _asked(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str]
) -> tuple[int, bytes]:
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(_MOST_BYTES)


def _odd(message: str, where: str) -> PermanentError:
    return PermanentError(errors.PARSE_ERROR, f"the metadata service: {message}", target=where)
