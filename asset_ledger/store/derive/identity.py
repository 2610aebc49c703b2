"""Which ledger asset each record of a reading is: by its source link, else by management address, else a new one.

Works on the temporary table `seen` (see `store.derive.staging`); the rules are told in docs/architecture.md, "How a record
finds its ledger asset". What is found first is kept for ever in `identity_resolutions`: a resolution's number is the
number of the link that begins with it. A reading keeps which resolutions there were when its records were given to their
machines (`inventories.resolved_to`), so that whatever is derived again goes where it went, whatever came since.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are always parameters
from __future__ import annotations

from typing import Any

from asset_ledger.store.database import Connection, run_script

# One record a machine: where a reading has a machine twice, its later record counts.
_SEEN = """
INSERT INTO ledger.normalized_assets AS n (source_id, external_kind, external_id, digest, record_digest, parser_version,
    inventory_id, observation_id, locator, document)
SELECT DISTINCT ON (digest) %(source)s, external_kind, external_id, digest, record_digest, %(parser_version)s,
       %(inventory)s, observation_id, locator, document
FROM stage_record
ORDER BY digest, ordinal
ON CONFLICT (source_id, digest) DO UPDATE
SET record_digest = excluded.record_digest, parser_version = excluded.parser_version
WHERE (n.record_digest, n.parser_version) IS DISTINCT FROM (excluded.record_digest, excluded.parser_version);

INSERT INTO seen (ordinal, external_kind, external_id, record_digest, normalized_id, link_id, asset_id, status, before_id,
    link_doc, link_since, link_until, link_missing)
SELECT s.ordinal, l.external_kind, l.external_id, l.record_digest, l.normalized_id, l.id, l.asset_id, 'unchanged',
       l.normalized_id, l.normalized_id, l.since_date, l.last_seen_date, l.missing_since IS NOT NULL
FROM stage_unchanged s
JOIN ledger.asset_source_links l
  ON l.source_id = %(source)s AND l.closed_at IS NULL AND l.record_digest = s.record_digest;

INSERT INTO seen (ordinal, external_kind, external_id, record_digest, normalized_id)
SELECT DISTINCT ON (s.ordinal) s.ordinal, n.external_kind, n.external_id, n.record_digest, n.id
FROM stage_unchanged s
JOIN ledger.normalized_assets n ON n.source_id = %(source)s AND n.record_digest = s.record_digest
WHERE NOT EXISTS (SELECT FROM seen x WHERE x.ordinal = s.ordinal)
ORDER BY s.ordinal, n.id DESC;

INSERT INTO seen (ordinal, external_kind, external_id, locator, record_digest, normalized_id)
SELECT r.ordinal, r.external_kind, r.external_id, r.locator, r.record_digest, n.id
FROM stage_record r
JOIN ledger.normalized_assets n ON n.source_id = %(source)s AND n.digest = r.digest;

DELETE FROM seen s USING (
    SELECT external_kind, external_id, max(ordinal) AS ordinal FROM seen GROUP BY 1, 2 HAVING count(*) > 1
) twice
WHERE s.external_kind = twice.external_kind AND s.external_id = twice.external_id AND s.ordinal < twice.ordinal;

ANALYZE seen (ordinal, external_kind, external_id, normalized_id, link_id);
"""

# Documents are kept by what they say; one that says something else than its raw was changed by hand.
_MEND = """
WITH mended AS (
    UPDATE ledger.normalized_assets n SET document = r.document
    FROM stage_record r
    WHERE n.source_id = %(source)s AND n.digest = r.digest AND n.document <> r.document
    RETURNING n.id
)
INSERT INTO mended_document (id) SELECT id FROM mended;
"""

# Derived again, a record is told apart from its rivals by how it was the first time, not by the digest of an open link.
_FORGET_LINKS = """
UPDATE seen s SET link_id = NULL, asset_id = NULL, status = NULL, before_id = NULL, link_doc = NULL, link_since = NULL,
    link_until = NULL, link_missing = NULL
FROM ledger.identity_resolutions r
WHERE s.link_id IS NOT NULL AND r.rule = 'generation' AND r.source_id = %(source)s
  AND r.external_kind = s.external_kind AND r.external_id = s.external_id;
