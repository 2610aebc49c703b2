"""What holds now: declared machines against what their source last said of them, and machines that nobody declares.

Works on the temporary tables of `store.iac.joins`, in the same transaction, and fills `fi_pair`, `fi_alone` and
`fi_candidate`, of which `store.iac.findings` keeps its journal. What is not known on both sides is never drift.
"""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

from asset_ledger.store.database import Connection, run_script
from asset_ledger.store.iac.joins import COMPARED_FROM

# A machine that is paused runs to one tool and stands to another, and one whose state is unknown is neither.
_POWER = (
    """CASE n.power_state WHEN 'running' THEN 'on' WHEN 'stopped' THEN 'off' WHEN 'suspended' THEN 'suspended' END"""
)

# A machine that is off has no addresses, and one without an agent tells none.
_ADDRESSES = """CASE WHEN n.power_state IS DISTINCT FROM 'stopped' AND n.power_state IS DISTINCT FROM 'suspended'
    AND n.ip_addresses <> '{}' THEN n.ip_addresses END"""

_SIDES = f"""
-- what may differ, and what a finding speaks of already, with both its sides
CREATE TEMPORARY TABLE fi_side ON COMMIT DROP AS
SELECT p.*,
       p.cpu_cores <> p.seen_cpu_cores AS cpu_cores_differ,
       p.memory_bytes <> p.seen_memory_bytes AS memory_bytes_differ,
       p.disk_total_bytes <> p.seen_disk_total_bytes AS disk_total_bytes_differ,
       p.power_state <> p.seen_power_state AS power_state_differ,
       CASE WHEN p.host_id IS NULL THEN NULL
            WHEN lower(p.host) IN (lower(p.host_id), p.hostname) THEN false
            -- a name and its full form are the same name
            WHEN split_part(lower(p.host), '.', 1) = split_part(p.hostname, '.', 1)
                 AND (strpos(p.host, '.') = 0 OR strpos(p.hostname, '.') = 0) THEN false
            -- an id against an id, or a name against a name
            WHEN p.hostname IS NOT NULL OR (p.host ~ '^host-[0-9]+$') = (p.host_id ~ '^host-[0-9]+$')
            THEN p.host IS NOT NULL OR NULL END AS host_differ,
       CASE WHEN p.seen_ip_addresses IS NOT NULL AND p.ip_addresses <> '{{}}'
            THEN NOT p.ip_addresses <@ p.seen_ip_addresses END AS ip_addresses_differ
FROM (
    SELECT k.*, d.addr, d.resource_type, d.name, d.cpu_cores, d.memory_bytes, d.disk_total_bytes, d.power_state, d.host,
           d.ip_addresses, o.external_id, n.cpu_cores AS seen_cpu_cores, n.memory_bytes AS seen_memory_bytes,
           n.disk_total_bytes AS seen_disk_total_bytes, {_POWER} AS seen_power_state, r.machine_id AS host_id,
           r.hostname, {_ADDRESSES} AS seen_ip_addresses
    FROM fi_pair AS k
    -- OFFSET 0: they are few, and looked up one by one
    JOIN LATERAL (
        SELECT * FROM iac.declared_machines AS x
        WHERE x.tenant_id = %(tenant)s AND x.state_id = k.state_id AND x.stable_uid = k.stable_uid OFFSET 0
    ) AS d ON true
    LEFT JOIN LATERAL (SELECT * FROM ledger.asset_source_links WHERE id = k.link_id OFFSET 0) AS o ON true
    LEFT JOIN LATERAL (
        SELECT * FROM ledger.normalized_assets WHERE id = o.normalized_id AND k.score >= {COMPARED_FROM} OFFSET 0
    ) AS n ON true
    LEFT JOIN LATERAL (
        SELECT split_part(e.to_external_id, '@', 1) AS machine_id, lower(h.hostname) AS hostname
        FROM ledger.asset_relations AS e
        LEFT JOIN LATERAL (
            SELECT * FROM ledger.asset_source_links WHERE source_id = o.source_id AND external_kind = e.to_kind
                AND external_id = e.to_external_id AND closed_at IS NULL OFFSET 0
        ) AS l ON true
        LEFT JOIN LATERAL (SELECT * FROM ledger.assets WHERE id = l.asset_id OFFSET 0) AS h ON true
        WHERE e.from_link_id = o.id AND e.kind = 'runs_on' AND e.ended_at IS NULL AND k.score >= {COMPARED_FROM}
        ORDER BY e.began_at DESC LIMIT 1
    ) AS r ON true
    WHERE k.differs OR (k.state_id, k.stable_uid) IN (
        SELECT f.state_id, f.stable_uid FROM iac.drift_findings AS f
        WHERE f.tenant_id = %(tenant)s AND f.closed_at IS NULL)
) AS p;
"""

