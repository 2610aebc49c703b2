"""The kept readings of tests/fixtures/aliyun/contract, made anew: `python -m tests.sources.aliyun.kept`.

Each file is one raw record of the double; what differs from run to run (times, ports) is set to one value. Afterwards
`pytest tests/contract --update-golden` writes what parsing gives: read both before you keep them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from asset_ledger.domain.raw import RawRecord
from tests.doubles.aliyun import AliyunDouble, estate
from tests.sources.aliyun.live import read

FOLDER = Path(__file__).parents[2] / "fixtures" / "aliyun" / "contract"
_AT = datetime(2026, 11, 1, 18, 30, tzinfo=UTC)


def records() -> Iterator[tuple[str, RawRecord]]:
    """Yield name and record of every kept reading."""
    with AliyunDouble(estate()) as aliyun:
        aliyun.cloud.create("i-2ze1bare00000000001", region="cn-beijing", absent=frozenset({"Status", "CreationTime"}))
        aliyun.cloud.change("i-bp1web000000000000002", tags={"db_password": "hunter2", "two words": "a b"})
        yield from _named("whole", read(aliyun, tls_verify=False, known=["i-gone"]).records, aliyun)
        aliyun.user.deny("DescribeDisks", loudly=True)
        yield from _named("without-disks", read(aliyun, exclude_regions=["cn-beijing"]).records, aliyun)
        aliyun.user.deny("DescribeInstances")
        yield from _named("denied", read(aliyun).records[-1:], aliyun)
        aliyun.user.allow_all()
        aliyun.cloud.refuse_region("ap-southeast-1")
        yield from _named("refused", read(aliyun, address_zone="source").records, aliyun)


def _named(name: str, found: list[RawRecord], aliyun: AliyunDouble) -> Iterator[tuple[str, RawRecord]]:
    for raw in sorted(found, key=lambda each: each.target):
        document = {**raw.document, "started_at": _AT.isoformat(), "duration_ms": 412}
        document |= {key: "192.0.2.11:443" for key in ("endpoint", "host") if key in document}
        body = raw.body.replace(aliyun.host.encode(), b"192.0.2.11:443")
        yield f"{name}-{raw.target}", replace(raw, document=document, body=body, observed_at=_AT)


def write(folder: Path = FOLDER) -> None:
    """Write every kept reading."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in records():
        kept = {
            "target": raw.target,
            "media_type": raw.media_type,
            "observed_at": raw.observed_at.isoformat(),
            "redacted": raw.redacted,
            "sha256": raw.sha256.hex(),
            "document": dict(raw.document),
            "body_text": raw.body.decode(),
        }
        text = json.dumps(kept, ensure_ascii=False, indent=1) + "\n"
        (folder / f"{name}.raw.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
