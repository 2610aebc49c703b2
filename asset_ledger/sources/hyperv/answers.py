"""One answer of the script as values: who answered, what it lists, what failed. Pure.

What is damaged in a way that could hide a virtual machine is refused; what is odd about one machine stays in its item,
for `guests` to judge. `collector` reads fresh answers by it, `raw` kept ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asset_ledger.domain.errors import ErrorCode, PermanentError
from asset_ledger.sources.hyperv.errors import PARSE_ERROR, code_of
from asset_ledger.sources.hyperv.script import ASKS
from asset_ledger.sources.hyperv.states import is_off
from asset_ledger.sources.hyperv.values import clean, flag, guid, node_name, rows, whole

VERSION = 1
REPLICAS = frozenset({2, 4})
"""Replication modes of a replica and of an extended one, which are machines of their own once they were failed over."""
TEST_REPLICA = 3
FAILED_OVER = frozenset({5, 6, 7})
"""Replication states (VMReplicationState) of a replica from PreparedForFailover to FailedOver."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error that the script told. `message` is in the host's language and only quoted."""

    where: str
    message: str = ""
    id: str = ""
    category: str = ""
    type: str = ""
    numbers: tuple[int, ...] = ()

    @property
    def code(self) -> ErrorCode:
        """Return which of our errors it is."""
        return code_of(self.where, self.id, self.category, self.type, self.numbers)

    @property
    def said(self) -> str:
        """Return it in one line: PowerShell's own name for it, and its words."""
        name = self.id.partition(",")[0] or self.type.rpartition(".")[2] or self.category
        return ": ".join(part for part in (name, self.message) if part) or "no reason given"


@dataclass(frozen=True, slots=True)
class ClusterVm:
    """A virtual machine as the cluster lists it: `owner` is a node's name, `state` its resource's (2 is online)."""

    id: str
    name: str
    owner: str
    state: int | None


@dataclass(frozen=True, slots=True)
class ClusterSaid:
    """What one node's answer tells of its cluster: `nodes` (name, state) and `vms` are None where not told."""

    name: str
    id: str = ""
    nodes: tuple[tuple[str, int | None], ...] | None = None
    vms: tuple[ClusterVm, ...] | None = None
    error: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One virtual machine in one answer."""

    id: str
    name: str
    state: int | None
    replication_mode: int | None = None
    state_name: str = ""
    replication_state: int | None = None

    @property
    def replica(self) -> bool:
        """Say whether it only stands by for a machine that is elsewhere: a replica that is off, or the test of one."""
        if self.replication_mode == TEST_REPLICA:
            return True
        waits = is_off(self.state, self.state_name) and self.replication_state not in FAILED_OVER
        return waits and self.replication_mode in REPLICAS

    @property
    def failed_over(self) -> bool:
        """Say whether it is a replica that stands in for its machine."""
        return self.replication_mode in REPLICAS and not self.replica


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the script. `items` and `host` are as printed; what is damaged never comes so far."""

    text: bytes
    ask: str
    ok: bool
    at: str
    name: str
    host: Mapping[str, Any]
    items: tuple[Mapping[str, Any], ...]
    seen: tuple[Seen, ...]
    count: int | None
    second: tuple[str, ...] | None
    second_error: Trouble | None
    groups: tuple[str, ...]
    is_admin: bool
    cluster: ClusterSaid | None
    errors: tuple[Trouble, ...]

    @property
    def refusal(self) -> Trouble | None:
        """Return why the virtual machines were not listed, None where they were."""
        if self.ok:
            return None
        listed = [one for one in self.errors if one.where in ("module", "vms")]
        return next(iter((*listed, *self.errors)), Trouble("vms"))


def read_answer(text: bytes, target: str) -> Answer:
    """Return an answer of the script from its JSON. Raises PermanentError(HYPERV_PARSE_ERROR) naming what is wrong."""
    told = json_object(text, target)
    if whole(told.get("v")) != VERSION:
        raise damaged("it is no answer of version 1", target)
    ask = told.get("ask")
    if ask not in ASKS:
        raise damaged("it does not say what was asked", target)
    host = told.get("host")
    host = host if isinstance(host, dict) else {}
    name = node_name(host.get("name"))
    if not name:
        raise damaged("it does not say which computer it is of", target)
    errors = tuple(trouble(row) for row in _objects(told.get("errors"), "errors", target))
    ok = told.get("ok") is True
    items = tuple(_objects(told.get("items"), "items", target)) if ok else ()
    count = whole(told.get("count"))
    if ok and count != len(items):
        raise damaged(f"it counts {count} virtual machines and has {len(items)}", target)
    seen = tuple(_seen(item, number, target) for number, item in enumerate(items, start=1))
    if len({one.id for one in seen}) != len(seen):
        raise damaged("it has two virtual machines with one id", target)
    second = told.get("second")
    second = second if isinstance(second, dict) else {}
    return Answer(
        text=text,
        ask=ask,
        ok=ok,
        at=clean(told.get("at")),
        name=name,
        host=host,
        items=items,
        seen=seen,
        count=count if ok else None,
        second=_ids(second.get("ids"), target),
        second_error=_maybe_trouble(second.get("error")),
        groups=tuple(clean(one) for one in rows(host.get("groups")) if clean(one)),
        is_admin=flag(host.get("is_admin")) is True,
        cluster=_cluster(told.get("cluster"), target),
        errors=errors,
    )


