"""One raw record of a reading to its items: the instances of a region, or the proof. Pure.

Called for today's readings and for the replay of kept ones. What cannot be read of a list refuses the record; what
cannot be read of one instance makes that instance's fields unknown and gives a caution.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution, Item, Proof, TargetFailure, UnchangedRecord
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.aliyun.disks import Disks, disks_of
from asset_ledger.sources.aliyun.errors import DISKS_UNAVAILABLE, PARSE_ERROR, TLS_UNVERIFIED
from asset_ledger.sources.aliyun.fields import TEXT_MOST, clean
from asset_ledger.sources.aliyun.instances import VM, describe, unreadable
from asset_ledger.sources.aliyun.pages import INSTANCES, PageError, instance_id, page
from asset_ledger.sources.aliyun.proof import digest_of, prove, read_evidence
from asset_ledger.sources.aliyun.raw import ACCOUNT, REGION, Answer, read_answers

PARSER_VERSION = 1
COUNTED = ("requests", "rate_limited", "restarts")
"""What a reading counts of itself, for monitoring."""


def parse(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:
    """Yield what a record says. Raises PermanentError(ALIYUN_PARSE_ERROR) where its lists cannot be read."""
    match raw.document.get("part"):
        case "account":
            return _account(raw)
        case "region":
            return _region(raw, known)
    raise PermanentError(PARSE_ERROR, "it does not say what part of a reading it is", target=raw.target)


def _account(raw: RawRecord) -> Iterator[Item]:
    assert raw.document["part"] == ACCOUNT
    if raw.document.get("tls_verify") is False:
        yield Caution(TLS_UNVERIFIED, "it was read over connections whose other end nobody checked")
    proof = prove(read_evidence(raw)).proof
    counted = {name: count if type(count := raw.document.get(name)) is int else None for name in COUNTED}
    yield Proof({**proof.counts, **counted}, proof.missing)


def _region(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:
    assert raw.document["part"] == REGION
    instances = _Instances(raw)
    others = instances.taken_from(read_answers(raw))
    disks = disks_of(others)
    for _ in others:
        pass  # it may have stopped at the first page that is none
    rows = instances.checked()
    region = clean(raw.document.get("region"))
    zone = "source" if raw.document.get("address_zone") == "source" else "vpc"
    if rows and disks.why:
        yield Caution(DISKS_UNAVAILABLE, f"{region}: {disks.why}"[:TEXT_MOST], raw.target)
    elif rows and not disks.listed:
        told = f"{region}: it has {len(rows)} instances and no disk is listed; the account may not list disks"
        yield Caution(DISKS_UNAVAILABLE, told, raw.target)
    for instance, row in rows.items():
        yield from _instance(instance, row, disks, zone, known)


def _instance(
    instance: str, row: Mapping[str, Any], disks: Disks, zone: str, known: Mapping[bytes, str]
) -> Iterator[Item]:
    locator = f"{instance} {clean(row.get('InstanceName'))[:255]}".strip()
    if told := unreadable(row):
        yield TargetFailure(VM, instance, None, PARSE_ERROR, f"instance {locator}: {told}")
        return
    total = disks.total(instance)
    digest = _digest(row, total, zone)
    if known.get(digest) == instance:
        yield UnchangedRecord(instance, locator, digest)
        return
    document, faults = describe(instance, row, total, zone=zone)
    if faults:
        # another digest, so that the next reading says again what is wrong
        digest = hashlib.blake2b(digest + b"faults", digest_size=16).digest()
    if known.get(digest) == instance:
        yield UnchangedRecord(instance, locator, digest)
    else:
        yield AssetRecord(VM, instance, locator, document, digest)
    if faults:
        yield Caution(PARSE_ERROR, "; ".join(faults)[:TEXT_MOST], locator)


class _Instances:
    """The instances of a region's record by id. All that is kept of an answer are their rows."""

    def __init__(self, raw: RawRecord) -> None:
        self._raw = raw
        self._found: dict[str, Mapping[str, Any]] = {}
        self._ids: list[str] = []

    def taken_from(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """Take what holds instances and yield the others. Raises PermanentError(ALIYUN_PARSE_ERROR) for no page."""
        for answer in answers:
            if answer.action != INSTANCES or "DryRun" in answer.query or not answer.ok:
                yield answer
                continue
            try:
                for row in page(INSTANCES, answer.data).rows:
                    self._ids.append(instance_id(row))
                    self._found.setdefault(self._ids[-1], row)
            except PageError as wrong:
                raise PermanentError(PARSE_ERROR, str(wrong), target=self._raw.target) from None

    def checked(self) -> Mapping[str, Mapping[str, Any]]:
        """Return them. Raises PermanentError(ALIYUN_PARSE_ERROR) where one is missing."""
        said = self._raw.document
        if said.get("instances") != len(self._ids) or said.get("digest") != digest_of(self._ids):
            message = "its instances are not those that were received"
            raise PermanentError(PARSE_ERROR, message, target=self._raw.target)
        return self._found


def _digest(row: Mapping[str, Any], disks: tuple[int, str], zone: str) -> bytes:
    # not canonical_json: what Aliyun sends may hold numbers that no document may
    said = json.dumps([PARSER_VERSION, zone, disks, row], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(said.encode("ascii"), digest_size=16).digest()
