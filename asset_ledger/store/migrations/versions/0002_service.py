"""The HTTP service: tenants, users, tokens and audit, and the states of infrastructure as code.

Revision ID: 0002

What belongs to a tenant is kept apart by row-level security, which holds for the owner too. The service works as
`asset_ledger_service`, a role that owns nothing; it says in every transaction whose rows it may see (`app.tenant`).
Three tables are asked before the tenant is known: there one sees the row that one can name.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TENANT = "NULLIF((SELECT current_setting('app.tenant', true)), '')::uuid"


def _named(setting: str) -> str:
    return f"NULLIF((SELECT current_setting('{setting}', true)), '')"


STATEMENTS = """
CREATE SCHEMA agent;
CREATE SCHEMA audit;
CREATE SCHEMA iac;

-- === Who may do what ===

CREATE TABLE agent.tenants (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name       text NOT NULL UNIQUE CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    hash_key   bytea NOT NULL,
    key_id     text NOT NULL,
    is_active  boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN agent.tenants.hash_key IS 'The key of the hashes that stand in the place of secrets, encrypted with key `key_id` of the key ring.';

CREATE TABLE agent.users (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    username      text NOT NULL UNIQUE CHECK (username ~ '^[A-Za-z0-9][A-Za-z0-9._@+-]{0,126}$'),
    email         text UNIQUE,
    password_hash text,
    is_active     boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    last_login_at timestamptz
);
COMMENT ON COLUMN agent.users.password_hash IS 'argon2id; NULL of a user who comes by tokens or a foreign login alone.';

CREATE TABLE agent.memberships (
    tenant_id  uuid NOT NULL REFERENCES agent.tenants,
    user_id    uuid NOT NULL REFERENCES agent.users,
    role       text NOT NULL CHECK (role IN ('reader', 'writer', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id)
);

CREATE TABLE agent.api_tokens (
    tenant_id    uuid NOT NULL REFERENCES agent.tenants,
    id           uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id      uuid NOT NULL REFERENCES agent.users,
    name         text NOT NULL,
    token_hash   bytea NOT NULL,
    shown        text NOT NULL,
    role         text NOT NULL CHECK (role IN ('reader', 'writer', 'admin')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (token_hash)
);
COMMENT ON COLUMN agent.api_tokens.token_hash IS 'SHA-256 of 256 random bits: no salt or slow hash would add anything.';
COMMENT ON COLUMN agent.api_tokens.shown IS 'Its first characters, by which a person knows it again.';
COMMENT ON COLUMN agent.api_tokens.role IS 'The most it may; the membership of its user may allow less.';
CREATE INDEX api_tokens_user ON agent.api_tokens (tenant_id, user_id);

CREATE TABLE audit.audit_logs (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    created_at   timestamptz NOT NULL DEFAULT now(),
    tenant_id    uuid,
    user_id      uuid,
    client_id    uuid,
    actor        text NOT NULL,
    event_type   text NOT NULL,
    event_action text NOT NULL,
    event_result text NOT NULL CHECK (event_result IN ('success', 'refused', 'failed')),
    ip_address   inet,
    user_agent   text,
    request_id   text,
    details      jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (created_at, id)
) PARTITION BY RANGE (created_at);
CREATE INDEX audit_logs_tenant ON audit.audit_logs (tenant_id, created_at DESC);
CREATE INDEX audit_logs_type ON audit.audit_logs (event_type, created_at DESC);

-- === States ===

CREATE TABLE iac.state_heads (
    tenant_id    uuid NOT NULL REFERENCES agent.tenants,
    state_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    tool         text NOT NULL CHECK (tool IN ('terraform', 'pulumi')),
    project      text NOT NULL,
    stack        text NOT NULL,
    head_version bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, state_id),
    UNIQUE (tenant_id, tool, project, stack)
);
COMMENT ON COLUMN iac.state_heads.head_version IS 'Our own counter, without gaps; 0 where nothing was written yet.';

CREATE TABLE iac.states (
    tenant_id    uuid NOT NULL,
    state_id     uuid NOT NULL,
    version      bigint NOT NULL CHECK (version > 0),
    body         bytea NOT NULL,
    key_id       text NOT NULL,
    size_bytes   bigint NOT NULL,
    sha256       bytea NOT NULL,
    md5          bytea NOT NULL,
    kind         text NOT NULL,
    serial       bigint,
    lineage      text,
    tool_version text,
    run_id       text,
    operation    text,
    actor        text NOT NULL,
    user_id      uuid,
    flags        text[] NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    parsed_at    timestamptz,
    parse_error  text,
    PRIMARY KEY (tenant_id, state_id, version),
    FOREIGN KEY (tenant_id, state_id) REFERENCES iac.state_heads
);
ALTER TABLE iac.states ALTER COLUMN body SET STORAGE EXTERNAL;
COMMENT ON COLUMN iac.states.body IS 'The bytes as received, compressed, then encrypted with key `key_id`; bound to tenant, state and version.';
COMMENT ON COLUMN iac.states.run_id IS 'The id of the lock it was written under; versions of one lock are one run.';
CREATE INDEX states_unparsed ON iac.states (tenant_id, state_id, version) WHERE parsed_at IS NULL;

CREATE TABLE iac.state_locks (
    tenant_id  uuid NOT NULL,
    state_id   uuid NOT NULL,
    lock_id    text NOT NULL,
    info       bytea NOT NULL,
    operation  text,
    who        text,
    actor      text NOT NULL,
    user_id    uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, state_id),
    FOREIGN KEY (tenant_id, state_id) REFERENCES iac.state_heads
);
COMMENT ON COLUMN iac.state_locks.info IS 'What the holder sent, byte for byte: the loser is shown it.';
COMMENT ON COLUMN iac.state_locks.who IS 'What the holder says of itself. Who it is stands in actor.';

-- === Derived from the states; nothing secret is in it. Made again from them by `state rebuild`. ===

CREATE TABLE iac.resource_events (
    tenant_id      uuid NOT NULL,
    state_id       uuid NOT NULL,
    version        bigint NOT NULL,
    sequence       integer NOT NULL,
    id             uuid NOT NULL,
    run_id         text NOT NULL,
    stable_uid     uuid NOT NULL,
    provider       text NOT NULL,
    resource_type  text NOT NULL,
    addr           text NOT NULL,
    deposed        text NOT NULL DEFAULT '',
    previous_addr  text,
    action         text NOT NULL CHECK (action IN ('create', 'update', 'delete', 'replace', 'moved', 'forget', 'import',
                                                   'taint', 'untaint', 'deposed', 'drift')),
    patch_json     jsonb NOT NULL,
    before_hash    text,
    after_hash     text,
    at             timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, state_id, version, sequence, at)
) PARTITION BY RANGE (at);
COMMENT ON COLUMN iac.resource_events.patch_json IS 'RFC 6902 over redacted attributes.';
CREATE INDEX resource_events_uid ON iac.resource_events (tenant_id, stable_uid, version);
CREATE INDEX resource_events_at ON iac.resource_events (tenant_id, at DESC);

