"""A server, an enrolled state folder, and a talk between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asset_ledger.agent.identity import Identity, save
from asset_ledger.agent.talk import Options, Talk
from tests.agent.server import TOKEN, Reported


@pytest.fixture
def server() -> Iterator[Reported]:
    with Reported() as made:
        yield made


@pytest.fixture
def home(tmp_path: Path, server: Reported) -> Path:
    """A state folder of an agent that is enrolled at the server."""
    folder = tmp_path / "agent"
    save(folder / "identity.json", Identity(server.endpoint, "c-1", TOKEN, str(server.ca_file)))
    return folder


@pytest.fixture
def start(home: Path) -> Callable[..., Talk]:
    """Begin a talk, as a process does that is started."""
    return lambda **said: Talk(home, home / "identity.json", Options(**said))


@pytest.fixture
def talk(start: Callable[..., Talk]) -> Iterator[Talk]:
    made = start()
    yield made
    made.close()
