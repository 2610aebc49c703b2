"""What Hyper-V's numbers for a virtual machine's state mean: power as the ledger has it, and its own name. Pure.

The numbers are of Microsoft.HyperV.PowerShell.VMState. A critical state is one whose storage the host has lost.
"""

from __future__ import annotations

_NAMES = {
    2: "running",
    3: "off",
    4: "stopping",
    6: "saved",
    9: "paused",
    10: "starting",
    11: "reset",
    32773: "saving",
    32776: "pausing",
    32777: "resuming",
    32779: "fast saved",
    32780: "fast saving",
    32781: "force shutdown",
    32782: "force reboot",
}
_CRITICAL = (2, 3, 4, 6, 9, 10, 11, 32773, 32776, 32777, 32779, 32780)
_FIRST_CRITICAL = 32783
_POWER = {"off": "stopped", "saved": "suspended", "fast saved": "suspended", "paused": "paused", "resuming": "paused"}
_PLAIN = ("running", "off")

STATES = _NAMES | {_FIRST_CRITICAL + place: f"{_NAMES[state]}, critical" for place, state in enumerate(_CRITICAL)}


def power_of(state: int | None) -> str:
    """Return `running`, `stopped`, `suspended`, `paused` or `unknown`; what is on its way counts as what it leaves."""
    name = STATES.get(state or 0, "").partition(",")[0]
    return _POWER.get(name, "running") if name else "unknown"


def state_name(state: int | None) -> str:
    """Return the state's name where it is more than on or off, "" where it is not, its number where it has no name."""
    if state is None:
        return ""
    name = STATES.get(state, f"state {state}")
    return "" if name in _PLAIN else name
