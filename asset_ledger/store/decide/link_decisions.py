"""What people decide of links: an instance runs on a machine, or does not. And one instance with all its candidates.

`store.decide.decisions` keeps what was decided and `store.derive.links` makes the links from it. Called by the command line.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from asset_ledger.domain.errors import DECISION_INVALID, PermanentError
from asset_ledger.store.database import Connection, ledger_lock, rows
from asset_ledger.store.decide.decisions import decide, demand_canonical
from asset_ledger.store.derive.links import relink
from asset_ledger.store.query.instances import instance_changes


def confirm_link(
    connection: Connection,
    instance_id: UUID,
    asset_id: UUID,
    *,
    actor: str,
    at: datetime,
    note: str | None = None,
    across_zones: bool = False,
) -> bool:
    """Decide that an instance runs on an asset; return False if that was decided already.

    No rule is needed and no reading undoes it. Raises PermanentError(DECISION_INVALID) for an asset that is retired, or
    of another zone than the instance where `across_zones` is not given (addresses mean nothing across zones), and where
    another asset is confirmed by a person: that is to be taken back first.
    """
    with connection.transaction():
        ledger_lock(connection)
        standing = _decisions(connection, instance_id)
        for other in standing:
            if other["value"] == "confirmed" and other["asset_id"] != asset_id:
                raise PermanentError(
                    DECISION_INVALID,
                    f"{other['actor']} confirmed {other['asset']} on {other['decided_at']:%Y-%m-%d}; take that back "
                    f"first: `asset-ledger links clear {instance_id} {other['asset_id']}`",
                    target=str(instance_id),
                )
        again = any(each["value"] == "confirmed" and each["asset_id"] == asset_id for each in standing)
        if not across_zones and not again and (zones := zones_of(connection, instance_id, asset_id))[0] != zones[1]:
            raise PermanentError(
                DECISION_INVALID,
                f"it is in zone {zones[0]} and the machine in zone {zones[1]}, where addresses mean other machines; if it "
                "runs there all the same, say --across-zones",
                target=pair_name(connection, instance_id, asset_id),
            )
        return _decide(connection, instance_id, asset_id, "confirmed", actor=actor, at=at, note=note)


def reject_link(
    connection: Connection, instance_id: UUID, asset_id: UUID, *, actor: str, at: datetime, note: str | None = None
) -> bool:
    """Decide that an instance does not run on an asset, whatever the rules say; return False if that was so already.

    Raises PermanentError(DECISION_INVALID) for an asset that is retired.
    """
    with connection.transaction():
        ledger_lock(connection)
        return _decide(connection, instance_id, asset_id, "rejected", actor=actor, at=at, note=note)


def clear_link(
    connection: Connection, instance_id: UUID, asset_id: UUID, *, actor: str, at: datetime, note: str | None = None
) -> str | None:
    """Take back what was decided of a pair, and return that: `confirmed`, `rejected`, or None if nothing was."""
    with connection.transaction():
        ledger_lock(connection)
        was = [each for each in _decisions(connection, instance_id) if each["asset_id"] == asset_id]
        for each in was:
            _say(connection, instance_id, each["said_of"], None, actor=actor, at=at, note=note)
        relink(connection, [instance_id])
        return str(was[0]["value"]) if was else None


def instance_page(connection: Connection, instance_id: UUID) -> dict[str, Any]:
    """Return an instance as JSON-like data: its columns, `links` with their assets (the best first), `decisions`
    (every one there was, the latest first), `changes` of its facts from day to day (the latest first), and `names`: what
    the assets that evidence speaks of are called, by id."""
    p = {"instance": instance_id}
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        (instance,) = rows(connection, _INSTANCE, p)
        links = rows(connection, _LINKS, p)
        decisions = rows(connection, _LOG, p)
        changes = instance_changes(connection, instance_id)
        names = names_in(connection, links)
    return {**instance, "links": links, "decisions": decisions, "changes": changes, "names": names}


def names_in(connection: Connection, links: list[dict[str, Any]]) -> dict[str, str]:
    """Return what the assets are called that the evidence of these links speaks of, by id."""
    found = rows(
        connection,
        """
        SELECT id::text, coalesce(hostname, host(mgmt_ip), id::text) AS name FROM ledger.assets WHERE id = ANY(%s::uuid[])
        """,
        [sorted({each for link in links for each in _assets(link["evidence"])})],
    )
    return {each["id"]: each["name"] for each in found}


def pair_name(connection: Connection, instance_id: UUID, asset_id: UUID) -> str:
    """Return what to call an instance and an asset in a sentence: `orders on db-01`."""
    (found,) = rows(
        connection,
        """
        SELECT (SELECT name FROM ledger.database_instances WHERE id = %s) AS instance,
               (SELECT coalesce(hostname, host(mgmt_ip), id::text) FROM ledger.assets WHERE id = %s) AS asset
        """,
        [instance_id, asset_id],
    )
    return f"{found['instance']} on {found['asset']}"


def zones_of(connection: Connection, instance_id: UUID, asset_id: UUID) -> tuple[str | None, str | None]:
    """Return the zones of an instance and an asset; confirming across two takes `across_zones`."""
    (found,) = rows(
        connection,
        """
        SELECT (SELECT zone FROM ledger.database_instances WHERE id = %s) AS instance,
               (SELECT zone FROM ledger.assets WHERE id = %s) AS asset
        """,
        [instance_id, asset_id],
    )
    return found["instance"], found["asset"]


def _assets(evidence: dict[str, Any]) -> list[str]:
    own = [*evidence.get("also_held_by", ()), *evidence.get("held_now_by", ()), *evidence.get("through", ())]
    own += filter(None, [evidence.get("confirmed_on")])
    return own + [each for other in evidence.get("also", ()) for each in _assets(other)]


_INSTANCE = """
SELECT i.id, i.name, i.db_type, i.host, i.port, i.zone, s.name AS source, i.custom_fields, i.first_seen_at, i.last_seen_at
FROM ledger.database_instances i JOIN ledger.sources s ON s.id = i.source_id WHERE i.id = %(instance)s
"""
_LINKS = """
SELECT l.asset_id, a.hostname, host(a.mgmt_ip) AS mgmt_ip, a.missing_since, l.match_status, l.confidence,
       l.matched_by_rule, l.link_type, l.evidence, l.created_at, l.updated_at
