"""Machines that several resources declare, and machines that none does.

Works on the temporary tables of `store.iac.joins`, in the same transaction, and fills `fi_claim` and `fi_alone`;
`store.iac.comparing` goes on with them.
"""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

from asset_ledger.store.database import Connection, run_script
from asset_ledger.store.iac.joins import COMPARED_FROM

# Machines that several declare. Of those that are `sure`, the first is who had it first: the others double it. What is
# looked up of them is looked up one by one: mostly there are none.
_CLAIMS = f"""
CREATE TEMPORARY TABLE fi_claim ON COMMIT DROP AS
SELECT p.state_id, p.stable_uid, d.addr, d.resource_type, p.source_id, o.external_id, p.asset_id, d.name, p.score,
       p.last_seen_at, p.sure,
       row_number() OVER (
           PARTITION BY p.asset_id, p.sure ORDER BY d.joined_at, t.state, t.tool, d.addr, p.stable_uid) AS turn,
       bool_or(t.why IS NOT NULL) OVER (PARTITION BY p.asset_id, p.sure) AS unsettled,
       jsonb_agg(t.state || ' ' || d.addr) OVER (
           PARTITION BY p.asset_id, p.sure ORDER BY t.state || ' ' || d.addr
           ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW) AS others
FROM (
    SELECT asset_id FROM fi_pair WHERE link_id IS NOT NULL AND NOT missing GROUP BY asset_id HAVING count(*) > 1
) AS several
JOIN (SELECT *, score >= {COMPARED_FROM} AS sure FROM fi_pair WHERE link_id IS NOT NULL AND NOT missing) AS p
     ON p.asset_id = several.asset_id
JOIN fi_state AS t ON t.state_id = p.state_id
JOIN LATERAL (SELECT * FROM ledger.asset_source_links WHERE id = p.link_id OFFSET 0) AS o ON true
JOIN LATERAL (
    SELECT x.*, j.joined_at FROM iac.declared_machines AS x
    JOIN iac.resource_joins AS j USING (tenant_id, state_id, stable_uid)
    WHERE x.tenant_id = %(tenant)s AND x.state_id = p.state_id AND x.stable_uid = p.stable_uid OFFSET 0
) AS d ON true;
"""

_TOLD_OF_KIND = "ARRAY['*', 'custom_fields.template', 'custom_fields.agent_vm']"
"""What is unknown of a machine of which nobody said whether it is a template, or one of the platform's own."""

# Machines that are there and that no resource is joined to. `outside` is what makes one no orphan in itself. Where the
# latest word does not tell (its node is offline), the last one that did holds; where there is none, it is not `known`.
# One that is `claimed` is somebody's in another way: another record of it is declared, several resources may be it, or
# its own just left a state, and may still take it along.
_ALONE = f"""
CREATE TEMPORARY TABLE fi_alone ON COMMIT DROP AS
WITH alone AS MATERIALIZED (
    SELECT o.source_id, o.id AS link_id, o.external_kind, o.external_id, a.asset_id, o.asset_id AS own_asset_id,
           coalesce(a.hostname, n.caption) AS hostname, o.last_seen_at,
           CASE WHEN coalesce(b.document, n.document) #>> '{{custom_fields,template}}' = 'true' THEN 'template'
                WHEN coalesce(b.document, n.document) #>> '{{custom_fields,agent_vm}}' IS NOT NULL THEN 'agent_vm'
           END AS outside,
           b.document IS NOT NULL OR NOT coalesce(n.unknown ?| {_TOLD_OF_KIND}, false) AS known
    FROM ledger.asset_source_links AS o
    JOIN LATERAL (
        SELECT coalesce(r.id, x.id) AS asset_id, x.hostname FROM ledger.assets AS x
        LEFT JOIN ledger.assets AS r ON r.id = x.merged_into_asset_id
        WHERE x.id = o.asset_id AND x.deleted_at IS NULL AND r.deleted_at IS NULL OFFSET 0  -- mostly they are few
    ) AS a ON true
    JOIN LATERAL (SELECT * FROM ledger.normalized_assets WHERE id = o.normalized_id OFFSET 0) AS n ON true
    LEFT JOIN LATERAL (
        SELECT w.document
        FROM ledger.asset_past_words AS p JOIN ledger.normalized_assets AS w ON w.id = p.normalized_id
        WHERE p.link_id = o.id AND n.unknown ?| {_TOLD_OF_KIND} AND NOT coalesce(w.unknown ?| {_TOLD_OF_KIND}, false)
        ORDER BY p.last_date DESC, p.last_at DESC LIMIT 1
    ) AS b ON true
    WHERE o.source_id IN (SELECT source_id FROM fi_source) AND o.external_kind = 'vm' AND o.closed_at IS NULL
      AND o.missing_since IS NULL
      AND o.id NOT IN (SELECT link_id FROM fi_pair WHERE link_id IS NOT NULL)
), taken AS MATERIALIZED (
    SELECT asset_id FROM fi_pair WHERE link_id IS NOT NULL AND asset_id IN (SELECT asset_id FROM alone)
    UNION SELECT asset_id FROM fi_doubtful
    -- people may have merged it since
    UNION SELECT coalesce(m.merged_into_asset_id, m.id)
    FROM iac.resource_joins AS j JOIN ledger.asset_source_links AS o ON o.id = j.link_id
    JOIN ledger.assets AS m ON m.id = o.asset_id
    WHERE j.tenant_id = %(tenant)s AND j.left_at IS NOT NULL
    -- a second source may read the same machines under assets of their own
    UNION SELECT a.asset_id
    FROM alone AS a
    CROSS JOIN LATERAL (
        SELECT i.asset_id FROM ledger.asset_identifiers AS t
        JOIN ledger.asset_identifiers AS i ON i.value = t.value AND i.kind = t.kind AND i.source_id <> t.source_id
             AND i.last_seen_at IS NULL
        WHERE t.asset_id = a.own_asset_id AND t.source_id = a.source_id AND t.kind = 'smbios_uuid'
          AND t.last_seen_at IS NULL
        UNION ALL SELECT c.other_asset_id FROM ledger.duplicate_candidates AS c WHERE c.asset_id = a.asset_id
        UNION ALL SELECT c.asset_id FROM ledger.duplicate_candidates AS c WHERE c.other_asset_id = a.asset_id
    ) AS other
    JOIN ledger.assets AS x ON x.id = other.asset_id
    JOIN fi_pair AS p ON p.asset_id = coalesce(x.merged_into_asset_id, x.id) AND p.source_id <> a.source_id
         AND p.link_id IS NOT NULL AND NOT p.missing
)
SELECT a.*, t.asset_id IS NOT NULL AS claimed FROM alone AS a LEFT JOIN taken AS t ON t.asset_id = a.asset_id;
"""


def claim(connection: Connection, parameters: dict[str, object]) -> None:
    """Say whose each machine is, after `joins.save`. Parameters: tenant."""
    with connection.pipeline():
        for script in (_CLAIMS, _ALONE):
            run_script(connection, script, parameters)
