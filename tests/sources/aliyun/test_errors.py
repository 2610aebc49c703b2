"""Every way in which a reading can go wrong, and the code that it ends with: once each, over real TLS."""

from __future__ import annotations

from typing import Any

import pytest

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, ErrorCode, IncompleteError, LedgerError
from asset_ledger.sources.aliyun import errors
from asset_ledger.sources.platform import ReadOrder
from tests.doubles.aliyun import AliyunDouble
from tests.sources.aliyun.live import Reading, collector, complete, read

REGIONS, DRY, LIST, DISKS = "DescribeRegions", "DryRun:DescribeInstances", "DescribeInstances", "DescribeDisks"
ONE = "DescribeInstances cn-beijing"
FAULTS: list[tuple[str, dict[str, Any], ErrorCode]] = [
    # what ends in the middle, or never comes
    *(
        (match, {"kind": kind}, errors.NETWORK_ERROR)
        for match in (REGIONS, DRY, LIST, ONE)
        for kind in ("close", "reset", "cut")
    ),
    (REGIONS, {"kind": "stall_before", "seconds": 5}, errors.NETWORK_ERROR),
    (ONE, {"kind": "stall_inside", "seconds": 5}, errors.NETWORK_ERROR),
    (ONE, {"kind": "trickle", "seconds": 20}, errors.NETWORK_ERROR),
    # what says that it cannot answer now
    *((ONE, {"kind": "status", "status": status}, errors.NETWORK_ERROR) for status in (500, 502, 503, 504)),
    (REGIONS, {"kind": "error", "code": "ServiceUnavailable", "status": 503}, errors.NETWORK_ERROR),
    (DRY, {"kind": "error", "code": "InternalError", "status": 500}, errors.NETWORK_ERROR),
    # what is no answer of Aliyun's
    *((match, {"kind": kind}, errors.PARSE_ERROR) for match in (REGIONS, DRY, ONE) for kind in ("html", "garbled")),
    (ONE, {"kind": "truncated_json"}, errors.PARSE_ERROR),
    (ONE, {"kind": "no_token"}, errors.PARSE_ERROR),
    (ONE, {"kind": "replace", "body": {"RequestId": "r", "NextToken": ""}}, errors.PARSE_ERROR),
    (ONE, {"kind": "replace", "body": {"NextToken": "", "Instances": {"Instance": [{"Cpu": 4}]}}}, errors.PARSE_ERROR),
    (ONE, {"kind": "replace", "body": {"NextToken": "", "Instances": None}}, errors.PARSE_ERROR),
    (REGIONS, {"kind": "replace", "body": {"Regions": {"Region": []}}}, errors.PARSE_ERROR),
    (REGIONS, {"kind": "replace", "body": {"Regions": {"Region": [{"RegionId": "evil.com/"}]}}}, errors.PARSE_ERROR),
    (DRY, {"kind": "replace", "body": {"Instances": {"Instance": []}, "NextToken": ""}}, errors.PERMISSION_DENIED),
    # what is refused
    *((match, {"kind": "redirect"}, errors.CONFIG_INVALID) for match in (REGIONS, DRY)),
    (REGIONS, {"kind": "error", "code": "InvalidAccessKeyId.NotFound", "status": 404}, errors.AUTH_FAILED),
    (ONE, {"kind": "error", "code": "InvalidAccessKeyId.Inactive", "status": 400}, errors.AUTH_FAILED),
    (DISKS, {"kind": "error", "code": "InvalidAccessKeyId.Inactive", "status": 400}, errors.AUTH_FAILED),
    (REGIONS, {"kind": "error", "code": "IncompleteSignature", "status": 400}, errors.AUTH_FAILED),
    (REGIONS, {"kind": "error", "code": "InvalidTimeStamp.Expired", "status": 400}, errors.CLOCK_SKEW),
    (REGIONS, {"kind": "error", "code": "Forbidden.RAM", "status": 403}, errors.PERMISSION_DENIED),
    (DRY, {"kind": "error", "code": "Forbidden.RAM", "status": 403}, errors.PERMISSION_DENIED),
    (ONE, {"kind": "error", "code": "Forbidden.RAM", "status": 403}, errors.PERMISSION_DENIED),
    (ONE, {"kind": "error", "code": "Account.Arrearage", "status": 400}, errors.API_ERROR),
    ("*DescribeInstances cn-beijing", {"kind": "error", "code": "InvalidRegionId.NotFound", "status": 404}, errors.REGION_UNAVAILABLE),
    # throttling, in its three names, and by a proxy
    *(
        (match, {"kind": "throttle", "code": code, "status": status}, errors.RATE_LIMIT)
        for match, code, status in (
            (REGIONS, "Throttling", 400),
            (DRY, "Throttling.User", 429),
            (ONE, "Throttling.Api", 400),
        )
    ),
    (ONE, {"kind": "throttle", "retry_after_ms": 3_600_000}, errors.RATE_LIMIT),
    # pages that look like success
    (ONE, {"kind": "repeat"}, INVENTORY_INCOMPLETE),
]  # fmt: skip
OF_LISTS = {LIST, ONE, DISKS}
BESIDES = {"ALIYUN_TLS_ERROR", "ALIYUN_TLS_UNVERIFIED", "ALIYUN_DISKS_UNAVAILABLE"}


