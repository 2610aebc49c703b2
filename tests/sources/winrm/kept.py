"""The kept readings of tests/fixtures/winrm/contract, made anew: `python -m tests.sources.winrm.kept`.

Their answers come from `made`, in the shapes of recorded ones, and not from the double that the live half is tested with.
Afterwards `pytest tests/contract --update-golden` writes what parsing gives: read both before you keep them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.winrm.raw import QueryError
from tests.sources.winrm.made import GIB, TARGET, adapter, changed, machine, raw_of, record_of

FOLDER = Path(__file__).parents[2] / "fixtures" / "winrm" / "contract"
_TRACE = {
    "steps": [{"step": "enumerate", "ms": 31}],
    "requests": 10,
    "bytes_in": 21034,
    "bytes_out": 14410,
    "connections": 1,
    "authentication": "ntlm",
    "server": "Microsoft-HTTPAPI/2.0",
    "certificate_sha256": "5f" * 32,
}
_REFUSED = QueryError("WINRM_FAULT", "the host answered Win32_LogicalDisk with fault 2150858778", 2150858778)


def records() -> Iterator[tuple[str, RawRecord]]:
    """Yield name and record of every kept reading."""
    yield "server-2003-en", raw_of(machine("2003-en"), rounds=2, trace=_TRACE)
    yield (
        "server-2008r2-zh-without-disks",
        raw_of(machine("2008r2-zh"), failed={"logical_disk": _REFUSED}, trace=_TRACE),
    )
    cluster = machine("2012r2-de") | {
        "network": [
            adapter("192.0.2.10", "192.0.2.50", Description="Microsoft Hyper-V-Netzwerkadapter", ServiceName="netvsc"),
            adapter("198.51.100.10", mac="00:15:5D:00:00:2B", ServiceName="netvsc", DefaultIPGateway=None, Index=11),
            adapter("169.254.1.74", "fe80::4a", mac="02:A1:B2:C3:D4:E5", ServiceName="netft", Index=12),
        ]
    }
    yield "server-2012r2-de-cluster-node", raw_of(cluster, trace=_TRACE)
    doubt = {"code": "WINRM_TLS_UNVERIFIED", "message": "192.0.2.10: who answered is not proven"}
    yield "server-2019-zh-unverified", raw_of(machine("2019-zh"), cautions=[doubt], trace=_TRACE)
    hardware = changed(
        machine("2022-de"),
        "computer_system",
        Manufacturer="Dell Inc.",
        Model="PowerEdge R740",
        HypervisorPresent=False,
        TotalPhysicalMemory=256 * GIB - 536576,
    )
    board = {"product": [{"UUID": "4C4C4544-0031-4A10-8052-B7C04F583233"}], "bios": [{"SerialNumber": "1J1RX23"}]}
    yield "server-2022-de-hardware", raw_of(hardware | board, trace=_TRACE)
    placeholders = {"product": [{"UUID": "0" * 8}], "bios": [{"SerialNumber": "To be filled by O.E.M."}]}
    yield "server-2025-en-placeholders", raw_of(machine("2025-en") | placeholders, trace=_TRACE)
    by_http = replace(TARGET, port=5985)
    denied = {"code": "WINRM_PERMISSION_DENIED", "message": "192.0.2.10 refuses the account (fault 5)"}
    yield "right-missing", record_of([], target=by_http, transport="http", error=denied)
    broken = raw_of(machine("2016-en"), trace=_TRACE)
    yield "cut-in-the-middle", replace(broken, body=broken.body[: len(broken.body) // 2])


def write() -> None:
    """Write every kept reading."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, raw in records():
        kept = {
            "target": raw.target,
            "media_type": raw.media_type,
            "observed_at": raw.observed_at.isoformat(),
            "redacted": raw.redacted,
            "document": dict(raw.document),
            "body_text": raw.body.decode(),
        }
        text = json.dumps(kept, ensure_ascii=False, indent=1) + "\n"
        (FOLDER / f"{name}.raw.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
