"""Findings and coverage as listings show them. Every function is called inside `as_tenant`; nothing is written.

The service's role may read all that is asked here: names of sources stand with the findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import class_row

from asset_ledger.domain.iac.rules import AnyKind
from asset_ledger.domain.iac.snapshot import Tool
from asset_ledger.store.database import Connection

Status = Literal["open", "closed", "all"]


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding. Of an orphan, and of what an agent said, the state's fields are None; of the others those of the
    source's own id. Of what an agent said, `declared` is what the platform says and `observed` what the agent does."""

    id: UUID
    kind: AnyKind
    source: str
    tool: Tool | None
    project: str | None
    stack: str | None
    addr: str | None
    stable_uid: UUID | None
    attribute: str
    declared: Any
    observed: Any
    asset_id: UUID | None
    name: str | None
    external_kind: str | None
    external_id: str | None
    rule: str | None
    score: int | None
    observed_at: datetime | None
    opened_at: datetime
    seen_at: datetime
    unsure_since: datetime | None
    unsure_because: str | None
    closed_at: datetime | None
    closed_because: str | None
    client_id: UUID | None


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """How much of a source was declared on a day, in machines. `complete` False: `why` the numbers are of before."""

    source: str
    day: date
    evaluated_at: datetime
    reading_at: datetime | None
    complete: bool
    why: str | None
    observed: int
    managed: int
    declared: int
    ignored: int
    drifting: int
    missing: int
    doubles: int
    orphans: int
    unknown: dict[str, int]
    managed_percent: float | None
    """Of those observed, to a tenth, rounded down: 100 is all. None where none was observed."""


_COLUMNS = """f.id, f.kind, f.source, f.tool, f.project, f.stack, f.addr, f.stable_uid, f.attribute, f.declared, f.observed,
    f.asset_id, f.name, f.external_kind, f.external_id, f.rule, f.score, f.observed_at, f.opened_at, f.seen_at,
    f.unsure_since, f.unsure_because, f.closed_at, f.closed_because, f.client_id"""


def listed(
    connection: Connection,
    tenant_id: UUID,
    *,
    status: Status = "open",
    kinds: Sequence[AnyKind] = (),
    source: str | None = None,
    state: tuple[str, str, str] | None = None,
    after: UUID | None = None,
    limit: int,
) -> list[FindingRow]:
    """Return findings, those opened last first; with `after` those that come after that one.

    Without kinds all of them. `state` is (tool, project, stack).
    """
    tool, project, stack = state or (None, None, None)
    with connection.cursor(row_factory=class_row(FindingRow)) as cursor:
        return cursor.execute(
            f"""
            SELECT {_COLUMNS} FROM iac.findings AS f
            WHERE f.tenant_id = %(tenant)s
              AND CASE %(status)s WHEN 'open' THEN f.closed_at IS NULL WHEN 'closed' THEN f.closed_at IS NOT NULL
                  ELSE true END
              AND (%(kinds)s::text[] = '{{}}' OR f.kind = ANY(%(kinds)s))
              AND (%(source)s::text IS NULL OR f.source = %(source)s)
              AND (%(project)s::text IS NULL OR (f.tool, f.project, f.stack) = (%(tool)s, %(project)s, %(stack)s))
              AND (%(after)s::uuid IS NULL OR (f.opened_at, f.id) < (
                  SELECT a.opened_at, a.id FROM iac.findings AS a WHERE a.tenant_id = %(tenant)s AND a.id = %(after)s))
            ORDER BY f.opened_at DESC, f.id DESC LIMIT %(limit)s
            """,  # noqa: S608 - the columns stand above; values are parameters
            {
                "tenant": tenant_id,
                "status": status,
                "kinds": list(kinds),
                "source": source,
                "tool": tool,
                "project": project,
                "stack": stack,
                "after": after,
                "limit": limit,
            },
        ).fetchall()


def finding(connection: Connection, tenant_id: UUID, finding_id: UUID) -> FindingRow | None:
    """Return a finding; None where the tenant has none of this id."""
    with connection.cursor(row_factory=class_row(FindingRow)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM iac.findings AS f WHERE f.tenant_id = %s AND f.id = %s",  # noqa: S608 - as above
            [tenant_id, finding_id],
        ).fetchone()


def findings_beginning(connection: Connection, tenant_id: UUID, text: str) -> list[FindingRow]:
    """Return the findings whose ids begin so, at most two: enough to say that it is not one."""
    with connection.cursor(row_factory=class_row(FindingRow)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM iac.findings AS f"  # noqa: S608 - as above
            " WHERE f.tenant_id = %s AND starts_with(f.id::text, %s) ORDER BY f.id LIMIT 2",
            [tenant_id, text.lower()],
        ).fetchall()


def coverage(connection: Connection, tenant_id: UUID, *, source: str | None = None, days: int = 1) -> list[CoverageRow]:
    """Return the last days of each source, the newest first."""
    with connection.cursor(row_factory=class_row(CoverageRow)) as cursor:
        return cursor.execute(
            """
            SELECT source, day, evaluated_at, reading_at, complete, why, observed, managed, declared, ignored, drifting,
                   missing, doubles, orphans, unknown,
                   (floor(1000.0 * managed / NULLIF(observed, 0)) / 10)::float AS managed_percent
            FROM (
                SELECT *, row_number() OVER (PARTITION BY source_id ORDER BY day DESC) AS nth FROM iac.coverage
                WHERE tenant_id = %(tenant)s AND (%(source)s::text IS NULL OR source = %(source)s)
            ) AS one
            WHERE nth <= %(days)s ORDER BY source, day DESC
            """,
            {"tenant": tenant_id, "source": source, "days": days},
        ).fetchall()


def sources_of(connection: Connection, tenant_id: UUID) -> list[str]:
    """Return the names of the sources that were ever compared with the tenant's states."""
    found = connection.execute(
        "SELECT source FROM iac.coverage WHERE tenant_id = %(tenant)s"
        " UNION SELECT source FROM iac.findings WHERE tenant_id = %(tenant)s ORDER BY source",
        {"tenant": tenant_id},
    )
    return [name for (name,) in found]