def ended(found: Reading, code: ErrorCode) -> LedgerError:
    assert found.error is not None
    assert found.error.code is code, found.error
    assert found.error.message
    assert found.error.target
    return found.error


def checked(aliyun: AliyunDouble, **said: Any) -> set[str]:
    """Return the codes that a check of the source ends with."""
    try:
        health = collector(aliyun, **said).healthcheck(ReadOrder())
    except LedgerError as error:
        return {error.code.code}
    assert health.ok is not bool(health.problems)
    return {problem.partition(":")[0] for problem in health.problems}


@pytest.mark.parametrize(("match", "fault", "code"), FAULTS, ids=lambda each: str(getattr(each, "code", each))[:60])
def test_what_goes_wrong_ends_the_reading_with_its_code(
    aliyun: AliyunDouble, match: str, fault: dict[str, Any], code: ErrorCode
) -> None:
    aliyun.faults.add(match, **{"times": None, **fault})
    found = read(aliyun, timeout_ms=300)
    error = ended(found, code)
    assert aliyun.host in str(error)
    assert aliyun.access_key_secret not in f"{error} {error!r}" + found.bytes.decode("utf-8", "replace")
    if found.records:  # what was gathered is kept, and says itself why it is no reading
        assert found.last["error"]["code"] == code.code
        assert not found.proof.complete
    expected = set() if match in OF_LISTS else {code.code}  # a check lists nothing
    assert checked(aliyun, timeout_ms=300) == expected


def test_a_region_that_fails_does_not_keep_the_others_from_being_read(aliyun: AliyunDouble) -> None:
    aliyun.faults.add(ONE, "status", status=503, times=None)
    found = read(aliyun)
    error = ended(found, errors.NETWORK_ERROR)
    assert isinstance(error, IncompleteError)
    assert found.targets[-1] == "account"
    assert set(found.targets[:-1]) == {"cn-hangzhou", "cn-beijing", "ap-southeast-1"}
    assert "cn-beijing" in error.message
    assert "cn-hangzhou" not in error.message
    assert [missing for missing in found.proof.missing if "cn-beijing" in missing] == list(found.proof.missing)


def test_two_regions_that_fail_for_two_reasons_are_both_named(aliyun: AliyunDouble) -> None:
    aliyun.faults.add(ONE, "status", status=503, times=None)
    aliyun.cloud.refuse_region("ap-southeast-1")
    error = ended(read(aliyun), INVENTORY_INCOMPLETE)
    assert "cn-beijing" in error.message
    assert "ap-southeast-1" in error.message


def test_a_region_that_is_refused_is_named_and_can_be_left_out(aliyun: AliyunDouble) -> None:
    aliyun.cloud.refuse_region("ap-southeast-1")
    error = ended(read(aliyun), errors.REGION_UNAVAILABLE)
    assert "ap-southeast-1" in error.message
    assert "exclude_regions" in str(error)
    assert checked(aliyun) == {"ALIYUN_REGION_UNAVAILABLE"}
    left = complete(read(aliyun, exclude_regions=["ap-southeast-1"]))
    assert left.proof.counts["excluded"] == ["ap-southeast-1"]
    assert checked(aliyun, exclude_regions=["ap-southeast-1"]) == set()


@pytest.mark.parametrize("region", ["*", "cn-beijing"])
def test_a_silent_denial_is_no_empty_inventory(aliyun: AliyunDouble, region: str) -> None:
    aliyun.user.deny("DescribeInstances", region)
    found = read(aliyun)
    error = ended(found, errors.PERMISSION_DENIED)
    assert isinstance(error, IncompleteError)
    assert "DryRun" in error.message
    assert "AliyunECSReadOnlyAccess" in error.message
    assert checked(aliyun) == {"ALIYUN_PERMISSION_DENIED"}
    listed = aliyun.requests.all(ONE)
    assert listed == [], "nothing is listed where it is known that it may not be"


