"""One database a file, and a tenant for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agents.reporting import Office, office
from tests.postgres import create_database, database_name, drop_database


@pytest.fixture(scope="module")
def shared_url(template_database: str) -> Iterator[str]:
    url = create_database(template_database, template=database_name(template_database))
    yield url
    drop_database(url)


@pytest.fixture
def acme(shared_url: str) -> Iterator[Office]:
    with office(shared_url) as made:
        yield made
