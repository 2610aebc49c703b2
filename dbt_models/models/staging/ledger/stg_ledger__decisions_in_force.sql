select
    id,
    kind,
    asset_id,
    other_id,
    inventory_id,
    field,
    value,
    actor,
    decided_at,
    note,
    value #>> '{}' as value_text
from {{ source('ledger', 'decisions_in_force') }}
