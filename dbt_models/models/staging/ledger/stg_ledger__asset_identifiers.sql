select
    asset_id,
    source_id,
    kind,
    value,
    first_seen_at,
    last_seen_at
from {{ source('ledger', 'asset_identifiers') }}
