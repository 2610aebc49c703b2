select
    coalesce(c.asset_id, a.id) as asset_id,
    case when c.asset_id is null then 'is not there' else 'is merged into another, or no asset' end as broken
from {{ ref('current_assets') }} as c
full join {{ source('ledger', 'assets') }} as a on a.id = c.asset_id
where
    (c.asset_id is not null) <> (a.id is not null and a.merged_into_asset_id is null)
    and (a.id is null or {{ settled('a') }})
