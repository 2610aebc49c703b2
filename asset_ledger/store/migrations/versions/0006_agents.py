"""Agents that push: clients and their tokens, what they last said and what they said before, and who is there.

Revision ID: 0006

A client comes with a token before its tenant is known, as a user does. Its reports wait in `agent.reports` until a run of
Dagster moves them into the ledger. Whatever ends a token rings `agent_tokens`, since processes remember who holds one.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TENANT = "NULLIF((SELECT current_setting('app.tenant', true)), '')::uuid"
NAMED = "decode(NULLIF((SELECT current_setting('app.token_hash', true)), ''), 'hex')"

CLIENTS = """
CREATE TABLE agent.clients (
    tenant_id          uuid NOT NULL REFERENCES agent.tenants,
    id                 uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id            uuid REFERENCES agent.users,
    enrolled_by        text NOT NULL,
    machine_key        text CHECK (machine_key ~ '^[0-9a-f]{64}$'),
    hostname           text,
    os                 text,
    platform           text,
    arch               text,
    agent_version      text,
    status             text NOT NULL DEFAULT 'offline' CHECK (status IN ('online', 'offline')),
    status_at          timestamptz,
    registered_at      timestamptz NOT NULL DEFAULT now(),
    first_connected_at timestamptz,
    last_connected_at  timestamptz,
    last_seen          timestamptz,
    ip_address         inet,
    retired_at         timestamptz,
    PRIMARY KEY (tenant_id, id)
);
COMMENT ON COLUMN agent.clients.user_id IS 'Who enrolled it; NULL where that was a login of an identity provider.';
COMMENT ON COLUMN agent.clients.machine_key IS 'SHA-256 of what the machine says it is; the same machine enrolled again is the same client.';
COMMENT ON COLUMN agent.clients.status_at IS 'Since when it is that; offline: when it was last there, at most the time later that a beat holds.';
COMMENT ON COLUMN agent.clients.last_seen IS 'Written now and then, not with every beat.';
CREATE UNIQUE INDEX clients_machine ON agent.clients (tenant_id, machine_key) WHERE retired_at IS NULL;
CREATE INDEX clients_user_status ON agent.clients (tenant_id, user_id, status);
CREATE INDEX clients_last_seen ON agent.clients (tenant_id, last_seen DESC);
CREATE INDEX clients_status ON agent.clients (tenant_id, status);
-- the order of listings
CREATE INDEX clients_hostname ON agent.clients (tenant_id, (coalesce(hostname, '')), id);

CREATE TABLE agent.client_tokens (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL DEFAULT gen_random_uuid(),
    client_id  uuid NOT NULL,
    token_hash bytea NOT NULL,
    shown      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (token_hash),
    FOREIGN KEY (tenant_id, client_id) REFERENCES agent.clients
);
COMMENT ON COLUMN agent.client_tokens.expires_at IS 'Of one that its client has replaced: until when the old one holds too.';
CREATE INDEX client_tokens_client ON agent.client_tokens (tenant_id, client_id);

-- whatever ends a login is told to the processes that remember it: one client, or a whole tenant
CREATE FUNCTION agent.ring() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_notify('agent_tokens', CASE TG_TABLE_NAME WHEN 'client_tokens' THEN to_jsonb(NEW) ->> 'client_id'
                                                         WHEN 'tenants' THEN 'tenant:' || NEW.id
                                                         ELSE NEW.id::text END);
    RETURN NULL;
END
$$;
CREATE TRIGGER ring AFTER UPDATE OF revoked_at, expires_at ON agent.client_tokens
    FOR EACH ROW EXECUTE FUNCTION agent.ring();
CREATE TRIGGER ring AFTER UPDATE OF retired_at, user_id ON agent.clients
    FOR EACH ROW WHEN (OLD.retired_at IS DISTINCT FROM NEW.retired_at OR OLD.user_id IS DISTINCT FROM NEW.user_id)
    EXECUTE FUNCTION agent.ring();
CREATE TRIGGER ring AFTER UPDATE OF is_active ON agent.tenants
    FOR EACH ROW EXECUTE FUNCTION agent.ring();