"""

# To which machine this reading gave a record: a function of evidence. Of the resolutions there were then, the one that
# was kept for it, else the one whose facts agree, else the newest. Of `s`, a record; `n`, its document; `i`, the reading.
_GIVEN = """
SELECT r.id, r.asset_id
FROM ledger.identity_resolutions r
LEFT JOIN ledger.identity_attributions k
  ON k.inventory_id = i.id AND k.external_kind = r.external_kind AND k.external_id = r.external_id
WHERE r.source_id = %(source)s AND r.external_kind = s.external_kind AND r.external_id = s.external_id
  AND r.outcome <> 'conflict' AND (r.id <= i.resolved_to OR r.inventory_id = i.id OR r.id = k.link_id)
ORDER BY r.id = k.link_id DESC, CASE WHEN %(rivals)s THEN ledger.is_same_machine(r.generation, n.generation) END DESC,
         CASE WHEN %(rivals)s THEN ledger.is_other_machine(r.generation, n.generation) END, r.id DESC
LIMIT 1
"""
_AGAIN = f"""
UPDATE seen s SET link_id = m.id, asset_id = m.asset_id
FROM (
    SELECT s.ordinal, g.id, g.asset_id
    FROM seen s
    JOIN ledger.normalized_assets n ON n.id = s.normalized_id
    JOIN ledger.inventories i ON i.id = %(inventory)s
    CROSS JOIN LATERAL ({_GIVEN}) g
    WHERE s.link_id IS NULL AND NOT EXISTS (
        SELECT FROM ledger.identity_resolutions c
        WHERE c.inventory_id = %(inventory)s AND c.outcome = 'conflict' AND c.settled_at IS NULL
          AND c.external_kind = s.external_kind AND c.external_id = s.external_id)
) m
WHERE m.ordinal = s.ordinal;
"""

# A link is found through its resolution: it may be that nothing of it is derived yet. Of several machines that had the
# external id one after the other, the one whose generation agrees; then the one that another version of the parser gave
# it to; where nothing tells, the one of that time.
_KNOWN = f"""
UPDATE seen s SET link_id = m.id, asset_id = m.asset_id
FROM (
    SELECT DISTINCT ON (s.ordinal) s.ordinal, r.id, r.asset_id
    FROM seen s
    JOIN ledger.normalized_assets n ON n.id = s.normalized_id
    JOIN ledger.identity_resolutions r
      ON r.source_id = %(source)s AND r.external_kind = s.external_kind AND r.external_id = s.external_id
     AND r.outcome <> 'conflict'
    LEFT JOIN ledger.asset_source_links l ON l.id = r.id
    CROSS JOIN LATERAL (
        SELECT n.generation <> '{{}}' AND (
            ledger.is_same_machine(r.generation || coalesce(l.generation, '{{}}'), n.generation)
            -- facts that change one after the other: a day in between agrees with what was said about that time
            OR ledger.is_same_machine(r.generation, n.generation)
            OR EXISTS (
                SELECT FROM ledger.asset_words w JOIN ledger.normalized_assets d ON d.id = w.normalized_id
                WHERE w.link_id = r.id AND ledger.is_same_machine(d.generation, n.generation))) AS same
    ) agrees
    WHERE s.link_id IS NULL AND s.status IS NULL
      AND (NOT ledger.is_other_machine(r.generation || coalesce(l.generation, '{{}}'), n.generation) OR agrees.same)
    ORDER BY s.ordinal, CASE WHEN %(rivals)s THEN agrees.same END DESC,
             CASE WHEN %(before)s THEN r.id = (
                 SELECT g.id FROM ledger.inventories i CROSS JOIN LATERAL ({_GIVEN}) g WHERE i.id = %(inventory)s)
             END DESC NULLS LAST,
             l.id IS NOT NULL AND l.closed_at IS NULL AND l.last_seen_at <= %(at)s DESC,
             r.resolved_at <= %(at)s DESC, CASE WHEN r.resolved_at <= %(at)s THEN r.resolved_at END DESC,
             r.resolved_at, r.id
) m
WHERE m.ordinal = s.ordinal;
"""
_LINKED = """
UPDATE seen s
SET link_doc = l.normalized_id, link_since = l.since_date, link_until = l.last_seen_date, before_id = l.normalized_id,
    link_missing = l.missing_since IS NOT NULL,
    status = CASE WHEN l.normalized_id = s.normalized_id THEN 'unchanged' ELSE 'updated' END
