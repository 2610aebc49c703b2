"""Two ledger assets declared one machine, and parted again. Nothing moves: a merge is a decision that points.

`assets.merged_into_asset_id` is always the root, computed from the decisions in force; the root's row is then made from
what the sources say of all members (`store.derive.settle`), and parting them makes both again as if they had never met.
Called by the command line and Dagster; `rebuild` calls `repoint`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asset_ledger.domain.day_values import RANKS
from asset_ledger.domain.errors import ASSET_AMBIGUOUS, ASSET_NOT_FOUND, DECISION_INVALID, PermanentError
from asset_ledger.store.database import Connection, ledger_lock, rows
from asset_ledger.store.decide.decisions import Decision, decide, dismissals
from asset_ledger.store.derive.roots import repoint
from asset_ledger.store.derive.settle import settle_assets
from asset_ledger.store.query.assets import bearers, find_asset

# which rank decides between sources, as in `store.derive.settle`; a field that is in neither is made of all of them
_NAMED = ("zone", "platform_type", "asset_type", "hostname", "mgmt_ip", "protocol", "port", "credential_ref")
_MEASURED = ("cpu_cores", "memory_bytes", "disk_total_bytes", "os_family", "os_version", "power_state")
FIELDS = (*_NAMED, *_MEASURED, "custom_fields", "missing_since", "deleted_at")
"""The fields of a canonical row that a preview shows."""


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge or its withdrawal: `child`, `into` which it is, or was, merged, and the `root` of that: the same, unless
    it is itself merged. `moved` are all assets that now point elsewhere, those merged into the child among them."""

    decision: Decision
    child: UUID
    into: UUID
    root: UUID
    moved: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class MergedField:
    """One field before and after. `from_` says in words where the resulting value comes from; None: it has none."""

    field: str
    child: Any
    into: Any
    result: Any
    from_: str | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What merging would make of two assets. `child`, `into` and `result` are rows; days are those that have history."""

    child: Mapping[str, Any]
    into: Mapping[str, Any]
    fields: tuple[MergedField, ...]
    members: tuple[UUID, ...]
    child_days: int
    into_days: int
    both_days: int
    child_instances: int
    into_instances: int
    shared: tuple[tuple[str, str], ...]


def merge(
    connection: Connection,
    child: UUID,
    into: UUID,
    *,
    actor: str,
    at: datetime,
    note: str | None = None,
    across_zones: bool = False,
) -> Merge:
    """Declare `child` to be the machine `into`, and so the root of the merge that `into` is in.

    It stays with `into` when that is parted from its root.
    Raises PermanentError: ASSET_NOT_FOUND; DECISION_INVALID where the child is merged already, is the root itself, was
    declared another machine, or is of another zone and `across_zones` is not given (addresses mean nothing across
    zones, so there it takes a person who knows), and where the root is retired.
    """
    with connection.transaction():
        ledger_lock(connection)
        assets = {asset_id: _asset(connection, asset_id) for asset_id in (child, into)}
        root = _asset(connection, assets[into]["merged_into_asset_id"] or into)
        _demand_mergeable(connection, assets[child], root, across_zones=across_zones)
        decision = decide(connection, kind="merge", asset_id=child, value=str(into), actor=actor, at=at, note=note)
        assert decision is not None
        moved = _follow(connection)
    return Merge(decision, child, into, root["id"], moved)


def unmerge(connection: Connection, child: UUID, *, actor: str, at: datetime, note: str | None = None) -> Merge:
    """Part an asset from what it was merged into; what had been merged into it before comes along again.

    Raises PermanentError: ASSET_NOT_FOUND; DECISION_INVALID where it is merged into nothing.
    """
    with connection.transaction():
        ledger_lock(connection)
        asset = _asset(connection, child)
        said = connection.execute(_MERGED_INTO, [child]).fetchone()
        decision = decide(connection, kind="merge", asset_id=child, value=None, actor=actor, at=at, note=note)
        if decision is None or said is None:
            raise PermanentError(DECISION_INVALID, "it is merged into nothing", target=_named(asset))
        moved = _follow(connection)
    return Merge(decision, child, said[0], asset["merged_into_asset_id"] or said[0], moved)


def preview(connection: Connection, child: UUID, into: UUID, *, at: datetime, across_zones: bool = False) -> Preview:
    """Return what `merge` would make of the two, by doing it and taking it back. Raises what `merge` raises."""
    with connection.transaction(force_rollback=True):
        ledger_lock(connection)
        root = _asset(connection, into)["merged_into_asset_id"] or into
        sides = [_members(connection, child), _members(connection, root)]
        before = [_row(connection, child), _row(connection, root)]
        counts = _counts(connection, *sides)
        shared = connection.execute(_SHARED, sides).fetchall()
        merge(connection, child, root, actor="preview", at=at, across_zones=across_zones)
        result = _row(connection, root)
        told = _Told(connection, root, [*sides[0], *sides[1]], result)
    return Preview(
        child=before[0],
        into=before[1],
        fields=tuple(
            MergedField(field, before[0][field], before[1][field], result[field], told.source(field))
            for field in FIELDS
        ),
        members=tuple(sides[0]),
        child_days=counts["child_days"],
        into_days=counts["into_days"],
        both_days=counts["both_days"],
        child_instances=counts["child_instances"],
        into_instances=counts["into_instances"],
        shared=tuple((kind, value) for kind, value in shared),
    )


def in_two_zones(connection: Connection, one: UUID, other: UUID) -> bool:
    """Return whether merging the two takes `across_zones`."""
    return bool(_asset(connection, one)["zone"] != _asset(connection, other)["zone"])


def find_merged(connection: Connection, text: str) -> UUID:
    """Return the one merged asset that a person means by an id, six or more characters it begins with, a name or the
    management address: what `find_asset` would take for its root.

    Raises PermanentError(ASSET_NOT_FOUND), or PermanentError(ASSET_AMBIGUOUS) whose note names them.
    """
    parameters = {"name": text.strip().lower(), "beginning": _id_digits(text)}
    found = rows(connection, _FIND_MERGED, parameters)
    if len(found) == 1:
        merged: UUID = found[0]["id"]
        return merged
    if found:
        error = PermanentError(ASSET_AMBIGUOUS, f"{len(found)} merged assets answer to it", target=text)
        error.add_note("\n".join(f"  {row['id']}  {row['hostname'] or 'no hostname'}" for row in found))
        raise error
    raise PermanentError(ASSET_NOT_FOUND, "no asset that answers to it is merged into another", target=text)


def find_to_merge(connection: Connection, text: str) -> UUID:
    """Return the asset that is to be merged: what `find_asset` finds, but the very asset where it is named by its id.

    So a merged one is told to be merged already, and never stands for all that its root is made of: what only one that
    is merged into it is called or has is refused with PermanentError(DECISION_INVALID), which names the two.
    """
    if merged := _merged_by_id(connection, text):
        return merged
    root = find_asset(connection, text)
    own = [asset_id for stage in bearers(connection, text) for asset_id in stage]
    if root not in own:
        child = next(each for one in own if (each := _asset(connection, one))["merged_into_asset_id"] == root)
        raise PermanentError(
            DECISION_INVALID,
            f"that is {_named(child)}, which is merged into {_named(_asset(connection, root))}: name the latter by its id "
            "to merge it with all that it is made of, or part the two first with "
            f"`asset-ledger duplicates unmerge {child['id']}`",
            target=text,
        )
    return root


def find_to_merge_into(connection: Connection, text: str) -> UUID:
    """Return the asset that another is to be merged into: what `find_asset` finds, but the very asset where it is named
    by its id, merged itself or not."""
    return _merged_by_id(connection, text) or find_asset(connection, text)


def _merged_by_id(connection: Connection, text: str) -> UUID | None:
    found = rows(connection, _FIND_MERGED, {"name": None, "beginning": _id_digits(text)})
    return found[0]["id"] if len(found) == 1 else None


def _id_digits(text: str) -> str | None:
    digits = text.strip().lower().replace("-", "")
    return digits if len(digits) >= 6 and set(digits) <= set("0123456789abcdef") else None


_MERGED_INTO = """
SELECT (value #>> '{}')::uuid FROM ledger.decisions_in_force WHERE kind = 'merge' AND asset_id = %s
"""
_FIND_MERGED = """
SELECT a.id, a.hostname FROM ledger.assets a
WHERE a.merged_into_asset_id IS NOT NULL
  AND (lower(a.hostname) = %(name)s OR host(a.mgmt_ip) = %(name)s
       OR starts_with(replace(a.id::text, '-', ''), %(beginning)s::text)
       OR a.id IN (SELECT asset_id FROM ledger.asset_aliases WHERE lower(value) = %(name)s))
ORDER BY a.hostname, a.id
"""
_COUNTS = """
WITH side AS (
    SELECT unnest(%(child)s::uuid[]) AS id, true AS child UNION ALL SELECT unnest(%(into)s::uuid[]), false
), day AS (
    SELECT d.collected_date, bool_or(s.child) AS child, bool_or(NOT s.child) AS of_root
    FROM side s JOIN ledger.asset_daily_specs d ON d.asset_id = s.id GROUP BY d.collected_date
), instance AS (
    SELECT s.child, count(DISTINCT l.instance_id) AS instances
    FROM side s JOIN ledger.instance_asset_links l ON l.asset_id = s.id
    WHERE l.match_status <> 'rejected' GROUP BY s.child
)
SELECT (SELECT count(*) FROM day WHERE child) AS child_days, (SELECT count(*) FROM day WHERE of_root) AS into_days,
       (SELECT count(*) FROM day WHERE child AND of_root) AS both_days,
       coalesce((SELECT instances FROM instance WHERE child), 0) AS child_instances,
       coalesce((SELECT instances FROM instance WHERE NOT child), 0) AS into_instances
"""
_SHARED = """
SELECT DISTINCT kind, value FROM ledger.asset_identifiers WHERE asset_id = ANY(%s) AND last_seen_at IS NULL
INTERSECT
SELECT kind, value FROM ledger.asset_identifiers WHERE asset_id = ANY(%s) AND last_seen_at IS NULL
ORDER BY kind, value
"""
_LATEST_WORDS = """
SELECT s.name, s.naming_rank, s.specs_rank, s.os_rank, coalesce(n.zone, s.zone) AS zone, s.platform_type, n.asset_type, n.hostname, host(n.mgmt_ip) AS mgmt_ip,
       n.protocol, n.port, n.credential_ref, n.cpu_cores, n.memory_bytes, n.disk_total_bytes, n.os_family, n.os_version,
       n.power_state, n.document -> 'custom_fields' AS custom_fields
FROM ledger.asset_source_links l
JOIN ledger.sources s ON s.id = l.source_id
JOIN ledger.normalized_assets n ON n.id = l.normalized_id
WHERE l.asset_id = ANY(%s)
ORDER BY l.closed_at IS NOT NULL, l.last_seen_date DESC, s.id, l.id
"""


class _Told:
    """Who said what of the members of a merge, to tell where a value of the resulting row comes from."""

    def __init__(self, connection: Connection, root: UUID, members: Sequence[UUID], result: Mapping[str, Any]) -> None:
        self._result = result
        self._words = rows(connection, _LATEST_WORDS, [list(members)])
        self._decided: dict[str, str] = dict(
            connection.execute(
                "SELECT field, actor FROM ledger.decisions_in_force WHERE kind = 'override' AND asset_id = %s", [root]
            ).fetchall()
        )

    def source(self, field: str) -> str | None:
        value = self._result[field]
        if value is None or value == {}:
            return None
        if field in self._decided:
            return f"decided by {self._decided[field]}"
        if day := self._result["carried"].get(field):
            return f"carried from {day}"
        if field == "custom_fields":
            names = [word["name"] for word in self._words if word[field]]
            people = sorted({actor for name, actor in self._decided.items() if name.startswith("custom_fields.")})
            return ", ".join([*dict.fromkeys(names), *(f"decided by {actor}" for actor in people)])
        rank = RANKS.get(field, "naming_rank")
        same = [word for word in self._words if word.get(field) == value]
        return str(min(same, key=lambda word: word[rank])["name"]) if same else None


def _follow(connection: Connection) -> tuple[UUID, ...]:
    touched = repoint(connection)
    settle_assets(connection, touched)
    return tuple(touched)


def _demand_mergeable(
    connection: Connection, child: Mapping[str, Any], root: Mapping[str, Any], *, across_zones: bool
) -> None:
    standing = connection.execute(
        "SELECT value #>> '{}', actor, decided_at FROM ledger.decisions_in_force WHERE kind = 'merge' AND asset_id = %s",
        [child["id"]],
    ).fetchone()
    problem = None
    if child["id"] == root["id"]:
        problem = "it is the asset it would be merged into: an asset and what is merged into it are one already"
    elif standing:
        problem = (
            f"it is merged into {standing[0]} already, by {standing[1]} on {standing[2]:%Y-%m-%d}: "
            "part them first with `asset-ledger duplicates unmerge`"
        )
    elif dismissed := dismissals(connection, child["id"], root["id"]):
        problem = (
            f"{dismissed[0]['actor']} said on {dismissed[0]['decided_at']:%Y-%m-%d} that it and {_named(root)} are two "
            "machines: take that back first with `asset-ledger duplicates undismiss`"
        )
    elif root["deleted_at"]:
        problem = (
            f"{_named(root)} is retired, and so would it be: restore that first with `asset-ledger assets restore`"
        )
    elif child["zone"] != root["zone"] and not across_zones:
        problem = (
            f"it is in zone {child['zone']} and {_named(root)} in zone {root['zone']}, where addresses mean other "
            "machines; if it is one machine all the same, say --across-zones"
        )
    if problem:
        raise PermanentError(DECISION_INVALID, problem, target=_named(child))


def _asset(connection: Connection, asset_id: UUID) -> dict[str, Any]:
    found = rows(
        connection,
        "SELECT id, hostname, zone, deleted_at, merged_into_asset_id FROM ledger.assets WHERE id = %s",
        [asset_id],
    )
    if not found:
        raise PermanentError(ASSET_NOT_FOUND, "nothing in the ledger answers to it", target=str(asset_id))
    return found[0]


def _named(asset: Mapping[str, Any]) -> str:
    return f"{asset['hostname'] or 'an asset without a name'} ({asset['id']})"


def _row(connection: Connection, asset_id: UUID) -> dict[str, Any]:
    (row,) = rows(connection, "SELECT * FROM ledger.assets WHERE id = %s", [asset_id])
    return {**row, "mgmt_ip": None if row["mgmt_ip"] is None else str(row["mgmt_ip"])}


def _members(connection: Connection, root: UUID) -> list[UUID]:
    found = connection.execute(
        "SELECT id FROM ledger.assets WHERE id = %(root)s OR merged_into_asset_id = %(root)s ORDER BY id",
        {"root": root},
    )
    return [row[0] for row in found]


def _counts(connection: Connection, child: Sequence[UUID], into: Sequence[UUID]) -> dict[str, int]:
    (counts,) = rows(connection, _COUNTS, {"child": list(child), "into": list(into)})
    return counts
