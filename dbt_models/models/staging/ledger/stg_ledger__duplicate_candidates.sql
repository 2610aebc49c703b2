select
    asset_id,
    other_asset_id,
    score,
    parts,
    found_at
from {{ source('ledger', 'duplicate_candidates') }}
