"""The script that reads a Hyper-V host, and its answer out of what the host printed. Pure; `collector` runs it.

`script.ps1` is constant. Before it stand two assignments: `$nonce`, 32 hexadecimal digits, new each time, and `$ask`:

    whole   the host, its virtual machines, and the cluster's own lists of nodes and virtual machines
    own     the host and its virtual machines; of the cluster only its name
    lists   the cluster's own lists; of each virtual machine only id, name, its states and modes
    names   of each virtual machine only that, and of the cluster only its name

It prints one line `NONCE:BASE64:NONCE` of ASCII, whose base64 is the UTF-8 of one JSON object, version 1:

    v, ask, at       1, as asked, the host's clock (every time is UTC as 2026-11-01T18:30:00Z)
    ok               the list of virtual machines is whole
    count, items     how many virtual machines Get-VM gave, null where it failed; one object each, see below
    host             name (NetBIOS), fqdn, groups[] (SIDs S-1-5-32-… of the account), is_admin, ps_version; with `whole`
                     and `own` also uuid, serial, manufacturer, model, os_version, os_build, os_caption, cpu_model,
                     logical_processors, cores, sockets, memory_bytes, ips[], macs[], module_version
    second           {ids[]: by WMI's Msvm_ComputerSystem, null where it failed; error}
    cluster          null: no cluster. {name, id, nodes[], vms[], error}; a list not asked for, or failed, is null
                     nodes: {name, state: 0 up, 1 down, 2 paused, 3 joining}
                     vms: {vm_id, name (of the role), owner (node), state (of the resource: 2 online, 3 offline, …)}
    errors           what went wrong beside that; an error anywhere is {where, id, category, type, message, numbers[]}

where `where` is module, vms, host, second, cluster, cluster_module, within an item vm, bios, nics, disks, vhd, guest;
`id` and `category` are PowerShell's FullyQualifiedErrorId and category, `message` has at most 200 characters of the
host's language, `numbers` are HResult, ErrorCode and NativeErrorCode of the exception and of those in it. An item:

    id, name, state, state_name, created, version, generation, clustered, replication_mode, replication_state
    vcpu, mem_startup, mem_assigned, mem_max, dynamic      bytes; dynamic is whether its memory is
    bios_guid, serial                                      as WMI has them
    nics             null where they failed: {name, mac, switch, vlan (of access mode), ips[]}
    disks            null where they failed: {path, size, type (2 fixed, 3 dynamic, 4 differencing), shared,
                     number (of a disk of the host that is passed through), error (of Get-VHD)}
    guest            null where it failed: {fqdn, os_name, os_version, os_major, os_build, os_platform}, null each
    errors           what of this machine could not be read

Any value may be null, and a host whose PowerShell is older than 3.0 tells only v, ask, ok, host.name and errors.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache
from importlib import resources
from typing import Literal

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.hyperv.errors import PARSE_ERROR

Ask = Literal["whole", "own", "lists", "names"]
ASKS: tuple[Ask, ...] = ("whole", "own", "lists", "names")
DETAILED: tuple[Ask, ...] = ("whole", "own")
"""What is asked for all that is read of virtual machines."""

_NONCE = re.compile(r"[0-9a-f]{32}")
_SHOWN = 120


@cache
def body() -> str:
    """Return the constant part: script.ps1 without comment lines and indentation."""
    text = resources.files("asset_ledger.sources.hyperv").joinpath("script.ps1").read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def script(nonce: str, ask: Ask) -> str:
    """Return what the host is to run. Raises ValueError for a nonce that is not 32 hexadecimal digits."""
    if _NONCE.fullmatch(nonce) is None or ask not in ASKS:
        raise ValueError("a nonce is 32 lower-case hexadecimal digits, and what is asked one of four words")
    return f"$nonce = '{nonce}'\n$ask = '{ask}'\n{body()}\n"


def answer_in(stdout: bytes, nonce: str, target: str) -> bytes:
    """Return the JSON in what a host printed. Raises PermanentError(HYPERV_PARSE_ERROR) naming what is wrong.

    What else was printed, before or behind, does not matter; what is not between both marks is not the answer.
    """
    mark = nonce.encode("ascii")
    # a console that is not as wide as the line breaks it
    printed = stdout.translate(None, b"\r\n")
    begin = printed.find(mark + b":")
    if begin < 0:
        if not stdout.strip():
            raise _unusable("the script printed nothing", target)
        raise _unusable(f"the script's answer is not in what was printed: {quoted(stdout)}", target)
    begin += len(mark) + 1
    end = printed.find(b":" + mark, begin)
    if end < 0:
        raise _unusable(f"the script's answer is cut short after {len(printed) - begin} characters", target)
    try:
        return base64.b64decode(printed[begin:end], validate=True)
    except binascii.Error:
        raise _unusable("the script's answer is no base64", target) from None


def quoted(stdout: bytes) -> str:
    """Return the beginning of what was printed in one line, for a message."""
    text = stdout[: _SHOWN * 4].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_SHOWN]


def _unusable(message: str, target: str) -> PermanentError:
    return PermanentError(PARSE_ERROR, message, target=target)
