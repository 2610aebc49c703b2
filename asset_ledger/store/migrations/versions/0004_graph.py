"""What hangs on what: resources, machines and database instances as one graph, and what goes when some of it goes.

Revision ID: 0004

An edge leads from what needs to what is needed. The edges of states stand in `iac.dependency_edges`; those that the
ledger knows are shown by views, to the service only of sources that are its tenant's (`iac.tenant_sources`), and in the
words of those: what the ledger made of several sources may be another tenant's.
"""

# ruff: noqa: S608 - put together from constants of this file
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# all of it within the sub-select: it is then worked out once a statement, not once a row that is looked up
TENANT = "(SELECT NULLIF(current_setting('app.tenant', true), '')::uuid)"
# who may look into the ledger itself sees all of it here too; the tenant is asked for in so many words, because a view
# looks as its owner, and an owner who is a superuser is under no row-level security
READS_LEDGER = "(SELECT has_schema_privilege('ledger', 'USAGE'))"
MINE = f"ANY (ARRAY(SELECT t.source_id FROM iac.tenant_sources AS t WHERE t.tenant_id = {TENANT}))"
THEIRS = f"ANY (ARRAY(SELECT t.source_id FROM iac.tenant_sources AS t WHERE t.tenant_id <> {TENANT}))"


def _theirs(machine: str, also: str = "") -> str:
    """Say that a source of another tenant has a machine, or one that is one with it by a merge."""
    return f"""EXISTS (
    SELECT FROM ledger.assets AS x
    JOIN ledger.assets AS m ON m.id = coalesce(x.merged_into_asset_id, x.id)
                            OR m.merged_into_asset_id = coalesce(x.merged_into_asset_id, x.id)
    JOIN ledger.asset_source_links AS o ON o.asset_id = m.id
    WHERE x.id = {machine} AND o.closed_at IS NULL AND o.source_id = {THEIRS}{also} OFFSET 0)"""


def _counts(link: str) -> str:
    """Say that a link tells whose a machine is: a missing one does not of a machine that is another tenant's by now."""
    return f"""{link}.closed_at IS NULL AND ({link}.missing_since IS NULL
    OR NOT {_theirs(f"{link}.asset_id", " AND o.missing_since IS NULL")})"""


def _ours(machine: str) -> str:
    """Say that a machine is the tenant's by a source of its own."""
    return f"""EXISTS (SELECT FROM ledger.asset_source_links AS l
        WHERE l.asset_id = {machine} AND l.source_id = {MINE} AND {_counts("l")} OFFSET 0)"""


def _in_use(machine: str) -> str:
    """Say that a machine, as it is shown, was not retired: one that was is a node without edges."""
    return f"NOT EXISTS (SELECT FROM ledger.assets AS g WHERE g.id = {machine} AND g.deleted_at IS NOT NULL OFFSET 0)"


# A resource's id is made of its tenant's among other things, so that an edge or a join found by it is of the same tenant:
# these indexes need not begin with that, and are the quicker for it. They have it for row-level security, which asks for it.
INDEXES = """
DROP INDEX iac.dependency_edges_back;
CREATE INDEX dependency_edges_back ON iac.dependency_edges (dst_uid, src_uid) INCLUDE (tenant_id);
CREATE INDEX resources_current_uid ON iac.resources_current (tenant_id, stable_uid);
CREATE INDEX resource_joins_resource ON iac.resource_joins (stable_uid) INCLUDE (tenant_id, asset_id, source_id)
    WHERE left_at IS NULL;
CREATE INDEX resource_joins_machine ON iac.resource_joins (tenant_id, asset_id) INCLUDE (stable_uid, source_id)
    WHERE left_at IS NULL;
CREATE INDEX assets_merged ON ledger.assets (id) INCLUDE (merged_into_asset_id) WHERE merged_into_asset_id IS NOT NULL;
CREATE INDEX assets_retired ON ledger.assets (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX asset_relations_back ON ledger.asset_relations (to_external_id, to_kind) WHERE ended_at IS NULL;
"""

