"""One raw record of a reading to its items: the cluster and the proof, or a node and its guests. Pure.

Called for today's readings and for the replay of kept ones. What cannot be read of the lists refuses the record; what
cannot be read of one guest makes that guest's fields unknown and gives a caution.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from asset_ledger.domain.errors import ErrorCode, PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution, Item, Proof, TargetFailure, UnchangedRecord
from asset_ledger.domain.normalized import NOT_REPORTED
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.pve import guests, hosts
from asset_ledger.sources.pve.errors import (
    GUEST_AGENT_UNAVAILABLE,
    NODE_OFFLINE,
    PARSE_ERROR,
    RANGE_ONLY,
    TLS_UNVERIFIED,
)
from asset_ledger.sources.pve.guests import HOST, PARSER_VERSION, Details
from asset_ledger.sources.pve.proof import prove
from asset_ledger.sources.pve.properties import mapping, reason, whole
from asset_ledger.sources.pve.raw import Response, read
from asset_ledger.sources.pve.rows import GUEST_TYPES, guest_id, node_name
from asset_ledger.sources.pve.rows import guests as guests_in

__all__ = ["PARSER_VERSION", "parse"]

COUNTED = ("requests", "rate_limited", "agents_asked", "agents_unavailable")
"""What a reading counts of itself, for monitoring."""
_OF_A_GUEST = re.compile(
    r"/nodes/[^/]+/(qemu|lxc)/([0-9]{3,9})/(config|interfaces|agent(?:/network-get-interfaces)?)\Z"
)
_GUESTS_OF_A_NODE = re.compile(r"/nodes/[^/]+/(qemu|lxc)\Z")


def parse(raw: RawRecord, known: Mapping[bytes, str]) -> Iterator[Item]:
    """Yield what a record says. Raises PermanentError(PVE_PARSE_ERROR) where its lists cannot be read."""
    responses = read(raw)
    match raw.document.get("part"):
        case "cluster":
            items = _cluster(raw, responses)
        case "node":
            items = _node(raw, responses)
        case "guests":
            items = _guests(raw, responses, online=True)
        case _:
            raise PermanentError(PARSE_ERROR, "it does not say what part of a reading it is", target=raw.target)
    for item in items:
        if isinstance(item, AssetRecord) and known.get(item.record_digest) == item.external_id:
            yield UnchangedRecord(item.external_id, item.locator, item.record_digest)
        else:
            yield item


def _cluster(raw: RawRecord, responses: Sequence[Response]) -> Iterator[Item]:
    belongs = hosts.membership(_last(responses, "/cluster/status"), "")
    if belongs.cluster is not None:
        yield hosts.describe_cluster(belongs.cluster)
    if raw.document.get("tls_verify") is False:
        yield Caution(TLS_UNVERIFIED, "it was read over a connection whose other end nobody checked")
    if raw.document.get("agents_forbidden") is True:
        yield Caution(
            GUEST_AGENT_UNAVAILABLE,
            "no agent was asked: the account may not. Up to Proxmox VE 8 it needs VM.Monitor, from 9 on "
            "VM.GuestAgent.Audit",
        )
    account = raw.document.get("account")
    proof = prove(responses, account if isinstance(account, str) else "").proof
    if proof.complete and (searched_to := proof.counts.get("searched_to")):
        doubt = proof.counts["access_control_list"]
        yield Caution(
            RANGE_ONLY,
            f"permissions could not be judged ({doubt}); guests with ids above {searched_to} cannot be excluded",
        )
    counted = {name: whole(raw.document.get(name)) for name in COUNTED}
    yield Proof({**proof.counts, **counted}, proof.missing)


def _node(raw: RawRecord, responses: Sequence[Response]) -> Iterator[Item]:
    name = node_name(raw.document.get("node"))
    if name is None:
        raise PermanentError(PARSE_ERROR, "it does not say of which node it is", target=raw.target)
    rows = [row for row in _rows(_last(responses, "/nodes"), raw) if row.get("node") == name]
    online = raw.document.get("online") is True
    if not online:
        yield Caution(
            NODE_OFFLINE, f"node {name} is offline: its guests are listed, their details are old", f"node {name}"
        )
    # the folder of a node that left its cluster may still hold guests: they run on what is no node any more
    if rows:
        status, network = (_last(responses, f"/nodes/{name}/{what}") for what in ("status", "network"))
        belongs = hosts.membership(_last(responses, "/cluster/status"), name)
        record, unread = hosts.describe_node(
            name, rows[0], status, network, belongs, online=online, reached=_reached(raw)
        )
        yield record
        address = record.document["identity"].get("mgmt_ip")
        if not online:
            yield TargetFailure(HOST, name, address, NODE_OFFLINE, f"node {name} is offline")
        elif unread is not None and unread[0].retryable:
            yield TargetFailure(HOST, name, address, unread[0], f"node {name}: {unread[1]}")
        elif unread is not None:
            yield Caution(unread[0], f"the status of node {name} could not be read: {unread[1]}", f"node {name}")
    yield from _guests(raw, responses, online=online)


def _guests(raw: RawRecord, responses: Sequence[Response], *, online: bool) -> Iterator[Item]:
    listed = _last(responses, "/cluster/resources")
    if listed is None or not listed.ok:
        raise PermanentError(PARSE_ERROR, "it has no rows of /cluster/resources", target=raw.target)
    found = guests_in(listed.data)
    if found.problems:
        raise PermanentError(PARSE_ERROR, f"/cluster/resources: {'; '.join(found.problems[:5])}", target=raw.target)
    details = _details(responses)
    unasked = {kind: _unasked(raw, kind) for kind in GUEST_TYPES}
    unread: dict[tuple[ErrorCode, str], list[str]] = {}
    for vmid, row in found.rows.items():
        described = guests.describe(
            vmid,
            row,
            details.get((row["type"], vmid)) or Details(),
            online=online,
            unasked=unasked[row["type"]],
            reached=_reached(raw),
        )
        yield described.record
        yield from described.cautions
        if described.unread is not None:
            unread.setdefault(described.unread, []).append(described.record.external_id)
    for (code, told), which in unread.items():
        more = f" and {len(which) - 5} more" if len(which) > 5 else ""
        yield Caution(code, f"the configs of {', '.join(which[:5])}{more} could not be read: {told}", raw.target)


def _reached(raw: RawRecord) -> bool:
    """Say whether the node of this record answered: of one that did not, rows may be old that say it is online."""
    return raw.document.get("unreachable") is not True


def _unasked(raw: RawRecord, kind: str) -> str:
    """Return why guests of a kind were not asked for their addresses: for one that could have been."""
    if raw.document.get("guest_addresses") is False:
        return f"{NOT_REPORTED}: guest_addresses is off"
    if kind == "lxc":
        return f"{NOT_REPORTED}: its node was not asked for its addresses"
    if raw.document.get("agents_forbidden") is True:
        return reason(GUEST_AGENT_UNAVAILABLE, "the account has no right to ask agents")
    return f"{NOT_REPORTED}: its agent was not asked"


def _details(responses: Sequence[Response]) -> dict[tuple[str, int], Details]:
    """Return what was answered about each guest, by kind and id; of several answers the last that holds data."""
    found: dict[tuple[str, int], Details] = {}
    for response in responses:
        if match := _OF_A_GUEST.match(response.path):
            kind, number, what = match.groups()
            details = found.setdefault((kind, int(number)), Details())
            if what == "config":
                details.config = _better(details.config, response)
            else:
                details.addresses = _better(details.addresses, response)
        elif response.ok and isinstance(response.data, list) and (match := _GUESTS_OF_A_NODE.match(response.path)):
            for row in response.data:
                vmid = guest_id(row.get("vmid")) if isinstance(row, dict) else None
                if vmid is not None:
                    found.setdefault((match.group(1), vmid), Details()).listed = row
    return found


def _better(before: Response | None, after: Response) -> Response:
    return before if before is not None and before.ok and not after.ok else after


def _rows(response: Response | None, raw: RawRecord) -> list[Mapping[str, object]]:
    if response is None:
        return []
    if not response.ok or not isinstance(response.data, list) or any(mapping(row) is None for row in response.data):
        raise PermanentError(PARSE_ERROR, f"{response.path} is no list of rows", target=raw.target)
    return response.data


def _last(responses: Sequence[Response], path: str) -> Response | None:
    """Return the last answer of a path that holds data, else the last one at all, or None."""
    every = [response for response in responses if response.path == path]
    return next((one for one in reversed(every) if one.ok), every[-1] if every else None)
