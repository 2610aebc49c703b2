"""Applying readings to the ledger, step by step: who each record is, what the day says, what goes on being said, what
is missing, and what the ledger assets are then.

The caller holds the source's lock and the transaction: what is written here is written whole or not at all, and a dry
run is the same statements followed by a rollback. The steps are modules of their own, in this order: `store.derive.staging`,
`identity`, `days`, `words`, `absences`, `settle`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from asset_ledger.domain.errors import (
    INVENTORY_INCOMPLETE,
    INVENTORY_RELATIONS_EMPTY,
    IncompleteError,
    PermanentError,
)
from asset_ledger.domain.inventory import Item, Proof
from asset_ledger.domain.outcome import SHOWN_CHANGES, Change, Conflict, Correction, Outcome, document_changes
from asset_ledger.store.database import Connection, clock, ledger_lock
from asset_ledger.store.derive.absences import judge, settle_absences
from asset_ledger.store.derive.anew import compare, may_differ, set_aside
from asset_ledger.store.derive.corrections import corrections_since
from asset_ledger.store.derive.days import write_day
from asset_ledger.store.derive.identity import identify
from asset_ledger.store.derive.instances import forget_untold_instances, write_instances
from asset_ledger.store.derive.settle import settle
from asset_ledger.store.derive.staging import Staged, clear_reading, stage, working_tables
from asset_ledger.store.derive.words import lengthen, retell
from asset_ledger.store.partitions import ensure_months
from asset_ledger.store.raw import InventoryRow
from asset_ledger.store.scopes import spanned
from asset_ledger.store.sources import SourceRow

_MANY_NEW = 1000


@dataclass(frozen=True, slots=True)
class Writing:
    """One transaction's writing: `now` is when what it publishes is recorded.

    With `rebuild` the ledger is made again from its evidence: nothing is a correction, and conflicts stay. With `anew`
    a day is (`store.derive.anew`), and `alone` says that it has one reading.
    """

    now: datetime
    rebuild: bool = False
    anew: bool = False
    alone: bool = False


def begin_writing(connection: Connection, *, rebuild: bool = False) -> Writing:
    """Take the writers' lock, inside the caller's transaction, and return the writing it is for."""
    ledger_lock(connection)
    return Writing(clock(connection), rebuild)


def begin_day(
    connection: Connection, source: SourceRow, readings: Sequence[InventoryRow], *, parser_version: int
) -> Writing:
    """Begin to derive a whole day again, inside the caller's transaction; `end_of_day` ends it."""
    writing = begin_writing(connection)
    if not may_differ(connection, readings, parser_version):
        return writing
    writing = replace(writing, anew=True, alone=len(readings) == 1)
    working_tables(connection)
    covers = sorted(spanned(one.covers for one in readings))
    set_aside(connection, _parameters(source, readings[-1], writing, parser_version) | {"covers": covers})
    return writing


def known_records(connection: Connection, source: SourceRow, day: date) -> dict[bytes, str]:
    """Return the digest of every record that need not be parsed again, with its external id.

    Those are the latest word of every link, and whatever the day itself has: a replay finds its own records known,
    unless the day is derived anew.
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
    # of the working tables it is their length that matters: a small sample tells it as well as a large one
    connection.execute("SET LOCAL default_statistics_target = 10")
    clear_reading(connection)
    staged = stage(connection, items)
    proof = _proven(source, staged.proofs)
    # a rebuild begins with nothing: there is no day to take anything out of
    whole_day = writing is not None and not writing.rebuild
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
    # of a whole day, and of everything, later readings are known already: absences are settled once, at the end
    missing, revived = (0, 0) if writing.rebuild or whole_day else settle_absences(connection, source.id)
    _refresh_statistics(connection)
    settle(connection)
    outcome = _outcome(connection, p, staged, specs_rows, ip_rows, missing=missing, revived=revived, held=held)
    _keep_report(connection, p, outcome)
    return outcome


@dataclass(frozen=True, slots=True)
class EndedDay:
    """What deriving a day again came to: what it published before and says otherwise now, up to SHOWN_CHANGES rows of
    every kind, and how many machines are missing and back by it."""

    corrections: tuple[Correction, ...]
    missing: int
    revived: int


def end_of_day(
    connection: Connection, source: SourceRow, readings: Sequence[InventoryRow], writing: Writing
) -> EndedDay:
    """Finish a day whose every reading was applied again, in the transaction in which they were applied."""
    day = readings[-1].collected_date
    p = _parameters(source, readings[-1], writing, 0) | {"inventories": [reading.id for reading in readings]}
    clear_reading(connection)
    if writing.anew and compare(connection, p):
        retell(connection, p)
    missing, revived = settle_absences(connection, source.id)
    settle(connection)
    forget_untold_instances(connection, p)
    corrections = corrections_since(connection, source.id, day, day, writing.now).get(day, ())
    return EndedDay(tuple(corrections), missing, revived)


def _parameters(source: SourceRow, inventory: InventoryRow, writing: Writing, parser_version: int) -> dict[str, Any]:
    derived_before = inventory.status == "derived"
    return {
        "source": source.id,
        "source_name": source.name,
        "zone": source.zone,
        "platform_type": source.platform_type,
        # an agent's machine is known by its client's id; that of imports and probes is the address itself
        "own_ids": source.source_type == "agent",
        "inventory": inventory.id,
        "covers": list(inventory.covers),
        "date": inventory.collected_date,
        "at": inventory.collected_at,
        "parser_version": parser_version,
        "now": writing.now,
        "rebuild": writing.rebuild,
        "anew": writing.anew,
        "alone": writing.alone,
        "derived_at": inventory.derived_at if derived_before and not writing.rebuild else None,
        "first_derived_at": inventory.derived_at or writing.now,
        "resolved_by": None if inventory.derived_at is None else inventory.parser_version,
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
        raise IncompleteError(INVENTORY_INCOMPLETE, "; ".join(against), target=source.name, proof=told)
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
        connection.execute("SET LOCAL default_statistics_target TO DEFAULT")
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
    instances = write_instances(connection, p)
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
