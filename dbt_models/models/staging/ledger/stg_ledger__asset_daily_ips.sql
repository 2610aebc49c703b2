select
    collected_date,
    asset_id,
    source_id,
    ip,
    collected_at
from {{ source('ledger', 'asset_daily_ips') }}
