"""`asset-ledger metrics`: how the readings of the sources went, for Prometheus."""

from __future__ import annotations

import typer

from asset_ledger.cli.opening import connected, open_ledger


def metrics() -> None:
    """Print the metrics of every source in Prometheus' text format, such as node_exporter's textfile collector reads.

    Success rates, whether each source is fresh, and what each platform counts itself (docs/metrics.md).
    """
    from datetime import UTC, datetime

    from asset_ledger.pipeline.metrics import exposition

    ledger = open_ledger()
    # without the file nothing is configured, and the ledger has its history all the same
    sources = ledger.sources if ledger.settings.sources_file.exists() else ()
    with connected(ledger) as connection:
        typer.echo(exposition(connection, now=datetime.now(UTC), sources=sources), nl=False)
