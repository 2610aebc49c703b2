"""What joins the states to the ledger: plans, machines as they are declared, findings, and the hooks that tell of them.

Revision ID: 0003

A source of the ledger is shown to the one tenant that it is mapped to (`iac.tenant_sources`). Findings are a journal of
what was found when: they open, age and close, and `state rebuild` leaves them as they are.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TENANT = "NULLIF((SELECT current_setting('app.tenant', true)), '')::uuid"

STATEMENTS = """
ALTER TABLE iac.states ADD COLUMN unread text CHECK (unread IN ('all', 'part', 'machines'));
COMMENT ON COLUMN iac.states.unread IS 'How much of it could not be read, and so declares what nobody knows; machines: it was read before they were kept; NULL: nothing, or it waits.';
CREATE INDEX states_without_machines ON iac.states (tenant_id) WHERE unread = 'machines';

-- What was read so far made no machines, and did not say how much of it could not be read: each state's newest version
-- that was read says so, until they are read anew. The owner may be no superuser, so that it is done as each tenant.
DO $$
DECLARE
    before text := coalesce(current_setting('app.tenant', true), '');
    one uuid;
BEGIN
    FOR one IN SELECT t.id FROM agent.tenants AS t LOOP
        PERFORM set_config('app.tenant', one::text, true);
        UPDATE iac.states AS s SET unread = 'machines'
        FROM (SELECT state_id, max(version) AS version FROM iac.states
              WHERE tenant_id = one AND parsed_at IS NOT NULL GROUP BY state_id) AS newest
        WHERE s.tenant_id = one AND (s.state_id, s.version) = (newest.state_id, newest.version);
    END LOOP;
    PERFORM set_config('app.tenant', before, true);
END
$$;

-- === Plans: what somebody meant to do to a state. The document is evidence; its events are derived. ===

CREATE TABLE iac.plans (
    tenant_id      uuid NOT NULL,
    state_id       uuid NOT NULL,
    id             uuid NOT NULL DEFAULT gen_random_uuid(),
    body           bytea NOT NULL,
    key_id         text NOT NULL,
    size_bytes     bigint NOT NULL,
    sha256         bytea NOT NULL,
    base_version   bigint NOT NULL,
    actor          text NOT NULL,
    user_id        uuid,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    tool_version   text,
    errored        boolean,
    followed_by    bigint,
    followed_run   text,
    parsed_at      timestamptz,
    parse_error    text,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, state_id, sha256),
    FOREIGN KEY (tenant_id, state_id) REFERENCES iac.state_heads
);
ALTER TABLE iac.plans ALTER COLUMN body SET STORAGE EXTERNAL;
COMMENT ON COLUMN iac.plans.body IS 'The plan as JSON, compressed, then encrypted like a state: it has the same secrets.';
COMMENT ON COLUMN iac.plans.base_version IS 'The version it was made over; 0 where there was none.';
COMMENT ON COLUMN iac.plans.followed_by IS 'The last version of the run that followed it; NULL while none did, or another plan was followed.';
CREATE INDEX plans_unparsed ON iac.plans (tenant_id, created_at) WHERE parsed_at IS NULL;
CREATE INDEX plans_state ON iac.plans (tenant_id, state_id, created_at);

CREATE TABLE iac.plan_events (
    tenant_id      uuid NOT NULL,
    plan_id        uuid NOT NULL,
    sequence       integer NOT NULL,
    stable_uid     uuid,
    provider       text NOT NULL,
    resource_type  text NOT NULL,
    addr           text NOT NULL,
    deposed        text NOT NULL DEFAULT '',
    previous_addr  text,
    action         text NOT NULL CHECK (action IN ('create', 'update', 'delete', 'replace', 'moved', 'forget', 'import', 'drift')),
    reason         text,
    patch_json     jsonb NOT NULL,
    outcome        text CHECK (outcome IN ('as_predicted', 'otherwise', 'not_done')),
    event_version  bigint,
    event_sequence integer,
    PRIMARY KEY (tenant_id, plan_id, sequence),
    FOREIGN KEY (tenant_id, plan_id) REFERENCES iac.plans ON DELETE CASCADE
);
COMMENT ON COLUMN iac.plan_events.outcome IS 'What became of it in the run that followed; NULL while none did, and of drift.';

-- === Declared × observed ===

CREATE TYPE iac.doubt AS ENUM ('not_read_yet', 'reading_not_complete', 'state_not_settled', 'declared_after_reading',
    'not_seen', 'region_not_read');
COMMENT ON TYPE iac.doubt IS 'Why it cannot be said now whether what a state declares of a machine holds.';

