select
    tenant_id,
    state_id,
    id,
    size_bytes,
    base_version,
    actor,
    user_id,
    created_at,
    tool_version,
    errored,
    followed_by,
    followed_run,
    parsed_at,
    parse_error
from {{ source('iac', 'plans') }}
