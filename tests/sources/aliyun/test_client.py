"""Talking to Aliyun: signatures that are accepted, waiting, trying again, keys that are fetched and renewed, stopping."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from asset_ledger.domain.errors import LedgerError
from asset_ledger.sources.aliyun import client as client_module
from asset_ledger.sources.aliyun import errors
from asset_ledger.sources.aliyun.client import AliyunClient
from asset_ledger.sources.aliyun.pages import REGIONS
from asset_ledger.sources.https_session import AbandonedError
from tests.doubles.aliyun import AliyunDouble
from tests.patience import PATIENCE_S, soon
from tests.sources.aliyun.live import Reading, client, complete, read

ROLE = "acs:ram::1234567890123456:role/ledger"


def regions(one: AliyunClient, aliyun: AliyunDouble) -> Any:
    return one.ask(aliyun.host, REGIONS, {}).answer


def role_of_instance(aliyun: AliyunDouble, **said: Any) -> None:
    aliyun.keyring.add_role("ledger", **said)
    aliyun.metadata.role = "ledger"


def test_a_signed_call_is_accepted_and_each_attempt_has_a_nonce_of_its_own(aliyun: AliyunDouble) -> None:
    aliyun.faults.add(REGIONS, "status", status=503, times=2)
    one = client(aliyun)
    assert regions(one, aliyun).ok
    asked = aliyun.requests.all(REGIONS)
    assert [request.style for request in asked] == ["acs3"] * 3
    assert len({request.nonce for request in asked}) == 3
    assert one.requests == 3


def test_a_nonce_that_was_used_is_another_attempt(aliyun: AliyunDouble) -> None:
    aliyun.faults.add(REGIONS, "error", code="SignatureNonceUsed", status=400, times=3)
    assert regions(client(aliyun), aliyun).ok
    aliyun.faults.add(REGIONS, "error", code="SignatureNonceUsed", status=400, times=None)
    with pytest.raises(LedgerError, match="SignatureNonceUsed") as caught:
        regions(client(aliyun), aliyun)
    assert caught.value.code is errors.AUTH_FAILED


def test_a_throttled_call_waits_for_as_long_as_it_is_told(aliyun: AliyunDouble) -> None:
    aliyun.faults.add(REGIONS, "throttle", retry_after_ms=300, times=2)
    one, began = client(aliyun), time.monotonic()
    assert regions(one, aliyun).ok
    assert time.monotonic() - began >= 0.6
    assert one.rate_limited == 2


def test_pauses_grow_until_the_next_minute_where_nothing_is_told() -> None:
    own = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
    told = [client_module._throttled(attempt, None) for attempt in range(len(own))]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(client_module, "THROTTLED_S", own)
        waits = [client_module._throttled(attempt, None) or 0.0 for attempt in range(len(own))]
        assert client_module._throttled(len(own), None) is None
        assert client_module._throttled(len(own), 1.0) is None
    assert all(told)
    assert all(0.8 * most <= wait <= most for wait, most in zip(waits, own, strict=True))
    assert sum(waits) > 60, "what is throttled opens in the next minute"


def test_a_pause_that_outlasts_the_reading_is_not_made(aliyun: AliyunDouble) -> None:
    aliyun.faults.add(REGIONS, "throttle", retry_after_ms=1_000_000, times=None)
    with soon():
        assert regions(client(aliyun, reading_timeout_s=100), aliyun).error is errors.RATE_LIMIT
    assert aliyun.requests.count(REGIONS) == 1


def test_a_reading_that_takes_too_long_ends(aliyun: AliyunDouble) -> None:
    complete(read(aliyun))
    asked = len(aliyun.requests)
    aliyun.requests.clear()
    aliyun.latency = 0.4
    found = read(aliyun, reading_timeout_s=1)
    assert found.error is not None
    assert found.error.code is errors.NETWORK_ERROR
    assert "reading_timeout_s" in str(found.error)
    assert len(aliyun.requests) < asked


def test_a_minute_that_is_spent_is_waited_for(aliyun: AliyunDouble) -> None:
    limit = aliyun.limits.add("DescribeInstances", calls=1, minute=0.5)
    found = complete(read(aliyun))
    assert limit.refused > 0
    assert found.proof.counts["rate_limited"] == limit.refused


def test_throttling_is_a_line_of_the_log(aliyun: AliyunDouble, caplog: pytest.LogCaptureFixture) -> None:
    aliyun.faults.add("DescribeInstances cn-beijing", "throttle", retry_after_ms=10)
    with caplog.at_level("WARNING", "asset_ledger.sources.aliyun"):
        complete(read(aliyun))
    [line] = [record.getMessage() for record in caplog.records]
    assert '"event": "aliyun.rate_limited"' in line
    assert '"region": "cn-beijing"' in line


def test_a_role_is_assumed_and_read_with(aliyun: AliyunDouble) -> None:
    aliyun.keyring.add_role("ledger", external_id="the-outside")
    found = complete(read(aliyun, {**aliyun.credential, "role_arn": ROLE, "external_id": "the-outside"}))
    assert len(found.assets) == len(aliyun.cloud.instances)
    assert aliyun.requests.count("AssumeRole") == 1
    assert {request.key_id[:4] for request in aliyun.requests.all("Describe*")} == {"STS."}
    assert found.last["account"] == f"AccessKey, assuming {ROLE}"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"role_arn": ROLE}, errors.PERMISSION_DENIED),
        ({"role_arn": ROLE, "external_id": "another"}, errors.PERMISSION_DENIED),
        ({"role_arn": ROLE + "s"}, errors.CONFIG_INVALID),
    ],
)
def test_a_role_that_cannot_be_assumed_ends_the_reading(
    aliyun: AliyunDouble, fields: dict[str, str], code: Any
) -> None:
    aliyun.keyring.add_role("ledger", external_id="the-outside")
    found = read(aliyun, {**aliyun.credential, **fields})
    assert found.error is not None
    assert found.error.code is code
    assert found.records == []


def test_the_role_of_this_instance_is_read_with_and_no_credential_is_needed(aliyun: AliyunDouble) -> None:
    role_of_instance(aliyun)
    found = complete(read(aliyun, {}, credential_ref="", ram_role="ledger"))
    assert aliyun.requests.names()[:2] == [
        "PUT /latest/api/token",
        "GET /latest/meta-data/ram/security-credentials/ledger",
    ]
    assert found.last["account"] == "RAM role ledger of this instance"


def test_the_role_of_this_instance_may_assume_another(aliyun: AliyunDouble) -> None:
    aliyun.keyring.add_role("own")
    aliyun.metadata.role = "own"
    aliyun.keyring.add_role("ledger", trusted={"own"})
    complete(read(aliyun, {"role_arn": ROLE}, ram_role="own"))
    assert aliyun.requests.count("AssumeRole") == 1


@pytest.mark.parametrize(
    ("role", "said", "code"),
    [
        ("ledger", {"ram_role": "other"}, errors.CONFIG_INVALID),
        (None, {"ram_role": "ledger"}, errors.CONFIG_INVALID),
        ("ledger", {"ram_role": "ledger", "metadata_endpoint": "http://127.0.0.1:1"}, errors.NETWORK_ERROR),
    ],
)
def test_a_role_that_this_instance_has_not_ends_the_reading(
    aliyun: AliyunDouble, role: str | None, said: dict[str, Any], code: Any
) -> None:
    aliyun.keyring.add_role("ledger")
    aliyun.metadata.role = role
    found = read(aliyun, {}, credential_ref="", **said)
    assert found.error is not None
    assert found.error.code is code


@pytest.mark.parametrize("kind", ["role", "instance"])
def test_keys_that_expire_in_the_middle_are_fetched_anew_once(aliyun: AliyunDouble, kind: str) -> None:
    role_of_instance(aliyun)
    aliyun.faults.add("DescribeInstances cn-beijing", "expire_credentials")
    if kind == "role":
        complete(read(aliyun, {**aliyun.credential, "role_arn": ROLE}, parallel=1))
        assert aliyun.requests.count("AssumeRole") == 2
    else:
        complete(read(aliyun, {}, credential_ref="", ram_role="ledger", parallel=1))
        assert aliyun.requests.count("GET /latest/*") == 2


def test_regions_that_are_read_at_once_fetch_new_keys_together(aliyun: AliyunDouble) -> None:
    role_of_instance(aliyun)
    aliyun.on(REGIONS, lambda _: aliyun.keyring.expire_sessions())
    complete(read(aliyun, {**aliyun.credential, "role_arn": ROLE}, parallel=3))
    assert aliyun.requests.count("AssumeRole") == 2


def test_keys_that_are_about_to_expire_are_fetched_before_they_do(aliyun: AliyunDouble) -> None:
    role_of_instance(aliyun)
    aliyun.metadata.lifetime = 100.0
    one = client(aliyun, {}, credential_ref="", ram_role="ledger")
    for _ in range(3):
        assert regions(one, aliyun).ok
    assert aliyun.requests.count("GET /latest/*") == 3


def test_keys_that_expire_again_and_again_end_the_reading(aliyun: AliyunDouble) -> None:
    role_of_instance(aliyun)
    aliyun.faults.add("DescribeInstances cn-beijing", "expire_credentials", times=None)
    found = read(aliyun, {**aliyun.credential, "role_arn": ROLE}, parallel=1)
    assert found.error is not None
    assert found.error.code is errors.AUTH_FAILED
    assert aliyun.requests.count("AssumeRole") == 2


def test_a_temporary_key_that_is_given_and_expires_ends_the_reading(aliyun: AliyunDouble) -> None:
    role = aliyun.keyring.add_role("ledger")
    key = aliyun.keyring.session(role, 3600)
    fields = {"access_key_id": key.id, "access_key_secret": key.secret, "security_token": key.security_token}
    complete(read(aliyun, fields))
    aliyun.keyring.expire_sessions()
    found = read(aliyun, fields)
    assert found.error is not None
    assert found.error.code is errors.AUTH_FAILED


def secrets_of(aliyun: AliyunDouble) -> set[str]:
    keys = aliyun.keyring.keys.values()
    return {text for key in keys for text in (key.secret, key.security_token) if text}


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_no_secret_is_in_raw_messages_logs_or_reprs(
    aliyun: AliyunDouble, caplog: pytest.LogCaptureFixture, ends: str
) -> None:
    aliyun.keyring.add_role("own")
    aliyun.metadata.role = "own"
    aliyun.keyring.add_role("ledger", trusted={"own"}, external_id="the-outside")
    aliyun.cloud.change(
        "i-bp1web000000000000001",
        tags={"db_password": "canary-tag", "env": "prod", "note": "LTAI5tCanaryCanaryCanary"},
        extra={"Description": "root/canary-description", "UserData": "canary-user-data"},
    )
    if ends == "badly":  # the service quotes what was signed, the token of the session with it
        quoted = "x-acs-security-token:{}"

        def quote_everything(_: object) -> None:
            own = secrets_of(aliyun) - {aliyun.access_key_secret}  # which is not what this source asks with
            said = quoted.format(" ".join({*own, "the-outside"}))
            aliyun.faults.add("DescribeInstances", "error", code="Odd", status=400, message=said, times=None)

        aliyun.on(REGIONS, quote_everything)
    fields = {"role_arn": ROLE, "external_id": "the-outside"}
    with caplog.at_level("DEBUG"):
        found: Reading = read(aliyun, fields, ram_role="own")
    assert (found.error is None) == (ends == "well"), found.error
    told = found.bytes.decode() + repr(found.items) + repr(found.error) + str(found.error)
    told += repr(client(aliyun, fields, ram_role="own"))
    assert "the-outside" not in told
    told += caplog.text
    secrets = secrets_of(aliyun) | set(aliyun.metadata.tokens)
    assert len(secrets) > 4
    assert [secret for secret in secrets if secret in told] == []
    assert "canary" not in told.lower()
    if ends == "well":
        assert found.assets["i-bp1web000000000000001"]["tags"] == ["db_password", "env=prod", "note"]
        assert [raw.redacted for raw in found.records if raw.target == "cn-hangzhou"] == [True]


def test_stopping_ends_what_runs_and_what_waits(aliyun: AliyunDouble) -> None:
    aliyun.faults.add(REGIONS, "throttle", retry_after_ms=60_000)
    one, ended = client(aliyun), []

    def ask() -> None:
        try:
            regions(one, aliyun)
        except AbandonedError:
            ended.append("stopped")

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    one.stop()
    thread.join(PATIENCE_S)
    assert ended == ["stopped"]
    with pytest.raises(AbandonedError):
        regions(one, aliyun)


def test_the_fingerprint_of_the_one_server_is_enough(aliyun: AliyunDouble) -> None:
    assert regions(client(aliyun, fingerprint=aliyun.fingerprint), aliyun).ok
    with pytest.raises(LedgerError) as caught:
        regions(client(aliyun, fingerprint="ab" * 32), aliyun)
    assert caught.value.code is errors.TLS_ERROR
