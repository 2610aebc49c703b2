select
    id,
    source_id,
    external_kind,
    external_id,
    generation,
    asset_id,
    normalized_id,
    inventory_id,
    first_seen_at,
    since_date,
    since_at,
    last_seen_date,
    last_seen_at,
    missing_since,
    closed_at
from {{ source('ledger', 'asset_source_links') }}
