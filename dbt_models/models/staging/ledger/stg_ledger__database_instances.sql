select
    id,
    source_id,
    instance_key,
    zone,
    name,
    host,
    host_ip,
    port,
    db_type,
    custom_fields,
    first_seen_at,
    last_seen_date,
    last_seen_at,
    inventory_id
from {{ source('ledger', 'database_instances') }}
