"""Which machine of the ledger each declared machine is: by the source's own id, by UUID, or by an address at last.

Works on the temporary tables of `store.iac.standing`, in the same transaction; `store.iac.claims` goes on with it.
What is kept is `iac.resource_joins`. Nothing joins by name.
"""

# ruff: noqa: S608 - statements are put together from constants of the store; values are always parameters
from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asset_ledger.domain.iac.rules import FAMILIES
from asset_ledger.store.database import Connection, run_script
from asset_ledger.store.iac.standing import Place

_SCORES = {"id": 100, "uuid": 90, "address": 60}
"""How sure each rule is, of 100."""

COMPARED_FROM = 80
"""From which score on a join is sure enough to compare attributes. Below it the machine is only claimed."""

RULE = "CASE {score} " + " ".join(f"WHEN {score} THEN '{rule}'" for rule, score in _SCORES.items()) + " END"
"""SQL for the rule that gives a score: pairs keep the score alone."""

_MERGED = "(SELECT id, merged_into_asset_id AS root FROM ledger.assets WHERE merged_into_asset_id IS NOT NULL)"
"""The few assets that a person merged into another."""

_PLACES = """
CREATE TEMPORARY TABLE fi_place ON COMMIT DROP AS
SELECT p.state_id, p.provider, p.alias, p.machines, s.source_id, s.reading_date, s.reading_at, s.reading_id,
       -- files and probes know no platform's ids
       q.platform = ANY(%(platforms)s) AS knows_ids,
       CASE WHEN s.reading_at IS NULL THEN 'not_read_yet'
            WHEN NOT s.sure THEN 'reading_not_complete'
            WHEN t.why IS NOT NULL THEN 'state_not_settled' END::iac.doubt AS doubt
FROM unnest(%(states)s::uuid[], %(providers)s::text[], %(aliases)s::text[], %(machines)s::bigint[], %(sources)s::text[])
     AS p(state_id, provider, alias, machines, source)
JOIN fi_source AS s ON s.name = p.source
JOIN ledger.sources AS q ON q.id = s.source_id
JOIN fi_state AS t ON t.state_id = p.state_id;

-- without them the planner takes the few places for the whole of what they make
ANALYZE fi_source;
ANALYZE fi_place;

-- whose machine is one of several, and those
CREATE TEMPORARY TABLE fi_doubtful (state_id uuid, stable_uid uuid, link_id bigint, asset_id uuid) ON COMMIT DROP;
"""

# Every declared machine, with its own as its source last told of it. It is read once and kept narrow: `doubt` says why
# nothing can be said now, `another` that who has its id has not its UUID, and `differs` only that it is worth a closer
# look (`store.iac.comparing`). None of its columns may be long, so that no TOAST table is made for it.
_PAIR = f"""
SELECT d.state_id, d.stable_uid, p.source_id, d.machine_id IS NOT NULL AND p.knows_ids AS says_id, l.id AS link_id,
       coalesce(m.root, l.asset_id) AS asset_id, {{score}} AS score, l.missing_since IS NOT NULL AS missing,
       l.last_seen_at, {{another}} AS another,
       CASE WHEN p.doubt IS NOT NULL THEN p.doubt
            WHEN d.declared_at >= p.reading_at THEN 'declared_after_reading'
            WHEN l.missing_since IS NULL AND (l.last_seen_date, l.last_seen_at, l.inventory_id)
                 < (p.reading_date, p.reading_at, p.reading_id) THEN 'not_seen' END AS doubt,
       l.missing_since IS NULL AND {{score}} >= {COMPARED_FROM} AND (
           d.cpu_cores <> n.cpu_cores OR d.memory_bytes <> n.memory_bytes OR d.disk_total_bytes <> n.disk_total_bytes
           OR d.power_state <> CASE n.power_state WHEN 'running' THEN 'on' WHEN 'stopped' THEN 'off' ELSE 'suspended' END
           OR d.host <> split_part(r.to_external_id, '@', 1) OR NOT d.ip_addresses <@ n.ip_addresses) AS differs
FROM iac.declared_machines AS d
JOIN fi_place AS p ON p.state_id = d.state_id AND p.provider = d.provider AND p.alias = d.alias
{{machine}}
LEFT JOIN {_MERGED} AS m ON m.id = l.asset_id
LEFT JOIN ledger.normalized_assets AS n ON n.id = l.normalized_id
LEFT JOIN ledger.asset_relations AS r ON r.from_link_id = l.id AND r.kind = 'runs_on' AND r.ended_at IS NULL
WHERE d.tenant_id = %(tenant)s
"""

