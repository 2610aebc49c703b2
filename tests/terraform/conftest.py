"""A service and a real Terraform before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.conftest import own, provider, shared_site, site
from tests.api.site import Site
from tests.terraform.client import Terraform, missing

__all__ = ["own", "provider", "shared_site", "site"]

Clients = Callable[..., Terraform]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = missing()
    for item in items:
        if why and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def terraform(site: Site, tmp_path: Path) -> Terraform:
    return Terraform.of(site, tmp_path / "module")
