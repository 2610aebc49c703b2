select
    link_id,
    normalized_id,
    first_date,
    first_at,
    last_date,
    last_at
from {{ source('ledger', 'asset_past_words') }}
