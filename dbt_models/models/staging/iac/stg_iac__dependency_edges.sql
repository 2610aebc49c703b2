select
    tenant_id,
    state_id,
    src_uid,
    dst_uid,
    kind
from {{ source('iac', 'dependency_edges') }}
