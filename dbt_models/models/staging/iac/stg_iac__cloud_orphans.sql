select
    tenant_id,
    id,
    source_id,
    source,
    external_kind,
    external_id,
    link_id,
    asset_id,
    name,
    observed_at,
    opened_at,
    seen_at,
    unsure_since,
    unsure_because,
    closed_at,
    closed_because
from {{ source('iac', 'cloud_orphans') }}
