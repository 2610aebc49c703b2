select
    id,
    merged_from_asset_id,
    merged_into_asset_id,
    event,
    merged_by,
    merged_at,
    notes
from {{ source('ledger', 'asset_merge_events') }}
