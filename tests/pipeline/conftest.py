"""The fixture of a ledger that files are imported into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.importing import Importing, importing


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Importing]:
    """An import source over an empty ledger."""
    with importing(database_url, tmp_path / "inbox") as opened:
        yield opened
