select
    tenant_id,
    state_id,
    lock_id,
    operation,
    who,
    actor,
    user_id,
    created_at
from {{ source('iac', 'state_locks') }}