"""

# Latest is written with every report: it has room on its pages and no index over what every report changes, so that such
# a write touches none.
INVENTORY = """
CREATE TABLE agent.inventory_latest (
    tenant_id            uuid NOT NULL,
    client_id            uuid NOT NULL,
    hostname             text,
    os                   text,
    platform             text,
    platform_version     text,
    kernel_version       text,
    arch                 text,
    cpu_count            integer,
    cpu_count_is         text CHECK (cpu_count_is IN ('logical', 'physical')),
    cpu_model            text,
    cpu_usage_percent    numeric(5, 2),
    memory_total         bigint,
    memory_used          bigint,
    memory_free          bigint,
    memory_usage_percent numeric(5, 2),
    disk_total           bigint,
    disk_used            bigint,
    disk_free            bigint,
    disk_usage_percent   numeric(5, 2),
    ip_addresses         text[] NOT NULL DEFAULT '{}',
    mac_addresses        text[] NOT NULL DEFAULT '{}',
    collected_at         timestamptz NOT NULL,
    received_at          timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    collected_date       date NOT NULL,
    digest               bytea NOT NULL,
    payload_sha256       bytea NOT NULL,
    again_at             timestamptz[] NOT NULL DEFAULT '{}',
    raw_data             jsonb NOT NULL,
    raw_at               timestamptz NOT NULL,
    since                timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, client_id),
    FOREIGN KEY (tenant_id, client_id) REFERENCES agent.clients
) WITH (fillfactor = 70);
COMMENT ON COLUMN agent.inventory_latest.disk_total IS 'Of the filesystems; disks of the hardware are another number.';
COMMENT ON COLUMN agent.inventory_latest.updated_at IS 'When what stays the same from one report to the next last changed here.';
COMMENT ON COLUMN agent.inventory_latest.digest IS 'SHA-256 of what stays the same from one report to the next.';
COMMENT ON COLUMN agent.inventory_latest.again_at IS 'When it was said again after the newest row of history, with nothing changed and on the same day.';
COMMENT ON COLUMN agent.inventory_latest.raw_at IS 'When raw_data was collected: a report that changed nothing leaves it.';
COMMENT ON COLUMN agent.inventory_latest.since IS 'When the newest row of history was collected.';
CREATE INDEX inventory_latest_os ON agent.inventory_latest (tenant_id, (raw_data -> 'host' ->> 'os'));
CREATE INDEX inventory_latest_platform ON agent.inventory_latest (tenant_id, (raw_data -> 'host' ->> 'platform'));
CREATE INDEX inventory_latest_raw ON agent.inventory_latest USING gin (raw_data jsonb_path_ops);

CREATE TABLE agent.inventory_history (
    tenant_id        uuid NOT NULL,
    id               bigint GENERATED ALWAYS AS IDENTITY,
    client_id        uuid NOT NULL,
    hostname         text,
    os               text,
    platform         text,
    platform_version text,
    kernel_version   text,
    arch             text,
    cpu_count        integer,
    cpu_count_is     text,
    cpu_model        text,
    memory_total     bigint,
    memory_used      bigint,
    disk_total       bigint,
    disk_used        bigint,
    ip_addresses     text[] NOT NULL DEFAULT '{}',
    mac_addresses    text[] NOT NULL DEFAULT '{}',
    change_type      text[] NOT NULL,
    change_summary   text NOT NULL,
    collected_at     timestamptz NOT NULL,
    collected_date   date NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    digest           bytea NOT NULL,
    payload_sha256   bytea,
    again_at         timestamptz[] NOT NULL DEFAULT '{}',
    raw_data         jsonb,
    PRIMARY KEY (collected_at, id)
) PARTITION BY RANGE (collected_at);
COMMENT ON COLUMN agent.inventory_history.again_at IS 'When it was said again with nothing changed and on the same day; of the newest row that stands in inventory_latest.';
COMMENT ON COLUMN agent.inventory_history.raw_data IS 'NULL where what was said is known from another report that said the same: see again_at.';
CREATE INDEX inventory_history_client ON agent.inventory_history (tenant_id, client_id, collected_at DESC, id DESC);
CREATE INDEX inventory_history_change_type ON agent.inventory_history USING gin (change_type);

