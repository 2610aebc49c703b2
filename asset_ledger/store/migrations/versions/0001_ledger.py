"""The ledger: raw readings and decisions, which are evidence, and everything that is derived from the two.

Revision ID: 0001
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE SCHEMA ledger;

-- === Evidence: what was received and what was decided. Append-only; `rebuild` never touches it. ===

CREATE TABLE ledger.sources (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL UNIQUE,
    platform      text NOT NULL,
    platform_type text NOT NULL,
    source_type   text NOT NULL,
    zone          text NOT NULL,
    naming_rank   smallint NOT NULL,
    specs_rank    smallint NOT NULL,
    os_rank       smallint GENERATED ALWAYS AS
                      (CASE WHEN source_type IN ('probe', 'agent') THEN 0 ELSE specs_rank END) STORED,
    created_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ledger.sources IS 'One configured instance of a platform. The lower rank wins where two sources describe one asset.';
COMMENT ON COLUMN ledger.sources.os_rank IS 'What runs inside a machine knows its operating system best.';

-- One reading of one scope of a source. 'reading' while raw comes in, 'raw' once it is whole, then 'derived'.
-- `covers` names the external kinds that a complete reading speaks of; empty means all of the source. `absences` says
-- whether what a complete reading did not see counts as missing ('applied') or waits for a person ('held').
CREATE TABLE ledger.inventories (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id      integer NOT NULL REFERENCES ledger.sources,
    scope          text NOT NULL,
    covers         text[] NOT NULL DEFAULT '{}',
    collected_date date NOT NULL,
    collected_at   timestamptz NOT NULL,
    run_id         text,
    mode           text NOT NULL,
    complete       boolean NOT NULL,
    proof          jsonb NOT NULL DEFAULT '{}',
    absences       text CHECK (absences IN ('applied', 'held')),
    resolved_to    bigint,
    held_at        timestamptz,
    unseen         jsonb NOT NULL DEFAULT '{}',
    status         text NOT NULL CHECK (status IN ('reading', 'raw', 'derived', 'interrupted', 'failed')),
    parser_version integer,
    report         jsonb NOT NULL DEFAULT '{}',
    error_code     text,
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    derived_at     timestamptz
);
COMMENT ON COLUMN ledger.inventories.held_at IS 'When a replay held what had been applied until then; NULL of what was held from the start.';
COMMENT ON COLUMN ledger.inventories.unseen IS 'By external kind: how many known assets there were and how many of them a complete reading did not see.';
COMMENT ON COLUMN ledger.inventories.derived_at IS 'When it was derived first; what later replays changed stands in asset_daily_corrections.';
COMMENT ON COLUMN ledger.inventories.resolved_to IS 'The newest identity resolution there was when its records were given to their machines.';
CREATE INDEX ON ledger.inventories (source_id, collected_date, collected_at, id);
CREATE INDEX ON ledger.inventories (source_id, collected_date, collected_at, id) WHERE complete;
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

-- How each machine got its id, and the number its source link bears. Written when a link begins, not on every sighting.
CREATE TABLE ledger.identity_resolutions (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    inventory_id  bigint NOT NULL,
    source_id     integer NOT NULL,
    external_kind text NOT NULL,
    external_id   text NOT NULL,
    generation    jsonb NOT NULL DEFAULT '{}',
    rule          text NOT NULL,
    outcome       text NOT NULL CHECK (outcome IN ('created', 'attached', 'conflict')),
    asset_id      uuid,
    inputs        jsonb NOT NULL,
    resolved_at   timestamptz NOT NULL,
    settled_at    timestamptz
);
COMMENT ON COLUMN ledger.identity_resolutions.settled_at IS 'Of a conflict: when deriving its reading again found one answer.';
CREATE INDEX ON ledger.identity_resolutions (source_id, external_kind, external_id);
CREATE INDEX ON ledger.identity_resolutions (source_id, external_kind, external_id) WHERE rule = 'generation';
CREATE UNIQUE INDEX ON ledger.identity_resolutions (inventory_id, external_kind, external_id) WHERE outcome = 'conflict';

-- Of several machines that had an external id one after the other, the one that a reading's record was given to, where
-- neither its facts nor the resolutions there were then say so.
CREATE TABLE ledger.identity_attributions (
    inventory_id  bigint NOT NULL,
    external_kind text NOT NULL,
    external_id   text NOT NULL,
    link_id       bigint NOT NULL,
    PRIMARY KEY (inventory_id, external_kind, external_id)
);

-- What people decided. The latest row of a subject (all columns but value) is in force; a NULL value withdraws.
CREATE TABLE ledger.decisions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN
                     ('override', 'tag', 'link', 'merge', 'not_duplicate', 'absences', 'retired')),
    asset_id     uuid,
    other_id     uuid,
    inventory_id bigint,
    field        text,
    value        jsonb,
    actor        text NOT NULL,
    decided_at   timestamptz NOT NULL,
    note         text
);
COMMENT ON TABLE ledger.decisions IS
    'Append-only. override: asset_id, field → value. tag: asset_id, field = the tag → true or false. '
    'link: asset_id, other_id = the instance → "confirmed" or "rejected". merge: asset_id → the asset it is merged into. '
    'not_duplicate: asset_id < other_id → true. absences: inventory_id → "approved" or "rejected". retired: asset_id → true.';
CREATE INDEX ON ledger.decisions (asset_id);
CREATE INDEX ON ledger.decisions (kind, inventory_id);

CREATE VIEW ledger.decisions_in_force AS
SELECT * FROM (
    SELECT DISTINCT ON (kind, asset_id, other_id, inventory_id, field) *
    FROM ledger.decisions ORDER BY kind, asset_id, other_id, inventory_id, field, id DESC
) latest
WHERE value IS NOT NULL;

CREATE VIEW ledger.asset_merge_events AS
SELECT id, asset_id AS merged_from_asset_id, (value #>> '{}')::uuid AS merged_into_asset_id,
       CASE WHEN value IS NULL THEN 'unmerge' ELSE 'merge' END AS event,
       actor AS merged_by, decided_at AS merged_at, note AS notes
FROM ledger.decisions WHERE kind = 'merge';

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
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collected_date, id)
) PARTITION BY RANGE (collected_date);
COMMENT ON COLUMN ledger.sync_target_records.started_at IS 'When the target was read; of a replay, when its raw was.';
-- pattern operators serve equality too, and what a run id begins with in any collation
CREATE INDEX ON ledger.sync_target_records (run_id text_pattern_ops, status);
CREATE INDEX ON ledger.sync_target_records (run_id, source_id, collected_date) INCLUDE (recorded_at, status)
    WHERE mode = 'replay';
CREATE INDEX ON ledger.sync_target_records (source_id, collected_date, status);
CREATE INDEX ON ledger.sync_target_records (inventory_id);

-- === Documents: what a source said of one machine, content-addressed. A day on which nothing changed adds none. ===

CREATE FUNCTION ledger.addresses(list jsonb) RETURNS inet[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    $$ SELECT coalesce(array_agg(DISTINCT ip::inet), '{}') FROM jsonb_array_elements_text(list) AS ip $$;

CREATE FUNCTION ledger.is_other_machine(a jsonb, b jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(NOT bool_or(x.value = y.value), false)
    FROM jsonb_each_text(a) x JOIN jsonb_each_text(b) y USING (key)
$$;
COMMENT ON FUNCTION ledger.is_other_machine(jsonb, jsonb) IS
    'Two generations: true where they have a name in common and no value of a common name is equal.';

CREATE FUNCTION ledger.is_same_machine(a jsonb, b jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(bool_or(x.value = y.value), false)
    FROM jsonb_each_text(a) x JOIN jsonb_each_text(b) y USING (key)
$$;
COMMENT ON FUNCTION ledger.is_same_machine(jsonb, jsonb) IS
    'Two generations: true where a value of a common name is equal. Neither the same nor another is what tells nothing.';

CREATE FUNCTION ledger.tells(unknown jsonb, identifier_kind text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT unknown = '{}' OR NOT unknown ?| CASE identifier_kind
        WHEN 'ip' THEN ARRAY['network', 'network.ip_addresses']
        WHEN 'mac' THEN ARRAY['network', 'network.mac_addresses', 'network.interfaces']
        WHEN 'serial' THEN ARRAY['identity.serial_number']
        ELSE ARRAY['identity.machine_uuid', 'identifiers.' || identifier_kind] END
$$;
COMMENT ON FUNCTION ledger.tells(jsonb, text) IS
    'Whether a document with these unknown fields speaks of identifiers of a kind: what it does not tell is not gone.';

-- The only place where SQL knows the paths of normalized-v1.
CREATE TABLE ledger.normalized_assets (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id        integer NOT NULL,
    external_kind    text NOT NULL,
    external_id      text NOT NULL,
    digest           bytea NOT NULL,
    record_digest    bytea NOT NULL,
    parser_version   integer NOT NULL,
    inventory_id     bigint NOT NULL,
    observation_id   bigint NOT NULL,
    locator          text NOT NULL,
    kind             text GENERATED ALWAYS AS (document ->> 'kind') STORED,
    asset_type       text GENERATED ALWAYS AS (document ->> 'asset_type') STORED,
    hostname         text GENERATED ALWAYS AS (document #>> '{identity,hostname}') STORED,
    caption          text GENERATED ALWAYS AS (document #>> '{identity,caption}') STORED,
    mgmt_ip          inet GENERATED ALWAYS AS ((document #>> '{identity,mgmt_ip}')::inet) STORED,
    zone             text GENERATED ALWAYS AS (document #>> '{identity,zone}') STORED,
    machine_uuid     text GENERATED ALWAYS AS (document #>> '{identity,machine_uuid}') STORED,
    generation       jsonb GENERATED ALWAYS AS (coalesce(document #> '{identity,generation}', '{}')) STORED,
    cpu_cores        integer GENERATED ALWAYS AS ((document #>> '{hardware,cpu_count}')::integer) STORED,
    memory_bytes     bigint GENERATED ALWAYS AS ((document #>> '{hardware,memory_bytes}')::bigint) STORED,
    disk_total_bytes bigint GENERATED ALWAYS AS ((document #>> '{hardware,disk_total_bytes}')::bigint) STORED,
    os_family        text GENERATED ALWAYS AS (document #>> '{os,family}') STORED,
    os_version       text GENERATED ALWAYS AS (document #>> '{os,version}') STORED,
    power_state      text GENERATED ALWAYS AS (document #>> '{runtime,power_state}') STORED,
    protocol         text GENERATED ALWAYS AS (document #>> '{access,protocol}') STORED,
    port             integer GENERATED ALWAYS AS ((document #>> '{access,port}')::integer) STORED,
    credential_ref   text GENERATED ALWAYS AS (document #>> '{access,credential_ref}') STORED,
    ip_addresses     inet[] GENERATED ALWAYS AS (ledger.addresses(document #> '{network,ip_addresses}')) STORED,
    unknown          jsonb GENERATED ALWAYS AS (document -> 'unknown') STORED,
    document         jsonb NOT NULL,
    UNIQUE (source_id, digest)
);
CREATE INDEX ON ledger.normalized_assets (source_id, record_digest);

-- === Daily history: what one record of one source said of one asset on one day. ===

-- A NULL has its reason in `unknown`, by field path; '*' is all of them. `first_at` and `collected_at` are the first and
-- the last reading of the day that said so. A target that failed has a row before its link's first.
CREATE TABLE ledger.asset_daily_specs (
    collected_date   date NOT NULL,
    asset_id         uuid NOT NULL,
    source_id        integer NOT NULL,
    link_id          bigint NOT NULL,
    normalized_id    bigint,
    inventory_id     bigint NOT NULL,
    first_at         timestamptz NOT NULL,
    collected_at     timestamptz NOT NULL,
    recorded_at      timestamptz NOT NULL,
    hostname         text,
    mgmt_ip          inet,
    asset_type       text,
    cpu_cores        integer,
    memory_bytes     bigint,
    disk_total_bytes bigint,
    os_family        text,
    os_version       text,
    power_state      text,
    platform_type    text NOT NULL,
    unknown          jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (collected_date, asset_id, source_id, link_id)
) PARTITION BY RANGE (collected_date);
CREATE INDEX ON ledger.asset_daily_specs (asset_id, collected_date);

CREATE TABLE ledger.asset_daily_ips (
    collected_date date NOT NULL,
    asset_id       uuid NOT NULL,
    source_id      integer NOT NULL,
    ip             inet NOT NULL,
    collected_at   timestamptz NOT NULL,
    PRIMARY KEY (collected_date, asset_id, source_id, ip)
) PARTITION BY RANGE (collected_date);

-- Evidence of what was answered before: a published row of a day as it stood until `superseded_at`. A NULL
-- `inventory_id` says that there was no row. Values are those of the document.
CREATE TABLE ledger.asset_daily_corrections (
    collected_date date NOT NULL,
    asset_id       uuid NOT NULL,
    source_id      integer NOT NULL,
    link_id        bigint NOT NULL,
    normalized_id  bigint,
    inventory_id   bigint,
    first_at       timestamptz,
    collected_at   timestamptz,
    unknown        jsonb NOT NULL DEFAULT '{}',
    recorded_at    timestamptz,
    superseded_at  timestamptz NOT NULL,
    PRIMARY KEY (collected_date, asset_id, source_id, link_id, superseded_at)
);
CREATE INDEX ON ledger.asset_daily_corrections (asset_id, collected_date);

-- === Derived from the days and the decisions: `store.derive.settle` is the definition of all of it. ===

-- Who a machine is to a source, with the source's latest word: the document it has given since `since_date`.
-- `last_seen_at` moves every day, so rows leave room for updates in place.
CREATE TABLE ledger.asset_source_links (
    id             bigint PRIMARY KEY,
    source_id      integer NOT NULL REFERENCES ledger.sources,
    external_kind  text NOT NULL,
    external_id    text NOT NULL,
    generation     jsonb NOT NULL DEFAULT '{}',
    asset_id       uuid NOT NULL,
    normalized_id  bigint NOT NULL,
    record_digest  bytea NOT NULL,
    inventory_id   bigint NOT NULL,
    first_seen_at  timestamptz NOT NULL,
    since_date     date NOT NULL,
    since_at       timestamptz NOT NULL,
    last_seen_date date NOT NULL,
    last_seen_at   timestamptz NOT NULL,
    missing_since  timestamptz,
    closed_at      timestamptz
) WITH (fillfactor = 50);
COMMENT ON COLUMN ledger.asset_source_links.closed_at IS 'When the source first spoke of another machine under this external id.';
-- one of an external id is open
CREATE UNIQUE INDEX ON ledger.asset_source_links
    (source_id, external_kind, external_id, (CASE WHEN closed_at IS NOT NULL THEN id END)) NULLS NOT DISTINCT;
CREATE INDEX ON ledger.asset_source_links (asset_id);
CREATE INDEX ON ledger.asset_source_links (id) WHERE closed_at IS NOT NULL;

-- A run of days on which a record said the same, ended by another word.
CREATE TABLE ledger.asset_past_words (
    link_id       bigint NOT NULL,
    normalized_id bigint NOT NULL,
    first_date    date NOT NULL,
    first_at      timestamptz NOT NULL,
    last_date     date NOT NULL,
    last_at       timestamptz NOT NULL,
    PRIMARY KEY (link_id, first_date)
);

CREATE VIEW ledger.asset_words AS
SELECT p.link_id, l.asset_id, l.source_id, p.normalized_id, p.first_date, p.first_at, p.last_date, p.last_at, false AS latest
FROM ledger.asset_past_words p JOIN ledger.asset_source_links l ON l.id = p.link_id
UNION ALL
SELECT id, asset_id, source_id, normalized_id, since_date, since_at, last_seen_date, last_seen_at, true
FROM ledger.asset_source_links;

-- A ledger asset as it is now. `carried` names the fields whose value is from an earlier day, and that day.
CREATE TABLE ledger.assets (
    id                   uuid PRIMARY KEY,
    zone                 text NOT NULL,
    asset_type           text,
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
    carried              jsonb NOT NULL DEFAULT '{}',
    missing_since        timestamptz,
    merged_into_asset_id uuid,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    deleted_at           timestamptz
);
COMMENT ON COLUMN ledger.assets.deleted_at IS 'When a person retired it. Nothing is ever deleted.';
COMMENT ON COLUMN ledger.assets.merged_into_asset_id IS 'The root of the merge it is in; NULL for a canonical asset.';
CREATE INDEX ON ledger.assets (mgmt_ip, zone);
CREATE INDEX ON ledger.assets (lower(hostname));
CREATE INDEX ON ledger.assets (merged_into_asset_id) WHERE merged_into_asset_id IS NOT NULL;
CREATE INDEX ON ledger.assets (id) WHERE carried <> '{}' OR missing_since IS NOT NULL;

CREATE TABLE ledger.asset_aliases (
    asset_id   uuid NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('hostname', 'fqdn', 'other')),
    value      text NOT NULL,
    source     text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (asset_id, kind, value)
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

-- What a record said of another record of its source, from `began_at` until a later word of it without that.
CREATE TABLE ledger.asset_relations (
    from_link_id   bigint NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('runs_on', 'member_of')),
    to_kind        text NOT NULL,
    to_external_id text NOT NULL,
    began_date     date NOT NULL,
    began_at       timestamptz NOT NULL,
    ended_at       timestamptz,
    PRIMARY KEY (from_link_id, kind, to_kind, to_external_id, began_date)
);

-- Both ends looked up: the far one wherever in the ledger it was read, with the reading that saw it last.
CREATE VIEW ledger.topology AS
SELECT r.kind, r.began_at, r.ended_at, f.source_id,
       f.asset_id AS from_asset_id, f.id AS from_link_id, f.inventory_id AS from_inventory_id,
       r.to_kind, r.to_external_id, t.asset_id AS to_asset_id, t.id AS to_link_id, t.inventory_id AS to_inventory_id,
       r.ended_at IS NULL AND f.missing_since IS NULL AND f.closed_at IS NULL AS current
FROM ledger.asset_relations r
JOIN ledger.asset_source_links f ON f.id = r.from_link_id
LEFT JOIN LATERAL (
    SELECT * FROM ledger.asset_source_links o
    WHERE o.source_id = f.source_id AND o.external_kind = r.to_kind AND o.external_id = r.to_external_id
      AND (o.closed_at IS NULL OR o.closed_at > r.began_at)
    -- an edge that holds ends at the machine that has the id now
    ORDER BY CASE WHEN r.ended_at IS NULL THEN o.closed_at IS NOT NULL END, o.first_seen_at, o.id LIMIT 1
) t ON true;

-- What a source said of an instance on a day: its last reading that told it. `first_at` is the first that did.
CREATE TABLE ledger.instance_daily_specs (
    collected_date date NOT NULL,
    source_id      integer NOT NULL,
    instance_key   text NOT NULL,
    inventory_id   bigint NOT NULL,
    first_at       timestamptz NOT NULL,
    collected_at   timestamptz NOT NULL,
    name           text NOT NULL,
    host           text NOT NULL,
    host_ip        inet,
    port           integer,
    db_type        text,
    custom_fields  jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (collected_date, source_id, instance_key)
) PARTITION BY RANGE (collected_date);
CREATE INDEX ON ledger.instance_daily_specs (source_id, instance_key);

-- The latest of these days.
CREATE TABLE ledger.database_instances (
    id             uuid PRIMARY KEY,
    source_id      integer NOT NULL,
    instance_key   text NOT NULL,
    zone           text NOT NULL,
    name           text NOT NULL,
    host           text NOT NULL,
    host_ip        inet,
    port           integer,
    db_type        text,
    custom_fields  jsonb NOT NULL DEFAULT '{}',
    first_seen_at  timestamptz NOT NULL,
    last_seen_date date NOT NULL,
    last_seen_at   timestamptz NOT NULL,
    inventory_id   bigint NOT NULL,
    UNIQUE (source_id, instance_key)
);
COMMENT ON COLUMN ledger.database_instances.id IS 'Made from source and key, so that it is the same whenever it is made.';

CREATE TABLE ledger.instance_asset_links (
    instance_id     uuid NOT NULL REFERENCES ledger.database_instances ON DELETE CASCADE,
    asset_id        uuid NOT NULL,
    link_type       text NOT NULL CHECK (link_type IN ('auto', 'manual')),
    match_status    text NOT NULL CHECK (match_status IN ('candidate', 'confirmed', 'rejected')),
    confidence      smallint NOT NULL CHECK (confidence BETWEEN 0 AND 100),
    matched_by_rule text NOT NULL,
    evidence        jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (instance_id, asset_id)
);
CREATE INDEX ON ledger.instance_asset_links (asset_id);

-- Two canonical assets that may be one machine. `parts` names each piece of evidence and what it adds to the score.
CREATE TABLE ledger.duplicate_candidates (
    asset_id       uuid NOT NULL,
    other_asset_id uuid NOT NULL,
    score          smallint NOT NULL CHECK (score BETWEEN 1 AND 100),
    parts          jsonb NOT NULL,
    found_at       timestamptz NOT NULL,
    PRIMARY KEY (asset_id, other_asset_id),
    CHECK (asset_id < other_asset_id)
);
CREATE INDEX ON ledger.duplicate_candidates (other_asset_id);

CREATE AGGREGATE ledger.merge_objects(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}');
COMMENT ON AGGREGATE ledger.merge_objects(jsonb) IS 'Objects put over one another in order: the last one wins a key.';
"""


def upgrade() -> None:
    op.execute(STATEMENTS)


def downgrade() -> None:
    op.execute("DROP SCHEMA ledger CASCADE")
