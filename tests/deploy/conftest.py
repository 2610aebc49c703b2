"""A service for what is deployed beside it."""

from __future__ import annotations

from tests.api.conftest import shared_site, site

__all__ = ["shared_site", "site"]
