-- Asset by asset through the index, since days are many and machines few.
{%- set days = ref('daily_specs') %}
{%- set assets, now = source('ledger', 'assets'), ref('current_assets') %}
{%- if execute and load_relation(days) is none %}
-- what is of now may be made before the first day is
select null::uuid as asset_id
where false
{%- else %}
with recursive told (asset_id) as (
    (select asset_id from {{ days }} order by asset_id limit 1)
    union all
    select (select d.asset_id from {{ days }} as d where d.asset_id > t.asset_id order by d.asset_id limit 1)
    from told as t
    where t.asset_id is not null
)

select
    t.asset_id,
    (select min(d.collected_date) from {{ days }} as d where d.asset_id = t.asset_id) as first_day,
    (select max(d.collected_date) from {{ days }} as d where d.asset_id = t.asset_id) as last_day
from told as t
left join {{ assets }} as a on a.id = t.asset_id
left join {{ assets }} as m on m.id = a.merged_into_asset_id
left join {{ now }} as c on c.asset_id = coalesce(a.merged_into_asset_id, a.id)
where
    t.asset_id is not null and c.asset_id is null
    and (a.id is null or {{ settled('a') }}) and (m.id is null or {{ settled('m') }})
{%- endif %}
