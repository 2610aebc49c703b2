"""The `asset-ledger` command: a door into pipeline and store. Knows neither Dagster nor any SQL."""