# `member_id` is the machine as a source or a decision named it, `asset_id` the one that it is merged into: looked for is
# by the first, which has an index, shown is the second.
VIEWS = f"""
-- whoever looks through a view has to be told apart from other tenants, whose sources its owner therefore sees
CREATE POLICY views ON iac.tenant_sources FOR SELECT TO CURRENT_USER USING (true);

CREATE VIEW iac.graph_assets WITH (security_barrier = true) AS
SELECT a.id AS member_id, c.id AS asset_id, w.name, w.address, w.asset_type, w.zone, w.missing_since,
       c.deleted_at AS retired_at
FROM ledger.assets AS a JOIN ledger.assets AS c ON c.id = coalesce(a.merged_into_asset_id, a.id)
CROSS JOIN LATERAL (
    SELECT c.hostname AS name, host(c.mgmt_ip) AS address, c.asset_type, c.zone, c.missing_since
    WHERE {READS_LEDGER}
    UNION ALL
    (SELECT n.hostname, host(n.mgmt_ip), n.asset_type, n.zone, s.missing_since
     FROM ledger.assets AS m JOIN ledger.asset_source_links AS s ON s.asset_id = m.id
     LEFT JOIN ledger.normalized_assets AS n ON n.id = s.normalized_id
     WHERE NOT {READS_LEDGER} AND (m.id = c.id OR m.merged_into_asset_id = c.id)
       AND s.source_id = {MINE} AND {_counts("s")} AND {_ours("a.id")}
     ORDER BY s.missing_since IS NOT NULL, s.last_seen_at DESC, s.id DESC LIMIT 1)
) AS w;
COMMENT ON VIEW iac.graph_assets IS
    'Machines: a row for each, and one for each that is merged into it. To a tenant in the last word of its own sources.';

CREATE VIEW iac.graph_merged WITH (security_barrier = true) AS
SELECT a.id AS member_id, a.merged_into_asset_id AS asset_id
FROM ledger.assets AS a
WHERE a.merged_into_asset_id IS NOT NULL AND ({READS_LEDGER} OR {_ours("a.id")});
COMMENT ON VIEW iac.graph_merged IS 'Machines that are merged into another.';

CREATE VIEW iac.graph_joins WITH (security_barrier = true) AS
SELECT j.stable_uid, j.asset_id AS member_id, coalesce(m.merged_into_asset_id, j.asset_id) AS asset_id, j.rule, j.score
FROM iac.resource_joins AS j
LEFT JOIN ledger.assets AS m ON m.id = j.asset_id AND m.merged_into_asset_id IS NOT NULL
WHERE j.tenant_id = {TENANT} AND j.left_at IS NULL AND ({READS_LEDGER} OR (j.source_id = {MINE} AND {_ours("j.asset_id")}))
  -- between two looks for findings a resource may have left its state
  AND EXISTS (SELECT FROM iac.resources_current AS c WHERE c.tenant_id = j.tenant_id AND c.state_id = j.state_id
                                                       AND c.stable_uid = j.stable_uid OFFSET 0)
  AND {_in_use("coalesce(m.merged_into_asset_id, j.asset_id)")};
COMMENT ON VIEW iac.graph_joins IS 'Which resource declares which machine: one goes with the other.';

CREATE VIEW iac.graph_relations WITH (security_barrier = true) AS
SELECT f.asset_id AS member_id, coalesce(fm.merged_into_asset_id, f.asset_id) AS asset_id, r.kind,
       t.asset_id AS needed_member_id, coalesce(tm.merged_into_asset_id, t.asset_id) AS needed_id
FROM ledger.asset_relations AS r
JOIN ledger.asset_source_links AS f ON f.id = r.from_link_id
JOIN ledger.asset_source_links AS t ON t.source_id = f.source_id AND t.external_kind = r.to_kind
                                   AND t.external_id = r.to_external_id AND t.closed_at IS NULL
LEFT JOIN ledger.assets AS fm ON fm.id = f.asset_id AND fm.merged_into_asset_id IS NOT NULL
LEFT JOIN ledger.assets AS tm ON tm.id = t.asset_id AND tm.merged_into_asset_id IS NOT NULL
WHERE r.ended_at IS NULL AND f.missing_since IS NULL AND f.closed_at IS NULL
  AND ({READS_LEDGER} OR (f.source_id = {MINE} AND {_counts("t")}))
  AND {_in_use("coalesce(fm.merged_into_asset_id, f.asset_id)")}
  AND {_in_use("coalesce(tm.merged_into_asset_id, t.asset_id)")};
COMMENT ON VIEW iac.graph_relations IS 'Which machine needs which: what is current of ledger.topology.';

-- nobody but the ledger's own readers is told what runs on a machine that is two tenants': it may be either's
CREATE VIEW iac.graph_instances WITH (security_barrier = true) AS
SELECT k.instance_id, k.asset_id AS member_id, coalesce(m.merged_into_asset_id, k.asset_id) AS asset_id, i.name,
       i.db_type, i.host, i.port
FROM ledger.instance_asset_links AS k
LEFT JOIN ledger.database_instances AS i ON i.id = k.instance_id  -- there always is one; so it is not looked up in vain
LEFT JOIN ledger.assets AS m ON m.id = k.asset_id AND m.merged_into_asset_id IS NOT NULL
WHERE k.match_status = 'confirmed' AND ({READS_LEDGER} OR (EXISTS (
    SELECT FROM ledger.assets AS a JOIN ledger.asset_source_links AS l ON l.asset_id = a.id
    WHERE (a.id = k.asset_id OR a.merged_into_asset_id = k.asset_id) AND l.source_id = {MINE} AND l.closed_at IS NULL OFFSET 0)
    AND NOT {_theirs("k.asset_id")}))
  AND {_in_use("coalesce(m.merged_into_asset_id, k.asset_id)")};
COMMENT ON VIEW iac.graph_instances IS 'Database instances, each with the machine it is confirmed to run on.';
"""

