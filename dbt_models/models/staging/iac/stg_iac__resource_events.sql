select
    tenant_id,
    state_id,
    version,
    sequence,
    id,
    run_id,
    stable_uid,
    provider,
    resource_type,
    addr,
    deposed,
    previous_addr,
    action,
    at
from {{ source('iac', 'resource_events') }}