FROM ledger.asset_source_links l
WHERE s.link_id IS NOT NULL AND s.link_doc IS NULL AND l.id = s.link_id;
"""
_MET = """
SELECT EXISTS (
    SELECT FROM (SELECT DISTINCT external_kind FROM seen WHERE link_id IS NULL AND status IS NULL) s
    WHERE EXISTS (
        SELECT FROM ledger.identity_resolutions r
        WHERE r.source_id = %(source)s AND r.external_kind = s.external_kind))
"""
_OTHERS = """
UPDATE seen s SET other_generation = true
FROM ledger.identity_resolutions r
WHERE s.link_id IS NULL AND s.status IS NULL AND r.source_id = %(source)s AND r.external_kind = s.external_kind
  AND r.external_id = s.external_id AND r.outcome <> 'conflict';
"""

# A reading that is rebuilt keeps the conflicts it had: what came later must not answer them in hindsight.
_KEPT_CONFLICTS = """
UPDATE seen s SET status = 'conflict', link_id = NULL, asset_id = NULL, link_doc = NULL
FROM ledger.identity_resolutions r
WHERE r.inventory_id = %(inventory)s AND r.outcome = 'conflict' AND r.settled_at IS NULL
  AND r.external_kind = s.external_kind AND r.external_id = s.external_id;
"""

# Law 6: import, probe and agent records attach by management address within their zone, everything else only by its
# source link. One hit attaches, none creates, several is a conflict and nothing is written. The assets of one merge are
# one hit, and the record goes to the one that has the address, so that it stays there when the merge is undone. What
# is retired, or missing while another is there, does not answer. Of agents also `_ONE_ID_EACH` has to agree.
_OWNERS = """
SELECT ordinal, mgmt_ip, array_agg(DISTINCT root_id) FILTER (WHERE counts) AS asset_ids,
       array_agg(DISTINCT owner_id ORDER BY owner_id) FILTER (WHERE counts) AS owner_ids
FROM (
    SELECT *, owner_id IS NOT NULL AND (present OR NOT bool_or(present) OVER (PARTITION BY ordinal)) AS counts
    FROM (
        SELECT u.ordinal, u.mgmt_ip, a.id AS owner_id, coalesce(a.merged_into_asset_id, a.id) AS root_id,
               coalesce(a.missing_since IS NULL, false) AS present
        FROM ({asked}) u
        LEFT JOIN LATERAL (
            SELECT m.id FROM ledger.assets m
            WHERE m.mgmt_ip = u.mgmt_ip AND m.zone = %(zone)s
              -- the row of one that others were merged into may show an address of theirs
              AND (NOT EXISTS (SELECT FROM ledger.assets c WHERE c.merged_into_asset_id = m.id)
                   OR EXISTS (SELECT FROM ledger.asset_source_links l JOIN ledger.normalized_assets n ON n.id = l.normalized_id
                              WHERE l.asset_id = m.id AND n.mgmt_ip = u.mgmt_ip))
            UNION
            SELECT i.asset_id FROM ledger.asset_identifiers i
            WHERE i.kind = 'ip' AND i.value = host(u.mgmt_ip) AND i.last_seen_at IS NULL
        ) f ON true
        LEFT JOIN ledger.assets a ON a.id = f.id AND a.zone = %(zone)s AND a.deleted_at IS NULL AND NOT EXISTS (
            SELECT FROM ledger.assets r WHERE r.id = a.merged_into_asset_id AND r.deleted_at IS NOT NULL)
    ) owners
) judged
GROUP BY ordinal, mgmt_ip
"""
# The one of the hit's assets that has the address: the canonical one where it does.
_OWNER = "CASE WHEN h.asset_ids[1] = ANY(h.owner_ids) THEN h.asset_ids[1] ELSE h.owner_ids[1] END"
_ASKED_BY_RECORDS = """
    SELECT s.ordinal, n.mgmt_ip
    FROM seen s JOIN ledger.normalized_assets n ON n.id = s.normalized_id
    WHERE s.link_id IS NULL AND s.status IS NULL AND s.external_kind = 'machine'"""
_ASKED_BY_FAILURES = """
    SELECT DISTINCT ON (f.external_kind, f.external_id) f.ordinal, f.mgmt_ip
    FROM stage_failure f
    WHERE NOT EXISTS (
        SELECT FROM ledger.identity_resolutions r
        WHERE r.source_id = %(source)s AND r.external_kind = f.external_kind AND r.external_id = f.external_id
          AND r.outcome <> 'conflict')
    ORDER BY f.external_kind, f.external_id, f.ordinal DESC"""
_UNKNOWN = f"""
INSERT INTO hit (ordinal, mgmt_ip, asset_ids, owner_ids) {_OWNERS.format(asked=_ASKED_BY_RECORDS)};

