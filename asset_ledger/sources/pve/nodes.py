"""What is asked of one node and its guests, and what becomes of a guest that moves meanwhile. Used by `collector`.

A node gets two requests at a time (four where few nodes are left to read), the endpoint four that wait for a guest's
agent, two of them of one node: these hold one of its few workers for seconds. A node that stops answering is asked
nothing more: each question would cost its whole time. Whether it has, its status, lists and configs decide; a guest
that does not say its addresses is silent for itself alone.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.pve import errors, log
from asset_ledger.sources.pve.client import Answer, PveClient
from asset_ledger.sources.pve.config import PveConfig
from asset_ledger.sources.pve.properties import flag, properties
from asset_ledger.sources.pve.raw import Line, Response, line, record
from asset_ledger.sources.pve.rows import guest_id, guests

WORKERS_A_NODE = 2
MOST_WORKERS = 4
"""Where few nodes are left to read: as many requests at once as before, on fewer nodes."""
AGENTS_A_NODE = 2
WAITING_FOR_AGENTS = 4
_DEAD_AFTER = 2
_MOST_MOVES = 2
_NODE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?\Z")
_MOVED = re.compile(r"Configuration file .* does not exist")


@dataclass(slots=True)
class Guest:
    """A guest of a list: its row, which may become a later one, and what it was asked."""

    row: Mapping[str, Any]
    answers: list[Answer] = field(default_factory=list)
    gone: bool = False
    moves: int = 0

    @property
    def kind(self) -> str:
        """`qemu` or `lxc`."""
        return str(self.row["type"])

    @property
    def vmid(self) -> int:
        """The id, unique in a cluster."""
        return guest_id(self.row["vmid"]) or 0

    @property
    def node(self) -> str:
        """The node it is on, by its row."""
        return str(self.row["node"])


class Lists:
    """/cluster/resources read again for guests that are not where they were: one reading serves all that wait."""

    def __init__(self, client: PveClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._read_at = 0.0
        self._rows: Mapping[int, Mapping[str, Any]] = {}
        self.probes: list[Answer] = []

    def row_of(self, guest: Guest, since: float) -> Mapping[str, Any] | None:
        """Return the guest's row as it is now, None for a guest that is gone. `since` is when it was missed."""
        with self._lock:
            held = self._rows.get(guest.vmid)
            if held is not None and held["type"] == guest.kind and held["node"] != guest.node:
                return held  # as old as the move of another guest; if that is too old it is missed there, too
            if self._read_at <= since:
                began = monotonic()
                found = guests(self._client.need("/cluster/resources", {"type": "vm"}).response.data)
                self._rows, self._read_at = found.rows, began
            row = self._rows.get(guest.vmid)
            if row is not None and row["type"] == guest.kind:
                return row
            if row is None:
                probe = self._client.ask("/cluster/nextid", {"vmid": str(guest.vmid)})
                self.probes.append(probe)
                if probe.error is not None:  # it exists and is not shown: that is for the proof to judge
                    return guest.row
            return None


