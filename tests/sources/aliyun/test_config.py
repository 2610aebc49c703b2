"""What a source may say of Aliyun, which server answers for which region, and what a credential must hold."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.aliyun import PLATFORM, errors
from asset_ledger.sources.aliyun.account import account_of
from asset_ledger.sources.aliyun.config import AliyunConfig
from tests.sources.aliyun.live import Credentials

GIVEN = {"name": "ali", "platform": "aliyun", "credential_ref": "env:ALI"}
KEYS = {"access_key_id": "LTAIcanary00000000000001", "access_key_secret": "canarysecret00000000000000002"}
ROLE = "acs:ram::1234567890123456:role/ledger"
PRINT = "ab" * 32


def config(**said: Any) -> AliyunConfig:
    return AliyunConfig.model_validate({**GIVEN, **said})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("https://ecs-vpc.{region}.aliyuncs.com", "https://ecs-vpc.{region}.aliyuncs.com:443"),
        (" https://ECS.example.com:8443/ ", "https://ecs.example.com:8443"),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
    ],
)
def test_an_endpoint_has_one_spelling(given: str, kept: str) -> None:
    assert config(endpoint=given).endpoint == kept


def test_each_region_has_its_server() -> None:
    public = config()
    assert public.host_of("cn-hangzhou") == public.server == "ecs.aliyuncs.com:443"
    assert public.host_of("cn-hangzhou", "ecs-cn-hangzhou.aliyuncs.com") == "ecs-cn-hangzhou.aliyuncs.com:443"
    assert public.host_of("eu-central-1", "ecs.eu-central-1.aliyuncs.com") == "ecs.eu-central-1.aliyuncs.com:443"
    assert config(home_region="ap-southeast-1").server == "ecs.aliyuncs.com:443"
    inside = config(endpoint="https://ecs-vpc.{region}.aliyuncs.com")
    assert inside.host_of("cn-beijing", "ecs.cn-beijing.aliyuncs.com") == "ecs-vpc.cn-beijing.aliyuncs.com:443"
    assert config(endpoint="https://ecs.example.com:8443").host_of("cn-beijing") == "ecs.example.com:8443"


@pytest.mark.parametrize(
    "told", ["evil.example.com", "ecs.aliyuncs.com.evil.example", "127.0.0.1:8443", "a/b.aliyuncs.com", "-"]
)
def test_only_aliyuns_own_names_are_believed(told: str) -> None:
    assert config().host_of("cn-beijing", told) == "ecs.cn-beijing.aliyuncs.com:443"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"endpoint": "https://ecs.example.com/path"}, "no path"),
        ({"endpoint": "http://ecs.example.com"}, "https://ecs-vpc"),
        ({"endpoint": "https://{region}.{region}.com"}, "stands once"),
        ({"endpoint": "https://root:secret@ecs.example.com"}, "credential_ref"),
        ({"fingerprint": PRINT}, "there are many"),
        ({"fingerprint": PRINT, "endpoint": "https://{region}.example.com"}, "there are many"),
        ({"tls_verify": False, "ca_file": "ca.pem"}, "drop one"),
        ({"credential_ref": "LTAIsecret"}, "pattern"),
        ({"ram_role": "a role"}, "pattern"),
        ({"exclude_regions": ["cn hangzhou"]}, "such as cn-hangzhou"),
        ({"home_region": "x.evil.com/"}, "such as cn-hangzhou"),
        ({"parallel": 0}, "greater than or equal to 1"),
        ({"address_zone": "region"}, "'vpc' or 'source'"),
        ({"metadata_endpoint": "ftp://100.100.100.200"}, "http://100.100.100.200"),
        ({"access_key_secret": "secret"}, "Extra inputs"),
    ],
)
def test_what_contradicts_itself_is_refused_with_the_reason(said: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        config(**said)
    assert all("secret" not in error["msg"] for error in caught.value.errors())


def test_what_is_not_said_has_the_defaults_of_the_docs() -> None:
    found = AliyunConfig.model_validate({"name": "ali", "platform": "aliyun"})
    assert (found.timeout_ms, found.reading_timeout_s, found.parallel) == (30_000, 3600, 4)
    assert (found.home_region, found.exclude_regions, found.address_zone) == ("cn-hangzhou", (), "vpc")
    assert (found.endpoint, found.credential_ref, found.ram_role, found.trust) == ("", "", None, "system")
    assert found.metadata_endpoint == "http://100.100.100.200"


@pytest.mark.parametrize(
    ("fields", "said", "says"),
    [
        ({}, {}, "no field access_key_id"),
        ({"access_key_id": KEYS["access_key_id"]}, {}, "no field access_key_secret"),
        ({**KEYS, "access_key_id": "LTAI canary"}, {}, "access_key_id has characters"),
        ({**KEYS, "access_key_secret": "canary\nsecret"}, {}, "access_key_secret has characters"),
        ({**KEYS, "security_token": "canary\x00"}, {}, "security_token has characters"),
        ({**KEYS, "role_arn": "canary"}, {}, "acs:ram::ACCOUNT:role/NAME"),
        ({**KEYS, "external_id": "canary"}, {}, "only means something with role_arn"),
        ({**KEYS, "role_arn": ROLE, "external_id": "canary canary"}, {}, "external_id has characters"),
        (KEYS, {"ram_role": "ledger"}, "keep one"),
        ({}, {"credential_ref": ""}, "nothing says who asks"),
    ],
)
def test_a_credential_that_lacks_something_is_refused_before_anything_is_sent(
    fields: dict[str, str], said: dict[str, Any], says: str
) -> None:
    with pytest.raises(PermanentError, match=says) as caught:
        account_of(config(**said), fields)
    assert caught.value.code is errors.CONFIG_INVALID
    assert "canary" not in str(caught.value)


def test_every_kind_of_credential_says_what_it_is_and_shows_no_secret() -> None:
    kinds = {
        "AccessKey": account_of(config(), {**KEYS, "access_key_secret": KEYS["access_key_secret"] + "\n"}),
        "temporary AccessKey": account_of(config(), {**KEYS, "security_token": "canarytoken"}),
        f"AccessKey, assuming {ROLE}": account_of(config(), {**KEYS, "role_arn": ROLE, "external_id": "canary"}),
        "RAM role led of this instance": account_of(config(ram_role="led", credential_ref=""), {}),
        f"RAM role led of this instance, assuming {ROLE}": account_of(config(ram_role="led"), {"role_arn": ROLE}),
    }
    assert [account.kind for account in kinds.values()] == list(kinds)
    assert [account.renewable for account in kinds.values()] == [False, False, True, True, True]
    assert all("canary" not in repr(account).replace(KEYS["access_key_id"], "") for account in kinds.values())


def test_a_ca_file_that_cannot_be_used_is_said_before_anything_is_asked(tmp_path: Any) -> None:
    assert PLATFORM.open is not None
    opened = PLATFORM.open(config(ca_file=tmp_path / "none.pem"), Credentials(KEYS))
    with pytest.raises(PermanentError, match=r"none\.pem") as caught:
        opened.detect(None)  # type: ignore[arg-type]
    assert caught.value.code is errors.CONFIG_INVALID
