"""`asset-ledger metrics`: how the readings of the sources went, for Prometheus."""

from __future__ import annotations

import typer

from asset_ledger.cli.opening import connected


def metrics() -> None:
    """Print the metrics of every source in Prometheus' text format, such as node_exporter's textfile collector reads.

    Success rates, the age of the last reading, and what each platform counts itself (docs/operations.md).
    """
    from datetime import UTC, datetime

    from asset_ledger.pipeline.metrics import exposition

    with connected() as connection:
        typer.echo(exposition(connection, now=datetime.now(UTC)), nl=False)
