select distinct r.collected_date, coalesce(a.merged_into_asset_id, r.asset_id) as asset_id
from {{ source('ledger', 'asset_daily_specs') }} as r
left join {{ source('ledger', 'assets') }} as a on a.id = r.asset_id
left join {{ ref('daily_specs') }} as d
    on d.collected_date = r.collected_date and d.asset_id = coalesce(a.merged_into_asset_id, r.asset_id)
where
    {{ days_between('r.collected_date') }}
    and d.asset_id is null
    and {{ settled('r') }} and (a.id is null or {{ settled('a') }})
    and not exists (
        select from {{ ref('stg_ledger__decisions') }} as x
        where x.kind = 'retired' and x.asset_id = coalesce(a.merged_into_asset_id, r.asset_id)
    )
