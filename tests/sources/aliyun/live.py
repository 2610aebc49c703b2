"""A collector and a client against the double, for the tests of the live half."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asset_ledger.sources.aliyun import PLATFORM
from asset_ledger.sources.aliyun.client import AliyunClient
from asset_ledger.sources.aliyun.collector import AliyunCollector
from asset_ledger.sources.aliyun.config import AliyunConfig
from asset_ledger.sources.platform import ReadOrder
from tests.doubles.aliyun import AliyunDouble
from tests.sources import live
from tests.sources.live import Credentials, complete, valid

__all__ = ["Credentials", "Reading", "client", "collector", "complete", "config_of", "read", "valid"]


def config_of(aliyun: AliyunDouble, **said: Any) -> AliyunConfig:
    """Return the configuration of a source that reads the double, with short times."""
    given = {
        "name": "ali_x",
        "platform": "aliyun",
        "endpoint": aliyun.endpoint,
        "sts_endpoint": aliyun.sts_endpoint,
        "metadata_endpoint": aliyun.metadata_endpoint,
        "credential_ref": "env:ALI",
        "timeout_ms": 10_000,
        **live.trusted(aliyun, said),
    }
    return AliyunConfig.model_validate({**given, **said})


def collector(aliyun: AliyunDouble, fields: Mapping[str, str] | None = None, **said: Any) -> AliyunCollector:
    return AliyunCollector(config_of(aliyun, **said), Credentials(aliyun.credential if fields is None else fields))


def client(aliyun: AliyunDouble, fields: Mapping[str, str] | None = None, **said: Any) -> AliyunClient:
    return AliyunClient(config_of(aliyun, **said), aliyun.credential if fields is None else fields)


class Reading(live.Reading):
    platform, whole = PLATFORM, "account"

    @property
    def assets(self) -> dict[str, dict[str, Any]]:  # type: ignore[override]
        """The documents by their ids alone: every asset is a machine."""
        every = super().assets
        assert {kind for kind, _ in every} <= {"vm"}
        return {name: document for (_, name), document in every.items()}


def read(
    aliyun: AliyunDouble, fields: Mapping[str, str] | None = None, *, known: Iterable[str] = (), **said: Any
) -> Reading:
    """Collect once; the error of a reading that failed is kept, not raised."""
    order = ReadOrder(known=frozenset(("vm", one) for one in known))
    return Reading.of(collector(aliyun, fields, **said), order)
