"""Platform `aliyun`: the ECS instances of an Aliyun account in every region, read over the ECS API.

`signer`, `keys` and `client` speak to Aliyun, `collector`, `regions` and `survey` say what is read and in which order,
`raw` how it is kept; `parse` and `proof` make documents of it, and the proof that no instance is missing.
"""

from __future__ import annotations

from asset_ledger.sources.aliyun.config import AliyunConfig
from asset_ledger.sources.aliyun.errors import ERROR_CODES, RATE_LIMIT
from asset_ledger.sources.aliyun.parse import PARSER_VERSION, parse
from asset_ledger.sources.platform import Collector, Measure, Platform, Secrets


def _open(config: AliyunConfig, credentials: Secrets) -> Collector:
    from asset_ledger.sources.aliyun.collector import AliyunCollector

    return AliyunCollector(config, credentials)


PLATFORM = Platform(
    name="aliyun",
    title="Alibaba Cloud ECS",
    kind="aliyun",
    platform_type="aliyun",
    source_type="platform",
    contract="pull",
    config=AliyunConfig,
    parse=parse,
    parser_version=PARSER_VERSION,
    error_codes=ERROR_CODES,
    naming_rank=13,
    specs_rank=14,
    complete_by_nature=True,
    relations=False,
    default_schedule="0 2 * * *",
    open=_open,
    measures=(
        Measure(
            "aliyun_rate_limit_count",
            "Calls that Aliyun throttled, and readings that failed by it.",
            "rate_limited",
            codes=(RATE_LIMIT,),
        ),
    ),
)
