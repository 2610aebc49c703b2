"""The ledger as a Dagster resource. It hands out the plain `Ledger`, which knows no Dagster."""

import dagster as dg

from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.settings import Settings


class LedgerResource(dg.ConfigurableResource):
    """The installation that the ASSET_LEDGER_* variables name."""

    def open(self) -> Ledger:
        """Return the ledger. Raises PermanentError(CONFIG_INVALID) for a wrong setting."""
        return Ledger(Settings.load())
