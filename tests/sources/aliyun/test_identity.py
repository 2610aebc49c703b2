"""Whose the credential is: another account's is refused, and what cannot be known stops only who wants to know it."""

from __future__ import annotations

import pytest

from asset_ledger.domain.errors import LedgerError
from asset_ledger.sources.aliyun import errors
from asset_ledger.sources.aliyun.account import Identity, identity_of
from asset_ledger.sources.aliyun.config import AliyunConfig
from asset_ledger.sources.platform import ReadOrder
from tests.doubles.aliyun import AliyunDouble
from tests.doubles.aliyun.principals import ACCOUNT_ID
from tests.sources.aliyun.live import collector, complete, read

ANOTHER = "9999999999999999"
NOWHERE = "https://127.0.0.1:1"


def test_a_reading_of_the_account_that_is_named_keeps_whose_the_credential_was(aliyun: AliyunDouble) -> None:
    found = complete(read(aliyun, account_id=ACCOUNT_ID))
    assert found.last["identity"] == {"account_id": ACCOUNT_ID, "arn": aliyun.user.arn, "kind": "RAMUser"}
    assert aliyun.requests.count("GetCallerIdentity") == 1


def test_a_role_that_is_assumed_is_the_one_that_is_known(aliyun: AliyunDouble) -> None:
    role = aliyun.keyring.add_role("ledger")
    found = complete(read(aliyun, {**aliyun.credential, "role_arn": role.arn}, account_id=ACCOUNT_ID))
    assert found.last["identity"] == {"account_id": ACCOUNT_ID, "arn": role.arn, "kind": "AssumedRoleUser"}


def test_the_credential_of_another_account_is_refused_before_anything_is_listed(aliyun: AliyunDouble) -> None:
    source = collector(aliyun, account_id=ANOTHER)
    for ask in (source.healthcheck, source.detect, lambda order: list(source.collect(order))):
        with pytest.raises(LedgerError) as refused:
            ask(ReadOrder())
        assert refused.value.code is errors.CONFIG_INVALID
        for said in (ANOTHER, ACCOUNT_ID, aliyun.user.arn):
            assert said in refused.value.message
    assert aliyun.requests.count("DescribeInstances") == aliyun.requests.count("DescribeDisks") == 0


def test_a_reading_that_was_refused_keeps_why_and_derives_nothing(aliyun: AliyunDouble) -> None:
    found = read(aliyun, account_id=ANOTHER)
    assert found.error is not None
    assert found.targets == ["account"]
    assert found.last["error"]["code"] == "ALIYUN_CONFIG_INVALID"
    assert found.last["identity"]["account_id"] == ACCOUNT_ID


def test_an_account_that_is_named_must_be_known(aliyun: AliyunDouble) -> None:
    aliyun.faults.add("GetCallerIdentity", "error", code="NoPermission", status=403)
    with pytest.raises(LedgerError) as unknown:
        list(collector(aliyun, account_id=ACCOUNT_ID).collect(ReadOrder()))
    assert unknown.value.code is errors.PERMISSION_DENIED
    assert aliyun.requests.count("DescribeInstances") == 0


def test_an_account_that_is_not_named_need_not_be_known(aliyun: AliyunDouble) -> None:
    source = collector(aliyun, sts_endpoint=NOWHERE)
    health = source.healthcheck(ReadOrder())
    assert health.ok
    assert health.checks["identity"].startswith("not known, which no reading needs: ")
    assert source.detect(ReadOrder()).capabilities["account_id"] is None
    assert complete(read(aliyun, sts_endpoint=NOWHERE)).last["identity"] is None


def test_a_reading_asks_where_an_account_is_named_or_aliyuns_own_servers_are_asked() -> None:
    said = {"name": "a", "platform": "aliyun", "credential_ref": "env:A"}
    inside = {**said, "endpoint": "https://ecs-vpc.{region}.aliyuncs.com"}
    asks = [AliyunConfig.model_validate(one).asks_account for one in (said, inside, {**inside, "account_id": 12})]
    assert asks == [True, False, True]


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        [],
        {"AccountId": 12, "Arn": "acs:ram::12:root", "IdentityType": "Account"},
        {"AccountId": "12", "Arn": "acs:ram::12:root\n", "IdentityType": "Account"},
        {"AccountId": "12", "Arn": "x" * 99, "IdentityType": "Account"},
        {"AccountId": "12", "Arn": "acs:ram::12:root", "IdentityType": "a b"},
    ],
)
def test_what_names_no_account_is_no_identity(data: object) -> None:
    assert identity_of(data) is None
    whole = {"AccountId": "12", "Arn": "acs:ram::12:root", "IdentityType": "Account"}
    assert identity_of(whole) == Identity("12", "acs:ram::12:root", "Account")