CREATE TABLE iac.declared_machines (
    tenant_id        uuid NOT NULL,
    state_id         uuid NOT NULL,
    stable_uid       uuid NOT NULL,
    addr             text NOT NULL,
    provider         text NOT NULL,
    alias            text NOT NULL,
    resource_type    text NOT NULL,
    machine_kind     text,
    machine_id       text,
    machine_uuid     uuid,
    name             text,
    cpu_cores        integer,
    memory_bytes     bigint,
    disk_total_bytes bigint,
    power_state      text CHECK (power_state IN ('on', 'off', 'suspended')),
    host             text,
    region           text,
    ip_addresses     inet[] NOT NULL DEFAULT '{}',
    declared_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, state_id, stable_uid),
    FOREIGN KEY (tenant_id, state_id) REFERENCES iac.state_heads
);
COMMENT ON TABLE iac.declared_machines IS 'The current resources that are machines, in the units of ledger.asset_daily_specs. NULL: the state does not say.';
COMMENT ON COLUMN iac.declared_machines.declared_at IS 'When the version was written that last changed it.';

CREATE TABLE iac.tenant_sources (
    tenant_id uuid NOT NULL REFERENCES agent.tenants,
    source_id integer NOT NULL,
    PRIMARY KEY (tenant_id, source_id)
);
COMMENT ON TABLE iac.tenant_sources IS 'Whose a source of the ledger is, by iac.yaml, as it was when findings were last looked for.';
CREATE UNIQUE INDEX tenant_sources_source ON iac.tenant_sources (source_id);

CREATE TABLE iac.resource_joins (
    tenant_id  uuid NOT NULL,
    state_id   uuid NOT NULL,
    stable_uid uuid NOT NULL,
    source_id  integer NOT NULL,
    asset_id   uuid NOT NULL,
    link_id    bigint NOT NULL,
    rule       text NOT NULL CHECK (rule IN ('id', 'uuid', 'address')),
    score      smallint NOT NULL CHECK (score BETWEEN 1 AND 100),
    joined_at  timestamptz NOT NULL,
    left_at    timestamptz,
    PRIMARY KEY (tenant_id, state_id, stable_uid),
    FOREIGN KEY (tenant_id, state_id) REFERENCES iac.state_heads
);
COMMENT ON COLUMN iac.resource_joins.left_at IS 'When the resource left its state: until a later complete reading the machine is no orphan.';
CREATE INDEX resource_joins_asset ON iac.resource_joins (tenant_id, asset_id);

CREATE TABLE iac.drift_findings (
    tenant_id      uuid NOT NULL REFERENCES agent.tenants,
    id             uuid NOT NULL DEFAULT gen_random_uuid(),
    kind           text NOT NULL CHECK (kind IN ('drift', 'missing', 'double')),
    state_id       uuid NOT NULL,
    stable_uid     uuid NOT NULL,
    addr           text NOT NULL,
    attribute      text NOT NULL DEFAULT '',
    source_id      integer NOT NULL,
    source         text NOT NULL,
    asset_id       uuid,
    name           text,
    declared       jsonb,
    observed       jsonb,
    rule           text,
    score          smallint,
    observed_at    timestamptz,
    opened_at      timestamptz NOT NULL,
    seen_at        timestamptz NOT NULL,
    unsure_since   timestamptz,
    unsure_because text,
    closed_at      timestamptz,
    closed_because text,
    PRIMARY KEY (tenant_id, id)
);
COMMENT ON COLUMN iac.drift_findings.attribute IS 'Of drift: which; empty of the other kinds.';
COMMENT ON COLUMN iac.drift_findings.seen_at IS 'When it was last found to hold.';
COMMENT ON COLUMN iac.drift_findings.unsure_since IS 'Since when nothing complete was read that would say whether it still holds.';
CREATE UNIQUE INDEX drift_findings_open ON iac.drift_findings (tenant_id, state_id, stable_uid, kind, attribute)
    WHERE closed_at IS NULL;
