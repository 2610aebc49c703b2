select
    inventory_id,
    external_kind,
    external_id,
    link_id
from {{ source('ledger', 'identity_attributions') }}
