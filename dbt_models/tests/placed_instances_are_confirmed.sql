-- Where an instance runs is what a rule or a person confirmed, and what was confirmed is where it runs.
select coalesce(p.instance_id, l.instance_id) as instance_id
from (select instance_id, asset_id from {{ ref('instance_placement') }} where asset_id is not null) as p
full join (
    select distinct instance_id from {{ ref('link_review') }} where review = 'confirmed'
) as l on l.instance_id = p.instance_id
left join {{ ref('link_review') }} as r
    on r.instance_id = p.instance_id and r.asset_id = p.asset_id and r.review = 'confirmed'
where p.instance_id is null or l.instance_id is null or r.instance_id is null