# a UUID with its first three fields turned round: firmware and hypervisors do not agree on their byte order
_TURNED = """(substr({u}, 7, 2) || substr({u}, 5, 2) || substr({u}, 3, 2) || substr({u}, 1, 2) || '-' ||
    substr({u}, 12, 2) || substr({u}, 10, 2) || '-' || substr({u}, 17, 2) || substr({u}, 15, 2) || substr({u}, 19))"""

_BY_ID = "CREATE TEMPORARY TABLE fi_pair ON COMMIT DROP AS" + _PAIR.format(
    score=f"CASE WHEN l.id IS NOT NULL THEN {_SCORES['id']}::smallint END",
    # a vCenter's ids say which vCenter: no state knows that
    machine="""LEFT JOIN ledger.asset_source_links AS l ON p.knows_ids AND l.source_id = p.source_id
     AND l.external_kind = d.machine_kind AND split_part(l.external_id, '@', 1) = d.machine_id AND l.closed_at IS NULL""",
    # what the latest word does not tell holds as it was told before
    another=f"""coalesce(CASE WHEN d.machine_uuid IS NOT NULL AND l.missing_since IS NULL THEN coalesce(
           n.machine_uuid,
           (SELECT min(i.value) FROM ledger.asset_identifiers AS i
            WHERE i.asset_id = l.asset_id AND i.source_id = l.source_id AND i.kind = 'smbios_uuid'
              AND i.last_seen_at IS NULL)
       ) NOT IN (d.machine_uuid::text, {_TURNED.format(u="d.machine_uuid::text")}) END, false)""",
)
_NOT_IT = """
UPDATE fi_pair SET link_id = NULL, asset_id = NULL, score = NULL, last_seen_at = NULL, differs = NULL
WHERE another
"""
# one look at all pairs: are there more than machines, does another have an id, and is one nowhere
_LOOK = """
SELECT count(*) > (SELECT coalesce(sum(machines), 0) FROM fi_place), coalesce(bool_or(another), false),
       coalesce(bool_or(another OR link_id IS NULL OR missing), false)
FROM fi_pair
"""
_ONCE = """
DELETE FROM fi_pair AS p USING (
    SELECT ctid, row_number() OVER (PARTITION BY state_id, stable_uid
                                    ORDER BY missing, last_seen_at DESC, link_id DESC,
                                             differs DESC NULLS LAST, ctid) AS nth FROM fi_pair
) AS o
WHERE o.ctid = p.ctid AND o.nth > 1
"""

_HITS = """
CREATE TEMPORARY TABLE fi_hit (
    state_id uuid, stable_uid uuid, source_id integer, link_id bigint, asset_id uuid, missing boolean, claims bigint
) ON COMMIT DROP
"""

_UUID_HITS = f"""
INSERT INTO fi_hit
WITH claimed AS (
    SELECT d.state_id, d.stable_uid, p.source_id, machine_uuid::text AS told,
           {_TURNED.format(u="machine_uuid::text")} AS turned
    FROM iac.declared_machines AS d
    JOIN fi_place AS p ON p.state_id = d.state_id AND p.provider = d.provider AND p.alias = d.alias
    WHERE d.tenant_id = %(tenant)s AND d.machine_uuid IS NOT NULL
), counted AS (
    SELECT *, count(*) OVER (PARTITION BY source_id, least(told COLLATE "C", turned COLLATE "C")) AS claims FROM claimed
)
SELECT DISTINCT c.state_id, c.stable_uid, c.source_id, o.id, coalesce(m.root, o.asset_id), o.missing_since IS NOT NULL,
       c.claims
FROM fi_pair AS k
JOIN counted AS c ON c.state_id = k.state_id AND c.stable_uid = k.stable_uid
JOIN ledger.asset_identifiers AS i ON i.value IN (c.told, c.turned) AND i.kind = 'smbios_uuid'
     AND i.last_seen_at IS NULL AND i.source_id = c.source_id
JOIN ledger.asset_source_links AS o ON o.asset_id = i.asset_id AND o.source_id = i.source_id AND o.closed_at IS NULL
     AND o.external_kind IN ('vm', 'machine')
LEFT JOIN {_MERGED} AS m ON m.id = o.asset_id
WHERE k.link_id IS NULL
   -- one that was registered anew has another id: it is there while what had the old one is missing
   OR k.missing AND o.missing_since IS NULL AND o.id NOT IN (SELECT link_id FROM fi_pair WHERE link_id IS NOT NULL)
"""