CREATE TABLE iac.resources_current (
    tenant_id     uuid NOT NULL,
    state_id      uuid NOT NULL,
    stable_uid    uuid NOT NULL,
    addr          text NOT NULL,
    deposed       text NOT NULL DEFAULT '',
    provider      text NOT NULL,
    alias         text NOT NULL,
    resource_type text NOT NULL,
    scope         text NOT NULL,
    name_digest   uuid NOT NULL,
    native_key    text,
    incarnation   text,
    machine_kind  text,
    machine_id    text,
    tainted       boolean NOT NULL,
    attrs         jsonb NOT NULL,
    attrs_hash    text NOT NULL,
    digest        bytea NOT NULL,
    first_version bigint NOT NULL,
    last_version  bigint NOT NULL,
    last_run_id   text NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, state_id, stable_uid),
    FOREIGN KEY (tenant_id, state_id) REFERENCES iac.state_heads
);
COMMENT ON COLUMN iac.resources_current.digest IS 'Of the attributes as they are, keyed: an unchanged one is not looked into.';
CREATE INDEX resources_current_native ON iac.resources_current (tenant_id, native_key) WHERE native_key IS NOT NULL;
CREATE INDEX resources_current_machine ON iac.resources_current (tenant_id, machine_kind, machine_id)
    WHERE machine_id IS NOT NULL;

