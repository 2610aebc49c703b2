"""Applying readings to the ledger, step by step: who each record is, what the day says, what goes on being said, what
is missing, and what the ledger assets are then.

The caller holds the source's lock and the transaction: what is written here is written whole or not at all, and a dry
run is the same statements followed by a rollback. The steps are modules of their own, in this order: `store.derive.staging`,
`identity`, `days`, `words`, `absences`, `settle`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, INVENTORY_RELATIONS_EMPTY, LedgerError, PermanentError
from asset_ledger.domain.inventory import Item, Proof
from asset_ledger.domain.outcome import SHOWN_CHANGES, Change, Conflict, Correction, Outcome, document_changes
from asset_ledger.store.database import Connection, clock, ledger_lock
from asset_ledger.store.derive.absences import judge, settle_absences
from asset_ledger.store.derive.corrections import corrections_since
from asset_ledger.store.derive.days import forget_untold, reconcile, write_day
from asset_ledger.store.derive.identity import identify
from asset_ledger.store.derive.settle import settle
from asset_ledger.store.derive.staging import Staged, clear_reading, stage, working_tables
from asset_ledger.store.derive.words import lengthen, retell
from asset_ledger.store.partitions import ensure_months
from asset_ledger.store.raw import InventoryRow
from asset_ledger.store.sources import SourceRow

_INSTANCES = """
WITH told AS (
    SELECT DISTINCT ON (instance_key) * FROM stage_instance ORDER BY instance_key, ordinal DESC
), was AS (
    SELECT i.* FROM ledger.database_instances i JOIN told USING (instance_key) WHERE i.source_id = %(source)s
), written AS (
    INSERT INTO ledger.database_instances AS d (id, source_id, instance_key, zone, name, host, host_ip, port, db_type,
        custom_fields, first_seen_at, last_seen_at, inventory_id)
    SELECT md5(%(source_name)s || E'\\n' || instance_key)::uuid, %(source)s, instance_key, %(zone)s, name, host, host_ip, port, db_type, custom_fields, %(at)s, %(at)s, %(inventory)s
    FROM told
    ON CONFLICT (source_id, instance_key) DO UPDATE
    SET name = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.name ELSE d.name END,
        host = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.host ELSE d.host END,
        host_ip = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.host_ip ELSE d.host_ip END,
        port = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.port ELSE d.port END,
        db_type = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.db_type ELSE d.db_type END,
        custom_fields = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.custom_fields ELSE d.custom_fields END,
        inventory_id = CASE WHEN d.last_seen_at <= excluded.last_seen_at THEN excluded.inventory_id ELSE d.inventory_id END,
        first_seen_at = least(d.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(d.last_seen_at, excluded.last_seen_at)
    RETURNING d.instance_key, (d.name, d.host, d.port, d.db_type, d.custom_fields) AS facts
)
SELECT count(*) FILTER (WHERE was.id IS NULL),
       count(*) FILTER (WHERE was.id IS NOT NULL
           AND written.facts IS DISTINCT FROM (was.name, was.host, was.port, was.db_type, was.custom_fields)),
       count(*) FILTER (WHERE written.facts IS NOT DISTINCT FROM (was.name, was.host, was.port, was.db_type, was.custom_fields))
FROM written LEFT JOIN was USING (instance_key)
"""


_MANY_NEW = 1000


class IncompleteError(LedgerError):
    """A reading that is not the whole of its scope. `proof` is what was counted and what stands against it."""

    def __init__(self, message: str, *, target: str, proof: dict[str, Any]) -> None:
        super().__init__(INVENTORY_INCOMPLETE, message, target=target)
        self.proof = proof


@dataclass(frozen=True, slots=True)
class Writing:
    """One transaction's writing: `now` is when what it publishes is recorded.

    With `rebuild` the ledger is made again from its evidence: nothing is a correction, and conflicts stay.
    """

    now: datetime
    rebuild: bool = False


def begin_writing(connection: Connection, *, rebuild: bool = False) -> Writing:
    """Take the writers' lock, inside the caller's transaction, and return the writing it is for."""
    ledger_lock(connection)
    return Writing(clock(connection), rebuild)


def known_records(connection: Connection, source: SourceRow, day: date) -> dict[bytes, str]:
    """Return the digest of every record that need not be parsed again, with its external id.

    Those are the latest word of every link, and whatever the day itself has: a replay finds its own records known.
    """
    found = connection.execute(
        """
        SELECT record_digest, external_id FROM ledger.asset_source_links
        WHERE source_id = %(source)s AND closed_at IS NULL
        UNION ALL
        SELECT n.record_digest, n.external_id
        FROM ledger.asset_daily_specs d JOIN ledger.normalized_assets n ON n.id = d.normalized_id
        WHERE d.collected_date = %(date)s AND d.source_id = %(source)s
        """,
        {"source": source.id, "date": day},
        binary=True,
    )
    return {bytes(digest): external_id for digest, external_id in found}


def apply_inventory(
    connection: Connection,
    source: SourceRow,
    inventory: InventoryRow,
    items: Iterable[tuple[int, Item]],
    *,
    parser_version: int,
    writing: Writing | None = None,
) -> Outcome:
    """Write what an inventory's `(observation id, item)` pairs say, inside the caller's transaction.

    Without a `writing` the writers' lock is taken once the items are staged: parsing holds up nobody.
    Raises PermanentError(SCHEMA_VALIDATION_FAILED) for a document that is not normalized-v1, INVENTORY_INCOMPLETE for a
    reading that is not proven whole where its source proves it, INVENTORY_RELATIONS_EMPTY.
    """
    ensure_months(connection, [inventory.collected_date])
    working_tables(connection)
    clear_reading(connection)
    staged = stage(connection, items)
    proof = _proven(source, staged.proofs)
    whole_day = writing is not None
    writing = writing or begin_writing(connection)
    p = _parameters(source, inventory, writing, parser_version)
    p |= {"whole_day": whole_day, "failures": bool(staged.failures)}
    identify(connection, p)
    _demand_relations(connection, source)
    specs_rows, ip_rows = write_day(connection, p)
    lengthen(connection, p)
    complete = inventory.complete or proof is not None
    _mark_derived(connection, p, complete=complete, proof=proof)
    held = False
    if complete:
        # what was held is released by a person, never by a replay
        stays = inventory.parser_version == parser_version or inventory.absences == "held"
        verdict = judge(
            connection,
            p,
            share=source.removal_share,
            at_least=source.removal_at_least,
            verdict=inventory.absences if stays else None,
            # a platform proves that its list is whole, whatever could not be read of its machines
            doubtful=proof is None and bool(staged.rejected or staged.failures),
        )
        held = verdict == "held"
    # rebuilt in order, later readings are known already; their absences are settled once, at the end
    missing, revived = (0, 0) if writing.rebuild else settle_absences(connection, source.id)
    _refresh_statistics(connection)
    settle(connection)
    outcome = _outcome(connection, p, staged, specs_rows, ip_rows, missing=missing, revived=revived, held=held)
    _keep_report(connection, p, outcome)
    return outcome


def end_of_day(
    connection: Connection, source: SourceRow, readings: Sequence[InventoryRow], writing: Writing
) -> tuple[Correction, ...]:
    """Finish a day whose every reading was applied again: take out what none of them told, and return what changed.

    Called in the transaction in which they were applied. What is returned is the difference between what the day
    published before and what it publishes now, up to SHOWN_CHANGES rows of every kind.
    """
    day = readings[-1].collected_date
    # what earlier readings took away, later ones of the day may have brought back
    p = _parameters(source, readings[-1], writing, 0) | {"inventories": [reading.id for reading in readings]}
    if forget_untold(connection, p):
        retell(connection, p)
        settle_absences(connection, source.id)
        settle(connection)
    reconcile(connection, p)
    return tuple(corrections_since(connection, source.id, day, day, writing.now).get(day, ()))


def _parameters(source: SourceRow, inventory: InventoryRow, writing: Writing, parser_version: int) -> dict[str, Any]:
    derived_before = inventory.status == "derived"
    return {
        "source": source.id,
        "source_name": source.name,
        "zone": source.zone,
        "platform_type": source.platform_type,
        "inventory": inventory.id,
        "covers": list(inventory.covers),
        "date": inventory.collected_date,
        "at": inventory.collected_at,
        "parser_version": parser_version,
        "now": writing.now,
        "rebuild": writing.rebuild,
        "derived_at": inventory.derived_at if derived_before and not writing.rebuild else None,
        "first_derived_at": inventory.derived_at or writing.now,
    }


def _proven(source: SourceRow, proofs: Sequence[Proof]) -> dict[str, Any] | None:
    """Return the proof that a reading is whole, or None where its source proves nothing. Raises IncompleteError."""
    if not source.proves:
        return None
    against = [reason for proof in proofs for reason in proof.missing]
    if not proofs:
        against = ["the reading ends without its proof of completeness"]
    told = {"complete": not against, "counts": [dict(proof.counts) for proof in proofs], "missing": against}
    if against:
        raise IncompleteError("; ".join(against), target=source.name, proof=told)
    return told


def _demand_relations(connection: Connection, source: SourceRow) -> None:
    if not source.relations:
        return
    row = connection.execute(
        """
        SELECT EXISTS (SELECT FROM seen s JOIN ledger.normalized_assets n ON n.id = s.normalized_id WHERE n.kind = 'vm'),
               EXISTS (SELECT FROM seen s JOIN ledger.normalized_assets n ON n.id = s.normalized_id
                       WHERE n.kind = 'vm' AND n.document -> 'relations' <> '[]')
        """
    ).fetchone()
    if row == (True, False):
        raise PermanentError(
            INVENTORY_RELATIONS_EMPTY, "it has virtual machines, and none of them runs on a host", target=source.name
        )


def _mark_derived(connection: Connection, p: dict[str, Any], *, complete: bool, proof: dict[str, Any] | None) -> None:
    connection.execute(
        """
        UPDATE ledger.inventories
        SET status = 'derived', error_code = NULL, derived_at = coalesce(derived_at, %(now)s), complete = %(complete)s,
            proof = coalesce(%(proof)s::jsonb, proof), parser_version = %(parser_version)s
        WHERE id = %(inventory)s
        """,
        p | {"complete": complete, "proof": None if proof is None else json.dumps(proof, default=str)},
    )


def _keep_report(connection: Connection, p: dict[str, Any], outcome: Outcome) -> None:
    # the report stays what the reading did when it came: derived again, it finds its own work done
    connection.execute(
        "UPDATE ledger.inventories SET report = %(report)s::jsonb WHERE id = %(inventory)s AND report = '{}'",
        p | {"report": json.dumps(outcome.report())},
    )


def _refresh_statistics(connection: Connection) -> None:
    """Let the planner know of a first import at once: autovacuum may come minutes later, and a plan made for
    empty tables takes hours over full ones."""
    row = connection.execute("SELECT count(*) FROM seen WHERE begins").fetchone()
    if row is not None and row[0] >= _MANY_NEW:
        connection.execute(
            """
            ANALYZE ledger.assets (id, zone, hostname, mgmt_ip, merged_into_asset_id), ledger.asset_source_links,
                ledger.asset_identifiers, ledger.identity_resolutions (id, source_id, external_kind, external_id),
                ledger.normalized_assets (id, source_id, external_kind, external_id, digest, record_digest)
            """
        )


def _outcome(
    connection: Connection,
    p: dict[str, Any],
    staged: Staged,
    specs_rows: int,
    ip_rows: int,
    *,
    missing: int,
    revived: int,
    held: bool,
) -> Outcome:
    instances = connection.execute(_INSTANCES, p).fetchone() or (0, 0, 0)
    statuses: dict[str, int] = dict(connection.execute("SELECT status, count(*) FROM seen GROUP BY 1").fetchall())
    reused = connection.execute("SELECT count(*) FROM seen WHERE begins AND other_generation").fetchone() or (0,)
    return Outcome(
        created=statuses.get("created", 0),
        attached=statuses.get("attached", 0),
        updated=statuses.get("updated", 0),
        unchanged=statuses.get("unchanged", 0),
        conflicts=_conflicts(connection),
        changes=_changes(connection),
        rejected=tuple(staged.rejected),
        failures=tuple(staged.failures),
        cautions=tuple(staged.cautions),
        instances_new=instances[0],
        instances_changed=instances[1],
        instances_unchanged=instances[2],
        specs_rows=specs_rows,
        ip_rows=ip_rows,
        reused_ids=reused[0],
        missing=missing,
        revived=revived,
        absences_held=held,
    )


def _conflicts(connection: Connection) -> tuple[Conflict, ...]:
    found = connection.execute(
        """
        SELECT s.external_id, coalesce(s.locator, n.locator), coalesce(h.asset_ids, '{}')
        FROM seen s JOIN ledger.normalized_assets n ON n.id = s.normalized_id LEFT JOIN hit h USING (ordinal)
        WHERE s.status = 'conflict' ORDER BY s.ordinal
        """
    )
    return tuple(Conflict(row[0], row[1], tuple(str(asset) for asset in row[2])) for row in found)


def _changes(connection: Connection) -> tuple[Change, ...]:
    found = connection.execute(
        """
        SELECT s.external_id, now_.hostname, was.document, now_.document
        FROM seen s
        JOIN ledger.normalized_assets was ON was.id = s.before_id
        JOIN ledger.normalized_assets now_ ON now_.id = s.normalized_id
        WHERE s.status = 'updated' ORDER BY s.ordinal LIMIT %s
        """,
        [SHOWN_CHANGES],
    )
    return tuple(
        Change(external_id, hostname, path, before, after)
        for external_id, hostname, was, now in found
        for path, before, after in document_changes(was, now)
    )
