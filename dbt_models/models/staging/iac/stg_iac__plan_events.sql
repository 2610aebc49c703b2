select
    tenant_id,
    plan_id,
    sequence,
    stable_uid,
    provider,
    resource_type,
    addr,
    deposed,
    previous_addr,
    action,
    reason,
    outcome,
    event_version,
    event_sequence
from {{ source('iac', 'plan_events') }}
