select
    id,
    username,
    is_active,
    created_at,
    updated_at,
    last_login_at
from {{ source('agent', 'users') }}
