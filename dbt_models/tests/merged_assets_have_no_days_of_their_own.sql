select d.collected_date, d.asset_id, a.merged_into_asset_id
from {{ ref('daily_specs') }} as d
inner join {{ source('ledger', 'assets') }} as a on a.id = d.asset_id
where {{ days_between('d.collected_date') }} and a.merged_into_asset_id is not null and {{ settled('a') }}