# Kept plans are for a few nodes. They look into indexes, which lie in memory.
SETTINGS = """SET search_path = pg_catalog, pg_temp
SET jit = off
SET random_page_cost = 1.1
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan"""

STEPS = f"""
CREATE FUNCTION iac.known_nodes(ids uuid[]) RETURNS TABLE (node uuid, kind text)
LANGUAGE sql STABLE AS $$
    SELECT a.asset_id, 'asset' FROM iac.graph_assets AS a WHERE a.member_id = ANY (ids)
    UNION
    SELECT m.asset_id, 'asset' FROM iac.graph_merged AS m WHERE m.asset_id = ANY (ids)
    UNION ALL
    SELECT DISTINCT c.stable_uid, 'resource' FROM iac.resources_current AS c
    WHERE c.tenant_id = {TENANT} AND c.stable_uid = ANY (ids)
    UNION ALL
    SELECT DISTINCT i.instance_id, 'instance' FROM iac.graph_instances AS i WHERE i.instance_id = ANY (ids)
$$;
COMMENT ON FUNCTION iac.known_nodes IS 'Which of these ids are nodes that the caller may see; of a merged machine the one it is merged into.';

CREATE FUNCTION iac.steps(nodes uuid[], direction text) RETURNS TABLE (node uuid, kind text, via uuid, how text)
LANGUAGE plpgsql STABLE
{SETTINGS}
AS $$
DECLARE
    mine constant uuid := {TENANT};
    members constant uuid[] := nodes || ARRAY(SELECT m.member_id FROM iac.graph_merged AS m WHERE m.asset_id = ANY (nodes));
BEGIN
    IF direction IS NULL OR direction NOT IN ('needs', 'needed_by', 'both') THEN
        RAISE EXCEPTION 'the direction is needs, needed_by or both, not %', direction USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF cardinality(nodes) > 1000 THEN
        PERFORM set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_hashjoin', 'on', true);
    END IF;
    RETURN QUERY
        SELECT j.asset_id, 'asset', j.stable_uid, 'joined_by_' || j.rule
        FROM iac.graph_joins AS j WHERE j.stable_uid = ANY (nodes)
        UNION ALL
        SELECT j.stable_uid, 'resource', j.asset_id, 'joined_by_' || j.rule
        FROM iac.graph_joins AS j WHERE j.member_id = ANY (members);
    IF direction <> 'needs' THEN
        RETURN QUERY
            SELECT d.src_uid, 'resource', d.dst_uid, d.kind
            FROM iac.dependency_edges AS d WHERE d.tenant_id = mine AND d.dst_uid = ANY (nodes)
            UNION ALL
            SELECT r.asset_id, 'asset', r.needed_id, r.kind
            FROM iac.graph_relations AS r WHERE r.needed_member_id = ANY (members)
            UNION ALL
            SELECT i.instance_id, 'instance', i.asset_id, 'instance_on'
            FROM iac.graph_instances AS i WHERE i.member_id = ANY (members);
    END IF;
    IF direction <> 'needed_by' THEN
        RETURN QUERY
            SELECT d.dst_uid, 'resource', d.src_uid, d.kind
            FROM iac.dependency_edges AS d WHERE d.tenant_id = mine AND d.src_uid = ANY (nodes)
            UNION ALL
            SELECT r.needed_id, 'asset', r.asset_id, r.kind
            FROM iac.graph_relations AS r WHERE r.member_id = ANY (members)
            UNION ALL
            SELECT i.asset_id, 'asset', i.instance_id, 'instance_on'
            FROM iac.graph_instances AS i WHERE i.instance_id = ANY (nodes);
    END IF;
END
$$;
COMMENT ON FUNCTION iac.steps IS 'What some nodes need, or are needed by: `via` is the one asked about, `how` the kind of the edge.';
"""

