select
    tenant_id,
    state_id,
    tool,
    project,
    stack,
    head_version,
    created_at
from {{ source('iac', 'state_heads') }}