@pytest.mark.parametrize("silently", [True, False])
def test_disks_that_may_not_be_read_do_not_fail_the_instances(aliyun: AliyunDouble, silently: bool) -> None:
    before = complete(read(aliyun)).assets
    aliyun.user.deny(DISKS, loudly=not silently)
    found = complete(read(aliyun))
    assert found.assets.keys() == before.keys()
    for document in found.assets.values():
        assert "disk_total_bytes" not in document["hardware"]
        assert document["unknown"]["hardware.disk_total_bytes"]
    assert {code for code, _ in found.cautions} == {"ALIYUN_DISKS_UNAVAILABLE"}
    assert len(found.cautions) == 2, "one a region that has instances"
    health = collector(aliyun).healthcheck(ReadOrder())
    assert health.ok
    assert health.checks["disks"] == "may be listed in 0 of 3 regions"


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 503}, {"kind": "cut"}, {"kind": "html"}, {"kind": "no_token"}, {"kind": "throttle"}],
    ids=str,
)
def test_disks_that_cannot_be_read_are_unknown_with_the_reason(aliyun: AliyunDouble, fault: dict[str, Any]) -> None:
    aliyun.faults.add("DescribeDisks cn-hangzhou", times=None, **fault)
    found = complete(read(aliyun))
    reasons = {
        name: document["unknown"].get("hardware.disk_total_bytes", "") for name, document in found.assets.items()
    }
    assert all(why.startswith("ALIYUN_DISKS_UNAVAILABLE") == ("i-2ze" not in name) for name, why in reasons.items())
    assert [code for code, _ in found.cautions] == ["ALIYUN_DISKS_UNAVAILABLE"]


def test_a_wrong_secret_is_told_without_what_the_service_quotes(aliyun: AliyunDouble) -> None:
    wrong = {**aliyun.credential, "access_key_secret": "canary0000000000000000wrong"}
    found = read(aliyun, wrong)
    error = ended(found, errors.AUTH_FAILED)
    assert "SignatureDoesNotMatch" in str(error)
    assert "canary" not in f"{error} {error!r}"
    assert found.records == []


def test_a_clock_that_is_wrong_is_told(aliyun: AliyunDouble) -> None:
    aliyun.clock_skew_s = 3600
    assert "NTP" in str(ended(read(aliyun), errors.CLOCK_SKEW))


def test_a_certificate_that_is_not_trusted_ends_the_reading_and_nothing_is_sent(aliyun: AliyunDouble) -> None:
    ended(read(aliyun, ca_file=aliyun.wrong_ca_file), errors.TLS_ERROR)
    assert aliyun.requests.all() == []


def test_a_server_that_nobody_checks_is_a_warning_of_every_reading(aliyun: AliyunDouble) -> None:
    found = complete(read(aliyun, tls_verify=False))
    assert [code for code, _ in found.cautions] == ["ALIYUN_TLS_UNVERIFIED"]
    assert "tls_verify" in collector(aliyun, tls_verify=False).detect(ReadOrder()).advice


def test_every_code_is_provoked_by_some_test() -> None:
    by_faults = {code.code for _, _, code in FAULTS} - {INVENTORY_INCOMPLETE.code}
    assert {code.code for code in errors.ERROR_CODES} == by_faults | BESIDES


@pytest.mark.parametrize(
    ("status", "name", "code"),
    [
        (200, "", None),
        (400, "Throttling.User", errors.RATE_LIMIT),
        (429, "", errors.RATE_LIMIT),
        (404, "InvalidAccessKeyId.NotFound", errors.AUTH_FAILED),
        (400, "SignatureDoesNotMatch", errors.AUTH_FAILED),
        (400, "InvalidSecurityToken.Expired", errors.AUTH_FAILED),
        (403, "Forbidden.RAM", errors.PERMISSION_DENIED),
        (403, "Something.Else", errors.PERMISSION_DENIED),
        (404, "InvalidRegionId.NotFound", errors.REGION_UNAVAILABLE),
        (500, "Whatever", errors.NETWORK_ERROR),
        (0, "", errors.NETWORK_ERROR),
        (0, "ALIYUN_PARSE_ERROR", errors.PARSE_ERROR),
        (400, "Account.Arrearage", errors.API_ERROR),
        (200, "Account.Arrearage", errors.API_ERROR),
        (404, "EntityNotExist.Role", errors.CONFIG_INVALID),
    ],
)
def test_an_answer_is_the_error_that_its_name_says(status: int, name: str, code: ErrorCode | None) -> None:
    assert errors.code_of(status, name) is code
