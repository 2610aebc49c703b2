"""One reading of a vCenter or an ESXi host: what is asked, and everything that proves it whole; its records.

Used by `collector`, which says in which order; what the answers prove is `proof`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from time import monotonic
from typing import Any

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, IncompleteError, LedgerError, PermanentError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.vcenter import errors
from asset_ledger.sources.vcenter.asking import Asked, ask_for
from asset_ledger.sources.vcenter.bulk import Retrieval, fault_at, over, reference, references, texts
from asset_ledger.sources.vcenter.client import VcenterClient
from asset_ledger.sources.vcenter.config import VcenterConfig
from asset_ledger.sources.vcenter.hosts import CLUSTER, HOST
from asset_ledger.sources.vcenter.ids import moid_here
from asset_ledger.sources.vcenter.listing import Lister, surroundings_of
from asset_ledger.sources.vcenter.paths import CLUSTERS, HOSTS, KINDS, VMS
from asset_ledger.sources.vcenter.permissions import GRANT, doubtful
from asset_ledger.sources.vcenter.proof import HOST_AGENT, Verdict, prove
from asset_ledger.sources.vcenter.raw import (
    MOST_BYTES,
    MOST_OBJECTS,
    Evidence,
    Sight,
    Surroundings,
    evidence_record,
    objects_record,
    redacted,
)
from asset_ledger.sources.vcenter.references import PLACED, RUNS_ON, References
from asset_ledger.sources.vcenter.rights import Rights, rights_of, with_held
from asset_ledger.sources.vcenter.slices import GONE, lacking, moid_of
from asset_ledger.sources.vcenter.vms import VM

_API_TYPES = {"vcenter": "VirtualCenter", "standalone": "HostAgent"}
_MANAGER = "summary.managementServerIp"
_EXTERNAL = {HOSTS: HOST, CLUSTERS: CLUSTER, VMS: VM}
_MOST_REPEATED = 1000


@dataclass
class _Seen:
    """What was seen of one part until now. See `raw.Sight`."""

    view: Any
    before: tuple[str, ...]
    after: tuple[str, ...] | None = None
    received: list[str] = field(default_factory=list)
    lacking: dict[str, Mapping[str, str]] = field(default_factory=dict)
    retrieval: Retrieval | None = None
    second: tuple[str, ...] | None = None
    second_fault: str = ""
    asked_for: tuple[str, ...] | None = None
    asked: Asked = field(default_factory=Asked)


class Survey:
    """What one session saw of the parts that are to be read.

    `known` are external kind and id of what the ledger has of the source.
    """

    def __init__(
        self,
        config: VcenterConfig,
        client: VcenterClient,
        scope: str,
        parts: Sequence[str],
        known: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        self._config, self.client = config, client
        self._lister = Lister(client)
        self.scope, self.parts = scope, tuple(parts)
        self.rights = Rights()
        self.managed_by = ""
        self._known = known
        self._seen: dict[str, _Seen] = {}
        self._references = References()
        self._host_view: Any = None
        self._hosts_before: tuple[str, ...] = ()
        self._hosts: set[str] | None = None
        self._runs_on: Mapping[str, int] | None = None
        self._runs_on_fault = ""
        self._around = Surroundings(client.about, {}, None)
        self._began, self._started_at = monotonic(), datetime.now(UTC)

    def ask_rights(self) -> None:
        """Ask what the account may see: everywhere, and on each object whose entries may be about it."""
        self.rights = rights_of(self.client)
        self.rights = with_held(self.client, self.rights, doubtful(self.evidence()))

    def look(self) -> None:
        """Make the views, and note what is in them before anything else is read."""
        for part in self.parts:
            view = self.client.view(KINDS[part].type)
            self._seen[part] = _Seen(view, self._lister.listed(view))
        hosts = self._seen.get(HOSTS)
        self._host_view = hosts.view if hosts else self.client.view(KINDS[HOSTS].type)
        self._hosts_before = hosts.before if hosts else self._lister.listed(self._host_view)

    def look_again(self) -> None:
        """Note what is in the views after everything else was read."""
        for seen in self._seen.values():
            seen.after = self._lister.listed(seen.view)
        hosts = self._seen.get(HOSTS)
        after = hosts.after or () if hosts else self._lister.listed(self._host_view)
        self._hosts = {*self._hosts_before, *after}

    def ask_manager(self) -> None:
        """Ask a host of its own for the vCenter that manages it, if one does: that one's source reads it too."""
        if self.client.about.get("apiType") == HOST_AGENT:
            told = (texts(found) for found in self._lister.everything(self._host_view, "HostSystem", (_MANAGER,)))
            self.managed_by = next((ip for one in told if (ip := one.get(_MANAGER, "").strip())), "")

    def surroundings(self) -> None:
        """Read what objects hang on."""
        self._around = surroundings_of(self._lister, with_datastores=HOSTS in self.parts)

    def objects(self, part: str) -> Iterator[RawRecord]:
        """Yield the records of a part as its objects come in, at most MOST_OBJECTS or MOST_BYTES of them at a time."""
        kind = KINDS[part]
        held: list[bytes] = []
        size, number, spaces = 0, 0, None
        began, started_at = monotonic(), datetime.now(UTC)

        def piece() -> RawRecord:
            nonlocal held, size, number, began, started_at
            number += 1
            timing = {"started_at": started_at.isoformat(), "duration_ms": round((monotonic() - began) * 1000)}
            made = objects_record(part, number, held, spaces or {}, self._around, timing, self._started_at)
            held, size = [], 0
            began, started_at = monotonic(), datetime.now(UTC)
            return made

        for slices, namespaces in self._slices(part, kind.every, kind.optional):
            if held and namespaces != spaces:
                yield piece()
            spaces = namespaces
            for one in slices:
                if held and (len(held) == MOST_OBJECTS or size + len(one) > MOST_BYTES):
                    yield piece()
                held.append(one)
                size += len(one)
        if held:
            yield piece()

    def count(self, part: str) -> None:
        """Read of a part's objects only what proves that they are all there."""
        kind = KINDS[part]
        wanted = {*kind.mandatory, *PLACED[part]}
        paths = [path for path in kind.every if path in wanted or path.startswith("runtime.")]
        for _ in self._slices(part, paths, kind.optional):
            pass

    def second_path(self) -> None:
        """List the same objects by another path: what hosts say runs on them and contains them, and their resources."""
        if VMS in self._seen:
            seen = self._seen[VMS]
            listed: list[str] = []
            for found in self._lister.everything(self._host_view, "HostSystem", ("vm",)):
                seen.second_fault = seen.second_fault or _refused(found, "vm")
                listed += references(found, "vm") or ()
            seen.second = None if seen.second_fault else tuple(dict.fromkeys(listed))
        if HOSTS in self._seen:
            seen = self._seen[HOSTS]
            hosts: list[str] = []
            for found in self._lister.everything(self.client.view("ComputeResource"), "ComputeResource", ("host",)):
                seen.second_fault = seen.second_fault or _refused(found, "host")
                hosts += references(found, "host") or ()
            seen.second = None if seen.second_fault else tuple(dict.fromkeys(hosts))
        if CLUSTERS in self._seen:
            parents = (
                reference(found, "parent")
                for found in self._lister.everything(self._seen[HOSTS].view, "HostSystem", ("parent",))
            )
            of_type = KINDS[CLUSTERS].type
            self._seen[CLUSTERS].second = tuple(dict.fromkeys(moid for kind, moid in parents if kind == of_type))
        self._read_hosts_of_machines()

    def ask_for_known(self) -> None:
        """Ask by its id for everything of these parts that the ledger knows and that was not received."""
        for part, seen in self._seen.items():
            received = {moid for moid in seen.received if seen.lacking.get(moid, {}).get("name") != GONE}
            here = (moid_here(self.client.about, name) for kind, name in self._known if kind == _EXTERNAL[part])
            seen.asked_for = tuple(sorted({moid for moid in here if moid is not None} - received))
            seen.asked = ask_for(self.client, KINDS[part].type, seen.asked_for)

    def _read_hosts_of_machines(self) -> None:
        """Count the machines on each host, of what was received or, where no machines are read, by that path alone."""
        if VMS in self._seen:
            self._runs_on = self._references.hosts
            return
        counted: dict[str, int] = {}
        for found in self._lister.everything(self.client.view(KINDS[VMS].type), "VirtualMachine", (RUNS_ON,)):
            self._runs_on_fault = self._runs_on_fault or _refused(found, RUNS_ON)
            if host := reference(found, RUNS_ON)[1]:
                counted[host] = counted.get(host, 0) + 1
        self._runs_on = None if self._runs_on_fault else counted

    def evidence(self) -> Evidence:
        """Return everything that was gathered until now."""
        rights = self.rights
        return Evidence(
            scope=self.scope,
            about=self._around.about,
            account=redacted(self.client.user or self.client.account.name),
            root=self.client.content.rootFolder._moId,
            read=rights.read,
            read_fault=rights.read_fault,
            permissions=rights.named({moid: place.name for moid, place in self._around.places.items()}),
            permissions_fault=rights.permissions_fault,
            roles=rights.roles,
            roles_fault=rights.roles_fault,
            held=rights.held,
            held_fault=rights.held_fault,
            hosts=None if self._hosts is None else tuple(sorted(self._hosts)),
            runs_on=None if self._runs_on is None else dict(sorted(self._runs_on.items())),
            runs_on_fault=self._runs_on_fault,
            unplaced=dict(sorted(self._references.unplaced(self._around.places).items())),
            managed_by=self.managed_by,
            sights=tuple(_sight(part, seen) for part, seen in self._seen.items()),
        )

    def verdict(self) -> Verdict:
        """Judge what was read until now."""
        return prove(self.evidence())

    def refusal(self) -> IncompleteError:
        """Return the error of a reading that is not proven whole."""
        verdict = self.verdict()
        said = "; ".join(verdict.denied or verdict.incomplete)
        if verdict.denied:
            said = said.replace(f": {GRANT}", "")  # the code's own advice, which stands behind every message
        code = errors.PERMISSION_DENIED if verdict.denied else INVENTORY_INCOMPLETE
        proof = {"complete": False, "counts": [dict(verdict.proof.counts)], "missing": list(verdict.proof.missing)}
        return IncompleteError(code, said, target=self.client.who, proof=proof)

    def wrong_scope(self) -> PermanentError | None:
        """Return the error of an endpoint that is not what the source says it is."""
        found = self.client.about.get("apiType", "")
        if found == _API_TYPES[self._config.scope]:
            return None
        fitting = next((scope for scope, of_type in _API_TYPES.items() if of_type == found), None)
        named = self.client.about.get("fullName") or found or "something that does not say what it is"
        fix = f"set scope: {fitting}" if fitting else "name a vCenter or an ESXi host"
        message = f"scope is {self._config.scope} and the endpoint is {named}: {fix}, or correct endpoint"
        return PermanentError(errors.CONFIG_INVALID, message, target=self._config.name)

    def counts(self) -> dict[str, int]:
        """Return how many objects are in each view."""
        return {part: len(seen.before) for part, seen in self._seen.items()}

    def record(self, error: LedgerError | None) -> RawRecord:
        """Return the reading's last record: everything that the proof is made of, and the error that ended it."""
        client, config = self.client, self._config
        document = {
            "endpoint": client.target,
            "account": client.account.name,
            "tls": config.trust,
            "tls_verify": config.tls_verify,
            "endpoint_is": config.scope,
            "api": client.version,
            "client": f"pyvmomi {version('pyvmomi')}",
            "objects": {part: len(seen.received) for part, seen in self._seen.items()},
            "logins": client.logins,
            "requests": client.requests,
            "bytes": client.bytes_received,
            "started_at": self._started_at.isoformat(),
            "duration_ms": round((monotonic() - self._began) * 1000),
            "error": {"code": error.code.code, "message": error.message[:1000]} if error else None,
        }
        return evidence_record(self.evidence(), document, self._started_at)

    def _slices(
        self, part: str, paths: Sequence[str], optional: Sequence[str]
    ) -> Iterator[tuple[list[bytes], Mapping[str, str]]]:
        """Yield a part's objects as bytes, noting which they are and what they must have and have not."""
        seen = self._seen[part]
        seen.retrieval = Retrieval(
            self.client,
            over(seen.view),
            KINDS[part].type,
            paths,
            optional=[path for path in optional if path in paths],
            page_size=self._config.page_size,
        )
        known: set[str] = set()
        for slices, namespaces in seen.retrieval:
            new = []
            for one in slices:
                moid = moid_of(one)
                if moid is None:
                    raise self.client.failure(errors.PARSE_ERROR, f"one of the {part} does not begin with its id")
                seen.received.append(moid)
                if moid in known:  # pages are made of a list that moves on: what it was the first time is enough
                    continue
                known.add(moid)
                new.append(one)
                self._references.note(one, part)
                if lacks := lacking(one, part, namespaces):
                    seen.lacking[moid] = lacks
            if len(seen.received) > 2 * max(len(known), len(seen.before)) + _MOST_REPEATED:
                raise self.client.failure(errors.PARSE_ERROR, f"the pages of the {part} repeat themselves without end")
            yield new, namespaces


def _sight(part: str, seen: _Seen) -> Sight:
    retrieval = seen.retrieval
    return Sight(
        part=part,
        before=seen.before,
        after=seen.after,
        received=tuple(seen.received),
        lacking=dict(seen.lacking),
        pages=retrieval.pages if retrieval else 0,
        ended=bool(retrieval and retrieval.ended),
        second=seen.second,
        second_fault=seen.second_fault,
        dropped=retrieval.dropped if retrieval else (),
        asked=seen.asked_for,
        gone=tuple(seen.asked.gone),
        denied=tuple(seen.asked.denied),
        unclear=dict(seen.asked.unclear),
    )


def _refused(found: Any, path: str) -> str:
    fault = fault_at(found, path)
    return f"{fault} on {found.findtext('obj')}" if fault and fault != GONE else ""
