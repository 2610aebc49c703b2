"""One host, or every node of a cluster: checked, detected, read.

The live half of platform `hyperv`. A reading that `proof` does not hold for whole ends in an error: its raw is kept as
survey, and nothing is derived from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, LedgerError, error_of
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.hyperv import errors
from asset_ledger.sources.hyperv.config import HypervConfig
from asset_ledger.sources.hyperv.nodes import Visit, Visitor
from asset_ledger.sources.hyperv.proof import Verdict
from asset_ledger.sources.hyperv.survey import Survey
from asset_ledger.sources.platform import Detection, Health, ReadOrder, Secrets
from asset_ledger.sources.wsman.terms import login_of

_ROLES = {"S-1-5-32-544": "Administrators", "S-1-5-32-578": "Hyper-V Administrators"}


class HypervCollector:
    """Reads one host, or every node of one cluster. Nothing is opened before a method is called."""

    def __init__(self, config: HypervConfig, credentials: Secrets) -> None:
        self._config = config
        self._credentials = credentials

    def healthcheck(self, order: ReadOrder) -> Health:
        """Log in everywhere, and prove the lists of machines whole without reading any machine.

        Raises what keeps every named host from answering, and HYPERV_CONFIG_INVALID where they are not one source.
        """
        survey = self._survey(order, light=True)
        try:
            survey.begin()
            survey.go_on()
            verdict = survey.verdict()
        finally:
            survey.stop()
        checks = {_name(visit): _checked(visit) for visit in survey.visits}
        if (cluster := survey.cluster) is not None:
            checks["cluster"] = cluster.name or "not told"
        checks["tls"] = self._config.trust
        checks["complete"] = "proven" if not verdict.denied + verdict.incomplete else "not proven"
        return Health(ok=not (verdict.denied or verdict.incomplete), checks=checks, problems=tuple(_problems(verdict)))

    def detect(self, order: ReadOrder) -> Detection:
        """Say which releases answer, whether they are a cluster, and by what they are read."""
        survey = self._survey(order, light=True)
        try:
            survey.begin(identify=True)
        finally:
            survey.stop()
        answered = [visit for visit in survey.visits if visit.answer is not None]
        cluster = survey.cluster
        found = "cluster" if cluster else "standalone"
        releases = {_name(visit): _release(visit) for visit in answered}
        advice = []
        if self._config.trust in ("unverified", "none"):
            advice.append(errors.TLS_UNVERIFIED.advice)
        if self._config.scope == "auto":
            advice.append(f"set scope: {found}, so that a reading fails should it ever be anything else")
        return Detection(
            target_version=", ".join(sorted(set(filter(None, releases.values())))),
            driver=f"powershell over pywinrm {version('pywinrm')}",
            capabilities={
                "is_cluster": cluster is not None,
                "cluster": cluster.name if cluster else None,
                "scope": found,
                "nodes": sorted(releases),
                "node_states": dict(cluster.nodes or ()) if cluster else {},
                "releases": releases,
                "powershell": {_name(visit): _told(visit, "ps_version") for visit in answered},
                "hyperv_module": {_name(visit): _told(visit, "module_version") for visit in answered},
                "not_reached": [error.target or "" for error in survey.failed],
            },
            advice="; ".join(advice),
        )

    def collect(self, order: ReadOrder) -> Iterator[RawRecord]:
        """Yield one record a node, and last the reading's, with the proof.

        Which node has a machine is known when all have answered, so that all answers are held until then. Closing the
        iterator, or an exception from outside, ends what runs. Raises IncompleteError with the platform's code where
        that says why machines may be missed, else with INVENTORY_INCOMPLETE, and whatever else ended the reading; the
        records of what was seen come before it, the reading's first.
        """
        survey = self._survey(order)
        try:
            survey.begin()
            survey.go_on()
            if not survey.verdict().proof.complete:
                raise survey.refusal()
        except LedgerError as error:
            if survey.visits:
                yield survey.record(error)
                yield from survey.records()
            raise
        finally:
            survey.stop()
        yield from survey.records()
        yield survey.record(None)

    def _survey(self, order: ReadOrder, *, light: bool = False) -> Survey:
        fields = self._credentials.resolve(self._config.credential_ref)
        try:
            login = login_of(fields, self._config.credential_ref, errors.CREDENTIAL_INVALID)
            visitor = Visitor(self._config, login)
        except LedgerError as error:
            raise error_of(error.code, error.message, error.target) from None
        return Survey(self._config, visitor, login.username, order, light=light)


def _name(visit: Visit) -> str:
    return visit.answer.name if visit.answer is not None else visit.place.node or visit.place.said


def _checked(visit: Visit) -> str:
    """Say in one line how it is with a host: reached, in which group the account is, how many machines."""
    answer = visit.answer
    if answer is None:
        assert visit.error is not None
        return f"{visit.place.said}: {visit.error.code.code}: {visit.error.message}"
    roles = [name for sid, name in _ROLES.items() if sid in answer.groups]
    if (refusal := answer.refusal) is not None:
        return f"{visit.place.said} answers, and lists no virtual machines: {refusal.said}"
    role = f"the account is in {' and '.join(roles)}" if roles else "the account is in no group that sees them all"
    return f"{visit.place.said} answers; {len(answer.seen)} virtual machines; {role}"


def _problems(verdict: Verdict) -> list[str]:
    denied = [f"{errors.PERMISSION_DENIED.code}: {each}" for each in verdict.denied]
    return denied + [f"{INVENTORY_INCOMPLETE.code}: {each}" for each in verdict.incomplete]


def _release(visit: Visit) -> str:
    """Return the system's version of what Identify tells, `OS: 10.0.17763 SP: 0.0 Stack: 3.0`."""
    told = visit.identity.version if visit.identity else ""
    return told.partition("OS: ")[2].partition(" ")[0]


def _told(visit: Visit, field: str) -> str | None:
    told = visit.answer.host.get(field) if visit.answer is not None else None
    return told if isinstance(told, str) else None