UPDATE seen s
SET status = CASE coalesce(cardinality(h.asset_ids), 0) WHEN 0 THEN 'created' WHEN 1 THEN 'attached' ELSE 'conflict' END,
    asset_id = CASE coalesce(cardinality(h.asset_ids), 0)
        WHEN 0 THEN gen_random_uuid()
        WHEN 1 THEN {_OWNER} END,
    begins = true
FROM hit h
WHERE h.ordinal = s.ordinal;

UPDATE seen s SET status = 'created', asset_id = gen_random_uuid(), begins = true
WHERE s.link_id IS NULL AND s.status IS NULL AND s.external_kind <> 'machine';
"""
# A machine that is known by an id of its own has one such id: where an address that was given anew would make two ids of
# a source one machine, the one that came first has it, in a reading as from reading to reading.
_ONE_ID_EACH = """
UPDATE seen s SET status = 'conflict', asset_id = NULL
FROM hit h
WHERE h.ordinal = s.ordinal AND s.begins AND s.status = 'attached' AND EXISTS (
    SELECT FROM ledger.assets m JOIN ledger.asset_source_links l ON l.asset_id = m.id
    WHERE (m.id = h.asset_ids[1] OR m.merged_into_asset_id = h.asset_ids[1]) AND l.source_id = %(source)s
      AND l.closed_at IS NULL AND l.external_kind = s.external_kind AND l.external_id <> s.external_id);

UPDATE seen s SET status = 'conflict', asset_id = NULL
FROM (
    SELECT s.ordinal, row_number() OVER (PARTITION BY h.asset_ids, CASE WHEN h.asset_ids IS NULL THEN h.mgmt_ip END
                                         ORDER BY s.ordinal) AS place
    FROM seen s JOIN hit h ON h.ordinal = s.ordinal
    WHERE s.begins AND s.status IN ('attached', 'created') AND h.mgmt_ip IS NOT NULL
) claims
WHERE claims.ordinal = s.ordinal AND claims.place > 1;
"""
_BEGUN = """
WITH resolved AS (
    INSERT INTO ledger.identity_resolutions AS r (inventory_id, source_id, external_kind, external_id, generation, rule,
        outcome, asset_id, inputs, resolved_at)
    SELECT %(inventory)s, %(source)s, s.external_kind, s.external_id, n.generation,
           CASE WHEN s.other_generation THEN 'generation' WHEN s.external_kind = 'machine' THEN 'mgmt_ip'
                ELSE 'source_link' END,
           s.status, s.asset_id,
           jsonb_build_object('zone', %(zone)s::text, 'mgmt_ip', host(n.mgmt_ip),
                              'asset_ids', coalesce(to_jsonb(h.asset_ids), '[]'))
               || CASE WHEN s.other_generation THEN jsonb_build_object('generation', n.generation) ELSE '{}' END,
           %(at)s
    FROM seen s JOIN ledger.normalized_assets n ON n.id = s.normalized_id LEFT JOIN hit h ON h.ordinal = s.ordinal
    WHERE s.begins
    ORDER BY s.ordinal
    ON CONFLICT (inventory_id, external_kind, external_id) WHERE outcome = 'conflict'
    DO UPDATE SET inputs = excluded.inputs
    RETURNING r.id, r.external_kind, r.external_id, r.outcome
)
UPDATE seen s SET link_id = r.id
FROM resolved r
WHERE r.outcome <> 'conflict' AND s.begins AND r.external_kind = s.external_kind AND r.external_id = s.external_id;
"""
# A target that failed is resolved like any record, and once: its failure stays where it was booked first.
_FAILED = f"""
INSERT INTO ledger.identity_resolutions (inventory_id, source_id, external_kind, external_id, rule, outcome, asset_id,
    inputs, resolved_at)
