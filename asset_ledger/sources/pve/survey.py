"""Everything that is asked to prove a reading whole: who answers, the rights, the lists, the ids; and the last record.

Used by `collector`; what the answers prove is `proof`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from time import monotonic
from typing import Any

from asset_ledger.domain.errors import (
    INVENTORY_INCOMPLETE,
    INVENTORY_RELATIONS_EMPTY,
    IncompleteError,
    LedgerError,
    PermanentError,
)
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.pve import errors
from asset_ledger.sources.pve.client import Answer, PveClient
from asset_ledger.sources.pve.config import PveConfig
from asset_ledger.sources.pve.evidence import AUDIT, NEW_GUEST
from asset_ledger.sources.pve.nodes import NodeReader, offline_nodes
from asset_ledger.sources.pve.proof import GRANT, Verdict, ids_to_probe, prove
from asset_ledger.sources.pve.raw import Response, line, record
from asset_ledger.sources.pve.rows import GUEST_TYPES, Guests, guest_id, guests, node_name

PROBES_AT_ONCE = 8
AGENT_RIGHTS = frozenset({"VM.Monitor", "VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"})
"""Any of them lets an account ask agents: the first up to Proxmox VE 8, the others from 9 on."""
_MOST_ROUNDS = 3
# refusals that are evidence themselves; with anything else nothing can be proven, and the error says why
_TELLING = frozenset({400, 403, 501})


class Survey:
    """The answers that the proof is made of, in the order asked for, and what can be read from them."""

    def __init__(self, config: PveConfig, client: PveClient) -> None:
        self._config = config
        self.client = client
        self.reader: NodeReader | None = None
        self.answers: list[Answer] = []
        self.nodes: dict[str, Mapping[str, Any]] = {}
        self.first = Guests()
        self.second = Guests()
        self.version = ""
        self.cluster: str | None = None
        self.driver = ""
        self._cap: Mapping[str, Any] | None = None
        self._began, self._started_at = monotonic(), datetime.now(UTC)

    def begin(self) -> None:
        """Ask who answers, which nodes and guests there are, and what the account may see."""
        told = self._need("/version").response.data
        self.version = _joined_version(told)
        self._ask("/cluster/status")
        self._read_nodes(self._need("/nodes").response.data)
        self.first = self._list(self._need("/cluster/resources"))
        named = [row.get("name") for row in self.members() if row.get("type") == "cluster"]
        self.cluster = named[0] if named and isinstance(named[0], str) else None
        whole = self._ask("/access/permissions")
        self.driver = "pve-cap-v1" if whole.response.status == 501 else "pve-cap-v2"
        if whole.response.status != 501:
            self._ask("/access/permissions", {"path": "/vms"})
            self._ask("/access/permissions", {"path": NEW_GUEST})
        elif not self.client.account.by_token:
            self.answers.append(self.client.holds(NEW_GUEST, AUDIT))
            self.answers.append(self.client.holds("/access", "Sys.Audit"))
            self._cap = self.client.cap
        self._ask("/access/acl")
        self._ask("/access/roles")
        self._ask("/cluster/nextid")

    def probe(self, order: ReadOrder) -> bool:
        """Ask for every id that a hidden guest may have, and for those the ledger knows and the lists lack.

        Return whether that leaves the list in doubt: an id is taken, or there are too many to ask for.
        """
        known = {vmid for kind, name in order.known if kind == "vm" and (vmid := guest_id(name.partition("/")[2]))}
        for _ in range(_MOST_ROUNDS):
            plan = ids_to_probe(self.responses(), known, self.client.account.name)
            if not plan.ids:
                break
            with ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
                try:
                    found = list(pool.map(self._probe_one, plan.ids))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            self.answers += found
        taken = (one.response for one in self.answers if one.response.path == "/cluster/nextid")
        return bool(plan.refusal) or any(response.status == 400 for response in taken)

    def again(self) -> None:
        """Read the list of guests a second time."""
        self.second = self._list(self._need("/cluster/resources", {"type": "vm"}))

    def late(self) -> list[Mapping[str, Any]]:
        """Return the rows of guests that no record of a node has.

        They are new in the second list, or again in it after they were gone, or on a node that is not listed.
        """
        gone = self.reader.gone if self.reader else set()
        rows = [row for row in self.first.rows.values() if row["node"] not in self.nodes]
        return rows + [row for vmid, row in self.second.rows.items() if vmid not in self.first.rows or vmid in gone]

    def add(self, probes: Iterable[Answer]) -> None:
        """Take in ids that were asked for along the way."""
        self.answers += [one for one in probes if not any(one is held for held in self.answers)]

    def responses(self) -> Sequence[Response]:
        """Return the answers without their texts."""
        return [answer.response for answer in self.answers]

    def verdict(self) -> Verdict:
        """Judge what was read until now."""
        return prove(self.responses(), self.client.account.name)

    def refusal(self) -> IncompleteError:
        """Return the error of a reading that is not proven whole."""
        verdict = self.verdict()
        # before the list was read again that stands against any reading, and nobody needs to hear it
        said = "; ".join(verdict.denied or verdict.incomplete)
        if verdict.denied:
            said = said.replace(f": {GRANT}", "")  # the code's own advice, which stands behind every message
        code = errors.PERMISSION_DENIED if verdict.denied else INVENTORY_INCOMPLETE
        proof = {"complete": False, "counts": [dict(verdict.proof.counts)], "missing": list(verdict.proof.missing)}
        return IncompleteError(code, said, target=self._who(), proof=proof)

    def wrong_scope(self) -> PermanentError | None:
        """Return the error of an endpoint that is not what the source says it must be."""
        found = "cluster" if self.cluster else "standalone"
        if self._config.scope in ("auto", found) or not self.members():
            return None
        is_what = f"a member of cluster {self.cluster}" if self.cluster else "a node that is in no cluster"
        message = (
            f"scope is {self._config.scope} and the endpoint is {is_what}: correct scope, or find out what changed"
        )
        return PermanentError(errors.CONFIG_INVALID, message, target=self._config.name)

    def may_ask_agents(self) -> bool:
        """Say whether the account may ask any agent at all; where that is not told, asking will tell."""
        dump = self._answer("/access/permissions")
        if dump is not None and dump.error is None and isinstance(dump.response.data, dict):
            return any(
                AGENT_RIGHTS & rights.keys() for rights in dump.response.data.values() if isinstance(rights, dict)
            )
        vms = self._cap.get("vms") if self._cap else None
        return bool(AGENT_RIGHTS & vms.keys()) if isinstance(vms, dict) else True

    def agent_call(self) -> str | None:
        """Return how agents are asked here: GET, POST or none; None where there is no virtual machine to try it on."""
        offline = self.offline()
        rows = [row for row in self.first.rows.values() if row["type"] == "qemu" and row["node"] not in offline]
        # one that does not run is refused at once: that the call is there is all that is asked
        for row in sorted(rows, key=lambda row: (row.get("status") == "running", row["vmid"])):
            at = f"/nodes/{row['node']}/qemu/{row['vmid']}/agent"
            if self.client.ask(f"{at}/network-get-interfaces").response.status != 501:
                return "GET"
            asked = self.client.ask(at, {"command": "network-get-interfaces"}, method="POST")
            return "POST" if asked.response.status != 501 else "none"
        return None

    def members(self) -> list[dict[str, Any]]:
        """Return the rows of /cluster/status, the cluster and its nodes; none where it could not be read."""
        answer = self._answer("/cluster/status")
        data = answer.response.data if answer is not None and answer.error is None else None
        return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []

    def offline(self) -> frozenset[str]:
        """Return the names of the nodes that are offline."""
        return offline_nodes(list(self.nodes.values()), self.members())

    def fingerprints(self) -> dict[str, str]:
        """Return the SHA-256 of each node's certificate, where /nodes says it."""
        told = {name: row.get("ssl_fingerprint") for name, row in self.nodes.items()}
        return {name: value for name, value in sorted(told.items()) if isinstance(value, str)}

    def record(self, error: LedgerError | None) -> RawRecord:
        """Return the cluster's record: everything that the proof is made of."""
        reader, config = self.reader, self._config
        lines = [line(answer.response, answer.text) for answer in self.answers]
        document = {
            "part": "cluster",
            "endpoint": self.client.target,
            "account": self.client.account.name,
            "auth_type": config.auth_type,
            "tls": config.trust,
            "tls_verify": config.tls_verify,
            "scope": config.scope,
            "cluster": self.cluster,
            "version": self.version,
            "driver": self.driver,
            "client": f"proxmoxer {version('proxmoxer')}",
            "nodes": len(self.nodes),
            "guests": len(self.first.rows),
            "guest_addresses": config.guest_addresses,
            "agents_forbidden": bool(reader and config.guest_addresses and not reader.ask_agents),
            "agents_asked": reader.agents_asked if reader else 0,
            "agents_unavailable": reader.agents_unavailable if reader else 0,
            "requests": self.client.requests,
            "rate_limited": self.client.rate_limited,
            "started_at": self._started_at.isoformat(),
            "duration_ms": round((monotonic() - self._began) * 1000),
            "error": _told(error) if error else None,
        }
        return record("cluster", document, lines, self._started_at)

    def _who(self) -> str:
        return f"{self.client.account.name} at {self.client.target}"

    def _need(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        answer = self._ask(path, query)
        if answer.error is not None:
            raise self.client.failure(answer)
        return answer

    def _ask(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        answer = self.client.ask(path, query)
        self.answers.append(answer)
        if answer.error is not None and answer.response.status not in _TELLING:
            raise self.client.failure(answer)
        return answer

    def _probe_one(self, vmid: int) -> Answer:
        answer = self.client.ask("/cluster/nextid", {"vmid": str(vmid)})
        if answer.error is not None and answer.response.status not in _TELLING:
            raise self.client.failure(answer)
        return answer

    def _read_nodes(self, data: Any) -> None:
        for row in data if isinstance(data, list) else [None]:
            name = row.get("node") if isinstance(row, dict) else None
            if not isinstance(name, str) or name in self.nodes:
                message = "/nodes: what it holds is no list of nodes, each with a name of its own"
                raise PermanentError(errors.PARSE_ERROR, message, target=self.client.target)
            self.nodes[name] = row

    def _list(self, answer: Answer) -> Guests:
        data = answer.response.data
        found = guests(data)
        if found.problems:
            rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
            on_nodes = [node_name(row.get("node")) for row in rows if row.get("type") in GUEST_TYPES]
            if on_nodes and not any(on_nodes):
                message = f"/cluster/resources: {len(on_nodes)} guests, and of none the node it runs on"
                raise PermanentError(INVENTORY_RELATIONS_EMPTY, message, target=self.client.target)
            message = f"/cluster/resources: {'; '.join(found.problems[:10])}"
            raise PermanentError(errors.PARSE_ERROR, message, target=self.client.target)
        return found

    def _answer(self, path: str) -> Answer | None:
        asked = (answer for answer in self.answers if answer.response.path == path and not answer.response.query)
        return next(asked, None)


def _joined_version(data: Any) -> str:
    """Return the release as `8.4.1`; up to 5.x it comes in two parts."""
    told = data.get("version") if isinstance(data, dict) else None
    if not isinstance(told, str) or not told:
        return ""
    release = data.get("release")
    in_parts = told.count(".") == 1 and "-" not in told and isinstance(release, str) and "." not in release
    return f"{told}-{release}" if in_parts else told


def _told(error: LedgerError) -> dict[str, str]:
    return {"code": error.code.code, "message": error.message[:1000]}
