"""What an `import` source of sources.yaml may say, and the limits that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from asset_ledger.sources.platform import SourceConfig

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is read at all. What is past a limit is refused, never cut off."""

    max_file_bytes: int = 64 * MIB
    max_rows: int = 500_000
    max_cells: int = 10_000_000
    max_inflated_bytes: int = 512 * MIB
    max_zip_entries: int = 2_000


class ImportConfig(SourceConfig):
    """A folder into which people drop CSV and Excel files."""

    inbox: Path = Field(default=Path("inbox"), description="The folder that is watched, relative to the project.")
    max_file_bytes: int = Field(default=64 * MIB, ge=1, description="A larger file is refused with IMPORT_TOO_LARGE.")
    max_rows: int = Field(
        default=500_000, ge=1, description="A file of more rows is refused with IMPORT_TOO_MANY_ROWS."
    )

    def limits(self) -> Limits:
        """Return the limits of this source."""
        return Limits(max_file_bytes=self.max_file_bytes, max_rows=self.max_rows)
