{{ config(pre_hook="{{ plan_for_many() }}", indexes=[{'columns': ['asset_id'], 'unique': true}]) }}
with declared as (
    select
        coalesce(a.merged_into_asset_id, j.asset_id) as asset_id,
        array_agg(distinct h.project || '/' || h.stack || ' ' || c.addr) as declared_by,
        max(j.score) as score
    from {{ ref('stg_iac__resource_joins') }} as j
    inner join {{ ref('stg_iac__state_heads') }} as h on h.tenant_id = j.tenant_id and h.state_id = j.state_id
    -- between two looks for findings a resource may have left its state
    inner join {{ ref('stg_iac__resources_current') }} as c
        on c.tenant_id = j.tenant_id and c.state_id = j.state_id and c.stable_uid = j.stable_uid
    left join {{ ref('stg_ledger__assets') }} as a on a.id = j.asset_id
    where j.left_at is null
    group by 1
),

mapped as (
    select array_agg(source_id) as source_ids from {{ ref('stg_iac__tenant_sources') }}
),

orphans as (
    select distinct coalesce(a.merged_into_asset_id, o.asset_id) as asset_id
    from {{ ref('stg_iac__cloud_orphans') }} as o
    left join {{ ref('stg_ledger__assets') }} as a on a.id = o.asset_id
    where o.closed_at is null
)

select
    a.asset_id,
    a.hostname,
    a.mgmt_ip,
    a.zone,
    a.asset_type,
    a.platform_type,
    a.state,
    a.mgmt_ip is not null as has_address,
    a.no_address_because,
    'platform' = any(a.source_types) as has_platform,
    a.probe_status is not null as is_probed,
    a.probe_status is not distinct from 'ok' or a.probe_status is not distinct from 'partial' as is_probed_well,
    a.probe_status,
    a.probe_error_code,
    a.probed_at,
    case
        when a.probe_status in ('ok', 'partial') then null
        when a.probe_status is not null then coalesce(a.probe_error_code, a.probe_status)
        when a.mgmt_ip is null then 'no_address'
        when a.protocol is null then 'no_protocol'
        when not a.has_credential then 'no_credential'
        else 'not_tried'
    end as not_probed_because,
    a.client_id is not null and a.agent_status <> 'retired' as has_agent,
    a.agent_status,
    a.agent_seen_at,
    a.agent_version,
    d.asset_id is not null as is_declared,
    coalesce(d.declared_by, '{}') as declared_by,
    d.score as declared_score,
    case
        when d.asset_id is not null then null
        when not coalesce(a.source_ids && m.source_ids, false) then 'no_source_is_mapped'
        when o.asset_id is not null then 'orphan'
        else 'not_declared'
    end as not_declared_because,
    a.said_on,
    a.sources,
    a.source_ids
from {{ ref('current_assets') }} as a
cross join mapped as m
left join declared as d on d.asset_id = a.asset_id
left join orphans as o on o.asset_id = a.asset_id
where a.state <> 'retired' and a.asset_type is distinct from 'cluster'
