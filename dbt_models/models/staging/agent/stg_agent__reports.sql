select
    tenant_id,
    id,
    client_id,
    received_at,
    collected_at,
    collected_date,
    peer,
    agent_version,
    management_ip,
    underived
from {{ source('agent', 'reports') }}
