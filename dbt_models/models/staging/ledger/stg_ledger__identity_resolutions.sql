select
    id,
    inventory_id,
    source_id,
    external_kind,
    external_id,
    generation,
    rule,
    outcome,
    asset_id,
    inputs,
    resolved_at,
    settled_at
from {{ source('ledger', 'identity_resolutions') }}
