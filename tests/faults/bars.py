"""The four bars, looked at after every step of every scenario: 0 false removals, 0 false-complete readings, 0 lost
history rows, 0 lost decisions. They compare what the ledger says with what the world was and with what it said before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asset_ledger.store.database import Connection, rows

Name = tuple[str, str]
"""External kind and id."""
Generation = Mapping[str, str]
"""What tells a machine from another one that has the same name later."""
DayKey = tuple[Any, ...]


@dataclass
class Bars:
    """What is remembered of one source between two looks."""

    connection: Connection
    source: str
    present: dict[datetime, dict[Name, Generation]] = field(default_factory=dict)
    """Which machines there were at the instant of each reading, or at least would seem to be to whoever believes it."""
    hidden: set[int] = field(default_factory=set)
    """The readings that did not see the whole."""
    _days: dict[DayKey, tuple[Any, ...]] = field(default_factory=dict)
    _evidence: dict[str, dict[Any, tuple[Any, ...]]] = field(default_factory=dict)

    def hold(self) -> None:
        """Fail where one of the bars is missed."""
        self._no_false_removal()
        self._no_false_completeness()
        self._no_lost_history()
        self._nothing_appended_is_lost()
        self._overrides_stand()
        self._addresses_are_those_of_the_days()

    def _no_false_removal(self) -> None:
        missing = rows(
            self.connection,
            """
            SELECT l.external_kind, l.external_id, l.generation, l.missing_since
            FROM ledger.asset_source_links l JOIN ledger.sources s ON s.id = l.source_id
            WHERE s.name = %s AND l.missing_since IS NOT NULL AND l.closed_at IS NULL
              -- what a person approved against the truth is no mistake of the ledger
              AND NOT EXISTS (
                SELECT FROM ledger.inventories i JOIN ledger.decisions_in_force d ON d.inventory_id = i.id
                WHERE i.source_id = l.source_id AND i.collected_at = l.missing_since
                  AND d.kind = 'absences' AND d.value = '"approved"')
            """,
            [self.source],
        )
        for link in missing:
            there = self.present.get(link["missing_since"])
            assert there is not None, f"{link} is missing since an instant at which nothing was read"
            seen = there.get((link["external_kind"], link["external_id"]))
            assert seen is None or _is_other(seen, link["generation"]), f"false removal: {link}"
        unasked = self.connection.execute(
            """
            SELECT l.external_kind, l.external_id FROM ledger.asset_source_links l
            JOIN ledger.inventories i ON i.source_id = l.source_id AND i.collected_at = l.missing_since
            LEFT JOIN ledger.decisions_in_force d ON d.kind = 'absences' AND d.inventory_id = i.id
            WHERE l.closed_at IS NULL
            GROUP BY l.id HAVING bool_and(i.absences IS DISTINCT FROM 'applied' AND d.value IS DISTINCT FROM '"approved"')
            """
        ).fetchall()
        assert unasked == [], "missing, although a person was to be asked"
        alive = self.connection.execute(
            """
            SELECT a.hostname FROM ledger.assets a
            WHERE a.missing_since IS NOT NULL AND EXISTS (
                SELECT 1 FROM ledger.asset_source_links l JOIN ledger.sources s ON s.id = l.source_id
                WHERE l.asset_id = a.id AND l.closed_at IS NULL AND l.missing_since IS NULL
                  AND s.source_type = 'platform')
            """
        ).fetchall()
        assert alive == [], "missing, although a source sees them"

    def _no_false_completeness(self) -> None:
        false = self.connection.execute(
            "SELECT id, status, proof FROM ledger.inventories WHERE id = ANY(%s) AND (complete OR status = 'derived')",
            [list(self.hidden)],
        ).fetchall()
        assert false == [], "readings that did not see the whole pass for complete"

    def _no_lost_history(self) -> None:
        now = {
            row[:4]: row[4:]
            for row in self.connection.execute(
                "SELECT collected_date, asset_id, source_id, link_id, normalized_id, unknown FROM ledger.asset_daily_specs"
            )
        }
        kept: dict[DayKey, list[tuple[Any, ...]]] = {}
        for row in self.connection.execute(
            "SELECT collected_date, asset_id, source_id, link_id, normalized_id, unknown "
            "FROM ledger.asset_daily_corrections WHERE inventory_id IS NOT NULL"
        ):
            kept.setdefault(row[:4], []).append(row[4:])
        lost = {
            key: values
            for key, values in self._days.items()
            if now.get(key) != values and values not in kept.get(key, ())
        }
        assert not lost, f"rows of days that are gone without a correction: {list(lost.items())[:5]}"
        self._days = now

    def _nothing_appended_is_lost(self) -> None:
        queries = {
            "decisions": "SELECT * FROM ledger.decisions",
            "observations": "SELECT id, collected_date, inventory_id, target, sha256, body FROM ledger.asset_observations",
            "resolutions": "SELECT id, external_kind, external_id, outcome, asset_id FROM ledger.identity_resolutions",
            "documents": "SELECT id, digest, document FROM ledger.normalized_assets",
        }
        for table, query in queries.items():
            found = {row[0]: row for row in self.connection.execute(query)}
            lost = [row for key, row in self._evidence.get(table, {}).items() if found.get(key) != row]
            assert lost == [], f"evidence that is gone or was changed: {table}"
            self._evidence[table] = found
        corrections = {
            row: row
            for row in self.connection.execute(
                "SELECT collected_date, asset_id, source_id, link_id, normalized_id, inventory_id, superseded_at "
                "FROM ledger.asset_daily_corrections"
            )
        }
        gone = self._evidence.get("corrections", {}).keys() - corrections.keys()
        assert not gone, "corrections that are gone"
        self._evidence["corrections"] = corrections

    def _overrides_stand(self) -> None:
        lost = self.connection.execute(
            """
            SELECT d.value #>> '{}', a.hostname FROM ledger.decisions_in_force d JOIN ledger.assets a ON a.id = d.asset_id
            WHERE d.kind = 'override' AND d.field = 'hostname' AND a.hostname IS DISTINCT FROM d.value #>> '{}'
            """
        ).fetchall()
        assert lost == [], "decided hostnames that do not stand"

    def _addresses_are_those_of_the_days(self) -> None:
        differing = self.connection.execute(
            """
            WITH said AS (
                SELECT DISTINCT d.collected_date, d.asset_id, d.source_id, ip
                FROM ledger.asset_daily_specs d JOIN ledger.normalized_assets n ON n.id = d.normalized_id,
                     unnest(n.ip_addresses) AS ip
            ), kept AS (SELECT collected_date, asset_id, source_id, ip FROM ledger.asset_daily_ips)
            (TABLE said EXCEPT TABLE kept) UNION ALL (TABLE kept EXCEPT TABLE said)
            """
        ).fetchall()
        assert differing == [], "asset_daily_ips is not what the days' documents say"


def _is_other(one: Generation, other: Generation) -> bool:
    common = one.keys() & other.keys()
    return bool(common) and all(one[name] != other[name] for name in common)
