"""The codes of agents' reports: why one gives no machine, and what a person should know of one that does."""

from __future__ import annotations

from asset_ledger.domain.errors import ErrorCode

PAYLOAD_INVALID = ErrorCode(
    "AGENT_PAYLOAD_INVALID",
    "parse",
    False,
    "a report is not in the shape that reports have, so nothing was taken from it",
    "Look at the kept raw of the client, and update its agent; docs/platforms/agent.md has the shape",
)
NO_MANAGEMENT_ADDRESS = ErrorCode(
    "AGENT_NO_MANAGEMENT_ADDRESS",
    "inventory",
    False,
    "a machine has several addresses and its agent does not say by which it is managed: it joined no ledger asset",
    "Set the agent's management_ip, or merge the two ledger assets by hand",
)

ERROR_CODES: tuple[ErrorCode, ...] = (PAYLOAD_INVALID, NO_MANAGEMENT_ADDRESS)
