"""What holds now: declared machines against what their source last said of them, and that against what is open.

Works on the temporary tables of `store.iac.joins` and `claims`, in the same transaction, and fills `fi_verdict`: a row
for each finding that there is to be, and for each that is open. `store.iac.findings` keeps its journal by it. What is
not known on both sides is never drift.
"""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

from asset_ledger.store.database import Connection, run_script
from asset_ledger.store.iac.joins import COMPARED_FROM, RULE

# A machine that is paused runs to one tool and stands to another, and one whose state is unknown is neither.
_POWER = (
    """CASE n.power_state WHEN 'running' THEN 'on' WHEN 'stopped' THEN 'off' WHEN 'suspended' THEN 'suspended' END"""
)

# A machine that is off has no addresses, and one without an agent tells none.
_ADDRESSES = """CASE WHEN n.power_state IS DISTINCT FROM 'stopped' AND n.power_state IS DISTINCT FROM 'suspended'
    AND n.ip_addresses <> '{}' THEN n.ip_addresses END"""

# an IPv6 address that is not there while another of its network is: hosts change those by themselves
_GONE_ADDRESSES = """
           SELECT jsonb_agg(host(x.ip) ORDER BY x.ip) FROM unnest(p.ip_addresses) AS x(ip)
           WHERE NOT EXISTS (SELECT FROM unnest(p.seen_ip_addresses) AS y(ip)
                             WHERE y.ip = x.ip OR (family(x.ip) = 6 AND family(y.ip) = 6 AND
                                                   network(set_masklen(x.ip, 64)) = network(set_masklen(y.ip, 64))))"""
_THERE_ADDRESSES = "SELECT jsonb_agg(host(y.ip) ORDER BY y.ip) FROM unnest(p.seen_ip_addresses) AS y(ip)"

# What may differ, and what a finding speaks of already, with both its sides.
_SIDE = f"""
SELECT p.*,
       CASE WHEN p.host_id IS NULL THEN NULL
            WHEN lower(p.host) IN (lower(p.host_id), p.hostname) THEN false
            -- a name and its full form are the same name
            WHEN split_part(lower(p.host), '.', 1) = split_part(p.hostname, '.', 1)
                 AND (strpos(p.host, '.') = 0 OR strpos(p.hostname, '.') = 0) THEN false
            -- an id against an id, or a name against a name
            WHEN p.hostname IS NOT NULL OR (p.host ~ '^host-[0-9]+$') = (p.host_id ~ '^host-[0-9]+$')
            THEN p.host IS NOT NULL OR NULL END AS host_differs,
       CASE WHEN NOT p.ip_addresses <@ p.seen_ip_addresses THEN ({_GONE_ADDRESSES}) END AS gone_addresses,
       CASE WHEN NOT p.ip_addresses <@ p.seen_ip_addresses THEN ({_THERE_ADDRESSES}) END AS there_addresses
FROM (
    SELECT k.*, d.addr, d.resource_type, d.name, d.cpu_cores, d.memory_bytes, d.disk_total_bytes, d.power_state, d.host,
           d.ip_addresses, o.external_id, n.cpu_cores AS seen_cpu_cores, n.memory_bytes AS seen_memory_bytes,
           n.disk_total_bytes AS seen_disk_total_bytes, {_POWER} AS seen_power_state, r.machine_id AS host_id,
           r.hostname, {_ADDRESSES} AS seen_ip_addresses,
           CASE k.doubt WHEN 'state_not_settled' THEN t.why
                        WHEN 'declared_after_reading' THEN 'it was declared after the last reading of ' || s.name
                        WHEN 'not_seen' THEN 'the last reading of ' || s.name || ' did not see it'
                        WHEN 'region_not_read' THEN d.region || ' is not read by ' || s.name
                        ELSE CASE WHEN k.doubt IS NOT NULL THEN s.why END END AS unsure
    FROM fi_pair AS k
    JOIN fi_source AS s ON s.source_id = k.source_id
    JOIN fi_state AS t ON t.state_id = k.state_id
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
) AS p
"""

