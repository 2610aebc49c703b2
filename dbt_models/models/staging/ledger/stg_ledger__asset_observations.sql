select
    id,
    collected_date,
    inventory_id,
    source_id,
    source_type,
    target,
    observed_at,
    media_type,
    body_bytes,
    redacted
from {{ source('ledger', 'asset_observations') }}
