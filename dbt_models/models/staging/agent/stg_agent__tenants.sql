select
    id,
    name,
    is_active,
    created_at
from {{ source('agent', 'tenants') }}