SELECT %(inventory)s, %(source)s, f.external_kind, f.external_id, 'mgmt_ip', 'attached', {_OWNER},
       jsonb_build_object('zone', %(zone)s::text, 'mgmt_ip', host(h.mgmt_ip), 'asset_ids', to_jsonb(h.asset_ids),
                          'failed', f.code),
       %(at)s
FROM ({_OWNERS.format(asked=_ASKED_BY_FAILURES)}) h JOIN stage_failure f USING (ordinal)
WHERE cardinality(h.asset_ids) = 1;
"""
_OPEN_CONFLICTS = """
SELECT EXISTS (
    SELECT FROM ledger.identity_resolutions
    WHERE inventory_id = %(inventory)s AND outcome = 'conflict' AND settled_at IS NULL)
"""
_SETTLED = """
UPDATE ledger.identity_resolutions r SET settled_at = %(now)s
FROM seen s
WHERE r.inventory_id = %(inventory)s AND r.outcome = 'conflict' AND r.settled_at IS NULL
  AND r.external_kind = s.external_kind AND r.external_id = s.external_id AND s.link_id IS NOT NULL;
"""

_UNSURE = "SELECT EXISTS (SELECT FROM seen WHERE link_id IS NULL AND status IS NULL)"
_RIVALS = """
SELECT EXISTS (SELECT FROM ledger.identity_resolutions WHERE source_id = %(source)s AND rule = 'generation')
"""
_RESOLVED = """
UPDATE ledger.inventories SET resolved_to = (SELECT max(id) FROM ledger.identity_resolutions) WHERE id = %(inventory)s;

DELETE FROM ledger.identity_attributions WHERE inventory_id = %(inventory)s;
"""
# What `_GIVEN` would not find again has to be kept.
_ATTRIBUTE = f"""
INSERT INTO ledger.identity_attributions (inventory_id, external_kind, external_id, link_id)
SELECT i.id, s.external_kind, s.external_id, s.link_id
FROM {{given}} s
JOIN ledger.normalized_assets n ON n.id = s.normalized_id
JOIN ledger.inventories i ON i.id = %(inventory)s
WHERE s.link_id IS NOT NULL AND s.link_id IS DISTINCT FROM (SELECT g.id FROM ({_GIVEN}) g)
"""
_AMONG_RIVALS = """(
    SELECT * FROM seen WHERE (external_kind, external_id) IN (
        SELECT external_kind, external_id FROM ledger.identity_resolutions
        WHERE source_id = %(source)s AND rule = 'generation'))"""


def identify(connection: Connection, p: dict[str, Any]) -> None:
    """Fill `seen` from the staged records: documents, links, ledger assets; new ones get their numbers."""
    p = p | {"before": p["resolved_by"] is not None, "rivals": _holds(connection, _RIVALS, p)}
    again = p["resolved_by"] == p["parser_version"]
    run_script(connection, _SEEN, p)
    if p["rebuild"]:
        run_script(connection, _MEND, p)
    if p["before"] and p["rivals"]:
        run_script(connection, _FORGET_LINKS, p)
    if again:
        run_script(connection, _AGAIN, p)
    if p["rebuild"]:
        run_script(connection, _KEPT_CONFLICTS, p)
    unsure = _holds(connection, _UNSURE, p)
    # a first reading has none to be told apart from, and looking each up costs as much as making them
    if unsure and _holds(connection, _MET, p):
        run_script(connection, _KNOWN, p)
        run_script(connection, _OTHERS, p)
    run_script(connection, _LINKED, p)
    if unsure and _holds(connection, _UNSURE, p):
        run_script(connection, _UNKNOWN, p)
        if p["own_ids"]:
            run_script(connection, _ONE_ID_EACH, p)
        run_script(connection, _BEGUN, p)
    if p["failures"] and not p["rebuild"] and p["derived_at"] is None:
        run_script(connection, _FAILED, p)
    if not again:
        run_script(connection, _RESOLVED, p)
        p |= {"rivals": _holds(connection, _RIVALS, p)}
        if p["rivals"]:
            connection.execute(_ATTRIBUTE.format(given=_AMONG_RIVALS), p)
    elif unsure:
        connection.execute(_ATTRIBUTE.format(given="seen"), p)
    if not p["rebuild"] and _holds(connection, _OPEN_CONFLICTS, p):
        run_script(connection, _SETTLED, p)


def _holds(connection: Connection, question: str, p: dict[str, Any]) -> bool:
    return connection.execute(question, p).fetchone() == (True,)