CREATE TABLE iac.dependency_edges (
    tenant_id uuid NOT NULL,
    state_id  uuid NOT NULL,
    src_uid   uuid NOT NULL,
    dst_uid   uuid NOT NULL,
    kind      text NOT NULL,
    PRIMARY KEY (tenant_id, src_uid, dst_uid, state_id, kind)
);
CREATE INDEX dependency_edges_back ON iac.dependency_edges (tenant_id, dst_uid, src_uid);
CREATE INDEX dependency_edges_state ON iac.dependency_edges (tenant_id, state_id);
"""

TENANT_TABLES = (
    "agent.memberships",
    "agent.api_tokens",
    "audit.audit_logs",
    "iac.state_heads",
    "iac.states",
    "iac.state_locks",
    "iac.resource_events",
    "iac.resources_current",
    "iac.dependency_edges",
)
# what is asked before the tenant is known, and by what
NAMED = {
    "agent.api_tokens": f"token_hash = decode({_named('app.token_hash')}, 'hex')",
}

ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'asset_ledger_service') THEN
        CREATE ROLE asset_ledger_service NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server made it at the same moment
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION '% may not make the role of the HTTP service', current_user USING
            ERRCODE = 'insufficient_privilege',
            HINT = format('have an administrator of the server run: CREATE ROLE asset_ledger_service NOLOGIN; '
                          'GRANT asset_ledger_service TO %I', current_user);
END
$$;
DO $$
BEGIN
    EXECUTE format('GRANT asset_ledger_service TO %I', current_user);
EXCEPTION
    -- it was granted by who made it, or is being granted by another database's migration
    WHEN insufficient_privilege OR internal_error OR unique_violation THEN NULL;
END
$$;
DO $$
BEGIN
    -- without this the schema would stand and the service could not work
    IF NOT pg_has_role(current_user, 'asset_ledger_service',
                       CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
        RAISE EXCEPTION '% may not take the role of the HTTP service', current_user USING
            ERRCODE = 'insufficient_privilege',
            HINT = format('have an administrator of the server run: GRANT asset_ledger_service TO %I', current_user);
    END IF;
END
$$;
"""

# All run as the owner of the tables, whoever asks: a partition is made by who owns the table, the versions that wait are
# counted over all tenants, and so is looked whether the ring of keys is theirs. The owner is under row-level security too, so it looks as one tenant after another.
FUNCTIONS = """
CREATE FUNCTION audit.make_month(parent text, day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first_day date := date_trunc('month', day)::date;
    part text := split_part(parent, '.', 2) || to_char(first_day, '"_y"YYYY"m"MM');
    this_month date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date;
    due boolean := first_day BETWEEN this_month - interval '1 month' AND this_month + interval '2 months';
BEGIN
    IF parent NOT IN ('audit.audit_logs', 'iac.resource_events') THEN
        RAISE EXCEPTION '% has no months', parent;
    END IF;
    IF to_regclass(format('%I.%I', split_part(parent, '.', 1), part)) IS NOT NULL THEN
        RETURN false;
    END IF;
    IF NOT due AND parent = 'iac.resource_events' THEN
        -- an old version that is read again: its month is due because it stands there
        due := EXISTS (SELECT FROM iac.states WHERE created_at >= first_day::timestamp AT TIME ZONE 'UTC'
                       AND created_at < (first_day + interval '1 month') AT TIME ZONE 'UTC');
    END IF;
    IF due IS NOT TRUE THEN
        RAISE EXCEPTION '% has no rows of % to come', parent, day;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('asset_ledger.partitions'));
    EXECUTE format('CREATE TABLE IF NOT EXISTS %I.%I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
                   split_part(parent, '.', 1), part, parent,
                   first_day || ' 00:00+00', (first_day + interval '1 month')::date || ' 00:00+00');
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION audit.make_month FROM PUBLIC;

CREATE FUNCTION iac.waiting(OUT versions bigint, OUT oldest timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- `SET app.tenant` in the head would put it back by itself, but takes a superuser
    before text := coalesce(current_setting('app.tenant', true), '');
    one uuid;
    mine record;
BEGIN
    versions := 0;
    FOR one IN SELECT id FROM agent.tenants LOOP
        PERFORM set_config('app.tenant', one::text, true);
        SELECT count(*) AS n, min(created_at) AS at INTO mine
        FROM iac.states WHERE tenant_id = one AND parsed_at IS NULL;
        versions := versions + mine.n;
        oldest := least(oldest, mine.at);
    END LOOP;
    PERFORM set_config('app.tenant', before, true);
END
$$;
REVOKE ALL ON FUNCTION iac.waiting FROM PUBLIC;

-- one encrypted key for each key of the ring that such are under: enough to tell a wrong ring, and no list of tenants
CREATE FUNCTION agent.key_samples() RETURNS TABLE (tenant_id uuid, key_id text, hash_key bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT ON (t.key_id) t.id, t.key_id, t.hash_key FROM agent.tenants AS t ORDER BY t.key_id, t.created_at
$$;
REVOKE ALL ON FUNCTION agent.key_samples FROM PUBLIC;
"""

