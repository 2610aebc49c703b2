-- What was said of a merged machine is said of the one that it is merged into.
select d.collected_date, d.asset_id
from {{ ref('daily_specs') }} as d
inner join {{ ref('stg_ledger__assets') }} as a on a.id = d.asset_id
where {{ days_between('d.collected_date') }} and a.merged_into_asset_id is not null