_VALUES = """(VALUES
    ('cpu_cores', p.cpu_cores <> p.seen_cpu_cores, to_jsonb(p.cpu_cores), to_jsonb(p.seen_cpu_cores)),
    ('memory_bytes', p.memory_bytes <> p.seen_memory_bytes, to_jsonb(p.memory_bytes), to_jsonb(p.seen_memory_bytes)),
    ('disk_total_bytes', p.disk_total_bytes <> p.seen_disk_total_bytes, to_jsonb(p.disk_total_bytes),
     to_jsonb(p.seen_disk_total_bytes)),
    ('power_state', p.power_state <> p.seen_power_state, to_jsonb(p.power_state), to_jsonb(p.seen_power_state)),
    ('host', p.host_differs, to_jsonb(p.host),
     to_jsonb(CASE WHEN p.host ~ '^host-[0-9]+$' THEN p.host_id ELSE coalesce(p.hostname, p.host_id) END)),
    ('ip_addresses', CASE WHEN p.seen_ip_addresses IS NOT NULL AND p.ip_addresses <> '{}'
                          THEN p.gone_addresses IS NOT NULL END, p.gone_addresses, p.there_addresses)
) AS v(attribute, differs, declared, observed)"""
"""The attributes of a row `p` of the sides: whether they differ (NULL where one is not known), and what each says."""

_CANDIDATES = f"""
SELECT 'drift' AS kind, p.state_id, p.stable_uid, v.attribute, p.addr, p.resource_type, p.source_id, p.external_id,
       p.asset_id, p.name, v.declared, v.observed, p.score, p.last_seen_at AS observed_at
FROM side AS p CROSS JOIN LATERAL {_VALUES}
WHERE p.score >= {COMPARED_FROM} AND NOT p.missing AND p.doubt IS NULL AND v.differs
UNION ALL
-- Gone is what a complete reading did not see. Of what says no id, nobody can tell whether it is there.
SELECT 'missing', p.state_id, p.stable_uid, '', d.addr, d.resource_type, p.source_id, NULL, p.asset_id, d.name, NULL,
       CASE WHEN p.another AND p.link_id IS NULL THEN to_jsonb('another_machine has ' || d.machine_id) END, p.score,
       s.reading_at
FROM fi_pair AS p
JOIN fi_source AS s ON s.source_id = p.source_id
JOIN iac.declared_machines AS d
     ON d.tenant_id = %(tenant)s AND d.state_id = p.state_id AND d.stable_uid = p.stable_uid
WHERE p.doubt IS NULL AND (p.link_id IS NULL OR p.missing)
  AND CASE WHEN p.link_id IS NULL THEN p.says_id ELSE p.score >= {COMPARED_FROM} END
  AND NOT EXISTS (SELECT FROM fi_doubtful AS x WHERE (x.state_id, x.stable_uid) = (p.state_id, p.stable_uid))
UNION ALL
-- two resources of one machine: said of all but the one that had it first
SELECT 'double', k.state_id, k.stable_uid, '', k.addr, k.resource_type, k.source_id, k.external_id, k.asset_id, k.name,
       NULL, k.others, k.score, k.last_seen_at
FROM fi_claim AS k WHERE k.sure AND k.turn > 1 AND NOT k.unsettled
"""

_ORPHANS = """
SELECT a.*, a.last_seen_at AS observed_at
FROM fi_alone AS a JOIN fi_source AS s ON s.source_id = a.source_id
WHERE s.orphans AND s.sure AND s.unsettled IS NULL AND a.outside IS NULL AND a.known AND NOT a.claimed
"""

# Looking again at the same reading confirms nothing.
_SEEN_AT = "CASE WHEN c.observed_at <= f.observed_at THEN f.seen_at ELSE %(now)s END"