# By address only where the state does not say which machine it is: one that is gone does not live on in who has its
# address now. These may be all machines: without numbers of them the planner looks at each for each.
_WANTED = """
ANALYZE fi_pair;

ANALYZE fi_doubtful;

CREATE TEMPORARY TABLE fi_wanted ON COMMIT DROP AS
WITH claimed AS (
    SELECT d.state_id, d.stable_uid, p.source_id, ip, count(*) OVER (PARTITION BY p.source_id, ip) AS claims
    FROM iac.declared_machines AS d
    JOIN fi_place AS p ON p.state_id = d.state_id AND p.provider = d.provider AND p.alias = d.alias
    CROSS JOIN LATERAL (SELECT DISTINCT unnest(d.ip_addresses) AS ip) AS each
    WHERE d.tenant_id = %(tenant)s
)
SELECT c.* FROM claimed AS c JOIN fi_pair AS k ON k.state_id = c.state_id AND k.stable_uid = c.stable_uid
WHERE c.claims = 1 AND k.link_id IS NULL AND NOT k.says_id
  AND NOT EXISTS (SELECT FROM fi_doubtful AS x WHERE x.state_id = k.state_id AND x.stable_uid = k.stable_uid);

ANALYZE fi_wanted;
"""

# One that is off tells no address: it is who it was, while nobody else has one of those that are declared.
_ADDRESS_HITS = f"""
INSERT INTO fi_hit
WITH had AS (
    SELECT o.source_id, ip, min(coalesce(m.root, o.asset_id)::text)::uuid AS asset_id, min(o.id) AS link_id,
           count(DISTINCT coalesce(m.root, o.asset_id)) AS machines
    FROM ledger.asset_source_links AS o
    JOIN ledger.normalized_assets AS n ON n.id = o.normalized_id
    LEFT JOIN {_MERGED} AS m ON m.id = o.asset_id
    CROSS JOIN LATERAL (SELECT unnest(n.ip_addresses) AS ip UNION SELECT n.mgmt_ip) AS each
    WHERE o.closed_at IS NULL AND o.missing_since IS NULL AND o.external_kind IN ('vm', 'machine')
      AND o.source_id IN (SELECT source_id FROM fi_wanted) AND ip IN (SELECT ip FROM fi_wanted)
    GROUP BY o.source_id, ip
)
SELECT DISTINCT w.state_id, w.stable_uid, w.source_id, h.link_id, h.asset_id, false, 1
FROM fi_wanted AS w JOIN had AS h ON h.source_id = w.source_id AND h.ip = w.ip AND h.machines = 1
UNION
SELECT w.state_id, w.stable_uid, w.source_id, o.id, coalesce(m.root, o.asset_id), false, 1
FROM (
    SELECT w.state_id, w.stable_uid, w.source_id FROM fi_wanted AS w
    LEFT JOIN had AS h ON h.source_id = w.source_id AND h.ip = w.ip
    GROUP BY w.state_id, w.stable_uid, w.source_id HAVING count(h.ip) = 0
) AS w
JOIN iac.resource_joins AS j ON j.tenant_id = %(tenant)s AND (j.state_id, j.stable_uid, j.source_id)
     = (w.state_id, w.stable_uid, w.source_id) AND j.rule = 'address' AND j.left_at IS NULL
JOIN ledger.asset_source_links AS o ON o.id = j.link_id AND o.closed_at IS NULL AND o.missing_since IS NULL
JOIN ledger.normalized_assets AS n ON n.id = o.normalized_id AND coalesce(n.ip_addresses, '{{}}') = '{{}}'
     AND n.mgmt_ip IS NULL
LEFT JOIN {_MERGED} AS m ON m.id = o.asset_id
"""

