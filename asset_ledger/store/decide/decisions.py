"""What people decided: appended here and nowhere else, and what of it is in force.

The latest row of a subject (kind, asset, other, reading, field) is in force; a NULL value withdraws it. Decisions that
change derived rows settle the assets concerned in the same transaction. Merging is `store.decide.merges`, tags in lists are
`store.decide.tags`. Called by the command line and Dagster.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are always parameters
from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from asset_ledger.domain.errors import ASSET_NOT_FOUND, DECISION_INVALID, PermanentError
from asset_ledger.domain.secrecy import holds_secret, names_secret
from asset_ledger.store.database import Connection, ledger_lock, rows
from asset_ledger.store.derive.settle import settle_assets

Kind = Literal["override", "tag", "link", "merge", "not_duplicate", "absences", "retired"]
ASSET_TYPES = ("vm", "physical", "cluster")
OVERRIDABLE = ("hostname", "asset_type", "os_family", "os_version")
"""Columns of an asset that a person may decide, beside `custom_fields.NAME`."""
TAG = re.compile(r"[^\s,;]{1,64}")
"""What a tag may be, as in normalized-v1."""
_CUSTOM = "custom_fields."
_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Decision:
    """One row of `ledger.decisions`. `new` is False where it was in force already and nothing was written."""

    id: int
    kind: Kind
    asset_id: UUID | None
    other_id: UUID | None
    inventory_id: int | None
    field: str | None
    value: Any
    actor: str
    decided_at: datetime
    note: str | None
    new: bool


def decide(
    connection: Connection,
    *,
    kind: Kind,
    asset_id: UUID | None = None,
    other_id: UUID | None = None,
    inventory_id: int | None = None,
    field: str | None = None,
    value: Any,
    actor: str,
    at: datetime,
    note: str | None = None,
) -> Decision | None:
    """Append a decision about a subject, inside the caller's transaction, which holds `ledger_lock`.

    Writes nothing where that very value is in force, and returns the row that is; nor for a `value` of None
    (withdraw) where nothing is in force, and returns None. Validates no meaning and settles nothing: its callers do.
    """
    subject = {
        "kind": kind,
        "asset_id": asset_id,
        "other_id": other_id,
        "inventory_id": inventory_id,
        "field": field,
    }
    # spelled out, for the sake of the index: IS NOT DISTINCT FROM uses none
    same = " AND ".join(f"{name} IS NULL" if part is None else f"{name} = %({name})s" for name, part in subject.items())
    latest = rows(connection, f"SELECT * FROM ledger.decisions WHERE {same} ORDER BY id DESC LIMIT 1", subject)
    if latest and latest[0]["value"] is not None and value is not None and _same(latest[0]["value"], value):
        return Decision(**latest[0], new=False)
    if value is None and (not latest or latest[0]["value"] is None):
        return None
    (written,) = rows(
        connection,
        """
        INSERT INTO ledger.decisions (kind, asset_id, other_id, inventory_id, field, value, actor, decided_at, note)
        VALUES (%(kind)s, %(asset_id)s, %(other_id)s, %(inventory_id)s, %(field)s, %(value)s, %(actor)s, %(at)s, %(note)s)
        RETURNING *
        """,
        {**subject, "value": None if value is None else Jsonb(value), "actor": actor, "at": at, "note": _note(note)},
    )
    return Decision(**written, new=True)


def override(
    connection: Connection,
    asset_id: UUID,
    field: str,
    value: str,
    *,
    actor: str,
    at: datetime,
    note: str | None = None,
) -> Decision:
    """Decide a field of an asset: `hostname`, `asset_type`, `os_family`, `os_version` or `custom_fields.NAME`.

    It wins over every source from now on; what they say stays visible beside it. Raises PermanentError:
    DECISION_INVALID for a field or value that cannot be decided, ASSET_NOT_FOUND; see also `demand_canonical`.
    """
    checked = _checked(field, value)
    with connection.transaction():
        ledger_lock(connection)
        demand_canonical(connection, asset_id)
        made = decide(
            connection, kind="override", asset_id=asset_id, field=field, value=checked, actor=actor, at=at, note=note
        )
        assert made is not None
        if made.new:
            settle_assets(connection, [asset_id])
    return made


def clear_override(
    connection: Connection, asset_id: UUID, field: str, *, actor: str, at: datetime, note: str | None = None
) -> Decision | None:
    """Give a field back to the sources; return the withdrawal, or None where nobody had decided the field."""
    _demand_field(field)
    with connection.transaction():
        ledger_lock(connection)
        demand_canonical(connection, asset_id)
        made = decide(
            connection, kind="override", asset_id=asset_id, field=field, value=None, actor=actor, at=at, note=note
        )
        if made:
            settle_assets(connection, [asset_id])
    return made


def retire(
    connection: Connection, asset_id: UUID, *, actor: str, at: datetime, note: str | None = None
) -> Decision | None:
    """Take an asset out of the lists, with everything known of it kept; readings that see it do not bring it back."""
    return _retired(connection, asset_id, True, actor=actor, at=at, note=note)


def restore(
    connection: Connection, asset_id: UUID, *, actor: str, at: datetime, note: str | None = None
) -> Decision | None:
    """Bring a retired asset back; return the withdrawal, or None where it was not retired."""
    return _retired(connection, asset_id, None, actor=actor, at=at, note=note)


def _retired(
    connection: Connection, asset_id: UUID, value: bool | None, *, actor: str, at: datetime, note: str | None
) -> Decision | None:
    with connection.transaction():
        ledger_lock(connection)
        demand_canonical(connection, asset_id)
        made = decide(connection, kind="retired", asset_id=asset_id, value=value, actor=actor, at=at, note=note)
        if made and made.new:
            settle_assets(connection, [asset_id])
    return made


def tag(
    connection: Connection,
    asset_id: UUID,
    name: str,
    present: bool,
    *,
    actor: str,
    at: datetime,
    note: str | None = None,
) -> Decision:
    """Decide that an asset has a tag or has it not, inside the caller's transaction, which settles the asset."""
    if not TAG.fullmatch(name):
        raise PermanentError(
            DECISION_INVALID, "a tag is 1 to 64 characters without blank, comma or semicolon", target=name
        )
    made = decide(connection, kind="tag", asset_id=asset_id, field=name, value=present, actor=actor, at=at, note=note)
    assert made is not None
    return made


