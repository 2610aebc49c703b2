select
    from_link_id,
    kind,
    to_kind,
    to_external_id,
    began_date,
    began_at,
    ended_at
from {{ source('ledger', 'asset_relations') }}
