"""What agents say against what their platforms say: findings of their own, listed with the others.

Revision ID: 0007

`iac.findings` is where every finding is read: it is made anew with those of agents, and says which client one is about.
A report that comes to wait rings a bell; the table is the queue.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TENANT = "NULLIF((SELECT current_setting('app.tenant', true)), '')::uuid"

STATEMENTS = """
CREATE TABLE agent.findings (
    tenant_id      uuid NOT NULL REFERENCES agent.tenants,
    id             uuid NOT NULL DEFAULT gen_random_uuid(),
    kind           text NOT NULL CHECK (kind IN ('alive_but_gone', 'agent_differs')),
    client_id      uuid NOT NULL,
    attribute      text NOT NULL DEFAULT '',
    source_id      integer NOT NULL,
    source         text NOT NULL,
    link_id        bigint NOT NULL,
    external_kind  text NOT NULL,
    external_id    text NOT NULL,
    asset_id       uuid NOT NULL,
    name           text,
    declared       jsonb NOT NULL,
    observed       jsonb NOT NULL,
    observed_at    timestamptz NOT NULL,
    opened_at      timestamptz NOT NULL,
    seen_at        timestamptz NOT NULL,
    unsure_since   timestamptz,
    unsure_because text,
    closed_at      timestamptz,
    closed_because text,
    PRIMARY KEY (tenant_id, id)
);
COMMENT ON TABLE agent.findings IS 'Where an agent and the platform of its machine do not agree.';
COMMENT ON COLUMN agent.findings.source IS 'The platform''s source; link_id, external_kind and external_id are its machine.';
COMMENT ON COLUMN agent.findings.declared IS 'What the platform says; observed: what the agent says.';
COMMENT ON COLUMN agent.findings.attribute IS 'Of agent_differs: which; empty of the other kind.';
COMMENT ON COLUMN agent.findings.observed_at IS 'When the agent last said so.';
CREATE UNIQUE INDEX findings_open ON agent.findings (tenant_id, client_id, source_id, kind, attribute)
    WHERE closed_at IS NULL;
CREATE INDEX findings_opened ON agent.findings (tenant_id, opened_at DESC);
CREATE INDEX findings_closed ON agent.findings (tenant_id, closed_at) WHERE closed_at IS NOT NULL;

ALTER TABLE agent.findings ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent.findings FORCE ROW LEVEL SECURITY;

-- whether a report that comes is older than what its machine said on that day already
CREATE INDEX asset_observations_agents ON ledger.asset_observations (source_id, collected_date, target, observed_at)
    WHERE source_type = 'agent';

CREATE FUNCTION agent.ring_reports() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NOTIFY agent_reports;
    RETURN NULL;
END
$$;
CREATE TRIGGER ring AFTER INSERT ON agent.reports FOR EACH STATEMENT EXECUTE FUNCTION agent.ring_reports();
"""

VIEW = """
SELECT f.tenant_id, f.id, f.kind, f.state_id, h.tool, h.project, h.stack, f.stable_uid, f.addr, f.attribute, f.source_id,
       f.asset_id, NULL::text AS external_kind, NULL::text AS external_id, f.name, f.declared, f.observed, f.rule,
       f.score, f.observed_at, f.opened_at, f.seen_at, f.unsure_since, f.unsure_because, f.closed_at, f.closed_because,
       f.source{client_of_none}
FROM iac.drift_findings AS f JOIN iac.state_heads AS h USING (tenant_id, state_id)
UNION ALL
SELECT o.tenant_id, o.id, 'orphan', NULL, NULL, NULL, NULL, NULL, NULL, '', o.source_id, o.asset_id, o.external_kind,
       o.external_id, o.name, NULL, NULL, NULL, NULL, o.observed_at, o.opened_at, o.seen_at, o.unsure_since,
       o.unsure_because, o.closed_at, o.closed_because, o.source{none}
FROM iac.cloud_orphans AS o
"""
OF_AGENTS = """
UNION ALL
SELECT a.tenant_id, a.id, a.kind, NULL, NULL, NULL, NULL, NULL, NULL, a.attribute, a.source_id, a.asset_id,
       a.external_kind, a.external_id, a.name, a.declared, a.observed, NULL, NULL, a.observed_at, a.opened_at, a.seen_at,
       a.unsure_since, a.unsure_because, a.closed_at, a.closed_because, a.source, a.client_id
FROM agent.findings AS a
"""
HEAD = "VIEW iac.findings WITH (security_invoker = true) AS"


def upgrade() -> None:
    """Make the table and its policy, and show it with the other findings."""
    op.execute(STATEMENTS)
    op.execute(f"CREATE POLICY tenant ON agent.findings USING (tenant_id = {TENANT}) WITH CHECK (tenant_id = {TENANT})")
    shown = VIEW.replace("{client_of_none}", ", NULL::uuid AS client_id").replace("{none}", ", NULL")
    op.execute(f"CREATE OR REPLACE {HEAD} {shown} {OF_AGENTS}")
    op.execute("GRANT SELECT ON agent.findings TO asset_ledger_service")


def downgrade() -> None:
    """Drop what was made, the findings included; what hooks were told of them goes with them."""
    op.execute("DROP VIEW iac.findings")
    op.execute(f"CREATE {HEAD} {VIEW.replace('{client_of_none}', '').replace('{none}', '')}")
    op.execute("GRANT SELECT ON iac.findings TO asset_ledger_service")
    op.execute("DROP TRIGGER ring ON agent.reports")
    op.execute("DROP FUNCTION agent.ring_reports")
    op.execute("DROP INDEX ledger.asset_observations_agents")
    op.execute("DROP TABLE agent.findings")