WALK = f"""
CREATE FUNCTION iac.walk(start uuid[], direction text, most integer, deepest integer)
RETURNS TABLE (node uuid, kind text, depth integer, via uuid, how text)
LANGUAGE plpgsql STABLE
{SETTINGS}
AS $$
DECLARE
    seen uuid[];
    fresh uuid[];
    kinds text[];
    vias uuid[];
    hows text[];
BEGIN
    IF most IS NULL OR deepest IS NULL OR most < 0 OR deepest < 0 THEN
        RAISE EXCEPTION 'how many nodes and how deep are numbers from 0' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT coalesce(array_agg(k.node), '{{}}'), array_agg(k.kind) INTO fresh, kinds
    FROM (SELECT * FROM iac.known_nodes(start) LIMIT most) AS k;
    seen := fresh;
    depth := 0;
    RETURN QUERY SELECT n.node, n.kind, depth, NULL::uuid, NULL::text FROM unnest(fresh, kinds) AS n (node, kind);
    WHILE fresh <> '{{}}' AND depth < deepest AND cardinality(seen) < most LOOP
        depth := depth + 1;
        SELECT coalesce(array_agg(f.node), '{{}}'), array_agg(f.kind), array_agg(f.via), array_agg(f.how)
        INTO fresh, kinds, vias, hows
        FROM (SELECT DISTINCT ON (s.node) s.node, s.kind, s.via, s.how FROM iac.steps(fresh, direction) AS s
              WHERE s.node NOT IN (SELECT unnest(seen))
              ORDER BY s.node, s.via, s.how LIMIT most - cardinality(seen)) AS f;
        seen := seen || fresh;
        RETURN QUERY SELECT n.node, n.kind, depth, n.via, n.how FROM unnest(fresh, kinds, vias, hows) AS n (node, kind, via, how);
    END LOOP;
END
$$;
COMMENT ON FUNCTION iac.walk IS
    'Nodes by how many edges they are away, each once, with the edge it was first come to by. Never more than `most` rows: who asks for one more than is needed knows whether there were more.';

CREATE FUNCTION iac.impact(start uuid[], most integer DEFAULT 1000, deepest integer DEFAULT 100)
RETURNS TABLE (node uuid, kind text, depth integer, via uuid, how text)
LANGUAGE sql STABLE AS $$ SELECT * FROM iac.walk(start, 'needed_by', most, deepest) $$;
COMMENT ON FUNCTION iac.impact IS 'What goes when these go, and why. The whole of a large set without reasons: iac.blast_radius.';
"""