_DECIDE = f"""
CREATE TEMPORARY TABLE fi_found ON COMMIT DROP AS
WITH told AS (
    SELECT *, bool_or(NOT missing) OVER (PARTITION BY state_id, stable_uid) AS any_there FROM fi_hit
), counted AS (
    SELECT *, count(*) OVER (PARTITION BY state_id, stable_uid) AS fitting,
           count(*) OVER (PARTITION BY link_id) AS claimants
    FROM told WHERE missing <> any_there
)
SELECT *, fitting > 1 OR claims > 1 OR claimants > 1 AS doubtful FROM counted;

INSERT INTO fi_doubtful SELECT state_id, stable_uid, link_id, asset_id FROM fi_found WHERE doubtful;

DELETE FROM fi_found WHERE doubtful;

DELETE FROM fi_pair AS k USING fi_found AS f WHERE f.state_id = k.state_id AND f.stable_uid = k.stable_uid;

INSERT INTO fi_pair
{
    _PAIR.format(
        score="%(score)s::smallint",
        another="false",
        machine='''JOIN fi_found AS f ON f.state_id = d.state_id AND f.stable_uid = d.stable_uid
JOIN ledger.asset_source_links AS l ON l.id = f.link_id''',
    )
};

DROP TABLE fi_found;

DELETE FROM fi_hit;
"""

# Nobody can tell what became of a machine in a part of the cloud that its source leaves out.
_NOT_READ = """
WITH region AS MATERIALIZED (
    SELECT DISTINCT s.source_id, o.payload ->> 'region' AS name
    FROM fi_source AS s JOIN ledger.asset_observations AS o ON o.inventory_id = s.reading_id
    WHERE o.payload ->> 'region' IS NOT NULL
)
UPDATE fi_pair AS k SET doubt = 'region_not_read'
FROM iac.declared_machines AS d
WHERE (k.link_id IS NULL OR k.missing) AND k.doubt IS NULL AND d.tenant_id = %(tenant)s AND d.state_id = k.state_id
  AND d.stable_uid = k.stable_uid AND d.region IS NOT NULL
  AND (k.source_id, d.region) NOT IN (SELECT source_id, name FROM region)
"""

