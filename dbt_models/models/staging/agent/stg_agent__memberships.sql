select
    tenant_id,
    user_id,
    role,
    created_at
from {{ source('agent', 'memberships') }}
