select
    kind,
    began_at,
    ended_at,
    source_id,
    from_asset_id,
    from_link_id,
    from_inventory_id,
    to_kind,
    to_external_id,
    to_asset_id,
    to_link_id,
    to_inventory_id,
    current
from {{ source('ledger', 'topology') }}