CREATE TABLE agent.reports (
    tenant_id      uuid NOT NULL,
    id             bigint GENERATED ALWAYS AS IDENTITY,
    client_id      uuid NOT NULL,
    received_at    timestamptz NOT NULL,
    collected_at   timestamptz NOT NULL,
    collected_date date NOT NULL,
    payload        bytea NOT NULL,
    payload_sha256 bytea NOT NULL,
    peer           inet,
    agent_version  text,
    management_ip  inet,
    underived      text,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, client_id) REFERENCES agent.clients
);
COMMENT ON TABLE agent.reports IS 'Reports as received, until they are in the ledger.';
COMMENT ON COLUMN agent.reports.underived IS 'Why neither latest nor history was made of it, if that is so.';
CREATE UNIQUE INDEX reports_once ON agent.reports (tenant_id, client_id, collected_at, payload_sha256);

CREATE FUNCTION agent.waiting_reports(OUT reports bigint, OUT oldest timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('app.tenant', true), '');
    one uuid;
    mine record;
BEGIN
    reports := 0;
    FOR one IN SELECT id FROM agent.tenants LOOP
        PERFORM set_config('app.tenant', one::text, true);
        SELECT count(*) AS n, min(received_at) AS at INTO mine FROM agent.reports WHERE tenant_id = one;
        reports := reports + mine.n;
        oldest := least(oldest, mine.at);
    END LOOP;
    PERFORM set_config('app.tenant', before, true);
END
$$;
COMMENT ON FUNCTION agent.waiting_reports IS 'Over all tenants, for metrics that name none.';
REVOKE ALL ON FUNCTION agent.waiting_reports FROM PUBLIC;

