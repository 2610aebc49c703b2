"""The fixture of an installation with an import source and a host probe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.dagster.installation import SOURCES, Installation


@pytest.fixture
def installation(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An empty ledger with the sources `office` (files) and `probe` (this machine)."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "sources.yaml").write_text(SOURCES)
    monkeypatch.setenv("ASSET_LEDGER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSET_LEDGER_SOURCES", str(tmp_path / "sources.yaml"))
    monkeypatch.setenv("ASSET_LEDGER_DATABASE_URL", database_url)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Installation(tmp_path, database_url, instance)


@pytest.fixture
def kept(installation: Installation) -> Iterator[Installation]:
    """The installation on a Dagster instance with files: a schedule tick opens its instance anew."""
    folder = installation.folder / "dagster"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        installation.instance = instance
        yield installation
