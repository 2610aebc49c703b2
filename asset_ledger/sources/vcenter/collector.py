"""The order in which a vCenter or an ESXi host is read: rights and views first, then objects, and the views again.

The live half of platform `vcenter`. A reading that `proof` does not hold for whole ends in an error: its raw is kept
as a survey, and nothing is derived from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, LedgerError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import Detection, Health, ReadOrder, Secrets
from asset_ledger.sources.vcenter import errors
from asset_ledger.sources.vcenter.client import VcenterClient
from asset_ledger.sources.vcenter.config import VcenterConfig
from asset_ledger.sources.vcenter.paths import CLUSTERS, HOSTS, VMS
from asset_ledger.sources.vcenter.survey import Survey

PARTS = {"hosts": (HOSTS, CLUSTERS), "vms": (VMS,), "all": (HOSTS, CLUSTERS, VMS)}
"""The parts that each scope reads. A host without a vCenter is in no cluster."""


class VcenterCollector:
    """Reads one vCenter, or one ESXi host without. Nothing is opened before a method is called."""

    def __init__(self, config: VcenterConfig, credentials: Secrets) -> None:
        self._config = config
        self._credentials = credentials

    def healthcheck(self, order: ReadOrder) -> Health:
        """Log in, and prove the lists of objects whole without reading details. Raises what keeps it from that."""
        client = self._client()
        try:
            client.connect()
            survey = self._survey(client, order)
            wrong = survey.wrong_scope()
            survey.ask_rights()
            if not wrong and not survey.verdict().denied:
                survey.look()
                survey.ask_manager()
                survey.surroundings()
                for part in survey.parts:
                    survey.count(part)
                survey.second_path()
                survey.ask_for_known()
                survey.look_again()
            verdict = survey.verdict()
        finally:
            client.close()
        about, counts = client.about, survey.counts()
        checks = {
            "endpoint": f"{client.target} answers",
            "account": client.user or client.account.name,
            "tls": self._config.trust,
            "version": about.get("fullName", ""),
            **{part: str(counts[part]) for part in survey.parts if part in counts},
            "complete": "proven" if verdict.proof.complete and not wrong else "not proven",
        }
        if verdict.doubts and not wrong:  # they keep nothing from being read, and somebody may know better
            checks["rights"] = "; ".join(verdict.doubts)
        if survey.managed_by and not wrong:
            checks["managed_by"] = f"{survey.managed_by}: {errors.HOST_MANAGED.advice}"
        problems = [str(wrong)] if wrong else []
        if not wrong:
            problems = [f"{errors.PERMISSION_DENIED.code}: {each}" for each in verdict.denied]
            if not verdict.denied:
                problems = [f"{INVENTORY_INCOMPLETE.code}: {each}" for each in verdict.incomplete]
        return Health(ok=not problems, checks=checks, problems=tuple(problems))

    def detect(self, order: ReadOrder) -> Detection:  # noqa: ARG002 - the contract's
        """Say which release answers, whether it is a vCenter or one host, and how much there is to read."""
        client = self._client()
        try:
            client.connect()
            survey = self._survey(client, ReadOrder())
            survey.ask_rights()
            survey.look()
            survey.ask_manager()
            denied = survey.verdict().denied
        finally:
            client.close()
        about, wrong = client.about, survey.wrong_scope()
        advice = [] if self._config.tls_verify else [errors.TLS_UNVERIFIED.advice]
        advice += [wrong.message] if wrong else []
        if survey.managed_by:
            advice.append(f"{errors.HOST_MANAGED.advice} ({survey.managed_by} manages the host)")
        advice += denied
        return Detection(
            target_version=about.get("version", ""),
            driver=f"vim25 {client.version}",
            capabilities={
                "full_name": about.get("fullName"),
                "build": about.get("build"),
                "api_type": about.get("apiType"),
                "api_version": about.get("apiVersion"),
                "instance_uuid": about.get("instanceUuid"),
                "is_vcenter": about.get("apiType") == "VirtualCenter",
                **survey.counts(),
                "permissions_readable": survey.rights.permissions is not None,
                "client": f"pyvmomi {version('pyvmomi')}",
            },
            advice="; ".join(advice),
        )

    def collect(self, order: ReadOrder) -> Iterator[RawRecord]:
        """Yield records of hosts, clusters and virtual machines as they come in, and last the one with the proof.

        One record of at most 500 objects exists at a time. A session that ends before the first record is begun anew,
        once; views and pages die with it. Raises IncompleteError with VCENTER_PERMISSION_DENIED where objects may be
        hidden, with INVENTORY_INCOMPLETE where they may be missed for another reason, and whatever else ended the
        reading; the evidence comes before it.
        """
        client = self._client()
        try:
            client.connect()
            survey, begun = self._survey(client, order), False
            try:
                for record in self._read(survey):
                    begun = True
                    yield record
            except LedgerError as error:
                if begun or error.code is not errors.SESSION_EXPIRED:
                    yield survey.record(error)
                    raise
                client.login()
                yield from self._to_its_end(self._survey(client, order))
            else:
                yield survey.record(None)
        finally:
            client.close()

    def _to_its_end(self, survey: Survey) -> Iterator[RawRecord]:
        try:
            yield from self._read(survey)
        except LedgerError as error:
            yield survey.record(error)
            raise
        yield survey.record(None)

    def _read(self, survey: Survey) -> Iterator[RawRecord]:
        if wrong := survey.wrong_scope():
            raise wrong
        survey.ask_rights()
        # before a single object is asked for: a reading that cannot be whole need not be long
        if survey.verdict().denied:
            raise survey.refusal()
        survey.look()
        survey.ask_manager()
        survey.surroundings()
        for part in survey.parts:
            yield from survey.objects(part)
        survey.second_path()
        survey.ask_for_known()
        survey.look_again()
        if not survey.verdict().proof.complete:
            raise survey.refusal()

    def _survey(self, client: VcenterClient, order: ReadOrder) -> Survey:
        parts = PARTS[order.scope]
        if client.about.get("apiType") == "HostAgent":
            parts = tuple(part for part in parts if part != CLUSTERS)
        return Survey(self._config, client, order.scope, parts, order.known - order.gone)

    def _client(self) -> VcenterClient:
        return VcenterClient(self._config, self._credentials.resolve(self._config.credential_ref))
