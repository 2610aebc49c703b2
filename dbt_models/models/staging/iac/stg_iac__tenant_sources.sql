select
    tenant_id,
    source_id
from {{ source('iac', 'tenant_sources') }}
