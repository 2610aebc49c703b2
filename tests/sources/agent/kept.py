"""The kept readings of tests/fixtures/agent/contract, made anew: `python -m tests.sources.agent.kept`.

Afterwards `pytest tests/contract --update-golden` writes what parsing gives: read both before you keep them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from asset_ledger.domain.raw import RawRecord
from tests.agents.payloads import camel, payload
from tests.sources.agent.made import raw_of

FOLDER = Path(__file__).parents[2] / "fixtures" / "agent" / "contract"


def records() -> Iterator[tuple[str, RawRecord]]:
    """Yield name and record of every kept reading."""
    yield "ubuntu-22.04", raw_of(camel(payload("linux", agent_version="1.2.0")), peer="192.0.2.10")
    yield "docker-host", raw_of(payload("docker", management_ip="192.0.2.10"), peer="203.0.113.1")
    yield "sles-12-btrfs", raw_of(payload("sles"), peer="203.0.113.1")
    yield "windows-server-2019", raw_of(camel(payload("windows")), peer="203.0.113.30")
    yield "macos-14", raw_of(camel(payload("darwin")), peer="192.0.2.77")
    several = payload("rocky", addresses=["203.0.113.50/24"])
    yield "rocky-9-several-addresses", raw_of(several, peer="203.0.113.1")
    container = payload("linux", virtualization_system="docker", virtualization_role="guest")
    yield "in-a-container", raw_of(container, peer="192.0.2.10")
    share = payload("linux")
    share["disks"].append(
        {"device": "//nas/x", "mountpoint": "/x", "fstype": "cifs", "opts": ["rw,username=a,password=b"]}
    )
    yield "with-a-password-in-a-mount", raw_of(share, peer="192.0.2.10")
    yield "of-no-shape", raw_of({"host": "web-01", "cpu": []}, peer="192.0.2.10")


def write() -> None:
    """Write every kept reading."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, raw in records():
        kept = {
            "target": raw.target,
            "media_type": raw.media_type,
            "observed_at": raw.observed_at.isoformat(),
            "document": raw.document,
            "sha256": raw.sha256.hex(),
            "redacted": raw.redacted,
            "body_text": raw.body.decode(),
        }
        text = json.dumps(kept, ensure_ascii=False, indent=1) + "\n"
        (FOLDER / f"{name}.raw.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
