select
    id,
    name,
    platform,
    platform_type,
    source_type,
    zone,
    naming_rank,
    specs_rank,
    os_rank,
    created_at
from {{ source('ledger', 'sources') }}