CREATE INDEX drift_findings_opened ON iac.drift_findings (tenant_id, opened_at DESC);
CREATE INDEX drift_findings_closed ON iac.drift_findings (tenant_id, closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE iac.cloud_orphans (
    tenant_id      uuid NOT NULL REFERENCES agent.tenants,
    id             uuid NOT NULL DEFAULT gen_random_uuid(),
    source_id      integer NOT NULL,
    source         text NOT NULL,
    external_kind  text NOT NULL,
    external_id    text NOT NULL,
    link_id        bigint NOT NULL,
    asset_id       uuid NOT NULL,
    name           text,
    observed_at    timestamptz NOT NULL,
    opened_at      timestamptz NOT NULL,
    seen_at        timestamptz NOT NULL,
    unsure_since   timestamptz,
    unsure_because text,
    closed_at      timestamptz,
    closed_because text,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX cloud_orphans_open ON iac.cloud_orphans (tenant_id, source_id, external_kind, external_id)
    WHERE closed_at IS NULL;
CREATE INDEX cloud_orphans_opened ON iac.cloud_orphans (tenant_id, opened_at DESC);
CREATE INDEX cloud_orphans_closed ON iac.cloud_orphans (tenant_id, closed_at) WHERE closed_at IS NOT NULL;

-- every finding in one shape: what listings, hooks and metrics read
CREATE VIEW iac.findings WITH (security_invoker = true) AS
SELECT f.tenant_id, f.id, f.kind, f.state_id, h.tool, h.project, h.stack, f.stable_uid, f.addr, f.attribute, f.source_id,
       f.asset_id, NULL::text AS external_kind, NULL::text AS external_id, f.name, f.declared, f.observed, f.rule,
       f.score, f.observed_at, f.opened_at, f.seen_at, f.unsure_since, f.unsure_because, f.closed_at, f.closed_because,
       f.source
FROM iac.drift_findings AS f JOIN iac.state_heads AS h USING (tenant_id, state_id)
UNION ALL
SELECT o.tenant_id, o.id, 'orphan', NULL, NULL, NULL, NULL, NULL, NULL, '', o.source_id, o.asset_id, o.external_kind,
       o.external_id, o.name, NULL, NULL, NULL, NULL, o.observed_at, o.opened_at, o.seen_at, o.unsure_since,
       o.unsure_because, o.closed_at, o.closed_because, o.source
FROM iac.cloud_orphans AS o;

CREATE TABLE iac.coverage (
    tenant_id    uuid NOT NULL REFERENCES agent.tenants,
    source_id    integer NOT NULL,
    source       text NOT NULL,
    day          date NOT NULL,
    evaluated_at timestamptz NOT NULL,
    reading_at   timestamptz,
    complete     boolean NOT NULL,
    why          text,
    observed     integer NOT NULL,
    managed      integer NOT NULL,
    declared     integer NOT NULL,
    ignored      integer NOT NULL,
    drifting     integer NOT NULL,
    missing      integer NOT NULL,
    doubles      integer NOT NULL,
    orphans      integer NOT NULL,
    unknown      jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, source_id, day)
);
COMMENT ON TABLE iac.coverage IS 'How much of a source is declared, as last looked at on a day (Asia/Shanghai). Numbers are machines.';
COMMENT ON COLUMN iac.coverage.unknown IS 'How many declared machines could not be compared, by reason.';

-- === Hooks: an outbox that is written with the finding it tells of ===

CREATE TABLE iac.webhook_deliveries (
    tenant_id    uuid NOT NULL REFERENCES agent.tenants,
    id           uuid NOT NULL DEFAULT gen_random_uuid(),
    endpoint     text NOT NULL,
    event        text NOT NULL CHECK (event IN ('finding.opened', 'finding.closed')),
    finding_id   uuid NOT NULL,
    payload      text NOT NULL,
    created_at   timestamptz NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL,
    delivered_at timestamptz,
    given_up_at  timestamptz,
    last_status  integer,
    last_error   text,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, endpoint, finding_id, event)
);
CREATE INDEX webhook_deliveries_due ON iac.webhook_deliveries (tenant_id, next_at)
    WHERE delivered_at IS NULL AND given_up_at IS NULL;

-- findings of all tenants in numbers, for metrics that name no tenant
CREATE FUNCTION iac.open_findings() RETURNS TABLE (kind text, open bigint, unsure bigint, oldest timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('app.tenant', true), '');
    one uuid;
BEGIN
    FOR one IN SELECT t.id FROM agent.tenants AS t LOOP
        PERFORM set_config('app.tenant', one::text, true);
        RETURN QUERY SELECT f.kind, count(*), count(f.unsure_since), min(f.opened_at) FROM iac.findings AS f
                     WHERE f.tenant_id = one AND f.closed_at IS NULL GROUP BY f.kind;
    END LOOP;
    PERFORM set_config('app.tenant', before, true);
END
$$;
COMMENT ON FUNCTION iac.open_findings IS 'A row for each tenant and kind; it does not say which tenant.';
REVOKE ALL ON FUNCTION iac.open_findings FROM PUBLIC;
"""

TENANT_TABLES = (
    "iac.plans",
    "iac.plan_events",
    "iac.declared_machines",
    "iac.tenant_sources",
    "iac.resource_joins",
    "iac.drift_findings",
    "iac.cloud_orphans",
    "iac.coverage",
    "iac.webhook_deliveries",
)

GRANTS = """
GRANT SELECT, INSERT ON iac.plans TO asset_ledger_service;
GRANT SELECT ON iac.plan_events, iac.declared_machines, iac.tenant_sources, iac.resource_joins, iac.drift_findings,
    iac.cloud_orphans, iac.findings, iac.coverage TO asset_ledger_service;
GRANT EXECUTE ON FUNCTION iac.open_findings TO asset_ledger_service;
"""


def upgrade() -> None:
    """Make tables, policies and what the service may."""
    op.execute(STATEMENTS)
    for table in TENANT_TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING (tenant_id = {TENANT}) WITH CHECK (tenant_id = {TENANT})")
    op.execute(GRANTS)


def downgrade() -> None:
    """Drop what was made, findings and plans included."""
    op.execute("ALTER TABLE iac.states DROP COLUMN unread")
    op.execute("DROP FUNCTION iac.open_findings")
    op.execute("DROP VIEW iac.findings")
    for table in reversed(TENANT_TABLES):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP TYPE iac.doubt")