-- One statement for most of all reports, in place of a transaction of four: what says nothing new takes its place here.
-- Nobody waits for the disk over it: should the server fail within the second, an agent is said to have been silent then.
CREATE FUNCTION agent.say_again(
    tenant_id uuid, client_id uuid, cpu_usage_percent numeric, memory_total bigint, memory_used bigint,
    memory_free bigint, memory_usage_percent numeric, disk_total bigint, disk_used bigint, disk_free bigint,
    disk_usage_percent numeric, collected_at timestamptz, received_at timestamptz, collected_date date, digest bytea,
    payload_sha256 bytea, dated boolean, most integer
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.tenant', say_again.tenant_id::text, true);
    -- what the digest is made of is as it was
    UPDATE agent.inventory_latest AS l
    SET cpu_usage_percent = say_again.cpu_usage_percent, memory_total = say_again.memory_total,
        memory_used = say_again.memory_used, memory_free = say_again.memory_free,
        memory_usage_percent = say_again.memory_usage_percent, disk_total = say_again.disk_total,
        disk_used = say_again.disk_used, disk_free = say_again.disk_free,
        disk_usage_percent = say_again.disk_usage_percent, collected_at = say_again.collected_at,
        received_at = say_again.received_at, payload_sha256 = say_again.payload_sha256,
        -- the last of them is known even of a row that is full: until then it held
        again_at = CASE WHEN cardinality(l.again_at) < most THEN l.again_at
                        ELSE l.again_at[1 : most - 1] END || say_again.collected_at
    WHERE l.tenant_id = say_again.tenant_id AND l.client_id = say_again.client_id AND l.digest = say_again.digest
      AND l.collected_date = say_again.collected_date AND l.collected_at < say_again.collected_at
      AND (l.payload_sha256 <> say_again.payload_sha256 OR NOT dated);
    IF NOT found THEN
        RETURN false;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN true;
END
$$;
COMMENT ON FUNCTION agent.say_again IS 'Write what is latest where nothing changed and it is of the same day; say whether it was so.';
REVOKE ALL ON FUNCTION agent.say_again FROM PUBLIC;
"""

# Who is there, without Redis. Beats and sweeps are of all tenants at once, which no policy of a tenant would let through:
# the owner's functions do them, and no more than that can be done by them. Instants come as ages in seconds: processes
# differ in their clocks, and the server's decides.
PRESENCE = """
CREATE UNLOGGED TABLE agent.presence (
    tenant_id      uuid NOT NULL,
    client_id      uuid NOT NULL,
    user_id        uuid,
    pod_id         text NOT NULL,
    connected_at   timestamptz NOT NULL,
    last_heartbeat timestamptz NOT NULL,
    ip_address     inet,
    PRIMARY KEY (tenant_id, client_id)
) WITH (fillfactor = 50);

CREATE UNLOGGED TABLE agent.presence_sweeps (
    backend  text PRIMARY KEY CHECK (backend IN ('redis', 'table')),
    since    timestamptz NOT NULL,
    swept_at timestamptz NOT NULL
);
COMMENT ON COLUMN agent.presence_sweeps.since IS 'Since when it was swept without a gap: who was silent before may not have been heard.';

CREATE FUNCTION agent.presence_flush(pod text, tenants uuid[], clients uuid[], users uuid[], ages float8[], ips inet[],
                                     fresh interval)
RETURNS TABLE (tenant_id uuid, client_id uuid)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH beats AS MATERIALIZED (
        SELECT DISTINCT ON (b.tenant_id, b.client_id) b.tenant_id, b.client_id, b.user_id, b.ip,
               statement_timestamp() - make_interval(secs => b.age) AS at
        FROM unnest(tenants, clients, users, ages, ips) AS b (tenant_id, client_id, user_id, age, ip)
        ORDER BY b.tenant_id, b.client_id, b.age),
    known AS MATERIALIZED (
        SELECT p.tenant_id, p.client_id FROM agent.presence AS p
        JOIN beats AS b ON (b.tenant_id, b.client_id) = (p.tenant_id, p.client_id)
        WHERE p.last_heartbeat > statement_timestamp() - fresh),
    written AS (
        INSERT INTO agent.presence AS p (tenant_id, client_id, user_id, pod_id, connected_at, last_heartbeat, ip_address)
        SELECT b.tenant_id, b.client_id, b.user_id, pod, b.at, b.at, b.ip FROM beats AS b
        ORDER BY b.tenant_id, b.client_id  -- writers that meet do so in one order
        ON CONFLICT ON CONSTRAINT presence_pkey DO UPDATE
            SET last_heartbeat = greatest(p.last_heartbeat, excluded.last_heartbeat), pod_id = excluded.pod_id,
                connected_at = CASE WHEN p.last_heartbeat > statement_timestamp() - fresh THEN p.connected_at
                                    ELSE excluded.connected_at END,
                user_id = excluded.user_id, ip_address = coalesce(excluded.ip_address, p.ip_address))
    SELECT b.tenant_id, b.client_id FROM beats AS b
    WHERE NOT EXISTS (SELECT FROM known AS k WHERE (k.tenant_id, k.client_id) = (b.tenant_id, b.client_id))
$$;
COMMENT ON FUNCTION agent.presence_flush IS 'Write beats; return whose last one before was no longer fresh.';
REVOKE ALL ON FUNCTION agent.presence_flush FROM PUBLIC;

CREATE FUNCTION agent.presence_silent(silence interval, most integer)
RETURNS TABLE (tenant_id uuid, client_id uuid, last_heartbeat timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.tenant_id, p.client_id, p.last_heartbeat FROM agent.presence AS p
    WHERE p.last_heartbeat < statement_timestamp() - silence
    ORDER BY p.last_heartbeat LIMIT most FOR UPDATE SKIP LOCKED
$$;
COMMENT ON FUNCTION agent.presence_silent IS 'Return who is silent, and keep others from them until the transaction ends.';
REVOKE ALL ON FUNCTION agent.presence_silent FROM PUBLIC;

CREATE FUNCTION agent.presence_drop(silence interval, tenants uuid[], clients uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM agent.presence AS p USING unnest(tenants, clients) AS d (tenant_id, client_id)
    WHERE (p.tenant_id, p.client_id) = (d.tenant_id, d.client_id)
      AND p.last_heartbeat < statement_timestamp() - silence
$$;
COMMENT ON FUNCTION agent.presence_drop IS 'Forget who is silent.';
REVOKE ALL ON FUNCTION agent.presence_drop FROM PUBLIC;

CREATE FUNCTION agent.presence_swept(which text, gap interval) RETURNS float8
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO agent.presence_sweeps AS s (backend, since, swept_at)
    VALUES (which, statement_timestamp(), statement_timestamp())
    ON CONFLICT (backend) DO UPDATE
        SET since = CASE WHEN s.swept_at < excluded.swept_at - gap THEN excluded.since ELSE s.since END,
            swept_at = excluded.swept_at
    RETURNING extract(epoch FROM swept_at - since)::float8
$$;
COMMENT ON FUNCTION agent.presence_swept IS 'Note a sweep; return for how many seconds there was no gap.';
REVOKE ALL ON FUNCTION agent.presence_swept FROM PUBLIC;

CREATE FUNCTION agent.presence_swept_ago(which text) RETURNS float8
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT extract(epoch FROM statement_timestamp() - s.swept_at)::float8 FROM agent.presence_sweeps AS s
    WHERE s.backend = which
$$;
REVOKE ALL ON FUNCTION agent.presence_swept_ago FROM PUBLIC;

CREATE FUNCTION agent.clients_online() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('app.tenant', true), '');
    one uuid;
    found bigint := 0;
BEGIN
    FOR one IN SELECT id FROM agent.tenants LOOP
        PERFORM set_config('app.tenant', one::text, true);
        found := found + (SELECT count(*) FROM agent.clients WHERE tenant_id = one AND status = 'online');
    END LOOP;
    PERFORM set_config('app.tenant', before, true);
    RETURN found;
END
$$;
COMMENT ON FUNCTION agent.clients_online IS 'Over all tenants, for metrics that name none.';
REVOKE ALL ON FUNCTION agent.clients_online FROM PUBLIC;

CREATE FUNCTION agent.clients_unseen(silence interval, most integer)
RETURNS TABLE (tenant_id uuid, client_id uuid, last_seen timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('app.tenant', true), '');
    one uuid;
BEGIN
    FOR one IN SELECT t.id FROM agent.tenants AS t LOOP
        PERFORM set_config('app.tenant', one::text, true);
        RETURN QUERY SELECT c.tenant_id, c.id, c.last_seen FROM agent.clients AS c
            WHERE c.tenant_id = one AND c.status = 'online'
              AND coalesce(c.last_seen, '-infinity') < statement_timestamp() - silence
            LIMIT most;
    END LOOP;
    PERFORM set_config('app.tenant', before, true);
END
$$;
COMMENT ON FUNCTION agent.clients_unseen IS 'Return who counts as online and was not seen for long, over all tenants.';
REVOKE ALL ON FUNCTION agent.clients_unseen FROM PUBLIC;

CREATE FUNCTION agent.clients_offline(tenants uuid[], clients uuid[])
RETURNS TABLE (tenant_id uuid, client_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('app.tenant', true), '');
    one record;
BEGIN
    FOR one IN SELECT a.tenant AS id, array_agg(a.client) AS asked FROM unnest(tenants, clients) AS a (tenant, client)
               GROUP BY a.tenant LOOP
        PERFORM set_config('app.tenant', one.id::text, true);
        RETURN QUERY SELECT c.tenant_id, c.id FROM agent.clients AS c
            WHERE c.tenant_id = one.id AND c.id = ANY(one.asked) AND c.status = 'offline' AND c.retired_at IS NULL;
    END LOOP;
    PERFORM set_config('app.tenant', before, true);
END
$$;
COMMENT ON FUNCTION agent.clients_offline IS 'Return which of these count as offline, and are not retired.';
REVOKE ALL ON FUNCTION agent.clients_offline FROM PUBLIC;
"""

VERSIONS = """
CREATE TABLE agent.agent_versions (
    tenant_id          uuid NOT NULL REFERENCES agent.tenants,
    id                 uuid NOT NULL DEFAULT gen_random_uuid(),
    version            text NOT NULL,
    release_date       timestamptz NOT NULL DEFAULT now(),
    is_latest          boolean NOT NULL DEFAULT false,
    changelog          text,
    min_server_version text,
    download_count     bigint NOT NULL DEFAULT 0,
    binaries           jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(binaries) = 'object'),
    withdrawn_at       timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, version)
);
COMMENT ON COLUMN agent.agent_versions.min_server_version IS 'The oldest asset_ledger that such an agent works with.';
CREATE UNIQUE INDEX agent_versions_latest ON agent.agent_versions (tenant_id) WHERE is_latest;
"""

TENANT_TABLES = (
    "agent.clients",
    "agent.client_tokens",
    "agent.inventory_latest",
    "agent.inventory_history",
    "agent.reports",
    "agent.presence",
    "agent.agent_versions",
)

# any month of the last two years: a report may have waited on its machine
MAKE_MONTH = """
CREATE OR REPLACE FUNCTION audit.make_month(parent text, day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first_day date := date_trunc('month', day)::date;
    part text := split_part(parent, '.', 2) || to_char(first_day, '"_y"YYYY"m"MM');
    this_month date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date;
    due boolean := first_day BETWEEN this_month - {back} AND this_month + interval '2 months';
BEGIN
    IF parent NOT IN ({parents}) THEN
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
$$
"""

GRANTS = """
GRANT SELECT, INSERT ON agent.clients, agent.client_tokens, agent.inventory_latest TO asset_ledger_service;
GRANT UPDATE (user_id, enrolled_by, hostname, os, platform, arch, agent_version, status, status_at, first_connected_at,
    last_connected_at, last_seen, ip_address, retired_at) ON agent.clients TO asset_ledger_service;
GRANT UPDATE (expires_at, revoked_at) ON agent.client_tokens TO asset_ledger_service;
GRANT UPDATE ON agent.inventory_latest TO asset_ledger_service;
GRANT SELECT, INSERT, UPDATE ON agent.inventory_history TO asset_ledger_service;
GRANT SELECT, INSERT ON agent.reports TO asset_ledger_service;
GRANT SELECT ON agent.presence TO asset_ledger_service;
GRANT SELECT, INSERT, UPDATE ON agent.agent_versions TO asset_ledger_service;
GRANT EXECUTE ON FUNCTION agent.say_again, agent.waiting_reports, agent.presence_flush, agent.presence_silent, agent.presence_drop,
    agent.presence_swept, agent.presence_swept_ago, agent.clients_online, agent.clients_unseen,
    agent.clients_offline TO asset_ledger_service;
"""


def _month_maker(back: str, *parents: str) -> str:
    return MAKE_MONTH.replace("{back}", back).replace("{parents}", ", ".join(f"'{each}'" for each in parents))


def upgrade() -> None:
    """Make tables, policies and what the service may."""
    for statements in (CLIENTS, INVENTORY, PRESENCE, VERSIONS):
        op.execute(statements)
    for table in TENANT_TABLES:
        by_hash = f" OR token_hash = {NAMED}" if table == "agent.client_tokens" else ""
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant ON {table} USING (tenant_id = {TENANT}{by_hash}) WITH CHECK (tenant_id = {TENANT})"
        )
    op.execute("CREATE POLICY beats ON agent.presence TO CURRENT_USER USING (true) WITH CHECK (true)")
    history = "agent.inventory_history"
    back = f"CASE parent WHEN '{history}' THEN interval '24 months' ELSE interval '1 month' END"
    op.execute(_month_maker(back, "audit.audit_logs", "iac.resource_events", history))
    op.execute(GRANTS)


def downgrade() -> None:
    """Drop what was made, reports and history included."""
    op.execute(_month_maker("interval '1 month'", "audit.audit_logs", "iac.resource_events"))
    op.execute("DROP TRIGGER ring ON agent.tenants")
    for table in reversed(TENANT_TABLES):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP TABLE agent.presence_sweeps")
    op.execute(
        "DROP FUNCTION agent.ring, agent.say_again, agent.waiting_reports, agent.presence_flush, agent.presence_silent,"
        " agent.presence_drop, agent.presence_swept, agent.presence_swept_ago, agent.clients_online, agent.clients_unseen,"
        " agent.clients_offline"
    )
