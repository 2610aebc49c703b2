"""One raw record of a reading to its items: a host with its virtual machines, or the cluster and the proof. Pure.

Called for today's readings and for the replay of kept ones. What cannot be read of an answer's list refuses the record;
what cannot be read of one machine makes its fields unknown, and cautions say so, once for each cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from asset_ledger.domain.addresses import parse_address
from asset_ledger.domain.errors import ErrorCode, PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution, Item, Proof, TargetFailure, UnchangedRecord
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.hyperv.answers import Seen, Trouble, trouble
from asset_ledger.sources.hyperv.errors import (
    DISK_UNKNOWN,
    DUPLICATE_ID,
    FAILED_OVER,
    NODE_UNREACHABLE,
    PARSE_ERROR,
    by_name,
)
from asset_ledger.sources.hyperv.facts import PARSER_VERSION, digest_of
from asset_ledger.sources.hyperv.guests import HOST, VM, describe_vm, lasting
from asset_ledger.sources.hyperv.holding import holders
from asset_ledger.sources.hyperv.hosts import describe_cluster, describe_host
from asset_ledger.sources.hyperv.proof import failures, prove, twice
from asset_ledger.sources.hyperv.raw import NODE, SURVEY, read_evidence, read_node
from asset_ledger.sources.hyperv.sweep import DOWN, cluster_nodes
from asset_ledger.sources.hyperv.values import clean, rows, shown, whole

__all__ = ["PARSER_VERSION", "parse"]

COUNTED = ("nodes", "sweeps", "visits")
"""What a reading counts of itself, for monitoring."""


def parse(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:
    """Yield what a record says. Raises PermanentError(HYPERV_PARSE_ERROR) where its lists cannot be read."""
    match raw.document.get("part"):
        case str(part) if part == NODE:
            return _node(raw, known)
        case str(part) if part == SURVEY:
            return _survey(raw, known)
    raise PermanentError(PARSE_ERROR, "it does not say what part of a reading it is", target=raw.target)


def _survey(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:
    evidence = read_evidence(raw)
    names = [sight.cluster.name for sight in evidence.sights if sight.cluster is not None and sight.cluster.name]
    if names:
        yield _unless_known(describe_cluster(names[-1]), known)
    for told in rows(raw.document.get("cautions")):
        if isinstance(told, dict) and (code := by_name(clean(told.get("code")))) is not None:
            yield Caution(code, clean(told.get("message")) or code.meaning)
    for vm_id, (name, nodes, counts) in sorted(twice(evidence).items()):
        yield Caution(
            DUPLICATE_ID, f"{name} {vm_id} is on {' and on '.join(nodes)}; the one on {counts} was taken", name
        )
    for vm_id, one in sorted(holders(evidence).items()):
        if one.failed_over:
            told = "" if one.node in one.failed_over else f"; its machine on {one.node} was taken"
            where = " and on ".join(one.failed_over)
            message = f"{one.name} {vm_id} on {where} is a replica that was failed over, or runs{told}"
            yield Caution(FAILED_OVER, message, one.name)
    failed = failures(evidence)
    for node, sight in sorted(failed.items()):
        # by its address alone nobody can say which host it is
        if parse_address(node) is None:
            code = by_name(sight.code) or NODE_UNREACHABLE
            yield TargetFailure(HOST, node, None, code, f"{node} ({sight.address}): {clean(sight.message)}")
    for node, state in sorted((cluster_nodes(evidence) or {}).items()):
        if state == DOWN and node not in failed:
            yield TargetFailure(HOST, node, None, NODE_UNREACHABLE, f"{node} is down, the cluster says")
    proof = prove(evidence).proof
    yield Proof({**proof.counts, **{name: whole(raw.document.get(name)) for name in COUNTED}}, proof.missing)


def _node(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:
    node, answers, elsewhere = read_node(raw)
    if not answers:
        return
    last = answers[-1]
    record, faults = describe_host(last, clean(raw.document.get("address")))
    yield _unless_known(record, known)
    if faults:
        yield Caution(PARSE_ERROR, "; ".join(faults)[:1024], record.locator)
    for told in last.errors:
        if told.where == HOST:
            yield Caution(told.code, f"something of host {node} could not be read: {told.said}"[:1024], record.locator)
    cluster = last.cluster.name if last.cluster is not None else ""
    # of one machine in several answers the last counts
    newest: dict[str, tuple[Seen, Mapping[str, object]]] = {}
    for answer in answers:
        newest |= {vm.id: (vm, item) for vm, item in zip(answer.seen, answer.items, strict=True)}
    unread: dict[tuple[ErrorCode, str], list[str]] = {}
    for vm_id, (vm, item) in newest.items():
        if vm.replica or vm_id in elsewhere:
            continue
        yield from _machine(vm, item, node, cluster, known)
        for told in _troubles(item):
            unread.setdefault((told.code if told.where != "vhd" else DISK_UNKNOWN, _cause(told)), []).append(
                vm.name or vm_id
            )
    for (code, cause), names in unread.items():
        yield Caution(code, f"{cause}, of {shown(names)}"[:1024], node)


def _machine(
    vm: Seen, item: Mapping[str, object], node: str, cluster: str, known: Mapping[bytes, str]
) -> Iterator[Item]:
    digest = digest_of(VM, lasting(item), node, cluster)
    locator = f"{node}: {vm.name or vm.id}"
    if known.get(digest) == vm.id:
        yield UnchangedRecord(vm.id, locator, digest)
        return
    document, faults = describe_vm(item, node, cluster)
    if faults:
        # a fault is told every time, so it is parsed every time
        digest = digest_of(VM, lasting(item), node, cluster, *faults)
    if known.get(digest) == vm.id:
        yield UnchangedRecord(vm.id, locator, digest)
    else:
        yield AssetRecord(VM, vm.id, locator, document, digest)
    if faults:
        yield Caution(PARSE_ERROR, "; ".join(faults)[:1024], locator)


def _troubles(item: Mapping[str, object]) -> list[Trouble]:
    """Return what the script could not read of one machine, each cause once."""
    found = [trouble(one) for one in rows(item.get("errors"))]
    for disk in rows(item.get("disks")):
        if isinstance(disk, dict) and isinstance(disk.get("error"), dict):
            found.append(trouble({**disk["error"], "where": "vhd"}))
    return list({(one.where, _cause(one)): one for one in found}.values())


def _cause(told: Trouble) -> str:
    """Return a cause as it is said: of a disk without the message, which names the file."""
    if told.where == "vhd":
        name = told.id.partition(",")[0] or told.type.rpartition(".")[2] or told.category
        return f"the size of a disk could not be read ({name or 'no reason given'})"
    return f"{told.where or 'something'} could not be read: {told.said}"


def _unless_known(record: AssetRecord, known: Mapping[bytes, str]) -> Item:
    if known.get(record.record_digest) == record.external_id:
        return UnchangedRecord(record.external_id, record.locator, record.record_digest)
    return record