# What is found beside what is open already, which has an `id`. `holds`: it was found; of what is open `closes` says why it
# is none any more (`settled`: whatever people say), and `unsure` why nobody can say; the order of the cases is the order
# in which one knows. What says no more than it did is not `anew`, and not written again.
_VERDICTS = f"""
CREATE TEMPORARY TABLE fi_verdict ON COMMIT DROP AS
WITH side AS MATERIALIZED ({_SIDE}), candidate AS ({_CANDIDATES})
SELECT row_number() OVER ()::integer AS n, v.*, u.unsure, v.closes IS NOT NULL OR CASE
           WHEN v.holds THEN v.otherwise
           ELSE v.unsure_since IS NULL OR v.unsure_because IS DISTINCT FROM u.unsure END AS anew, false AS ignored
FROM (
    SELECT f.id, c.kind IS NOT NULL AS holds, b.because IS NOT NULL AS settled, coalesce(f.kind, c.kind) AS kind,
           coalesce(f.source_id, c.source_id) AS source_id, coalesce(s.name, f.source) AS source, t.state, t.state_id,
           coalesce(f.stable_uid, c.stable_uid) AS stable_uid, coalesce(c.addr, f.addr) AS addr,
           coalesce(c.resource_type, p.resource_type) AS resource_type, coalesce(f.attribute, c.attribute) AS attribute,
           NULL::bigint AS link_id, NULL::text AS external_kind,
           coalesce(c.external_id, CASE WHEN f.kind IN ('drift', 'double') THEN p.external_id END) AS external_id,
           c.asset_id, CASE WHEN c.kind IS NULL THEN f.name ELSE c.name END AS name, c.declared, c.observed, r.rule,
           c.score, c.observed_at, z.seen_at, f.unsure_since, f.unsure_because,
           (f.seen_at, f.unsure_since, f.addr, f.asset_id, f.name, f.declared, f.observed, f.rule, f.score,
            f.observed_at) IS DISTINCT FROM (
               z.seen_at, NULL::timestamptz, c.addr, c.asset_id, c.name, c.declared, c.observed, r.rule, c.score,
               c.observed_at) AS otherwise,
           CASE WHEN b.because IS NOT NULL THEN b.because
                WHEN c.kind IS NOT NULL OR f.id IS NULL THEN NULL
                WHEN f.kind = 'missing' AND p.link_id IS NOT NULL AND NOT p.missing THEN 'seen_again'
                WHEN f.kind = 'double' AND NOT coalesce(k.unsettled, false) AND t.why IS NULL THEN 'no_longer_double'
                WHEN p.doubt IS NOT NULL OR f.kind = 'missing' THEN NULL
                WHEN p.missing OR p.link_id IS NULL AND p.says_id THEN 'missing'
                WHEN p.score < {COMPARED_FROM} OR p.score IS NULL THEN 'not_joined'
                WHEN NOT v.differs THEN 'agrees' END AS closes,
           CASE WHEN f.kind = 'double' THEN coalesce(t.why, 'another state that has it is not settled')
                WHEN p.unsure IS NOT NULL THEN p.unsure
                WHEN f.kind = 'missing' THEN 'several machines may be it'
                ELSE f.attribute || ' is not known on both sides' END AS why
    FROM candidate AS c
    FULL JOIN (SELECT * FROM iac.drift_findings WHERE tenant_id = %(tenant)s AND closed_at IS NULL) AS f
         ON c.state_id = f.state_id AND c.stable_uid = f.stable_uid AND c.kind = f.kind
            AND c.attribute = f.attribute AND c.source_id = f.source_id
    JOIN fi_state AS t ON t.state_id = coalesce(f.state_id, c.state_id)
    LEFT JOIN fi_source AS s ON s.source_id = c.source_id
    LEFT JOIN side AS p ON p.state_id = f.state_id AND p.stable_uid = f.stable_uid
    LEFT JOIN fi_claim AS k ON k.sure AND k.state_id = f.state_id AND k.stable_uid = f.stable_uid
    LEFT JOIN LATERAL (
        SELECT v.differs FROM {_VALUES} WHERE c.kind IS NULL AND v.attribute = f.attribute OFFSET 0
    ) AS v ON true
    LEFT JOIN LATERAL (
        SELECT true AS declared FROM iac.declared_machines AS d
        WHERE p.state_id IS NULL AND d.tenant_id = %(tenant)s AND d.state_id = f.state_id
          AND d.stable_uid = f.stable_uid OFFSET 0
    ) AS raw ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN f.id IS NULL OR p.source_id = f.source_id THEN NULL
                    WHEN p.state_id IS NULL AND raw.declared IS NULL THEN 'left'
                    ELSE 'no_longer_mapped' END AS because
    ) AS b
    CROSS JOIN LATERAL (SELECT {RULE.format(score="c.score")} AS rule) AS r
    CROSS JOIN LATERAL (SELECT {_SEEN_AT} AS seen_at) AS z
    UNION ALL
    SELECT f.id, c.link_id IS NOT NULL, b.because IS NOT NULL, 'orphan', coalesce(f.source_id, c.source_id),
           coalesce(s.name, f.source), NULL, NULL, NULL, NULL, NULL, '', coalesce(c.link_id, f.link_id),
           c.external_kind, coalesce(c.external_id, f.external_id), c.asset_id,
           CASE WHEN c.link_id IS NULL THEN f.name ELSE c.hostname END, NULL, NULL, NULL, NULL, c.observed_at,
           z.seen_at, f.unsure_since, f.unsure_because,
           (f.seen_at, f.unsure_since, f.asset_id, f.name, f.observed_at)
           IS DISTINCT FROM (z.seen_at, NULL::timestamptz, c.asset_id, c.hostname, c.observed_at),
           CASE WHEN b.because IS NOT NULL THEN b.because WHEN c.link_id IS NULL THEN a.outside END,
           coalesce(s.why, s.unsettled, CASE WHEN NOT a.known THEN s.name || ' did not tell whether it is a template' END)
    FROM ({_ORPHANS}) AS c
    FULL JOIN (SELECT * FROM iac.cloud_orphans WHERE tenant_id = %(tenant)s AND closed_at IS NULL) AS f
         ON c.link_id = f.link_id
    LEFT JOIN fi_source AS s ON s.source_id = coalesce(f.source_id, c.source_id)
    LEFT JOIN fi_alone AS a ON a.link_id = f.link_id
    LEFT JOIN LATERAL (
        SELECT * FROM ledger.asset_source_links WHERE id = f.link_id AND closed_at IS NULL OFFSET 0
    ) AS o ON true
    LEFT JOIN LATERAL (
        SELECT x.deleted_at IS NOT NULL OR r.deleted_at IS NOT NULL AS retired
        FROM ledger.assets AS x LEFT JOIN ledger.assets AS r ON r.id = x.merged_into_asset_id
        WHERE x.id = o.asset_id OFFSET 0
    ) AS x ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN f.id IS NULL THEN NULL
                    WHEN s.source_id IS NULL OR NOT s.orphans THEN 'no_longer_mapped'
                    WHEN x.retired THEN 'retired'
                    WHEN o.id IS NULL OR o.missing_since IS NOT NULL THEN 'gone'
                    -- it is there, and not alone any more
                    WHEN a.claimed OR a.link_id IS NULL THEN 'joined' END AS because
    ) AS b
    CROSS JOIN LATERAL (SELECT {_SEEN_AT} AS seen_at) AS z
) AS v
CROSS JOIN LATERAL (
    SELECT CASE WHEN v.closes IS NULL AND NOT v.holds THEN coalesce(v.why, 'nobody told of it') END AS unsure
) AS u;
"""


def compare(connection: Connection, parameters: dict[str, object]) -> None:
    """Say what holds now, after `claims.claim`. Parameters: tenant, now."""
    run_script(connection, _VERDICTS, parameters)
