"""What Dagster hands to assets: plain objects of the ledger, opened from the environment when a run begins."""
