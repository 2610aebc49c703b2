"""`asset-ledger serve`: the HTTP service in the foreground, until Ctrl-C. `up` runs it beside everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asset_ledger.cli.opening import open_ledger
from asset_ledger.cli.screen import note


def serve(
    host: Annotated[str, typer.Option(help="Address it listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.")] = 8300,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="PEM file of a TLS certificate; without it, plain HTTP.")
    ] = None,
    behind: Annotated[
        str | None,
        typer.Option("--behind", metavar="ADDRESS", help="A proxy whose X-Forwarded-For is believed, for the audit."),
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="PEM file of the certificate's key.")] = None,
) -> None:
    """Run the HTTP service. Behind a proxy it must never be redirected to: Terraform loses what it sends."""
    from asset_ledger.api.serving import run
    from asset_ledger.cli.tenant_named import key_ring
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError

    if (certificate is None) != (key is None):
        raise PermanentError(CONFIG_INVALID, "--certificate and --key are given together", target="asset-ledger serve")
    if certificate is None and host not in ("127.0.0.1", "::1", "localhost"):
        note("without --certificate, tokens and states pass the network in clear; put it behind TLS")
    ledger = open_ledger()
    ring = key_ring(ledger)
    note(f"the HTTP service is at {'http' if certificate is None else 'https'}://{host}:{port}; Ctrl-C stops it")
    run(ledger, ring, host=host, port=port, certificate=certificate, key=key, behind=behind)