# an IPv6 address that is not there while another of its network is: hosts change those by themselves
_GONE_ADDRESSES = """
    SELECT jsonb_agg(host(x.ip) ORDER BY x.ip) FROM unnest(p.ip_addresses) AS x(ip)
    WHERE NOT EXISTS (SELECT FROM unnest(p.seen_ip_addresses) AS y(ip)
                      WHERE y.ip = x.ip OR (family(x.ip) = 6 AND family(y.ip) = 6
                                            AND network(set_masklen(x.ip, 64)) = network(set_masklen(y.ip, 64))))"""

VALUES = f"""(VALUES
    ('cpu_cores', p.cpu_cores_differ, to_jsonb(p.cpu_cores), to_jsonb(p.seen_cpu_cores)),
    ('memory_bytes', p.memory_bytes_differ, to_jsonb(p.memory_bytes), to_jsonb(p.seen_memory_bytes)),
    ('disk_total_bytes', p.disk_total_bytes_differ, to_jsonb(p.disk_total_bytes), to_jsonb(p.seen_disk_total_bytes)),
    ('power_state', p.power_state_differ, to_jsonb(p.power_state), to_jsonb(p.seen_power_state)),
    ('host', p.host_differ, to_jsonb(p.host),
     to_jsonb(CASE WHEN p.host ~ '^host-[0-9]+$' THEN p.host_id ELSE coalesce(p.hostname, p.host_id) END)),
    ('ip_addresses', CASE WHEN p.ip_addresses_differ THEN ({_GONE_ADDRESSES}) IS NOT NULL
                          ELSE p.ip_addresses_differ END,
     CASE WHEN p.ip_addresses_differ THEN ({_GONE_ADDRESSES}) END,
     CASE WHEN p.ip_addresses_differ
          THEN (SELECT jsonb_agg(host(y.ip) ORDER BY y.ip) FROM unnest(p.seen_ip_addresses) AS y(ip)) END)
) AS v(attribute, differs, declared, observed)"""
"""The attributes of a pair `p`: whether the two sides differ (NULL where one is not known), and what each says."""