# The set is found by phases: one recursive query over the edges of states, then steps into the ledger and out again, until
# nothing is new. Most edges are those of states, and each of them is looked at once, as a bare recursive query would.
BLAST_RADIUS = f"""
CREATE FUNCTION iac.blast_radius(start uuid[], most integer DEFAULT 100000) RETURNS TABLE (node uuid, kind text)
LANGUAGE plpgsql STABLE
{SETTINGS}
AS $$
DECLARE
    mine constant uuid := {TENANT};
    resources uuid[] := '{{}}';
    assets uuid[] := '{{}}';
    instances uuid[];
    fresh uuid[];           -- resources whose edges were not followed yet
    fresh_assets uuid[];    -- machines, likewise
    members uuid[];
    joined uuid[];
    others uuid[];          -- resources that declare one of these machines too
    several boolean := false;  -- whether a machine may be come to twice
BEGIN
    IF most IS NULL OR most < 0 THEN
        RAISE EXCEPTION 'how many nodes is a number from 0' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    fresh := ARRAY(SELECT DISTINCT c.stable_uid FROM iac.resources_current AS c
                   WHERE c.tenant_id = mine AND c.stable_uid = ANY (start));
    IF cardinality(fresh) < cardinality(start) THEN
        SELECT array_agg(k.node) FILTER (WHERE k.kind = 'asset'), array_agg(k.node) FILTER (WHERE k.kind = 'instance')
        INTO fresh_assets, instances FROM iac.known_nodes(start) AS k;
        several := true;
    END IF;
    LOOP
        -- by the settings there are nested loops alone: a look into the index for each node, whatever is believed of sizes
        IF resources = '{{}}' AND cardinality(fresh) = 1 THEN  -- what is asked most; the planner then expects less
            fresh := ARRAY(
                WITH RECURSIVE reach (node) AS (
                    SELECT fresh[1]
                    UNION
                    SELECT d.src_uid FROM reach AS r JOIN iac.dependency_edges AS d ON d.dst_uid = r.node)
                SELECT r.node FROM reach AS r LIMIT most);
        ELSE
            fresh := ARRAY(
                WITH RECURSIVE reach (node) AS (
                    SELECT unnest(fresh)
                    UNION
                    SELECT d.src_uid FROM reach AS r JOIN iac.dependency_edges AS d ON d.dst_uid = r.node
                    WHERE d.src_uid NOT IN (SELECT unnest(resources)))
                SELECT r.node FROM reach AS r LIMIT most);
        END IF;
        resources := resources || fresh;
        EXIT WHEN cardinality(resources) >= most;
        -- for a few a plan that is kept will do; for many a new one pays, which knows how many they are
        IF cardinality(fresh) > 1000 THEN
            PERFORM set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_hashjoin', 'on', true);
        END IF;
        SELECT coalesce(array_agg(j.stable_uid), '{{}}'), fresh_assets || array_agg(DISTINCT j.asset_id)
        INTO joined, fresh_assets FROM iac.graph_joins AS j
        WHERE j.stable_uid = ANY (ARRAY(  -- what is joined at all stands in an index; what of it may be seen does not
            SELECT k.stable_uid FROM iac.resource_joins AS k WHERE k.stable_uid = ANY (fresh) AND k.left_at IS NULL));
        fresh := '{{}}';
        WHILE fresh_assets <> '{{}}' LOOP
            IF several THEN
                fresh_assets := ARRAY(SELECT unnest(fresh_assets) EXCEPT SELECT unnest(assets));
            END IF;
            several := true;
            IF cardinality(fresh_assets) > 1000 THEN
                PERFORM set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_hashjoin', 'on', true);
            END IF;
            assets := assets || fresh_assets;
            EXIT WHEN fresh_assets = '{{}}' OR cardinality(resources) + cardinality(assets) >= most;
            members := fresh_assets || ARRAY(
                SELECT m.member_id FROM iac.graph_merged AS m WHERE m.asset_id = ANY (fresh_assets));
            -- hardly ever one: what may be seen of it is asked only then
            others := ARRAY(SELECT j.stable_uid FROM iac.resource_joins AS j
                            WHERE j.asset_id = ANY (members) AND j.left_at IS NULL AND j.stable_uid <> ALL (joined));
            fresh_assets := ARRAY(SELECT r.asset_id FROM iac.graph_relations AS r WHERE r.needed_member_id = ANY (members));
            instances := instances || ARRAY(
                SELECT i.instance_id FROM iac.graph_instances AS i WHERE i.member_id = ANY (members));
            IF others <> '{{}}' THEN
                fresh := fresh || ARRAY(SELECT j.stable_uid FROM iac.graph_joins AS j
                                        WHERE j.member_id = ANY (members) AND j.stable_uid = ANY (others));
            END IF;
        END LOOP;
        EXIT WHEN fresh = '{{}}' OR cardinality(resources) + cardinality(assets) >= most;
        fresh_assets := '{{}}';
        PERFORM set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_hashjoin', 'off', true);
    END LOOP;
    instances := ARRAY(SELECT DISTINCT unnest(instances));
    IF cardinality(resources) + cardinality(assets) + cardinality(instances) > most THEN
        resources := resources[1 : most];
        assets := assets[1 : most - cardinality(resources)];
        instances := instances[1 : most - cardinality(resources) - cardinality(assets)];
    END IF;
    RETURN QUERY SELECT unnest(resources), 'resource' UNION ALL SELECT unnest(assets), 'asset'
                 UNION ALL SELECT unnest(instances), 'instance';
END
$$;
COMMENT ON FUNCTION iac.blast_radius IS
    'All that goes when these go, these too. Never more than `most` rows: who asks for one more than is needed knows whether there were more.';
"""

