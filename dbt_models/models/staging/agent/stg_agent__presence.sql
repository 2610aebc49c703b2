select
    tenant_id,
    client_id,
    user_id,
    pod_id,
    connected_at,
    last_heartbeat,
    ip_address
from {{ source('agent', 'presence') }}
