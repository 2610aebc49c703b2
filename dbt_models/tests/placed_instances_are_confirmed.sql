select
    coalesce(p.instance_id, l.instance_id) as instance_id, p.asset_id as placed_on,
    case when l.instance_id is null then 'is placed, and nothing was confirmed' when p.instance_id is null
        then 'was confirmed, and is not placed' else 'is placed on another than was confirmed' end as broken
from (select instance_id, asset_id from {{ ref('instance_placement') }} where asset_id is not null) as p
full join (
    select distinct instance_id from {{ ref('link_review') }} where review = 'confirmed'
) as l on l.instance_id = p.instance_id
left join {{ ref('link_review') }} as r
    on r.instance_id = p.instance_id and r.asset_id = p.asset_id and r.review = 'confirmed'
where
    (p.instance_id is null or l.instance_id is null or r.instance_id is null)
    -- confirmed or taken back since
    and not exists (
        select from {{ source('ledger', 'instance_asset_links') }} as k
        where k.instance_id = coalesce(p.instance_id, l.instance_id) and not {{ settled('k') }}
    )
