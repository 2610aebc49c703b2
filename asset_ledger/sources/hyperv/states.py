"""What Hyper-V's names for a virtual machine's state mean: power as the ledger has it, and a name of its own. Pure.

The names are of Microsoft.HyperV.PowerShell.VMState, which are never translated. Its numbers mean the same everywhere
only below 32783, which is RunningCritical in some releases and Hibernated in others. A critical state is one whose
storage the host has lost.
"""

from __future__ import annotations

import re

AMBIGUOUS = 32783
"""From here on a number alone says nothing."""
NAMES = {
    2: "Running",
    3: "Off",
    4: "Stopping",
    6: "Saved",
    9: "Paused",
    10: "Starting",
    11: "Reset",
    32773: "Saving",
    32776: "Pausing",
    32777: "Resuming",
    32779: "FastSaved",
    32780: "FastSaving",
    32781: "ForceShutdown",
    32782: "ForceReboot",
}
_POWER = {
    **dict.fromkeys(NAMES.values(), "running"),
    **dict.fromkeys(("Saved", "FastSaved", "Hibernated"), "suspended"),
    **dict.fromkeys(("Paused", "Resuming"), "paused"),
    "Off": "stopped",
}
# not Other and ComponentServicing: what runs meanwhile is documented nowhere
_CRITICAL = "Critical"
_PLAIN = ("Running", "Off")
_WORDS = re.compile(r"(?<!^)(?=[A-Z])")


def name_of(state: int | None, name: str) -> str:
    """Return the state's name in the enumeration: as told, else by its number where that is unmistakable, else ""."""
    name = _told(name)
    if name:
        return name if _base(name) in _POWER else ""
    return NAMES.get(state or 0, "")


def power_of(state: int | None, name: str) -> str:
    """Return `running`, `stopped`, `suspended`, `paused` or `unknown`; what is on its way counts as what it leaves."""
    return _POWER.get(_base(name_of(state, name)), "unknown")


def is_off(state: int | None, name: str) -> bool:
    """Say whether it is told to be off, so that nothing of it runs or waits in memory."""
    return _base(name_of(state, name)) == "Off"


def state_label(state: int | None, name: str) -> str:
    """Return the state in words where it is more than on or off, "" where it is not, as told where it has no name."""
    found = name_of(state, name)
    if not found:
        return _told(name) or ("" if state is None else f"state {state}")
    critical = ", critical" if found.endswith(_CRITICAL) else ""
    return "" if found in _PLAIN else _WORDS.sub(" ", _base(found)).lower() + critical


def _told(name: str) -> str:
    """Return a name; a number stands for one that the host's own enumeration has no name for."""
    return "" if name.isdigit() else name


def _base(name: str) -> str:
    return name.removesuffix(_CRITICAL)
