"""The fixture of a small ledger with everything in it that a mart has to get right, and its marts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.marts.building import Marts
from tests.marts.world import World, telling_world
from tests.postgres import create_database, database_name, drop_database


@pytest.fixture(scope="session")
def parsed_models(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A folder in which dbt's parsed models stay for all tests."""
    return tmp_path_factory.mktemp("parsed")


@pytest.fixture(scope="module")
def module_database(template_database: str) -> Iterator[str]:
    """A migrated, empty ledger of this module's own."""
    url = create_database(template_database, template=database_name(template_database))
    yield url
    drop_database(url)


@pytest.fixture(scope="module")
def built_marts(
    module_database: str, tmp_path_factory: pytest.TempPathFactory, parsed_models: object
) -> Iterator[tuple[World, Marts]]:
    """A ledger of five days of 2026-10 and of today, and its marts of all of them: see `tests.marts.world`."""
    folder = tmp_path_factory.mktemp("marts")
    with telling_world(module_database, folder / "inbox") as world:
        marts = Marts(module_database, folder, parsed_models)  # type: ignore[arg-type]
        marts.make(world.first, world.last)
        yield world, marts
