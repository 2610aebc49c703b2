select
    asset_id,
    tag,
    added_by,
    added_at,
    removed_by,
    removed_at
from {{ source('ledger', 'asset_tags') }}