_CANDIDATES = f"""
CREATE TEMPORARY TABLE fi_candidate ON COMMIT DROP AS
SELECT row_number() OVER ()::integer AS n, c.*, false AS ignored
FROM (
    SELECT 'drift' AS kind, p.state_id, p.stable_uid, v.attribute, p.addr, p.resource_type, p.source_id, p.link_id,
           NULL::text AS external_kind, p.external_id, p.asset_id, p.name, v.declared, v.observed, p.rule, p.score,
           p.last_seen_at AS observed_at
    FROM fi_side AS p CROSS JOIN LATERAL {VALUES}
    WHERE p.score >= {COMPARED_FROM} AND NOT p.missing AND p.unsure IS NULL AND v.differs
    UNION ALL
    -- Gone is what a complete reading did not see. Of what says no id, nobody can tell whether it is there.
    SELECT 'missing', p.state_id, p.stable_uid, '', d.addr, d.resource_type, p.source_id, p.link_id, NULL, NULL,
           p.asset_id, d.name, NULL,
           CASE WHEN p.another AND p.link_id IS NULL THEN to_jsonb('another_machine has ' || d.machine_id) END,
           p.rule, p.score, s.reading_at
    FROM fi_pair AS p
    JOIN fi_source AS s ON s.source_id = p.source_id
    JOIN iac.declared_machines AS d
         ON d.tenant_id = %(tenant)s AND d.state_id = p.state_id AND d.stable_uid = p.stable_uid
    WHERE p.unsure IS NULL AND (p.link_id IS NULL OR p.missing)
      AND CASE WHEN p.link_id IS NULL THEN p.says_id ELSE p.score >= {COMPARED_FROM} END
      AND NOT EXISTS (SELECT FROM fi_doubtful AS x WHERE (x.state_id, x.stable_uid) = (p.state_id, p.stable_uid))
    UNION ALL
    -- two resources of one machine: said of all but the one that had it first
    SELECT 'double', k.state_id, k.stable_uid, '', k.addr, k.resource_type, k.source_id, k.link_id, NULL,
           k.external_id, k.asset_id, k.name, NULL, (
               SELECT jsonb_agg(o.place ORDER BY o.place) FROM fi_claim AS o
               WHERE o.asset_id = k.asset_id AND (o.state_id, o.stable_uid) <> (k.state_id, k.stable_uid)),
           k.rule, k.score, k.last_seen_at
    FROM fi_claim AS k WHERE k.turn > 1 AND NOT k.unsettled
    UNION ALL
    SELECT 'orphan', NULL, NULL, '', NULL, NULL, a.source_id, a.link_id, a.external_kind, a.external_id, a.asset_id,
           a.hostname, NULL, NULL, NULL, NULL, a.last_seen_at
    FROM fi_alone AS a JOIN fi_source AS s ON s.source_id = a.source_id
    WHERE s.orphans AND s.sure AND s.unsettled IS NULL AND a.outside IS NULL AND a.known AND NOT a.claimed
) AS c;
"""

_CLAIMS = f"""
CREATE TEMPORARY TABLE fi_several ON COMMIT DROP AS
SELECT asset_id FROM fi_pair WHERE score >= {COMPARED_FROM} AND NOT missing GROUP BY asset_id HAVING count(*) > 1;

ANALYZE fi_several;

CREATE TEMPORARY TABLE fi_claim ON COMMIT DROP AS
SELECT p.state_id, p.stable_uid, d.addr, d.resource_type, p.source_id, p.link_id, o.external_id, p.asset_id, d.name,
       p.rule, p.score, p.last_seen_at, t.state || ' ' || d.addr AS place,
       row_number() OVER (PARTITION BY p.asset_id ORDER BY j.joined_at, t.state, t.tool, d.addr, p.stable_uid) AS turn,
       bool_or(t.why IS NOT NULL) OVER (PARTITION BY p.asset_id) AS unsettled
FROM fi_several AS several
JOIN fi_pair AS p ON p.asset_id = several.asset_id AND p.score >= {COMPARED_FROM} AND NOT p.missing
JOIN fi_state AS t ON t.state_id = p.state_id
JOIN ledger.asset_source_links AS o ON o.id = p.link_id
JOIN iac.declared_machines AS d
     ON d.tenant_id = %(tenant)s AND d.state_id = p.state_id AND d.stable_uid = p.stable_uid
JOIN iac.resource_joins AS j ON j.tenant_id = %(tenant)s AND j.state_id = p.state_id AND j.stable_uid = p.stable_uid;
"""

_TOLD_OF_KIND = "ARRAY['*', 'custom_fields.template', 'custom_fields.agent_vm']"
"""What is unknown of a machine of which nobody said whether it is a template, or one of the platform's own."""

