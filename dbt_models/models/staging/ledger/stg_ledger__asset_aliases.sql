select
    asset_id,
    kind,
    value,
    source,
    created_at
from {{ source('ledger', 'asset_aliases') }}
