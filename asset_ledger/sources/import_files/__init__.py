"""The platform `import`: CSV files and Excel workbooks that people drop into a folder.

`accept` takes a file in, `parse` turns it into items, `report` says what was wrong with it, `template` is what
people start from. Nothing here knows the ledger: who the rows are about is decided where items are applied.
"""

from __future__ import annotations

from asset_ledger.sources.import_files.accept import accept
from asset_ledger.sources.import_files.config import ImportConfig
from asset_ledger.sources.import_files.errors import CODES
from asset_ledger.sources.import_files.parse import PARSER_VERSION, parse
from asset_ledger.sources.import_files.report import reports
from asset_ledger.sources.platform import Platform

PLATFORM = Platform(
    name="import",
    title="Dropped CSV and Excel files",
    kind="csv",
    platform_type="import",
    source_type="import",
    contract="push",
    config=ImportConfig,
    parse=parse,
    parser_version=PARSER_VERSION,
    error_codes=CODES,
    naming_rank=20,
    specs_rank=40,
    pool_limit=1,
    accept=accept,
    reports=reports,
    exclusive=("inbox",),
    tables=("ledger_assets", "daily_specs", "daily_ips", "database_instances"),
)
