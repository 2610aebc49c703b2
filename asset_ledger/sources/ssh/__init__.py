"""Platform `ssh`: machines as they describe themselves, read over SSH, and the machine the ledger runs on.

`client` and `local` run the script, `collector` runs many of them, `parse` makes of a raw record a
normalized-v1 document. A probe does not say which platform a machine is on, so platform_type is unknown.
"""

from __future__ import annotations

from asset_ledger.sources.platform import Collector, Platform, Secrets, TargetSelection
from asset_ledger.sources.ssh.config import SshConfig
from asset_ledger.sources.ssh.errors import ERROR_CODES
from asset_ledger.sources.ssh.parse import PARSER_VERSION, parse


def _open(config: SshConfig, credentials: Secrets) -> Collector:
    from asset_ledger.sources.ssh.collector import SshCollector

    return SshCollector(config, credentials)


def _select(config: SshConfig) -> TargetSelection:
    return TargetSelection(("ssh", "local"), config.default_credential_ref, shards=config.shards)


PLATFORM = Platform(
    name="ssh",
    title="Host probe over SSH",
    kind="bash",
    platform_type="unknown",
    source_type="probe",
    contract="probe",
    config=SshConfig,
    parse=parse,
    parser_version=PARSER_VERSION,
    error_codes=ERROR_CODES,
    naming_rank=40,
    specs_rank=20,
    default_schedule="30 2 * * *",
    open=_open,
    select=_select,
)
