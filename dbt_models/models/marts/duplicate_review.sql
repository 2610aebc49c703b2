{{ config(pre_hook="{{ plan_for_many() }}") }}
with decided as (
    select
        least(d.asset_id, d.other_id) as asset_id, greatest(d.asset_id, d.other_id) as other_asset_id,
        'dismissed' as review, null::uuid as merged_into_asset_id, d.actor, d.decided_at, d.note
    from {{ ref('stg_ledger__decisions_in_force') }} as d
    where d.kind = 'not_duplicate'
    union all
    select
        least(d.asset_id, d.value_text::uuid), greatest(d.asset_id, d.value_text::uuid), 'merged', d.value_text::uuid,
        d.actor, d.decided_at, d.note
    from {{ ref('stg_ledger__decisions_in_force') }} as d
    where d.kind = 'merge'
),

-- what is merged or retired waits for nobody, whenever candidates were looked for: the rule of `duplicates list`
open_assets as (
    select id from {{ ref('stg_ledger__assets') }} where merged_into_asset_id is null and deleted_at is null
),

-- of several words on one pair the strongest: what is merged is merged
pairs as (
    select distinct on (asset_id, other_asset_id) *
    from (
        select
            c.asset_id, c.other_asset_id, 'waits' as review, null::uuid as merged_into_asset_id, null::text as actor,
            null::timestamptz as decided_at, null::text as note
        from {{ ref('stg_ledger__duplicate_candidates') }} as c
        inner join open_assets as a on a.id = c.asset_id
        inner join open_assets as o on o.id = c.other_asset_id
        union all
        select * from decided
    ) as every
    order by asset_id, other_asset_id, array_position(array['merged', 'dismissed', 'waits'], review)
),

-- an asset, and what is merged into it: that one speaks for it too
members as (
    select id as asset_id, id as member_id from {{ ref('stg_ledger__assets') }}
    union all
    select merged_into_asset_id, id from {{ ref('stg_ledger__assets') }} where merged_into_asset_id is not null
),

told as (
    select
        m.asset_id, array_agg(distinct l.source_id) as source_ids,
        array_agg(distinct s.name) filter (where l.closed_at is null) as sources
    from members as m
    inner join {{ ref('stg_ledger__asset_source_links') }} as l on l.asset_id = m.member_id
    inner join {{ ref('stg_ledger__sources') }} as s on s.id = l.source_id
    group by m.asset_id
)

select
    p.asset_id,
    p.other_asset_id,
    p.review,
    c.score,
    c.parts,
    c.found_at,
    a.hostname,
    a.mgmt_ip,
    a.platform_type,
    coalesce(ta.sources, '{}') as sources,
    o.hostname as other_hostname,
    o.mgmt_ip as other_mgmt_ip,
    o.platform_type as other_platform_type,
    coalesce(t.sources, '{}') as other_sources,
    p.merged_into_asset_id,
    p.actor as decided_by,
    p.decided_at,
    p.note,
    array(
        select distinct one from unnest(coalesce(ta.source_ids, '{}') || coalesce(t.source_ids, '{}')) as one order by one
    ) as source_ids
from pairs as p
inner join {{ ref('stg_ledger__assets') }} as a on a.id = p.asset_id
inner join {{ ref('stg_ledger__assets') }} as o on o.id = p.other_asset_id
left join {{ ref('stg_ledger__duplicate_candidates') }} as c
    on c.asset_id = p.asset_id and c.other_asset_id = p.other_asset_id
left join told as ta on ta.asset_id = p.asset_id
left join told as t on t.asset_id = p.other_asset_id
