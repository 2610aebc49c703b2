select
    collected_date,
    asset_id,
    source_id,
    link_id,
    normalized_id,
    inventory_id,
    first_at,
    collected_at,
    unknown,
    recorded_at,
    superseded_at
from {{ source('ledger', 'asset_daily_corrections') }}
