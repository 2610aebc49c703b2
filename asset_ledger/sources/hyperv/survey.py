"""A reading as it goes on: which hosts are asked in which order, what came of it, and the records it leaves.

Used by `collector`. What the answers mean, whether somebody has to be asked again and who has which machine say `sweep`
and `proof`, purely; `nodes` asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from time import monotonic
from typing import Any

from asset_ledger.domain.errors import (
    INVENTORY_INCOMPLETE,
    ErrorCode,
    IncompleteError,
    LedgerError,
    PermanentError,
    error_of,
)
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.hyperv import errors
from asset_ledger.sources.hyperv.answers import Answer, ClusterSaid
from asset_ledger.sources.hyperv.config import MOST_HOSTS, HypervConfig
from asset_ledger.sources.hyperv.evidence import Evidence
from asset_ledger.sources.hyperv.holding import elsewhere
from asset_ledger.sources.hyperv.nodes import Place, Visit, Visitor, places_of
from asset_ledger.sources.hyperv.proof import Verdict, failures, prove
from asset_ledger.sources.hyperv.raw import SURVEY, node_record, survey_record
from asset_ledger.sources.hyperv.script import DETAILED, Ask
from asset_ledger.sources.hyperv.sweep import DOWN, cluster_nodes, misfit, plan
from asset_ledger.sources.platform import ReadOrder

_NO_WAY = frozenset({errors.TIMEOUT, errors.REFUSED, errors.CONNECTION_LOST})
_GOING = errors.NODE_UNREACHABLE
_MOST_ROUNDS = 2 * MOST_HOSTS + 8  # where no node can tell the cluster's lists, each is asked for them in a round
_LIGHT: Mapping[Ask, Ask] = {"whole": "lists", "own": "names"}


class Survey:
    """The visits of one reading, in the order in which they came in, and what follows from them."""

    def __init__(
        self, config: HypervConfig, visitor: Visitor, account: str, order: ReadOrder, *, light: bool = False
    ) -> None:
        """Take who asks for what. `light`: of machines only their names are asked, and judged as if it were all."""
        self._config = config
        self._visitor = visitor
        self._account = account
        known = sorted(name for kind, name in order.known - order.gone if kind == "vm")
        self.evidence = Evidence(scope=config.scope, hosts=config.hosts, known=tuple(known))
        self.visits: list[Visit] = []
        self._light = light
        self._began, self._started_at = monotonic(), datetime.now(UTC)

    def begin(self, *, identify: bool = False) -> None:
        """Ask one host, then every other that the source names.

        One first and alone: it shows whether the account is right before many hosts are told its password. Raises
        what kept every named host from answering, and PermanentError(HYPERV_CONFIG_INVALID) where they do not fit.
        """
        left = places_of(self._config)
        while left and not self._answered() and not any(error.code is errors.AUTH_FAILED for error in self.failed):
            self._visit([(left.pop(0), "whole")], sweep=1, identify=identify)
        if not self._answered():
            raise self._nobody()
        self._fit()
        self._visit([(place, "own") for place in left], sweep=1, identify=identify)
        self._fit()

    def go_on(self) -> None:
        """Ask whoever has to be asked besides: the cluster's other nodes, then all again for what moved meanwhile.

        Not where an address of the source did not answer: which node that is nobody knows, and each must.
        """
        if self._nameless():
            return
        for _ in range(_MOST_ROUNDS):
            asked = plan(self.evidence)
            if asked is None:
                return
            asks = [(self._place(node), ask) for node, ask in asked.asks]
            # the last one tells the cluster's list, which has to be younger than what the others show
            last = asks[-1:] if asks[-1][1] in ("lists", "whole") else []
            self._visit(asks[: len(asks) - len(last)], sweep=asked.sweep)
            self._visit(last, sweep=asked.sweep)
            self._fit()

    def stop(self) -> None:
        """Ask nobody anything any more."""
        self._visitor.stop()

    @property
    def failed(self) -> list[LedgerError]:
        """What kept hosts from answering."""
        return [visit.error for visit in self.visits if visit.error is not None]

    @property
    def cluster(self) -> ClusterSaid | None:
        """The cluster, as the first node that told of it did."""
        told = [answer.cluster for answer in self._answered() if answer.cluster is not None]
        return next((one for one in told if one.name), told[0] if told else None)

    def verdict(self) -> Verdict:
        """Judge what was seen until now."""
        return prove(self.evidence)

    def refusal(self) -> LedgerError:
        """Return the error of a reading that is not proven whole."""
        verdict = self.verdict()
        words = "; ".join(verdict.denied or verdict.incomplete)
        # an address whose node nobody knows, or a second look that failed
        also = [f"{e.target}: {e.code.code}: {e.message}" for e in self.failed if f"({e.target})" not in words]
        said = "; ".join([*dict.fromkeys(also), words])
        proof = {"complete": False, "counts": [dict(verdict.proof.counts)], "missing": list(verdict.proof.missing)}
        return IncompleteError(self._code(verdict), said, target=self._config.name, proof=proof)

    def records(self) -> Iterator[RawRecord]:
        """Yield a record a node that showed its machines, with those that are on another."""
        others = elsewhere(self.evidence)
        by_node: dict[str, list[Visit]] = {}
        for visit in self.visits:
            if visit.answer is not None and visit.answer.ok and visit.ask in DETAILED:
                by_node.setdefault(visit.answer.name, []).append(visit)
        for node, visits in by_node.items():
            last = visits[-1]
            yield node_record(
                node,
                [visit.answer for visit in visits if visit.answer is not None],
                elsewhere=others.get(node, {}),
                address=last.place.host,
                document={
                    "https": self._config.https,
                    "tls": self._config.trust,
                    "authentication": last.trace.authentication,
                    "certificate_sha256": last.trace.certificate_sha256,
                    "started_at": last.started_at.isoformat(),
                    "duration_ms": last.duration_ms,
                    "requests": sum(visit.trace.requests for visit in visits),
                    "bytes_in": sum(visit.trace.bytes_in for visit in visits),
                    "steps": last.trace.steps,
                },
                observed_at=last.started_at,
            )

    def record(self, error: LedgerError | None) -> RawRecord:
        """Return the record of the whole reading: everything that the proof is made of."""
        config, cluster = self._config, self.cluster
        nodes = {answer.name for answer in self._answered()}
        cautions = []
        if config.trust in ("unverified", "none") and config.authentication != "kerberos":
            what = (
                "whose certificate it is was not checked"
                if config.https
                else "without https nothing proves who answers"
            )
            message = f"{', '.join(sorted(nodes)) or 'the hosts'}: {what}"
            cautions.append({"code": errors.TLS_UNVERIFIED.code, "message": message})
        document: dict[str, Any] = {
            "account": self._account,
            "authentication": config.authentication,
            "https": config.https,
            "tls": config.trust,
            "tls_verify": config.tls_verify,
            "scope": config.scope,
            "cluster": cluster.name if cluster else None,
            "nodes": len(nodes),
            "sweeps": max((sight.sweep for sight in self.evidence.sights), default=0),
            "visits": len(self.visits),
            "requests": sum(visit.trace.requests for visit in self.visits),
            "bytes": sum(visit.trace.bytes_in for visit in self.visits),
            "leaks": [leak for visit in self.visits for leak in visit.trace.leaks][:20],
            "client": f"pywinrm {version('pywinrm')}",
            "started_at": self._started_at.isoformat(),
            "duration_ms": round((monotonic() - self._began) * 1000),
            "cautions": cautions,
            "error": {"code": error.code.code, "message": error.message[:1000]} if error else None,
        }
        return survey_record(SURVEY, self.evidence, document=document, observed_at=self._started_at)

    def _visit(self, asks: list[tuple[Place, Ask]], *, sweep: int, identify: bool = False) -> None:
        if not asks:
            return
        wanted = dict(asks)
        sent: list[tuple[Place, Ask]] = [(place, _LIGHT.get(ask, ask) if self._light else ask) for place, ask in asks]
        for visit in self._visitor.visit(sent, identify=identify):
            self.visits.append(visit)
            self.evidence.sights.append(replace(visit.sight(sweep), ask=wanted[visit.place]))

    def _answered(self) -> list[Answer]:
        return [visit.answer for visit in self.visits if visit.answer is not None]

    def _place(self, node: str) -> Place:
        """Return where a node is dialled: where it answered, else by the name that its cluster has for it."""
        answered = [visit for visit in self.visits if visit.answer is not None]
        for visit in answered:
            if visit.answer is not None and visit.answer.name == node:
                return replace(visit.place, named=node)
        suffix = self._config.dns_suffix or self._domain()
        return Place(f"{node}.{suffix}" if suffix else node, answered[0].place.port, node)

    def _nameless(self) -> list[LedgerError]:
        """Return what kept addresses from answering of which nobody knows the node."""
        return [visit.error for visit in self.visits if visit.error is not None and not visit.place.node]

    def _domain(self) -> str:
        names = [str(answer.host.get("fqdn") or "") for answer in self._answered()]
        return next((name.partition(".")[2].lower() for name in names if "." in name), "")

    def _fit(self) -> None:
        wrong = misfit(self.evidence) or self._named_twice()
        if wrong:
            raise PermanentError(errors.CONFIG_INVALID, wrong, target=self._config.name)

    def _named_twice(self) -> str:
        """Say which entries of `hosts` are one node, if any are."""
        found: dict[str, str] = {}
        for visit in self.visits:
            if visit.answer is not None:
                one, other = found.setdefault(visit.answer.name, visit.place.said), visit.place.said
                if one != other:
                    return f"{one} and {other} are one node, {visit.answer.name}: name it once in hosts"
        return ""

    def _nobody(self) -> LedgerError:
        """Return the error of a reading in which no named host answered: that of the first, with the others named."""
        first, *others = self.failed
        also = "".join(f"; {error.target}: {error.message}" for error in others)
        return error_of(first.code, first.message + also, first.target)

    def _code(self, verdict: Verdict) -> ErrorCode:
        """Return the code that says why a reading is not whole: a right, a node, or what else can be named."""
        if verdict.denied:
            return errors.PERMISSION_DENIED
        nodes = [errors.by_name(sight.code) for sight in failures(self.evidence).values()]
        codes = [error.code for error in self._nameless()] or [code for code in nodes if code]
        if not codes:
            # who answered and cannot be made out any more is on its way down, whatever it still says
            codes = [_GOING if error.code is errors.PARSE_ERROR else error.code for error in self.failed]
        found = next(iter(codes), None)
        if found is None:
            down = DOWN in (cluster_nodes(self.evidence) or {}).values()
            return errors.NODE_UNREACHABLE if down else INVENTORY_INCOMPLETE
        return errors.NODE_UNREACHABLE if found in _NO_WAY else found
