"""The order in which a cluster is read: rights, lists and ids first, nodes and guests next, the list again at the end.

The live half of platform `pve`. A reading that `proof` does not hold for whole ends in an error: its raw is kept as
survey, and nothing is derived from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from itertools import islice
from queue import SimpleQueue
from typing import Any

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, LedgerError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import Detection, Health, ReadOrder, Secrets
from asset_ledger.sources.pve import errors
from asset_ledger.sources.pve.client import PveClient
from asset_ledger.sources.pve.config import PveConfig
from asset_ledger.sources.pve.nodes import MOST_WORKERS, WORKERS_A_NODE, NodeReader
from asset_ledger.sources.pve.survey import Survey

NO_AGENT_RIGHT = (
    "not asked: the account lacks the right for it on /vms, VM.Monitor up to Proxmox VE 8, VM.GuestAgent.Audit from 9 "
    "on; the addresses of virtual machines stay unknown"
)


class PveCollector:
    """Reads one cluster, or one node that is in none. Nothing is opened before a method is called."""

    def __init__(self, config: PveConfig, credentials: Secrets) -> None:
        self._config = config
        self._credentials = credentials

    def healthcheck(self, order: ReadOrder) -> Health:
        """Log in, and prove the list of guests whole without reading any guest. Raises what keeps it from that."""
        client = self._client()
        try:
            survey = Survey(self._config, client)
            survey.begin()
            if not survey.verdict().denied:
                survey.probe(order)
                survey.again()
                survey.probe(order)
            verdict = survey.verdict()
        finally:
            client.stop()
        searched_to = verdict.proof.counts.get("searched_to")
        only = f" for ids up to {searched_to}" if searched_to else ""
        checks = {
            "endpoint": f"{client.target} answers",
            "account": client.account.name,
            "tls": self._config.trust,
            "version": survey.version,
            "nodes": str(len(survey.nodes)),
            "guests": str(len(survey.first.rows)),
            "complete": f"proven{only}" if verdict.proof.complete else "not proven",
        }
        # for lack of rights nothing else was asked for, and what is not there stands against nothing
        if self._config.guest_addresses and not verdict.denied:
            checks["agents"] = "may be asked" if survey.may_ask_agents() else NO_AGENT_RIGHT
        problems = [f"{errors.PERMISSION_DENIED.code}: {each}" for each in verdict.denied]
        if not verdict.denied:
            problems += [f"{INVENTORY_INCOMPLETE.code}: {each}" for each in verdict.incomplete]
        problems += [str(wrong)] if (wrong := survey.wrong_scope()) else []
        return Health(ok=not problems, checks=checks, problems=tuple(problems))

    def detect(self, order: ReadOrder) -> Detection:  # noqa: ARG002 - the contract's
        """Say which release answers, whether it is a cluster, and what it can be asked."""
        client = self._client()
        try:
            survey = Survey(self._config, client)
            survey.begin()
            agent_call = survey.agent_call()
        finally:
            client.stop()
        found = "cluster" if survey.cluster else "standalone"
        advice = [] if self._config.tls_verify else [errors.TLS_UNVERIFIED.advice]
        if self._config.scope == "auto":
            advice.append(f"set scope: {found}, so that a reading fails should it ever be anything else")
        elif wrong := survey.wrong_scope():
            advice.append(wrong.message)
        return Detection(
            target_version=survey.version,
            driver=survey.driver,
            capabilities={
                "is_cluster": bool(survey.cluster),
                "cluster": survey.cluster,
                "scope": found,
                "nodes": sorted(survey.nodes),
                "node_fingerprints": survey.fingerprints(),
                "guest_agent_supported": None if agent_call is None else agent_call != "none",
                "guest_agent_call": agent_call,
                "guest_agent_permitted": survey.may_ask_agents(),
                "supports_cluster_resources_endpoint": not survey.first.problems,
                "supports_permissions_endpoint": survey.driver == "pve-cap-v2",
                "client": f"proxmoxer {version('proxmoxer')}",
            },
            advice="; ".join(advice),
        )

    def collect(self, order: ReadOrder) -> Iterator[RawRecord]:
        """Yield one record a node as each is done, and last the cluster's, with the proof.

        At most `max_parallel_nodes` records exist at a time. Closing the iterator ends the running requests. Raises
        IncompleteError with PVE_PERMISSION_DENIED where guests may be hidden, with INVENTORY_INCOMPLETE where they may
        be missed for another reason, and whatever else ended the reading; the cluster's record comes before it.
        """
        client = self._client()
        survey = Survey(self._config, client)
        try:
            yield from self._read(survey, order)
        except LedgerError as error:
            if survey.answers:
                yield survey.record(error)
            raise
        else:
            yield survey.record(None)
        finally:
            client.stop()

    def _read(self, survey: Survey, order: ReadOrder) -> Iterator[RawRecord]:
        survey.begin()
        if wrong := survey.wrong_scope():
            raise wrong
        # before a single guest is asked: a reading that cannot be whole need not be long
        if survey.verdict().denied:
            raise survey.refusal()
        if survey.probe(order):
            survey.again()
            survey.probe(order)
            if not survey.verdict().proof.complete:
                raise survey.refusal()
        reader = NodeReader(
            self._config,
            survey.client,
            ask_agents=self._config.guest_addresses and survey.may_ask_agents(),
        )
        survey.reader = reader
        reader.offline, reader.members = survey.offline(), survey.members()
        yield from self._nodes(survey, reader)
        survey.answers += reader.lists
        survey.again()
        survey.add(reader.probes)
        late = survey.late()
        if late:
            yield reader.read_guests(late)
            survey.add(reader.probes)
        survey.probe(order)
        if not survey.verdict().proof.complete:
            raise survey.refusal()

    def _nodes(self, survey: Survey, reader: NodeReader) -> Iterator[RawRecord]:
        parallel = self._config.max_parallel_nodes
        by_node: dict[str, list[Mapping[str, Any]]] = {name: [] for name in survey.nodes}
        for row in survey.first.rows.values():
            if row["node"] in by_node:
                by_node[row["node"]].append(row)
        ordered = sorted(by_node, key=lambda name: -len(by_node[name]))
        tasks = iter(zip(ordered, _workers(len(ordered), parallel), strict=True))
        done: SimpleQueue[Future[RawRecord]] = SimpleQueue()
        pool = ThreadPoolExecutor(parallel, thread_name_prefix=f"pve-{self._config.name}")
        running = 0
        try:
            while True:
                for name, workers in islice(tasks, parallel - running):
                    future = pool.submit(reader.read, name, survey.nodes[name], by_node[name], workers)
                    future.add_done_callback(done.put)
                    running += 1
                if not running:
                    return
                finished = done.get()
                running -= 1
                yield finished.result()
        except BaseException:
            survey.client.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _client(self) -> PveClient:
        return PveClient(self._config, self._credentials.resolve(self._config.credential_ref))


def _workers(nodes: int, parallel: int) -> list[int]:
    """Return how many things each of so many nodes is asked at a time: more of those left over after full rounds."""
    left = nodes % parallel
    more = min(MOST_WORKERS, parallel * WORKERS_A_NODE // left) if left else WORKERS_A_NODE
    return [WORKERS_A_NODE] * (nodes - left) + [max(more, WORKERS_A_NODE)] * left