# Machines that are there and that nobody declares. A resource that just left its state may still take its machine along.
# `outside` is what makes one no orphan in itself. Where the latest word does not tell (its node is offline), the last one
# that did holds; where there is none, it is not `known`.
_ALONE = f"""
CREATE TEMPORARY TABLE fi_alone ON COMMIT DROP AS
SELECT o.source_id, o.id AS link_id, o.external_kind, o.external_id, a.asset_id,
       coalesce(a.hostname, n.caption) AS hostname, o.last_seen_at,
       CASE WHEN coalesce(b.document, n.document) #>> '{{custom_fields,template}}' = 'true' THEN 'template'
            WHEN coalesce(b.document, n.document) #>> '{{custom_fields,agent_vm}}' IS NOT NULL THEN 'agent_vm'
       END AS outside,
       b.document IS NOT NULL OR NOT coalesce(n.unknown ?| {_TOLD_OF_KIND}, false) AS known,
       false AS claimed, o.asset_id AS own_asset_id
FROM ledger.asset_source_links AS o
JOIN LATERAL (
    SELECT coalesce(r.id, x.id) AS asset_id, x.hostname FROM ledger.assets AS x
    LEFT JOIN ledger.assets AS r ON r.id = x.merged_into_asset_id
    WHERE x.id = o.asset_id AND x.deleted_at IS NULL AND r.deleted_at IS NULL OFFSET 0  -- mostly they are few
) AS a ON true
JOIN LATERAL (SELECT * FROM ledger.normalized_assets WHERE id = o.normalized_id OFFSET 0) AS n ON true
LEFT JOIN LATERAL (
    SELECT w.document FROM ledger.asset_past_words AS p JOIN ledger.normalized_assets AS w ON w.id = p.normalized_id
    WHERE p.link_id = o.id AND n.unknown ?| {_TOLD_OF_KIND} AND NOT coalesce(w.unknown ?| {_TOLD_OF_KIND}, false)
    ORDER BY p.last_date DESC, p.last_at DESC LIMIT 1
) AS b ON true
WHERE o.source_id IN (SELECT source_id FROM fi_source) AND o.external_kind = 'vm' AND o.closed_at IS NULL
  AND o.missing_since IS NULL
  AND o.id NOT IN (SELECT link_id FROM fi_pair WHERE link_id IS NOT NULL);

CREATE TEMPORARY TABLE fi_taken ON COMMIT DROP AS
SELECT asset_id FROM fi_pair WHERE link_id IS NOT NULL AND asset_id IN (
    SELECT asset_id FROM fi_alone UNION ALL
    SELECT coalesce(m.merged_into_asset_id, m.id) FROM iac.cloud_orphans AS f JOIN ledger.assets AS m ON m.id = f.asset_id
    WHERE f.tenant_id = %(tenant)s AND f.closed_at IS NULL)
UNION SELECT asset_id FROM fi_doubtful
-- people may have merged it since
UNION SELECT coalesce(m.merged_into_asset_id, m.id)
FROM iac.resource_joins AS j JOIN ledger.asset_source_links AS o ON o.id = j.link_id
JOIN ledger.assets AS m ON m.id = o.asset_id
WHERE j.tenant_id = %(tenant)s AND j.left_at IS NOT NULL
-- a second source may read the same machines under assets of their own
UNION SELECT a.asset_id
FROM fi_alone AS a
CROSS JOIN LATERAL (
    SELECT i.asset_id FROM ledger.asset_identifiers AS t
    JOIN ledger.asset_identifiers AS i ON i.value = t.value AND i.kind = t.kind AND i.source_id <> t.source_id
         AND i.last_seen_at IS NULL
    WHERE t.asset_id = a.own_asset_id AND t.source_id = a.source_id AND t.kind = 'smbios_uuid' AND t.last_seen_at IS NULL
    UNION ALL SELECT c.other_asset_id FROM ledger.duplicate_candidates AS c WHERE c.asset_id = a.asset_id
    UNION ALL SELECT c.asset_id FROM ledger.duplicate_candidates AS c WHERE c.other_asset_id = a.asset_id
) AS other
JOIN ledger.assets AS x ON x.id = other.asset_id
JOIN fi_pair AS p ON p.asset_id = coalesce(x.merged_into_asset_id, x.id) AND p.source_id <> a.source_id
     AND p.link_id IS NOT NULL AND NOT p.missing;

UPDATE fi_alone SET claimed = true WHERE asset_id IN (SELECT asset_id FROM fi_taken);
"""


def compare(connection: Connection, parameters: dict[str, object]) -> None:
    """Say what holds now, after `joins.save`. Parameters: tenant."""
    with connection.pipeline():  # many small steps: none is waited for
        for script in (_SIDES, _CLAIMS, _ALONE, _CANDIDATES):
            run_script(connection, script, parameters)
