"""The ledger assets a probe is sent to, as plain values: the store selects them, a collector reads them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """A ledger asset that a probe is to read. `asset_id` is None for the machine the probe runs on."""

    asset_id: str | None
    mgmt_ip: str | None
    hostname: str | None
    protocol: str
    port: int | None
    credential_ref: str | None
