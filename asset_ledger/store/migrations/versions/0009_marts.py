"""Where dbt makes its tables, and what lets it read every tenant's rows while it does.

Revision ID: 0009

dbt runs as the ledger's owner. The tables of `marts` and the views of `marts_staging` are dbt's (`dbt_models/`): it
makes them, keeps tenants apart in the first (macro `tenants_apart`) and shows the second to nobody.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Their rows are hidden from the owner too, who sees them while dbt says that it is at work (PGOPTIONS), and at no other
# time. Tokens, keys, sealed states and the audit are of no use to a mart, and stay hidden from it.
READ = (
    "agent.clients",
    "agent.findings",
    "agent.agent_versions",
    "agent.inventory_history",
    "agent.inventory_latest",
    "agent.memberships",
    "agent.presence",
    "agent.reports",
    "iac.cloud_orphans",
    "iac.coverage",
    "iac.declared_machines",
    "iac.dependency_edges",
    "iac.drift_findings",
    "iac.plan_events",
    "iac.plans",
    "iac.resource_events",
    "iac.resource_joins",
    "iac.resources_current",
    "iac.state_heads",
    "iac.state_locks",
    "iac.states",
    "iac.tenant_sources",
    "iac.webhook_deliveries",
)

# What a day's marts are of: what came of it later is what they lack.
BUILT_DAYS = """
CREATE TABLE marts_staging.built_days (
    collected_date date PRIMARY KEY,
    built_at       timestamptz NOT NULL,
    models         text NOT NULL
);
COMMENT ON TABLE marts_staging.built_days IS 'Days of which every mart that is made by days was made, together.';
COMMENT ON COLUMN marts_staging.built_days.built_at IS 'When the newest making of them began.';
COMMENT ON COLUMN marts_staging.built_days.models IS 'The digest of the models they were made by.';
"""

# A test of one day says nothing of another: what it found stays until that day is looked at again.
BROKEN_DAYS = """
CREATE TABLE marts_staging.broken_days (
    test           text NOT NULL,
    collected_date date NOT NULL,
    found_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (test, collected_date)
);
COMMENT ON TABLE marts_staging.broken_days IS 'Days of which a test found rows that should not be, when it last looked.';
"""

# What the ledger makes of several sources (a machine's name, the host it runs on, what people decided of it) may be in the
# words of any of them.
ALONE = """
CREATE FUNCTION iac.no_others_sources() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT NULLIF(current_setting('app.tenant', true), '') IS NOT NULL AND NOT EXISTS (
        SELECT FROM iac.tenant_sources AS t
        WHERE t.tenant_id <> NULLIF(current_setting('app.tenant', true), '')::uuid)
$$;
COMMENT ON FUNCTION iac.no_others_sources IS 'Say whether the ledger has words of no other tenant''s sources.';
REVOKE ALL ON FUNCTION iac.no_others_sources FROM PUBLIC;
GRANT EXECUTE ON FUNCTION iac.no_others_sources TO asset_ledger_service;
"""


def upgrade() -> None:
    """Make the schemas and the policies."""
    op.execute("CREATE SCHEMA marts")
    op.execute("COMMENT ON SCHEMA marts IS 'What people ask of the ledger, as tables made by dbt: docs/marts.md.'")
    op.execute("CREATE SCHEMA marts_staging")
    op.execute("COMMENT ON SCHEMA marts_staging IS 'The ledger''s tables as the marts read them: views made by dbt.'")
    op.execute(BUILT_DAYS)
    op.execute(BROKEN_DAYS)
    op.execute(ALONE)
    # a tenant's rows alone, by the policies that come with each mart
    op.execute("GRANT USAGE ON SCHEMA marts TO asset_ledger_service")
    for table in READ:
        op.execute(
            f"CREATE POLICY marts ON {table} FOR SELECT TO CURRENT_USER"
            " USING ((SELECT current_setting('app.marts', true)) = 'on')"
        )


def downgrade() -> None:
    """Drop the schemas with all that dbt made in them, and the policies."""
    for table in READ:
        op.execute(f"DROP POLICY marts ON {table}")
    op.execute("DROP SCHEMA marts CASCADE")  # first: policies in it ask the function
    op.execute("DROP FUNCTION iac.no_others_sources")
    op.execute("DROP SCHEMA marts_staging CASCADE")
