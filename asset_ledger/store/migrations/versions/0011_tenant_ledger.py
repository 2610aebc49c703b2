"""The ledger as a tenant sees it, so that a past day can be asked of it by the statements that ask the ledger itself.

Revision ID: 0011

Views with the names and columns of the ledger's tables: of the tenant's own sources alone (`iac.tenant_sources`), and in
their words; what people decided of machines is the installation's. As in the graph (migration 0004) a machine that its
source no longer has, and a source of another tenant has by now, is told of no more, on days that are past neither.
"""

# ruff: noqa: S608 - put together from constants of this file
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TENANT = "(SELECT NULLIF(current_setting('app.tenant', true), '')::uuid)"
MINE = f"ANY (ARRAY(SELECT t.source_id FROM iac.tenant_sources AS t WHERE t.tenant_id = {TENANT}))"
THEIRS = f"ANY (ARRAY(SELECT t.source_id FROM iac.tenant_sources AS t WHERE t.tenant_id <> {TENANT}))"


def _handed_on(machine: str) -> str:
    """Say that another tenant's source has a machine, or one that is one with it by a merge."""
    return f"""EXISTS (
    SELECT FROM ledger.assets AS x
    JOIN ledger.assets AS m ON m.id = coalesce(x.merged_into_asset_id, x.id)
                            OR m.merged_into_asset_id = coalesce(x.merged_into_asset_id, x.id)
    JOIN ledger.asset_source_links AS o ON o.asset_id = m.id
    WHERE x.id = {machine} AND o.closed_at IS NULL AND o.missing_since IS NULL AND o.source_id = {THEIRS} OFFSET 0)"""


VIEWS = f"""
CREATE SCHEMA tenant_ledger;
COMMENT ON SCHEMA tenant_ledger IS 'The ledger in the words of one tenant''s own sources: whose, app.tenant says.';

CREATE VIEW tenant_ledger.sources WITH (security_barrier = true) AS
SELECT id, name, platform_type, source_type, zone, naming_rank, specs_rank, os_rank
FROM ledger.sources WHERE id = {MINE};

CREATE VIEW tenant_ledger.asset_source_links WITH (security_barrier = true) AS
SELECT id, source_id, external_kind, external_id, asset_id, normalized_id, inventory_id, first_seen_at, since_date,
       since_at, last_seen_date, last_seen_at, missing_since, closed_at
FROM ledger.asset_source_links AS l
WHERE l.source_id = {MINE}
  AND ((l.closed_at IS NULL AND l.missing_since IS NULL) OR NOT {_handed_on("l.asset_id")});

CREATE VIEW tenant_ledger.asset_past_words WITH (security_barrier = true) AS
SELECT link_id, normalized_id, first_date, first_at, last_date, last_at
FROM ledger.asset_past_words AS p
WHERE EXISTS (SELECT FROM ledger.asset_source_links AS l WHERE l.id = p.link_id AND l.source_id = {MINE} OFFSET 0);

CREATE VIEW tenant_ledger.asset_daily_specs WITH (security_barrier = true) AS
SELECT collected_date, asset_id, source_id, link_id, normalized_id, inventory_id, first_at, collected_at, recorded_at,
       hostname, mgmt_ip, asset_type, cpu_cores, memory_bytes, disk_total_bytes, os_family, os_version, power_state,
       platform_type, unknown
FROM ledger.asset_daily_specs AS d
WHERE d.source_id = {MINE}
  AND (EXISTS (SELECT FROM ledger.asset_source_links AS l
               WHERE l.id = d.link_id AND l.closed_at IS NULL AND l.missing_since IS NULL OFFSET 0)
       OR NOT {_handed_on("d.asset_id")});

CREATE VIEW tenant_ledger.normalized_assets WITH (security_barrier = true) AS
SELECT id, source_id, zone, hostname, mgmt_ip, asset_type, cpu_cores, memory_bytes, disk_total_bytes, os_family,
       os_version, power_state, ip_addresses
FROM ledger.normalized_assets WHERE source_id = {MINE};

CREATE VIEW tenant_ledger.identity_resolutions WITH (security_barrier = true) AS
SELECT id, source_id, external_kind, external_id, outcome, asset_id
FROM ledger.identity_resolutions WHERE source_id = {MINE};

CREATE VIEW tenant_ledger.inventories WITH (security_barrier = true) AS
SELECT id, source_id, covers, collected_date, collected_at, complete, absences, status, held_at, derived_at
FROM ledger.inventories WHERE source_id = {MINE};

CREATE VIEW tenant_ledger.assets WITH (security_barrier = true) AS
SELECT a.id, a.merged_into_asset_id
FROM ledger.assets AS a
WHERE EXISTS (SELECT FROM ledger.asset_source_links AS l WHERE l.asset_id = a.id AND l.source_id = {MINE} OFFSET 0);

-- of a merged machine the tenant's own may be the other one
CREATE VIEW tenant_ledger.decisions WITH (security_barrier = true) AS
SELECT d.id, d.kind, d.asset_id, d.inventory_id, d.field, d.value, NULL::text AS actor, d.decided_at
FROM ledger.decisions AS d
WHERE (d.kind = 'absences' AND EXISTS (
        SELECT FROM ledger.inventories AS i WHERE i.id = d.inventory_id AND i.source_id = {MINE} OFFSET 0))
   OR (d.kind = 'retired' AND EXISTS (
        SELECT FROM ledger.assets AS a JOIN ledger.asset_source_links AS l ON l.asset_id = a.id
        WHERE (a.id = d.asset_id OR a.merged_into_asset_id = d.asset_id) AND l.source_id = {MINE} OFFSET 0));

GRANT USAGE ON SCHEMA tenant_ledger TO asset_ledger_service;
GRANT SELECT ON ALL TABLES IN SCHEMA tenant_ledger TO asset_ledger_service;
"""


def upgrade() -> None:
    """Make the schema and its views."""
    op.execute(VIEWS)


def downgrade() -> None:
    """Take them away."""
    op.execute("DROP SCHEMA tenant_ledger CASCADE")