def not_duplicate(
    connection: Connection,
    one: UUID,
    other: UUID,
    *,
    dismissed: bool = True,
    actor: str,
    at: datetime,
    note: str | None = None,
) -> list[Decision]:
    """Decide that two assets are two machines, or with `dismissed=False` withdraw that; return the decisions.

    It holds for whatever the two are merged into later. Withdrawing withdraws every decision that by merges has come to
    speak of this pair; an empty list: there was none. Settles nothing: candidates are found anew by `find_duplicates`.
    Raises PermanentError(DECISION_INVALID) for one and the same asset, or two that are merged.
    """
    first, second = sorted((one, other))
    with connection.transaction():
        ledger_lock(connection)
        for asset_id in (one, other):
            demand_canonical(connection, asset_id)
        if one == other:
            raise PermanentError(DECISION_INVALID, "an asset and itself are no pair", target=str(one))
        if dismissed:
            made = decide(
                connection,
                kind="not_duplicate",
                asset_id=first,
                other_id=second,
                value=True,
                actor=actor,
                at=at,
                note=note,
            )
            return [made] if made else []
        withdrawn = [
            decide(
                connection,
                kind="not_duplicate",
                asset_id=row["asset_id"],
                other_id=row["other_id"],
                value=None,
                actor=actor,
                at=at,
                note=note,
            )
            for row in dismissals(connection, first, second)
        ]
    return [each for each in withdrawn if each]


def dismissals(connection: Connection, one: UUID, other: UUID) -> list[dict[str, Any]]:
    """Return the decisions in force that say that these two are two machines, about them or what they were made of."""
    return rows(
        connection,
        """
        SELECT d.* FROM ledger.decisions_in_force d
        JOIN ledger.assets a ON a.id = d.asset_id
        JOIN ledger.assets b ON b.id = d.other_id
        WHERE d.kind = 'not_duplicate'
          AND (coalesce(a.merged_into_asset_id, a.id), coalesce(b.merged_into_asset_id, b.id))
              IN ((%(one)s::uuid, %(other)s::uuid), (%(other)s::uuid, %(one)s::uuid))
        ORDER BY d.id
        """,
        {"one": one, "other": other},
    )


def hostname_of(connection: Connection, asset_id: UUID) -> str:
    """Return what a canonical asset is called now, for telling people what was decided of which."""
    row = connection.execute("SELECT hostname FROM ledger.assets WHERE id = %s", [asset_id]).fetchone()
    return row[0] if row and row[0] else "a machine without a name"


def demand_canonical(connection: Connection, asset_id: UUID) -> None:
    """Raise PermanentError unless the asset is one that decisions are about: it exists, and is merged into no other.

    A merged asset is refused, with its root named, and never quietly replaced by it: what is decided of the root stays
    with the root when the two are parted again. People's words for an asset are resolved before (`find_asset`).
    """
    found = rows(
        connection,
        """
        SELECT r.id, r.hostname FROM ledger.assets a LEFT JOIN ledger.assets r ON r.id = a.merged_into_asset_id
        WHERE a.id = %s
        """,
        [asset_id],
    )
    if not found:
        raise PermanentError(ASSET_NOT_FOUND, "nothing in the ledger answers to it", target=str(asset_id))
    root = found[0]
    if root["id"]:
        raise PermanentError(
            DECISION_INVALID,
            f"it is merged into {root['hostname'] or 'an asset without a name'} ({root['id']}): decide about that one, "
            "or part the two first with `asset-ledger duplicates unmerge`",
            target=str(asset_id),
        )


