"""The ledger: sources, raw readings, normalized documents, ledger assets and their daily history.

Revision ID: 0001
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE SCHEMA ledger;

CREATE TABLE ledger.sources (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL UNIQUE,
    platform      text NOT NULL,
    platform_type text NOT NULL,
    source_type   text NOT NULL,
    zone          text NOT NULL,
    naming_rank   smallint NOT NULL,
    specs_rank    smallint NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ledger.sources IS 'One configured instance of a platform. The lower rank wins where two sources describe one asset.';

-- One reading of one scope of a source. 'reading' while raw comes in, 'raw' once it is whole, then 'derived'.
CREATE TABLE ledger.inventories (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id      integer NOT NULL REFERENCES ledger.sources,
    scope          text NOT NULL,
    collected_date date NOT NULL,
    collected_at   timestamptz NOT NULL,
    run_id         text,
    mode           text NOT NULL,
    complete       boolean NOT NULL,
    proof          jsonb NOT NULL DEFAULT '{}',
    status         text NOT NULL CHECK (status IN ('reading', 'raw', 'derived', 'interrupted', 'failed')),
    parser_version integer,
    report         jsonb NOT NULL DEFAULT '{}',
    error_code     text,
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    derived_at     timestamptz
);
CREATE INDEX ON ledger.inventories (source_id, collected_date, collected_at, id);
CREATE INDEX ON ledger.inventories (run_id);

-- Raw evidence, kept for ever. `body` is gzip of the bytes as received, redacted; `sha256` is of the bytes
-- before redaction.
CREATE SEQUENCE ledger.asset_observations_id_seq;
CREATE TABLE ledger.asset_observations (
    id             bigint NOT NULL DEFAULT nextval('ledger.asset_observations_id_seq'),
    collected_date date NOT NULL,
    inventory_id   bigint NOT NULL,
    source_id      integer NOT NULL,
    source_type    text NOT NULL,
    target         text NOT NULL,
    observed_at    timestamptz NOT NULL,
    media_type     text NOT NULL,
    body           bytea NOT NULL,
    body_bytes     bigint NOT NULL,
    sha256         bytea NOT NULL,
    redacted       boolean NOT NULL,
    payload        jsonb NOT NULL,
    PRIMARY KEY (collected_date, id)
) PARTITION BY RANGE (collected_date);
ALTER TABLE ledger.asset_observations ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX ON ledger.asset_observations (inventory_id, id);
CREATE INDEX ON ledger.asset_observations (source_id, sha256);

-- What a source said of one machine, content-addressed: a day on which nothing changed adds no row.
CREATE TABLE ledger.normalized_assets (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id      integer NOT NULL,
    external_kind  text NOT NULL,
    external_id    text NOT NULL,
    digest         bytea NOT NULL,
    parser_version integer NOT NULL,
    inventory_id   bigint NOT NULL,
    observation_id bigint NOT NULL,
    locator        text NOT NULL,
    document       jsonb NOT NULL,
    UNIQUE (source_id, digest)
);

CREATE TABLE ledger.assets (
    id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    zone                 text NOT NULL,
    asset_type           text CHECK (asset_type IN ('vm', 'physical', 'cluster')),
    platform_type        text NOT NULL,
    hostname             text,
    mgmt_ip              inet,
    cpu_cores            integer,
    memory_bytes         bigint,
    disk_total_bytes     bigint,
    os_family            text,
    os_version           text,
    power_state          text,
    protocol             text,
    port                 integer,
    credential_ref       text,
    custom_fields        jsonb NOT NULL DEFAULT '{}',
    merged_into_asset_id uuid,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    deleted_at           timestamptz
);
CREATE INDEX ON ledger.assets (mgmt_ip, zone);
CREATE INDEX ON ledger.assets (lower(hostname));

-- Who a machine is to a source. `last_seen_at` moves every day, so rows leave room for updates in place.
CREATE TABLE ledger.asset_source_links (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id      integer NOT NULL REFERENCES ledger.sources,
    external_kind  text NOT NULL,
    external_id    text NOT NULL,
    asset_id       uuid NOT NULL,
    normalized_id  bigint NOT NULL,
    record_digest  bytea NOT NULL,
    inventory_id   bigint NOT NULL,
    first_seen_at  timestamptz NOT NULL,
    last_seen_date date NOT NULL,
    last_seen_at   timestamptz NOT NULL,
    closed_at      timestamptz
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX ON ledger.asset_source_links (source_id, external_kind, external_id) WHERE closed_at IS NULL;
CREATE INDEX ON ledger.asset_source_links (asset_id);

CREATE TABLE ledger.identity_resolutions (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    inventory_id  bigint NOT NULL,
    source_id     integer NOT NULL,
    external_kind text NOT NULL,
    external_id   text NOT NULL,
    rule          text NOT NULL,
    outcome       text NOT NULL CHECK (outcome IN ('created', 'attached', 'conflict')),
    asset_id      uuid,
    inputs        jsonb NOT NULL,
    resolved_at   timestamptz NOT NULL
);
COMMENT ON TABLE ledger.identity_resolutions IS 'Append-only: how each machine got its id. Written when a link begins, not on every sighting.';
CREATE INDEX ON ledger.identity_resolutions (source_id, external_kind, external_id);

CREATE TABLE ledger.asset_aliases (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_id   uuid NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('hostname', 'fqdn', 'other')),
    value      text NOT NULL,
    source     text NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (asset_id, kind, value)
);
CREATE INDEX ON ledger.asset_aliases (kind, lower(value));

-- `last_seen_at` is NULL while the source's latest word still has the identifier: it is then as old as the link.
CREATE TABLE ledger.asset_identifiers (
    asset_id      uuid NOT NULL,
    source_id     integer NOT NULL,
    kind          text NOT NULL,
    value         text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz,
    PRIMARY KEY (asset_id, source_id, kind, value)
);
CREATE INDEX ON ledger.asset_identifiers (value, kind) WHERE last_seen_at IS NULL;

-- What one source said of one asset on one day. A NULL has its reason in `unknown`, by field path; '*' is all of them.
CREATE TABLE ledger.asset_daily_specs (
    collected_date   date NOT NULL,
    asset_id         uuid NOT NULL,
    source_id        integer NOT NULL,
    collected_at     timestamptz NOT NULL,
    cpu_cores        integer,
    memory_bytes     bigint,
    disk_total_bytes bigint,
    os_family        text,
    os_version       text,
    platform_type    text NOT NULL,
    inventory_id     bigint NOT NULL,
    normalized_id    bigint,
    unknown          jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (collected_date, asset_id, source_id)
) PARTITION BY RANGE (collected_date);
CREATE INDEX ON ledger.asset_daily_specs (asset_id, collected_date);

CREATE TABLE ledger.asset_daily_ips (
    collected_date date NOT NULL,
    asset_id       uuid NOT NULL,
    source_id      integer NOT NULL,
    ip             inet NOT NULL,
    collected_at   timestamptz NOT NULL,
    inventory_id   bigint NOT NULL,
    PRIMARY KEY (collected_date, asset_id, source_id, ip)
) PARTITION BY RANGE (collected_date);

CREATE TABLE ledger.asset_tags (
    asset_id   uuid NOT NULL,
    tag        text NOT NULL,
    added_by   text NOT NULL,
    added_at   timestamptz NOT NULL,
    removed_by text,
    removed_at timestamptz,
    PRIMARY KEY (asset_id, tag)
);
COMMENT ON TABLE ledger.asset_tags IS 'A tag that a person removed keeps its row, so that no sync brings it back.';
CREATE INDEX ON ledger.asset_tags (tag) WHERE removed_at IS NULL;

CREATE TABLE ledger.database_instances (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    source_id     integer NOT NULL,
    instance_key  text NOT NULL,
    zone          text NOT NULL,
    name          text NOT NULL,
    host          text NOT NULL,
    host_ip       inet,
    port          integer,
    db_type       text,
    custom_fields jsonb NOT NULL DEFAULT '{}',
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    inventory_id  bigint NOT NULL,
    UNIQUE (source_id, instance_key)
);

CREATE TABLE ledger.instance_asset_links (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance_id     uuid NOT NULL REFERENCES ledger.database_instances,
    asset_id        uuid NOT NULL,
    link_type       text NOT NULL CHECK (link_type IN ('auto', 'manual')),
    match_status    text NOT NULL CHECK (match_status IN ('candidate', 'confirmed', 'rejected')),
    confidence      smallint NOT NULL CHECK (confidence BETWEEN 0 AND 100),
    matched_by_rule text NOT NULL,
    evidence        jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    UNIQUE (instance_id, asset_id)
);
CREATE INDEX ON ledger.instance_asset_links (asset_id);

CREATE SEQUENCE ledger.sync_target_records_id_seq;
CREATE TABLE ledger.sync_target_records (
    id             bigint NOT NULL DEFAULT nextval('ledger.sync_target_records_id_seq'),
    collected_date date NOT NULL,
    run_id         text,
    sync_category  text NOT NULL DEFAULT 'asset_inventory',
    source_id      integer NOT NULL,
    inventory_id   bigint,
    scope          text NOT NULL,
    mode           text NOT NULL,
    target         text NOT NULL,
    asset_id       uuid,
    started_at     timestamptz NOT NULL,
    duration_ms    integer NOT NULL,
    status         text NOT NULL CHECK (status IN ('ok', 'partial', 'failed', 'skipped')),
    error_code     text,
    retryable      boolean,
    message        text,
    advice         text,
    effect         text NOT NULL,
    details        jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (collected_date, id)
) PARTITION BY RANGE (collected_date);
CREATE INDEX ON ledger.sync_target_records (run_id, status);
CREATE INDEX ON ledger.sync_target_records (source_id, collected_date, status);
CREATE INDEX ON ledger.sync_target_records (inventory_id);

CREATE AGGREGATE ledger.merge_objects(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}');
COMMENT ON AGGREGATE ledger.merge_objects(jsonb) IS 'Objects put over one another in order: the last one wins a key.';

-- The typed reading of a normalized-v1 document: the only place where SQL knows its paths.
CREATE VIEW ledger.normalized_facts AS
SELECT n.id,
       n.source_id,
       n.external_kind,
       n.external_id,
       n.document ->> 'kind'                                        AS kind,
       n.document ->> 'asset_type'                                  AS asset_type,
       n.document #>> '{identity,hostname}'                         AS hostname,
       (n.document #>> '{identity,mgmt_ip}')::inet                  AS mgmt_ip,
       (n.document #>> '{hardware,cpu_count}')::integer             AS cpu_cores,
       (n.document #>> '{hardware,memory_bytes}')::bigint           AS memory_bytes,
       (n.document #>> '{hardware,disk_total_bytes}')::bigint       AS disk_total_bytes,
       n.document #>> '{os,family}'                                 AS os_family,
       n.document #>> '{os,version}'                                AS os_version,
       n.document #>> '{runtime,power_state}'                       AS power_state,
       n.document #>> '{access,protocol}'                           AS protocol,
       (n.document #>> '{access,port}')::integer                    AS port,
       n.document #>> '{access,credential_ref}'                     AS credential_ref,
       n.document -> 'custom_fields'                                AS custom_fields,
       n.document #> '{network,ip_addresses}'                       AS ip_addresses,
       n.document -> 'identifiers'                                  AS identifiers,
       n.document -> 'tags'                                         AS tags,
       n.document -> 'unknown'                                      AS unknown
FROM ledger.normalized_assets n;
"""


def upgrade() -> None:
    op.execute(STATEMENTS)


def downgrade() -> None:
    op.execute("DROP SCHEMA ledger CASCADE")