FROM ledger.instance_asset_links l JOIN ledger.assets a ON a.id = l.asset_id
WHERE l.instance_id = %(instance)s
ORDER BY l.match_status <> 'confirmed', l.match_status <> 'candidate', l.confidence DESC, a.hostname, a.id
"""
_LOG = """
SELECT d.id, d.asset_id, coalesce(a.hostname, host(a.mgmt_ip), d.asset_id::text) AS asset, a.merged_into_asset_id,
       a.deleted_at AS retired_at, d.value #>> '{}' AS value, d.actor, d.decided_at, d.note, f.id IS NOT NULL AS in_force
FROM ledger.decisions d
LEFT JOIN ledger.assets a ON a.id = d.asset_id
LEFT JOIN ledger.decisions_in_force f ON f.id = d.id
WHERE d.kind = 'link' AND d.other_id = %(instance)s
ORDER BY d.id DESC
"""
_DECISIONS = """
SELECT d.id, d.asset_id AS said_of, r.id AS asset_id, coalesce(r.hostname, host(r.mgmt_ip), r.id::text) AS asset,
       d.value #>> '{}' AS value, d.actor, d.decided_at
FROM ledger.decisions_in_force d
JOIN ledger.assets m ON m.id = d.asset_id
JOIN ledger.assets r ON r.id = coalesce(m.merged_into_asset_id, m.id)
WHERE d.kind = 'link' AND d.other_id = %(instance)s
ORDER BY d.id DESC
"""


def _decisions(connection: Connection, instance_id: UUID) -> list[dict[str, Any]]:
    """Return what is in force of an instance, the latest first; `asset_id` is the root of `said_of`."""
    return rows(connection, _DECISIONS, {"instance": instance_id})


def _decide(
    connection: Connection,
    instance_id: UUID,
    asset_id: UUID,
    word: str,
    *,
    actor: str,
    at: datetime,
    note: str | None,
) -> bool:
    demand_canonical(connection, asset_id)
    if rows(connection, "SELECT FROM ledger.assets WHERE id = %s AND deleted_at IS NOT NULL", [asset_id]):
        raise PermanentError(
            DECISION_INVALID,
            f"the machine is retired and runs nothing; if it does, first `asset-ledger assets restore {asset_id}`",
            target=str(asset_id),
        )
    was = [each for each in _decisions(connection, instance_id) if each["asset_id"] == asset_id]
    if was and was[0]["value"] == word:
        return False
    # the latest word counts, also one on an asset that was merged into this one since: it is taken back
    for each in was:
        if each["said_of"] != asset_id:
            _say(connection, instance_id, each["said_of"], None, actor=actor, at=at, note=note)
    _say(connection, instance_id, asset_id, word, actor=actor, at=at, note=note)
    relink(connection, [instance_id])
    return True


def _say(
    connection: Connection,
    instance_id: UUID,
    asset_id: UUID,
    word: str | None,
    *,
    actor: str,
    at: datetime,
    note: str | None,
) -> None:
    decide(connection, kind="link", asset_id=asset_id, other_id=instance_id, value=word, actor=actor, at=at, note=note)
