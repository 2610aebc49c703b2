select
    tenant_id,
    id,
    endpoint,
    event,
    finding_id,
    created_at,
    attempts,
    next_at,
    delivered_at,
    given_up_at,
    last_status,
    last_error
from {{ source('iac', 'webhook_deliveries') }}
