select
    tenant_id,
    id,
    version,
    release_date,
    is_latest,
    changelog,
    min_server_version,
    download_count,
    binaries,
    withdrawn_at
from {{ source('agent', 'agent_versions') }}
