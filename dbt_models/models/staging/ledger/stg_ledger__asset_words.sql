select
    link_id,
    asset_id,
    source_id,
    normalized_id,
    first_date,
    first_at,
    last_date,
    last_at,
    latest
from {{ source('ledger', 'asset_words') }}
