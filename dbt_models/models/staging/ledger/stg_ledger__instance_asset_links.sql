select
    instance_id,
    asset_id,
    link_type,
    match_status,
    confidence,
    matched_by_rule,
    evidence,
    created_at,
    updated_at
from {{ source('ledger', 'instance_asset_links') }}
