"""Platform `winrm`: Windows machines as WMI describes them, asked over WS-Management without running anything there.

`queries` says what is asked, `collector` asks many hosts, `parse` makes of a raw record a normalized-v1 document.
A probe does not say which platform a machine is on, so platform_type is unknown.
"""

from __future__ import annotations

from asset_ledger.sources.platform import Collector, Platform, Secrets, TargetSelection
from asset_ledger.sources.winrm.config import WinrmConfig
from asset_ledger.sources.winrm.errors import ERROR_CODES
from asset_ledger.sources.winrm.parse import PARSER_VERSION, parse


def _open(config: WinrmConfig, credentials: Secrets) -> Collector:
    from asset_ledger.sources.winrm.collector import WinrmCollector

    return WinrmCollector(config, credentials)


def _select(config: WinrmConfig) -> TargetSelection:
    ticket = config.authentication == "kerberos"
    return TargetSelection(("winrm",), config.default_credential_ref, needs_credential=not ticket, shards=config.shards)


PLATFORM = Platform(
    name="winrm",
    title="Host probe over WinRM",
    kind="windows",
    platform_type="unknown",
    source_type="probe",
    contract="probe",
    config=WinrmConfig,
    parse=parse,
    parser_version=PARSER_VERSION,
    error_codes=ERROR_CODES,
    naming_rank=41,
    specs_rank=21,
    default_schedule="40 2 * * *",
    open=_open,
    select=_select,
)