# One look at who is joined and who was: mostly nothing is otherwise. A resource left its state no later than when the
# newest version was written; until a later reading its machine is no orphan.
_SAVE = f"""
WITH change AS MATERIALIZED (
    SELECT o.state_id, o.stable_uid, o.source_id AS was_of, o.left_at, n.*
    FROM (SELECT state_id, stable_uid, source_id, asset_id, link_id, score FROM fi_pair WHERE link_id IS NOT NULL)
         AS n(joined_state_id, joined_uid, source_id, asset_id, link_id, score)
    FULL JOIN (SELECT * FROM iac.resource_joins WHERE tenant_id = %(tenant)s) AS o
         ON o.state_id = n.joined_state_id AND o.stable_uid = n.joined_uid
    WHERE (o.source_id, o.asset_id, o.link_id, o.score, o.left_at)
          IS DISTINCT FROM (n.source_id, n.asset_id, n.link_id, n.score, NULL::timestamptz)
), apart AS MATERIALIZED (
    SELECT c.state_id, c.stable_uid, l.left_at, c.left_at IS NULL AS anew, l.left_at IS NOT NULL AND EXISTS (
               SELECT FROM fi_source AS s
               WHERE s.source_id = c.was_of AND (s.reading_at IS NULL OR s.reading_at <= l.left_at)) AS stays
    FROM change AS c
    CROSS JOIN LATERAL (
        SELECT coalesce(c.left_at, (
            SELECT t.written_at FROM fi_state AS t
            WHERE t.state_id = c.state_id AND NOT EXISTS (
                SELECT FROM iac.declared_machines AS d
                WHERE d.tenant_id = %(tenant)s AND d.state_id = c.state_id AND d.stable_uid = c.stable_uid)
        )) AS left_at
    ) AS l
    WHERE c.joined_uid IS NULL
), left_now AS (
    UPDATE iac.resource_joins AS j SET left_at = a.left_at FROM apart AS a
    WHERE a.stays AND a.anew AND j.tenant_id = %(tenant)s AND j.state_id = a.state_id AND j.stable_uid = a.stable_uid
), gone AS (
    DELETE FROM iac.resource_joins AS j USING apart AS a
    WHERE NOT a.stays AND j.tenant_id = %(tenant)s AND j.state_id = a.state_id AND j.stable_uid = a.stable_uid
)
INSERT INTO iac.resource_joins AS j
    (tenant_id, state_id, stable_uid, source_id, asset_id, link_id, rule, score, joined_at)
SELECT %(tenant)s, c.joined_state_id, c.joined_uid, c.source_id, c.asset_id, c.link_id, {RULE.format(score="c.score")},
       c.score, %(now)s
FROM change AS c WHERE c.joined_uid IS NOT NULL
ON CONFLICT (tenant_id, state_id, stable_uid) DO UPDATE SET
    source_id = excluded.source_id, asset_id = excluded.asset_id, rule = excluded.rule, score = excluded.score,
    joined_at = CASE WHEN j.link_id = excluded.link_id THEN j.joined_at ELSE excluded.joined_at END,
    link_id = excluded.link_id, left_at = NULL
"""
_SAVE_SOURCES = """
DELETE FROM iac.tenant_sources AS t
WHERE t.tenant_id = %(tenant)s AND NOT EXISTS (SELECT FROM fi_source AS s WHERE s.source_id = t.source_id);

INSERT INTO iac.tenant_sources (tenant_id, source_id) SELECT %(tenant)s, source_id FROM fi_source
ON CONFLICT (tenant_id, source_id) DO NOTHING;
"""


def join(connection: Connection, tenant_id: UUID, by_source: Sequence[tuple[Place, str]]) -> None:
    """Find the machine of each declared one. `by_source` says which source knows what a place makes."""
    run_script(
        connection,
        _PLACES,
        {
            "states": [place.state_id for place, _ in by_source],
            "providers": [place.provider for place, _ in by_source],
            "aliases": [place.alias for place, _ in by_source],
            "machines": [place.machines for place, _ in by_source],
            "sources": [name for _, name in by_source],
            "platforms": list(FAMILIES),
        },
    )
    here: dict[str, object] = {"tenant": tenant_id}
    connection.execute(_BY_ID, here)
    crowded, another, lacking = _look(connection)
    if crowded:  # of a machine's id in the vCenter of before and in today's, the one that is there
        connection.execute(_ONCE)
    if another:
        connection.execute(_NOT_IT)
    if not lacking:
        return
    connection.execute(_HITS)
    _try(connection, _UUID_HITS, here | {"score": _SCORES["uuid"]})
    run_script(connection, _WANTED, here)
    _try(connection, _ADDRESS_HITS, here | {"score": _SCORES["address"]})
    connection.execute(_NOT_READ, here)


def _try(connection: Connection, hits: str, parameters: dict[str, object]) -> None:
    """Join by what a rule hits: where one machine fits, and it alone."""
    if connection.execute(hits, parameters).rowcount:
        run_script(connection, _DECIDE, parameters)
        if _look(connection)[0]:
            connection.execute(_ONCE)


def _look(connection: Connection) -> tuple[bool, bool, bool]:
    found: tuple[bool, bool, bool] | None = connection.execute(_LOOK).fetchone()
    assert found is not None
    return found


def save(connection: Connection, parameters: dict[str, object]) -> None:
    """Keep the joins and whose the sources are. Parameters: tenant, now."""
    with connection.pipeline():
        run_script(connection, _SAVE_SOURCES, parameters)
        connection.execute(_SAVE, parameters)
