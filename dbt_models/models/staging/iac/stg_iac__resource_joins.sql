select
    tenant_id,
    state_id,
    stable_uid,
    source_id,
    asset_id,
    link_id,
    rule,
    score,
    joined_at,
    left_at
from {{ source('iac', 'resource_joins') }}
