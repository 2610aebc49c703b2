"""Rate limits as ECS has them: so many calls of an API in a region within a minute, then none until the next one."""

from __future__ import annotations

import fnmatch
import threading
from dataclasses import dataclass, field

from tests.doubles.aliyun.answers import ServiceError


@dataclass
class Limit:
    action: str
    region: str
    calls: int
    minute: float  # seconds; less makes tests quick
    says_when: bool  # with x-acs-retry-after
    code: str
    status: int
    spent: dict[tuple[str, str, int], int] = field(default_factory=dict)
    refused: int = 0


class Limits:
    """The limits of one account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: list[Limit] = []

    def add(
        self,
        action: str = "Describe*",
        region: str = "*",
        *,
        calls: int,
        minute: float = 60.0,
        says_when: bool = True,
        code: str = "Throttling.User",
        status: int = 429,
    ) -> Limit:
        """Allow an action so many calls a minute in each region."""
        limit = Limit(action, region, calls, minute, says_when, code, status)
        with self._lock:
            self._limits.append(limit)
        return limit

    def clear(self) -> None:
        with self._lock:
            self._limits.clear()

    def spend(self, action: str, region: str, now: float) -> None:
        """Count a call. Raises ServiceError once there are too many."""
        with self._lock:
            for limit in self._limits:
                if not fnmatch.fnmatchcase(action, limit.action) or not fnmatch.fnmatchcase(region, limit.region):
                    continue
                minute = int(now // limit.minute)
                key = (action, region, minute)
                limit.spent[key] = limit.spent.get(key, 0) + 1
                if limit.spent[key] > limit.calls:
                    limit.refused += 1
                    left_ms = int(((minute + 1) * limit.minute - now) * 1000) + 1
                    headers = {"x-acs-retry-after": str(left_ms)} if limit.says_when else {}
                    raise ServiceError(limit.code, status=limit.status, headers=headers)