def trouble(told: Any) -> Trouble:
    """Return an error that the script told; what of it is not of its kind is left out."""
    row = told if isinstance(told, dict) else {}
    return Trouble(
        where=clean(row.get("where")),
        message=clean(row.get("message")),
        id=clean(row.get("id"))[:200],
        category=clean(row.get("category"))[:200],
        type=clean(row.get("type"))[:200],
        numbers=tuple(one for one in rows(row.get("numbers")) if type(one) is int and abs(one) < 1 << 33)[:20],
    )


def _maybe_trouble(told: Any) -> Trouble | None:
    if isinstance(told, str) and told:
        return Trouble("", clean(told))
    return trouble(told) if isinstance(told, dict) else None


def _seen(item: Mapping[str, Any], number: int, target: str) -> Seen:
    found = guid(item.get("id"))
    if found is None:
        raise damaged(f"virtual machine {number} has no id", target)
    return Seen(
        found,
        clean(item.get("name"))[:255],
        whole(item.get("state")),
        whole(item.get("replication_mode")),
        clean(item.get("state_name"))[:64],
        whole(item.get("replication_state")),
    )


def _ids(told: Any, target: str) -> tuple[str, ...] | None:
    if told is None:
        return None
    found = [guid(one) for one in rows(told)]
    if None in found:
        raise damaged("its second list has something else than ids", target)
    return tuple(sorted({one for one in found if one is not None}))


def _cluster(told: Any, target: str) -> ClusterSaid | None:
    if told is None:
        return None
    if not isinstance(told, dict):
        raise damaged("what it tells of its cluster cannot be read", target)
    nodes = vms = None
    if told.get("nodes") is not None:
        found = [
            (node_name(row.get("name")), whole(row.get("state"))) for row in _objects(told["nodes"], "nodes", target)
        ]
        if not all(name for name, _ in found) or len(dict(found)) != len(found):
            raise damaged("its cluster's list of nodes cannot be read", target)
        nodes = tuple(found)
    if told.get("vms") is not None:
        vms = tuple(_cluster_vm(row, target) for row in _objects(told["vms"], "vms", target))
    name = clean(told.get("name"))[:255].lower()
    return ClusterSaid(name, clean(told.get("id"))[:255], nodes, vms, _maybe_trouble(told.get("error")))


def _cluster_vm(row: Mapping[str, Any], target: str) -> ClusterVm:
    found = guid(row.get("vm_id"))
    if found is None:
        raise damaged("a virtual machine in its cluster's list has no id", target)
    return ClusterVm(found, clean(row.get("name"))[:255], node_name(row.get("owner")), whole(row.get("state")))


def json_object(text: bytes, target: str) -> dict[str, Any]:
    """Return a JSON object without what no database takes. Raises PermanentError(HYPERV_PARSE_ERROR)."""
    try:
        found = _DECODER.decode(text.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise damaged("it is no JSON: cut short, or not the script's own", target) from None
    if not isinstance(found, dict):
        raise damaged("it is no JSON object", target)
    told: dict[str, Any] = found
    if b"\\u" in text and _ESCAPED.search(text):
        told = _storable(told)
    return told


def _objects(told: Any, name: str, target: str) -> list[dict[str, Any]]:
    found = rows(told)
    if not all(isinstance(one, dict) for one in found):
        raise damaged(f"its {name} are no list of objects", target)
    return found


def _storable(value: Any) -> Any:
    """Return the value without what no database takes as text: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_storable(key): _storable(one) for key, one in value.items()}
    return [_storable(one) for one in value] if isinstance(value, list) else value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def damaged(message: str, target: str) -> PermanentError:
    """Return the error of raw that is not what this release wrote or asked for."""
    return PermanentError(PARSE_ERROR, message, target=target)
