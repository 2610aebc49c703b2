"""A world of nodes and edges for each test, in one database a file; and what the service sees of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asset_ledger.store.iac.graph import Graph
from tests.postgres import create_database, database_name, drop_database
from tests.store.graphing import World, serving_graph, world


@pytest.fixture(scope="module")
def shared_url(template_database: str) -> Iterator[str]:
    url = create_database(template_database, template=database_name(template_database))
    yield url
    drop_database(url)


@pytest.fixture
def one(shared_url: str) -> Iterator[World]:
    with world(shared_url) as made_world:
        yield made_world


@pytest.fixture
def acme(one: World, shared_url: str) -> Iterator[Graph]:
    """What the service sees for the tenant that source 1 is mapped to."""
    with serving_graph(shared_url) as graph:
        yield graph