_LISTED = """
SELECT d.id, d.kind, d.asset_id, a.hostname AS asset, d.other_id, coalesce(o.hostname, n.name) AS other,
       d.inventory_id, s.name AS source, v.collected_date, d.field, d.value, m.id AS into_id, m.hostname AS into_asset,
       d.actor, d.decided_at, d.note,
       d.value IS NOT NULL AND d.id = (SELECT max(l.id) FROM ledger.decisions l
           WHERE l.kind = d.kind AND l.asset_id IS NOT DISTINCT FROM d.asset_id
             AND l.other_id IS NOT DISTINCT FROM d.other_id AND l.inventory_id IS NOT DISTINCT FROM d.inventory_id
             AND l.field IS NOT DISTINCT FROM d.field) AS in_force
FROM (SELECT * FROM ledger.{table} d WHERE {wanted} ORDER BY d.id DESC LIMIT %(limit)s OFFSET %(offset)s) d
LEFT JOIN ledger.assets a ON a.id = d.asset_id
LEFT JOIN ledger.assets o ON o.id = d.other_id
LEFT JOIN ledger.database_instances n ON n.id = d.other_id
LEFT JOIN ledger.assets m ON d.kind = 'merge' AND m.id::text = d.value #>> '{{}}'
LEFT JOIN ledger.inventories v ON v.id = d.inventory_id
LEFT JOIN ledger.sources s ON s.id = v.source_id
ORDER BY d.id DESC
"""
_ABOUT = """(d.asset_id = ANY(%(about)s) OR d.other_id = ANY(%(about)s)
             OR (d.kind = 'merge' AND d.value #>> '{{}}' = ANY(%(about)s::uuid[]::text[])))"""


def in_force(
    connection: Connection,
    *,
    kind: Kind | None = None,
    asset_id: UUID | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """Return the decisions in force, the newest first, of a kind and about an asset (or what is merged into it)."""
    return _listed(connection, "decisions_in_force", kind, asset_id, limit, offset)


def log(
    connection: Connection,
    *,
    kind: Kind | None = None,
    asset_id: UUID | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """Return every decision ever made, the newest first; `in_force` says which still is, a None `value` withdraws."""
    return _listed(connection, "decisions", kind, asset_id, limit, offset)


def _listed(
    connection: Connection, table: str, kind: Kind | None, asset_id: UUID | None, limit: int | None, offset: int
) -> list[dict[str, Any]]:
    parameters: dict[str, Any] = {"limit": limit, "offset": offset, "kind": kind}
    wanted = ["true"]
    if kind is not None:
        wanted.append("d.kind = %(kind)s")
    if asset_id is not None:
        wanted.append(_ABOUT.format())
        members = connection.execute(
            "SELECT id FROM ledger.assets WHERE id = %(asset)s OR merged_into_asset_id = %(asset)s", {"asset": asset_id}
        )
        parameters["about"] = [row[0] for row in members] or [asset_id]
    return rows(connection, _LISTED.format(table=table, wanted=" AND ".join(wanted)), parameters)


def _demand_field(field: str) -> None:
    allowed = f"{', '.join(OVERRIDABLE)} or {_CUSTOM}NAME"
    name = field.removeprefix(_CUSTOM)
    if field not in OVERRIDABLE and (name == field or not name.strip()):
        raise PermanentError(
            DECISION_INVALID, f"a person decides {allowed}; everything else is what the sources say", target=field
        )
    if name != field and (len(name) > _LONGEST or not name.isprintable() or name != name.strip()):
        raise PermanentError(
            DECISION_INVALID, f"a custom field's name is up to {_LONGEST} printable characters", target=repr(name)
        )
    if name != field and names_secret(name):
        raise PermanentError(
            DECISION_INVALID, "a field of this name would hold a secret, and the ledger keeps none", target=field
        )


def _checked(field: str, value: str) -> str:
    _demand_field(field)
    text = value.strip()
    problem = None
    if not text:
        problem = "it is empty; to give the field back to the sources, unset it"
    elif len(text) > _LONGEST or not text.isprintable():
        problem = f"it is longer than {_LONGEST} characters or has some that cannot be printed"
    elif holds_secret(text):
        problem = "it looks like a key or a token, and the ledger keeps none"
    elif field == "asset_type" and text not in ASSET_TYPES:
        problem = f"{text!r} is none of {', '.join(ASSET_TYPES)}"
    elif field == "hostname" and (len(text) > 253 or any(map(str.isspace, text))):
        problem = "a hostname has up to 253 characters and no blank space"
    if problem:
        raise PermanentError(DECISION_INVALID, problem, target=field)
    return text


def _note(note: str | None) -> str | None:
    if note is not None and (holds_secret(note) or "\x00" in note):
        raise PermanentError(
            DECISION_INVALID, "it looks like it holds a secret, and the ledger keeps none", target="the note"
        )
    return note or None


def _same(one: Any, other: Any) -> bool:
    # True == 1 in Python, and they are two values here
    return type(one) is type(other) and bool(one == other)
