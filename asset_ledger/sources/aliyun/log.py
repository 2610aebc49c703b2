"""The log event of the platform, as one JSON object a line at WARNING of the logger `asset_ledger.sources.aliyun`."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any


@cache
def _logger() -> Any:
    import structlog

    return structlog.wrap_logger(
        logging.getLogger("asset_ledger.sources.aliyun"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )


def rate_limited(source_id: str, region: str, action: str, wait_s: float | None) -> None:
    """Say that Aliyun throttled a call. `wait_s` is how long is waited, None where it is given up."""
    _logger().warning("aliyun.rate_limited", source_id=source_id, region=region, action=action, wait_s=wait_s)