class NodeReader:
    """Reads nodes and guests of one reading. Safe to share between threads, and counts what they asked."""

    def __init__(self, config: PveConfig, client: PveClient, *, ask_agents: bool) -> None:
        self._config = config
        self._client = client
        self._lists = Lists(client)
        self._agents = threading.BoundedSemaphore(WAITING_FOR_AGENTS)
        self._at_once = threading.BoundedSemaphore(config.max_parallel_nodes * WORKERS_A_NODE)
        self._counting = threading.Lock()
        self._failed: dict[str, int] = {}
        self._silent: dict[str, int] = {}
        self._by_post: set[str] = set()
        self._no_interfaces: set[str] = set()
        self._no_current: set[str] = set()
        self.offline: frozenset[str] = frozenset()
        self.members: Sequence[Mapping[str, Any]] = ()  # the rows of /cluster/status
        self.gone: set[int] = set()
        self.lists: list[Answer] = []
        self.ask_agents = ask_agents
        self.agents_asked = 0
        self.agents_unavailable = 0

    @property
    def probes(self) -> Sequence[Answer]:
        """The ids that were asked for because their guest was gone."""
        return self._lists.probes

    def read(
        self, name: str, row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], workers: int = WORKERS_A_NODE
    ) -> RawRecord:
        """Return the record of a node and its guests, asking so many things of it at a time.

        Raises a LedgerError where the whole reading has failed.
        """
        if _NODE.match(name) is None:
            message = f"/nodes: {name[:80]!r} can be the name of no node"
            raise PermanentError(errors.PARSE_ERROR, message, target=self._client.target)
        began, started_at = monotonic(), datetime.now(UTC)
        found = [Guest(one) for one in rows]
        online = name not in self.offline
        own: list[Answer] = []
        if online:
            with ThreadPoolExecutor(workers - 1) as others:
                paths = [f"/nodes/{name}/status", f"/nodes/{name}/network", f"/nodes/{name}/lxc"]
                beside = others.submit(self._ask_all, name, paths)
                listed = self._ask(name, f"/nodes/{name}/qemu", {"full": "1"})
                own = [*beside.result(), listed]
                self._keep_lists(listed, own[2])
                self._details(found, _awake(listed.response.data, own[2].response.data), others, workers)
        belongs = [one for one in self.members if one.get("type") == "cluster" or one.get("name") == name]
        own_rows = [line(Response("/nodes", data=[row])), line(Response("/cluster/status", data=belongs))]
        lines = [*own_rows, self._rows_line(found), *self._lines(own, found)]
        document = {
            "part": "node",
            "node": name,
            "online": online,
            "unreachable": online and self._dead(name),
            **self._document(started_at, began),
        }
        return record(f"node {name}", document, lines, started_at)

    def read_guests(self, rows: Sequence[Mapping[str, Any]]) -> RawRecord:
        """Return the record of guests that are in no record of a node."""
        began, started_at = monotonic(), datetime.now(UTC)
        found = [Guest(one) for one in rows]
        with ThreadPoolExecutor(WORKERS_A_NODE - 1) as others:
            self._details(found, {}, others, WORKERS_A_NODE)
        lines = [self._rows_line(found), *self._lines([], found)]
        return record("guests", {"part": "guests", **self._document(started_at, began)}, lines, started_at)

    def _keep_lists(self, *lists: Answer) -> None:
        """Keep what a node lists of its guests for the proof: their ids, the rest is in the node's record."""
        with self._counting:
            for told in lists:
                data = told.response.data
                if isinstance(data, list):
                    data = [{"vmid": row.get("vmid")} for row in data if isinstance(row, dict)]
                self.lists.append(Answer(replace(told.response, data=data)))

    def _document(self, started_at: datetime, began: float) -> dict[str, Any]:
        return {
            "guest_addresses": self._config.guest_addresses,
            "agents_forbidden": not self.ask_agents,
            "started_at": started_at.isoformat(),
            "duration_ms": round((monotonic() - began) * 1000),
        }

    @staticmethod
    def _rows_line(found: Sequence[Guest]) -> Line:
        return line(Response("/cluster/resources", data=[dict(guest.row) for guest in found if not guest.gone]))

    @staticmethod
    def _lines(own: Sequence[Answer], found: Sequence[Guest]) -> Iterator[Line]:
        for answer in own:
            yield line(answer.response, answer.text)
        for guest in found:
            for answer in guest.answers:
                yield line(answer.response, answer.text)

    def _details(
        self, found: Sequence[Guest], awake: Mapping[int, bool], others: ThreadPoolExecutor, workers: int
    ) -> None:
        """Ask every guest, with this thread and the others.

        Configs go on while the places for agents are taken: who has its config waits for one beside the others.
        """
        waiting, due = deque(found), deque[Guest]()
        places = threading.BoundedSemaphore(AGENTS_A_NODE)

        def work() -> None:
            try:
                while waiting or due:
                    self._next(waiting, due, awake, places)
            except BaseException:
                waiting.clear()
                due.clear()
                raise

        beside = [others.submit(work) for _ in range(workers - 1)]
        work()
        for each in beside:
            each.result()

    def _next(
        self,
        waiting: deque[Guest],
        due: deque[Guest],
        awake: Mapping[int, bool],
        places: threading.BoundedSemaphore,
    ) -> None:
        """Ask one guest one thing: its addresses where there is a place or nothing else to do, or its config."""
        if due and self._take(places, blocking=not waiting):
            try:
                guest = _first(due)
                if guest is None:
                    return
                if guest.kind == "lxc":
                    self._interfaces(guest)
                else:
                    self._agent(guest)
            finally:
                self._agents.release()
                places.release()
            return
        guest = _first(waiting)
        if guest is not None and self._configured(guest, awake):
            due.append(guest)

    def _take(self, places: threading.BoundedSemaphore, *, blocking: bool) -> bool:
        """Take one of the node's places for agents and one of the endpoint's, or none."""
        if not places.acquire(blocking=blocking):
            return False
        if not self._agents.acquire(blocking=blocking):
            places.release()
            return False
        return True

    def _configured(self, guest: Guest, awake: Mapping[int, bool]) -> bool:
        """Read a guest's config, and return whether it is to be asked for its addresses."""
        if guest.node in self.offline or _NODE.match(guest.node) is None:
            return False
        config = self._of_guest(guest, self._config_of)
        if config is None:
            return False
        guest.answers.append(config)
        if not self._config.guest_addresses or config.error is not None:
            return False
        if not awake.get(guest.vmid, guest.row.get("status") == "running"):
            return False
        return guest.kind == "lxc" or (self.ask_agents and _has_agent(config.response.data))

    def _interfaces(self, guest: Guest) -> None:
        if (answer := self._of_guest(guest, self._interfaces_of)) is not None:
            guest.answers.append(answer)

    def _interfaces_of(self, guest: Guest) -> Answer:
        path = f"{_path(guest)}/interfaces"
        if guest.node in self._no_interfaces:  # noted for each: only where nobody can tell does its config count
            return Answer(Response(path, status=501, reason="not asked: its node tells the addresses of no container"))
        answer = self._ask_guest(guest.node, path)
        if answer.response.status == 501:
            self._no_interfaces.add(guest.node)
        return answer

    def _agent(self, guest: Guest) -> None:
        answer = self._of_guest(guest, self._agent_of)
        if answer is None:
            return
        guest.answers.append(answer)
        silent = answer.error is not None or not _interfaces_told(answer.response.data)
        with self._counting:
            self.agents_asked += 1
            self.agents_unavailable += silent
        if silent:
            name = guest.row.get("name")
            log.guest_agent_unavailable(
                self._config.name, f"{guest.kind}/{guest.vmid}", name if isinstance(name, str) else None
            )

    def _of_guest(self, guest: Guest, ask: Callable[[Guest], Answer]) -> Answer | None:
        """Return a guest's answer, asking again on its new node if it moved; None if it is gone."""
        while not guest.gone:
            answer = ask(guest)
            missed = answer.response.status == 500 and _MOVED.search(answer.response.reason)
            if not missed or guest.moves == _MOST_MOVES:
                return answer
            guest.moves += 1
            row = self._lists.row_of(guest, monotonic())
            if row is None:
                guest.gone = True
                guest.answers.clear()
                with self._counting:
                    self.gone.add(guest.vmid)
                return None
            stayed = row["node"] == guest.node
            guest.row = row
            if stayed or guest.node in self.offline or _NODE.match(guest.node) is None:
                return answer
        return None

    def _config_of(self, guest: Guest) -> Answer:
        path = f"{_path(guest)}/config"
        if guest.kind in self._no_current:
            return self._ask(guest.node, path)
        answer = self._ask(guest.node, path, {"current": "1"})
        if answer.response.status == 400 and "current" in answer.response.errors:
            # containers have no pending values before 6.1, and no parameter for them
            self._no_current.add(guest.kind)
            return self._ask(guest.node, path)
        return answer

    def _agent_of(self, guest: Guest) -> Answer:
        command = "network-get-interfaces"
        if guest.node not in self._by_post:
            answer = self._ask_guest(guest.node, f"{_path(guest)}/agent/{command}")
            if answer.response.status != 501:
                return answer
            self._by_post.add(guest.node)  # up to 5.1
        return self._ask_guest(guest.node, f"{_path(guest)}/agent", {"command": command}, method="POST")

    def _ask_all(self, node: str, paths: Sequence[str]) -> list[Answer]:
        return [self._ask(node, path) for path in paths]

    def _ask(self, node: str, path: str, query: Mapping[str, str] | None = None) -> Answer:
        """Ask something of a node, unless it did not answer several times in a row."""
        if self._dead(node):
            return _not_asked(node, path, query)
        with self._at_once:
            answer = self._client.ask(path, query)
        with self._counting:
            failed = answer.error is errors.NETWORK_ERROR
            self._failed[node] = self._failed.get(node, 0) + 1 if failed else 0
        return answer

    def _ask_guest(
        self, node: str, path: str, query: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> Answer:
        """Ask what a guest may leave without an answer: once, and it says nothing of its node.

        After several in a row the node itself is asked: it may be the one that is silent.
        """
        if self._dead(node):
            return _not_asked(node, path, query)
        with self._at_once:
            answer = self._client.ask(path, query, method=method, again=False)
        with self._counting:
            failed = answer.error is errors.NETWORK_ERROR
            silent = self._silent.get(node, 0) + 1 if failed else 0
            suspect = silent >= _DEAD_AFTER
            self._silent[node] = 0 if suspect else silent
        while suspect and not self._dead(node):
            suspect = self._ask(node, f"/nodes/{node}/status").error is errors.NETWORK_ERROR
        return answer

    def _dead(self, node: str) -> bool:
        return self._failed.get(node, 0) >= _DEAD_AFTER


def _first(waiting: deque[Guest]) -> Guest | None:
    """Take the first guest that waits, or None where another thread took the last one."""
    try:
        return waiting.popleft()
    except IndexError:
        return None


def offline_nodes(nodes: Any, status: Any) -> frozenset[str]:
    """Return the nodes that are offline, by /cluster/status where it says, else by /nodes."""
    found: dict[str, bool] = {}
    for row in nodes if isinstance(nodes, list) else ():
        if isinstance(row, dict) and isinstance(row.get("node"), str):
            found[row["node"]] = row.get("status") == "offline"
    for row in status if isinstance(status, list) else ():
        if isinstance(row, dict) and row.get("type") == "node" and isinstance(row.get("name"), str):
            told = row.get("online")
            found[row["name"]] = not flag(told) if told is not None else found.get(row["name"], False)
    return frozenset(name for name, is_off in found.items() if is_off)


def _path(guest: Guest) -> str:
    return f"/nodes/{guest.node}/{guest.kind}/{guest.vmid}"


def _not_asked(node: str, path: str, query: Mapping[str, str] | None) -> Answer:
    said = f"not asked: node {node} left {_DEAD_AFTER} questions in a row without an answer"
    return Answer(Response(path, query or {}, 0, reason=said, code=errors.NETWORK_ERROR.code))


def _awake(*lists: Any) -> Mapping[int, bool]:
    """Return of the guests in a node's own lists whether they run and can answer; QEMU's own word tells the paused.

    What the cluster's list says of them is older, and `unknown` while the node's pvestatd hangs.
    """
    found = {}
    for row in (row for listed in lists if isinstance(listed, list) for row in listed if isinstance(row, dict)):
        vmid, status = guest_id(row.get("vmid")), row.get("status")
        if vmid is not None and status in ("running", "stopped"):
            found[vmid] = status == "running" and row.get("qmpstatus", "running") == "running"
    return found


def _has_agent(config: Any) -> bool:
    """Say whether a configuration enables the agent: `1`, or a property string that begins so or says `enabled=1`."""
    told = config.get("agent") if isinstance(config, dict) else None
    return flag(properties(told, "enabled").get("enabled") if isinstance(told, str) else told)


def _interfaces_told(data: Any) -> bool:
    """Say whether an agent's answer holds interfaces: status 200 can carry its refusal."""
    return isinstance(data, dict) and isinstance(data.get("result"), list)
