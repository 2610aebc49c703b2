"""What Dagster shows: a chain of assets for each source, and what is made across sources. Thin: rules live below."""
