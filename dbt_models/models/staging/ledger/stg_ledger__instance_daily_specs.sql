select
    collected_date,
    source_id,
    instance_key,
    inventory_id,
    first_at,
    collected_at,
    name,
    host,
    host_ip,
    port,
    db_type,
    custom_fields
from {{ source('ledger', 'instance_daily_specs') }}
