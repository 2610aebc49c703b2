{{ config(pre_hook="{{ plan_for_many() }}") }}
with confirmed as (
    select distinct instance_id from {{ ref('stg_ledger__instance_asset_links') }} where match_status = 'confirmed'
)

select
    i.id as instance_id,
    l.asset_id,
    case
        when l.instance_id is null then 'unlinked'
        when l.match_status <> 'candidate' then l.match_status
        when c.instance_id is null then 'waits'
        else 'passed_over'
    end as review,
    i.name as instance,
    i.db_type,
    i.host as instance_host,
    i.port,
    i.zone,
    i.last_seen_date as instance_seen_on,
    s.name as instance_source,
    a.hostname,
    a.mgmt_ip,
    a.state as asset_state,
    l.link_type,
    l.matched_by_rule,
    l.confidence,
    l.evidence,
    l.created_at as linked_at,
    l.updated_at,
    array(select distinct one from unnest(coalesce(a.source_ids, '{}') || i.source_id) as one order by one) as source_ids
from {{ ref('stg_ledger__database_instances') }} as i
inner join {{ ref('stg_ledger__sources') }} as s on s.id = i.source_id
left join {{ ref('stg_ledger__instance_asset_links') }} as l on l.instance_id = i.id
left join confirmed as c on c.instance_id = i.id
left join {{ ref('current_assets') }} as a on a.asset_id = l.asset_id