GRANTS = """
GRANT USAGE ON SCHEMA agent, audit, iac TO asset_ledger_service;
GRANT SELECT ON agent.tenants, agent.users, agent.memberships TO asset_ledger_service;
GRANT UPDATE (last_login_at) ON agent.users TO asset_ledger_service;
GRANT SELECT, INSERT ON agent.api_tokens TO asset_ledger_service;
GRANT UPDATE (last_used_at, revoked_at) ON agent.api_tokens TO asset_ledger_service;
GRANT SELECT, INSERT ON audit.audit_logs TO asset_ledger_service;
GRANT SELECT, INSERT, UPDATE (head_version) ON iac.state_heads TO asset_ledger_service;
GRANT SELECT, INSERT ON iac.states TO asset_ledger_service;
GRANT SELECT, INSERT, DELETE ON iac.state_locks TO asset_ledger_service;
GRANT SELECT ON iac.resource_events, iac.resources_current, iac.dependency_edges TO asset_ledger_service;
GRANT EXECUTE ON FUNCTION audit.make_month, iac.waiting, agent.key_samples TO asset_ledger_service;
GRANT SELECT ON public.alembic_version TO asset_ledger_service;
"""


def upgrade() -> None:
    """Make schemas, tables, policies and the service's role."""
    op.execute(STATEMENTS)
    op.execute(ROLE)
    for table in TENANT_TABLES:
        seen = f"tenant_id = {TENANT}"
        by_name = f" OR {NAMED[table]}" if table in NAMED else ""
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({seen}{by_name}) WITH CHECK ({seen})")
    # a refused login has no tenant, and must be told all the same; whoever owns the installation reads those
    op.execute("DROP POLICY tenant ON audit.audit_logs")
    op.execute(f"CREATE POLICY read ON audit.audit_logs FOR SELECT USING (tenant_id = {TENANT})")
    op.execute(
        f"CREATE POLICY told ON audit.audit_logs FOR INSERT WITH CHECK (tenant_id IS NOT DISTINCT FROM {TENANT})"
    )
    op.execute("CREATE POLICY nobody ON audit.audit_logs FOR SELECT TO CURRENT_USER USING (tenant_id IS NULL)")
    # no tenant's rows, but nobody may list them: the service sees whom it can name
    op.execute("ALTER TABLE agent.tenants ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY named ON agent.tenants USING (id = {TENANT} OR name = {_named('app.tenant_name')})")
    op.execute("ALTER TABLE agent.users ENABLE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY named ON agent.users USING (username = {_named('app.username')} OR EXISTS (SELECT FROM agent.memberships AS m"
        f" WHERE m.user_id = users.id AND m.tenant_id = {TENANT}))"
    )
    op.execute(FUNCTIONS)
    op.execute(GRANTS)


def downgrade() -> None:
    """Drop the schemas and all they hold. The role stays: other databases of the server may use it."""
    op.execute("DROP SCHEMA iac CASCADE")
    op.execute("DROP SCHEMA audit CASCADE")
    op.execute("DROP SCHEMA agent CASCADE")
    op.execute("REVOKE ALL ON public.alembic_version FROM asset_ledger_service")