FUNCTIONS = ("iac.known_nodes", "iac.steps", "iac.walk", "iac.impact", "iac.blast_radius")
SHOWN = ("iac.graph_assets", "iac.graph_merged", "iac.graph_joins", "iac.graph_relations", "iac.graph_instances")
OWN_INDEXES = (
    *("iac.resources_current_uid", "iac.resource_joins_resource", "iac.resource_joins_machine"),
    *("ledger.assets_merged", "ledger.assets_retired", "ledger.asset_relations_back"),
)


def upgrade() -> None:
    """Make indexes, views and functions of the graph."""
    for statements in (INDEXES, VIEWS, STEPS, WALK, BLAST_RADIUS):
        op.execute(statements)
    for table in ("iac.dependency_edges", "iac.resource_joins"):
        op.execute(f"ALTER POLICY tenant ON {table} USING (tenant_id = {TENANT}) WITH CHECK (tenant_id = {TENANT})")
    op.execute(f"REVOKE ALL ON FUNCTION {', '.join(FUNCTIONS)} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {', '.join(FUNCTIONS)} TO asset_ledger_service")
    op.execute(f"GRANT SELECT ON {', '.join(SHOWN)} TO asset_ledger_service")


def downgrade() -> None:
    """Take them away, and give the index back. The policies stay: they say the same."""
    op.execute(f"DROP FUNCTION {', '.join(reversed(FUNCTIONS))}")
    op.execute(f"DROP VIEW {', '.join(SHOWN)}")
    op.execute("DROP POLICY views ON iac.tenant_sources")
    op.execute(f"DROP INDEX {', '.join(OWN_INDEXES)}")
    op.execute("DROP INDEX iac.dependency_edges_back")
    op.execute("CREATE INDEX dependency_edges_back ON iac.dependency_edges (tenant_id, dst_uid, src_uid)")
