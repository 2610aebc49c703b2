-- One row for each asset that is merged into none, and no other.
select coalesce(c.asset_id, a.id) as asset_id
from {{ ref('current_assets') }} as c
full join (
    select id from {{ ref('stg_ledger__assets') }} where merged_into_asset_id is null
) as a on a.id = c.asset_id
where c.asset_id is null or a.id is null
