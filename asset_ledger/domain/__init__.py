"""What an asset is. Pure: no I/O, no clock, no Dagster, no SQL."""
