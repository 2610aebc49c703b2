"""The evidence of a reading: who was asked, what was seen where, what the cluster says itself. Pure.

`collector` gathers it, `sweep` says from it what has to be asked again and who has which machine, `proof` whether the
reading is whole; `raw` keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.sources.hyperv.answers import (
    VERSION,
    Answer,
    ClusterSaid,
    ClusterVm,
    Seen,
    Trouble,
    damaged,
    json_object,
    trouble,
)
from asset_ledger.sources.hyperv.script import DETAILED
from asset_ledger.sources.hyperv.values import clean, node_name


@dataclass(frozen=True, slots=True)
class Sight:
    """One attempt to ask one host: what of its answer matters for the proof, or why there is none.

    `node` is the name it told, or by which it was looked for; `address` what was dialled; `sweep` counts from 1.
    `code` is empty where an answer came. `vms` is None where there is no whole list.
    """

    node: str
    address: str
    sweep: int
    ask: str
    at: str
    code: str = ""
    message: str = ""
    vms: tuple[Seen, ...] | None = None
    count: int | None = None
    second: tuple[str, ...] | None = None
    second_error: Trouble | None = None
    groups: tuple[str, ...] = ()
    is_admin: bool = False
    clustered: bool = False
    cluster: ClusterSaid | None = None
    errors: tuple[Trouble, ...] = ()

    @property
    def detailed(self) -> bool:
        """Say whether it shows virtual machines with all that is read of them."""
        return self.vms is not None and self.ask in DETAILED


@dataclass
class Evidence:
    """Everything a reading's proof needs. `sights` stand in the order in which their answers came.

    `hosts` are as configured, `known` the ids of virtual machines the ledger has of this source and does not miss.
    """

    scope: str
    hosts: tuple[str, ...]
    known: tuple[str, ...] = ()
    sights: list[Sight] = field(default_factory=list)


def sight_of(answer: Answer, *, address: str, sweep: int, at: datetime) -> Sight:
    """Return what is kept of an answer as evidence. One that could not list its machines has the reason as code."""
    refusal = answer.refusal
    return Sight(
        node=answer.name,
        address=address,
        sweep=sweep,
        ask=answer.ask,
        at=at.isoformat(),
        code="" if refusal is None else refusal.code.code,
        message="" if refusal is None else refusal.said,
        vms=answer.seen if refusal is None else None,
        count=answer.count,
        second=answer.second,
        second_error=answer.second_error,
        groups=answer.groups,
        is_admin=answer.is_admin,
        clustered=answer.cluster is not None,
        cluster=answer.cluster,
        errors=answer.errors,
    )


def no_sight(node: str, *, address: str, sweep: int, ask: str, at: datetime, code: ErrorCode, message: str) -> Sight:
    """Return the evidence of a host that gave no answer."""
    return Sight(node_name(node), address, sweep, ask, at.isoformat(), code.code, clean(message) or code.meaning)


def by_node(sights: Iterable[Sight]) -> dict[str, list[Sight]]:
    """Return sights by the name of their node, in their order."""
    found: dict[str, list[Sight]] = {}
    for sight in sights:
        found.setdefault(sight.node, []).append(sight)
    return found


def told_of(evidence: Evidence) -> dict[str, Any]:
    """Return evidence as the JSON object it is kept as."""
    return {"v": VERSION, **asdict(evidence)}


def evidence_in(body: bytes, target: str) -> Evidence:
    """Return the evidence of a reading. Raises PermanentError(HYPERV_PARSE_ERROR) where it is damaged."""
    told = json_object(body, target)
    scope, hosts, known, sights = (told.get(name) for name in ("scope", "hosts", "known", "sights"))
    shaped = isinstance(scope, str) and _texts(hosts) and _texts(known) and isinstance(sights, list)
    if told.get("v") != VERSION or not shaped:
        raise damaged("it is no evidence of version 1", target)
    try:
        return Evidence(str(scope), tuple(hosts or ()), tuple(known or ()), [_sight(row) for row in sights or ()])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise damaged("what was seen of a host cannot be read", target) from None


def _sight(row: Mapping[str, Any]) -> Sight:
    cluster = row["cluster"]
    if cluster is not None:
        nodes, vms = cluster["nodes"], cluster["vms"]
        cluster = ClusterSaid(
            _text(cluster["name"]),
            _text(cluster["id"]),
            None if nodes is None else tuple((_text(name), _number(state)) for name, state in nodes),
            None if vms is None else tuple(_row(ClusterVm, one) for one in vms),
            _kept_trouble(cluster["error"]),
        )
    return Sight(
        **{name: _text(row[name]) for name in ("node", "address", "ask", "at", "code", "message")},
        sweep=int(row["sweep"]),
        vms=None if row["vms"] is None else tuple(_row(Seen, one) for one in row["vms"]),
        count=_number(row["count"]),
        second=None if row["second"] is None else tuple(_text(one) for one in row["second"]),
        second_error=_kept_trouble(row["second_error"]),
        groups=tuple(_text(one) for one in row["groups"]),
        is_admin=row["is_admin"] is True,
        clustered=row["clustered"] is True,
        cluster=cluster,
        errors=tuple(trouble(one) for one in row["errors"]),
    )


def _row(kind: Any, row: Mapping[str, Any]) -> Any:
    texts = {name: _text(value) for name, value in row.items() if name in ("id", "name", "owner", "state_name")}
    return kind(**texts, **{name: _number(value) for name, value in row.items() if name not in texts})


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("this is no text")
    return value


def _number(value: Any) -> int | None:
    if value is not None and type(value) is not int:
        raise TypeError("this is no number")
    return value


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _kept_trouble(row: Any) -> Trouble | None:
    return None if row is None else trouble(row)
