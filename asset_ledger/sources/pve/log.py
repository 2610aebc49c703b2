"""The two log events of the platform, as one JSON object a line at WARNING of the logger `asset_ledger.sources.pve`."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any


@cache
def _logger() -> Any:
    import structlog

    return structlog.wrap_logger(
        logging.getLogger("asset_ledger.sources.pve"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )


def rate_limited(source_id: str, region: str, retry_after: float | None) -> None:
    """Say that a proxy turned a request away. `region` is the source's zone; `retry_after` is in seconds."""
    _logger().warning("pve.rate_limited", source_id=source_id, region=region, retry_after=retry_after)


def guest_agent_unavailable(source_id: str, vm_id: str, vm_name: str | None) -> None:
    """Say that a guest was asked for its addresses and did not answer."""
    _logger().warning("pve.guest_agent_unavailable", source_id=source_id, vm_id=vm_id, vm_name=vm_name)
