"""One service for a file of tests, over a database that each test finds empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asset_ledger.api.provider_keys import Pace, ProviderKeys
from tests.api.identity import Provider, publishing
from tests.api.site import Site, serving
from tests.postgres import create_database, database_name, drop_database


@pytest.fixture(scope="module")
def shared_site(template_database: str) -> Iterator[Site]:
    url = create_database(template_database, template=database_name(template_database))
    with serving(url) as made:
        yield made
    drop_database(url)


@pytest.fixture
def site(shared_site: Site) -> Site:
    shared_site.empty()
    return shared_site


@pytest.fixture
def provider() -> Iterator[Provider]:
    with publishing() as made:
        yield made


@pytest.fixture
def own(site: Site) -> Site:
    """The service, which has read no provider's keys yet."""
    assert site.service is not None
    site.service.provider_keys = ProviderKeys(Pace(within_s=20.0))
    return site
