{{ config(pre_hook="{{ plan_for_many() }}") }}
with judged as (
    select
        instance_id, count(*) filter (where match_status = 'candidate') as candidates,
        count(*) filter (where match_status = 'candidate' and matched_by_rule in ('mgmt_ip', 'ip_identifier'))
            as strong_candidates,
        count(*) filter (where match_status = 'rejected') as rejected
    from {{ ref('stg_ledger__instance_asset_links') }}
    group by instance_id
),

placed as (
    select distinct on (instance_id) *
    from {{ ref('stg_ledger__instance_asset_links') }}
    where match_status = 'confirmed'
    order by instance_id, confidence desc, updated_at desc, asset_id
)

select
    i.id as instance_id,
    i.name as instance,
    i.db_type,
    i.host as instance_host,
    i.port,
    i.zone,
    s.name as instance_source,
    i.first_seen_at,
    i.last_seen_date as last_seen_on,
    p.asset_id,
    p.matched_by_rule,
    p.confidence,
    case
        when p.asset_id is not null then null
        when j.strong_candidates > 1 then 'several_machines_have_its_address'
        when j.candidates > 0 then 'only_weak_candidates'
        when j.rejected > 0 then 'every_candidate_was_rejected'
        else 'no_machine_has_its_address_or_name'
    end as unplaced_because,
    coalesce(j.candidates, 0) as candidates,
    a.hostname,
    a.mgmt_ip,
    a.state as asset_state,
    a.platform_type,
    a.power_state,
    a.cpu_cores,
    a.memory_bytes,
    a.host_asset_id,
    a.host,
    a.cluster_asset_id,
    a.cluster,
    array(select distinct one from unnest(coalesce(a.source_ids, '{}') || i.source_id) as one order by one) as source_ids
from {{ ref('stg_ledger__database_instances') }} as i
inner join {{ ref('stg_ledger__sources') }} as s on s.id = i.source_id
left join judged as j on j.instance_id = i.id
left join placed as p on p.instance_id = i.id
left join {{ ref('current_assets') }} as a on a.asset_id = p.asset_id
