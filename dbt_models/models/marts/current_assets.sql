{{ config(pre_hook="{{ plan_for_many() }}", indexes=[{'columns': ['asset_id'], 'unique': true}]) }}
{%- set fields = ranked_fields() -%}

with members as materialized (
    select id as member_id, coalesce(merged_into_asset_id, id) as asset_id from {{ ref('stg_ledger__assets') }}
),

links as materialized (
    select
        m.asset_id, l.id as link_id, l.asset_id as member_id, l.source_id, s.name as source, s.source_type, s.naming_rank,
        s.specs_rank, s.os_rank, l.external_kind, l.external_id, l.first_seen_at, l.last_seen_date, l.last_seen_at,
        l.missing_since, l.closed_at, l.normalized_id, r.rule
    from members as m
    inner join {{ ref('stg_ledger__asset_source_links') }} as l on l.asset_id = m.member_id
    inner join {{ ref('stg_ledger__sources') }} as s on s.id = l.source_id
    left join {{ ref('stg_ledger__identity_resolutions') }} as r on r.id = l.id
),

told as materialized (
    select
        l.asset_id,
        array_agg(distinct l.source order by l.source) filter (where l.closed_at is null) as sources,
        array_agg(distinct l.source_id order by l.source_id) as source_ids,
        array_agg(distinct l.rule order by l.rule) filter (where l.rule is not null) as rules,
        array_agg(distinct l.source_type order by l.source_type) filter (where l.closed_at is null) as source_types,
        max(l.last_seen_date) filter (where l.closed_at is null) as said_on,
        max(l.last_seen_at) filter (where l.closed_at is null) as said_at,
        jsonb_agg(
            jsonb_build_object(
                'source', l.source, 'external_kind', l.external_kind, 'external_id', l.external_id, 'rule', l.rule,
                'asset_id', l.member_id, 'first_seen_at', l.first_seen_at, 'last_seen_at', l.last_seen_at,
                'missing_since', l.missing_since, 'closed_at', l.closed_at
            )
            order by l.closed_at is not null, l.source, l.link_id
        ) as provenance,
        {%- for name, rank, path in fields %}
        max(l.last_seen_date) filter (where l.closed_at is null and n.{{ name }} = a.{{ name }}) as {{ name }}_on,
        (
            array_agg(l.source order by l.closed_at is not null, l.{{ rank }}, l.last_seen_date desc, l.source_id, l.link_id desc)
            filter (where n.{{ name }} = a.{{ name }})
        )[1] as {{ name }}_by,
        (
            array_agg({{ why_unknown('n.unknown', path) }}
                order by l.closed_at is not null, l.last_seen_date desc, l.{{ rank }}, l.source_id, l.link_id desc)
            filter (where {{ why_unknown('n.unknown', path) }} is not null)
        )[1] as {{ name }}_because,
        {%- endfor %}
        (
            array_agg({{ why_unknown('n.unknown', 'network.ip_addresses') }}
                order by l.closed_at is not null, l.last_seen_date desc, l.naming_rank, l.source_id, l.link_id desc)
            filter (where {{ why_unknown('n.unknown', 'network.ip_addresses') }} is not null)
        )[1] as addresses_because,
        (
            array_agg(n.caption order by l.closed_at is not null, l.naming_rank, l.last_seen_date desc, l.source_id, l.link_id desc)
            filter (where n.caption is not null)
        )[1] as caption
    from links as l
    inner join {{ ref('stg_ledger__assets') }} as a on a.id = l.asset_id
    inner join {{ ref('stg_ledger__normalized_assets') }} as n on n.id = l.normalized_id
    group by l.asset_id
),

-- whose word a value is that no latest word knows: the order is that of `store.derive.settle`
carried_by as materialized (
    select
        l.asset_id,
        {%- for name, rank, _ in fields %}
        (
            array_agg(l.source order by l.{{ rank }}, l.source_id, l.link_id desc)
            filter (where p.last_date = (a.carried ->> '{{ name }}')::date and n.{{ name }} = a.{{ name }})
        )[1] as {{ name }}_by{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('stg_ledger__assets') }} as a
    inner join links as l on l.asset_id = a.id
    inner join {{ ref('stg_ledger__asset_words') }} as p on p.link_id = l.link_id
    inner join {{ ref('stg_ledger__normalized_assets') }} as n on n.id = p.normalized_id
    where a.carried <> '{}'
    group by l.asset_id
),

addresses as (
    select m.asset_id, array_agg(distinct i.value order by i.value) as ip_addresses
    from members as m
    inner join {{ ref('stg_ledger__asset_identifiers') }} as i on i.asset_id = m.member_id
    where i.kind = 'ip' and i.last_seen_at is null
    group by m.asset_id
),

tagged as (
    select m.asset_id, array_agg(distinct t.tag order by t.tag) as tags
    from members as m
    inner join {{ ref('stg_ledger__asset_tags') }} as t on t.asset_id = m.member_id and t.removed_at is null
    -- what a person took off the canonical asset, another's tag does not put on again
    where not exists (
        select from {{ ref('stg_ledger__decisions_in_force') }} as d
        where d.kind = 'tag' and d.asset_id = m.asset_id and d.field = t.tag and d.value = 'false'
    )
    group by m.asset_id
),

decided as (
    select asset_id, jsonb_object_agg(field, actor) as decided
    from {{ ref('stg_ledger__decisions_in_force') }}
    where kind = 'override'
    group by asset_id
),

edges as materialized (
    select distinct on (f.asset_id, t.kind)
        f.asset_id, t.kind, o.asset_id as other_id, coalesce(c.hostname, n.caption, n.hostname, t.to_external_id) as name
    from {{ ref('stg_ledger__topology') }} as t
    inner join members as f on f.member_id = t.from_asset_id
    inner join {{ ref('stg_ledger__sources') }} as s on s.id = t.source_id
    left join members as o on o.member_id = t.to_asset_id
    left join {{ ref('stg_ledger__assets') }} as c on c.id = o.asset_id
    left join links as l on l.link_id = t.to_link_id
    left join {{ ref('stg_ledger__normalized_assets') }} as n on n.id = l.normalized_id
    where t.current
    order by f.asset_id, t.kind, s.naming_rank, t.source_id, t.began_at desc, t.to_external_id, t.to_link_id
),

agents as (
    select distinct on (l.asset_id)
        l.asset_id, c.id as client_id, c.status, c.status_at, c.last_seen, c.agent_version, c.retired_at
    from links as l
    inner join {{ ref('stg_agent__clients') }} as c on c.id::text = l.external_id
    where l.source_type = 'agent' and l.closed_at is null
    order by l.asset_id, c.retired_at is not null, c.status <> 'online', c.last_seen desc nulls last, c.id
),

-- of the last 30 days on which a source of probes was read
probing as materialized (
    select s.id as source_id, s.name as source, d.newest - 30 as first_day, d.newest as last_day
    from {{ ref('stg_ledger__sources') }} as s
    cross join lateral (
        select max(i.collected_date) as newest from {{ ref('stg_ledger__inventories') }} as i where i.source_id = s.id
    ) as d
    where s.source_type = 'probe' and d.newest is not null
),

-- the record of a target knows its asset once it was read; of one that never was, the day does
probes as (
    select distinct on (m.asset_id) m.asset_id, r.source, r.status, r.error_code, r.advice, r.at
    from (
        select r.asset_id, p.source, r.status, r.error_code, r.advice, r.started_at as at, r.id
        from probing as p
        inner join {{ ref('stg_ledger__sync_target_records') }} as r
            on r.source_id = p.source_id and r.collected_date between p.first_day and p.last_day
        where r.asset_id is not null and r.mode not in ('replay', 'healthcheck', 'detect')
        union all
        select d.asset_id, p.source, 'failed', d.unknown ->> '*', null, d.collected_at, null
        from probing as p
        inner join {{ ref('stg_ledger__asset_daily_specs') }} as d
            on d.source_id = p.source_id and d.collected_date between p.first_day and p.last_day
        where
            d.normalized_id is null
            and not exists (
                select from links as l where l.member_id = d.asset_id and l.source_id = d.source_id
            )
    ) as r
    inner join members as m on m.member_id = r.asset_id
    order by m.asset_id, r.at desc, r.id desc nulls last
),

merged as (
    select asset_id, array_agg(member_id order by member_id) as merged_asset_ids
    from members
    where member_id <> asset_id
    group by asset_id
)

select
    a.id as asset_id,
    case when a.deleted_at is not null then 'retired' when a.missing_since is not null then 'missing' else 'present' end
        as state,
    a.hostname,
    t.caption,
    a.mgmt_ip,
    case when a.mgmt_ip is null then coalesce(t.mgmt_ip_because, t.addresses_because, 'NOT_REPORTED') end
        as no_address_because,
    coalesce(i.ip_addresses, '{}') as ip_addresses,
    a.zone,
    a.asset_type,
    a.platform_type,
    a.cpu_cores,
    a.memory_bytes,
    a.disk_total_bytes,
    a.os_family,
    a.os_version,
    a.power_state,
    a.protocol,
    a.port,
    a.credential_ref is not null as has_credential,
    coalesce(g.tags, '{}') as tags,
    a.custom_fields,
    h.other_id as host_asset_id,
    h.name as host,
    coalesce(c.other_id, hc.other_id) as cluster_asset_id,
    coalesce(c.name, hc.name) as cluster,
    t.said_on,
    t.said_at,
    coalesce(t.sources, '{}') as sources,
    coalesce(t.source_ids, '{}') as source_ids,
    coalesce(t.source_types, '{}') as source_types,
    coalesce(t.rules, '{}') as rules,
    coalesce(t.provenance, '[]'::jsonb) as provenance,
    jsonb_strip_nulls(jsonb_build_object(
        {%- for name, _, _ in fields %}
        '{{ name }}',
        case when d.decided ? '{{ name }}' then 'user' else coalesce(w.{{ name }}_by, t.{{ name }}_by) end{{ ',' if not loop.last }}
        {%- endfor %}
    )) as said_by,
    -- the rule of `assets list`: older than the last word on the asset, or carried from a word before
    jsonb_strip_nulls(jsonb_build_object(
        {%- for name, _, _ in fields %}
        '{{ name }}',
        case
            when a.carried ? '{{ name }}' and coalesce(t.{{ name }}_on::text, '') < a.carried ->> '{{ name }}'
                then (a.carried ->> '{{ name }}')::date
            when t.{{ name }}_on < t.said_on then t.{{ name }}_on
        end{{ ',' if not loop.last }}
        {%- endfor %}
    )) as carried,
    jsonb_strip_nulls(jsonb_build_object(
        {%- for name, _, _ in fields %}
        '{{ name }}', case when a.{{ name }} is null then coalesce(t.{{ name }}_because, 'NOT_REPORTED') end{{ ',' if not loop.last }}
        {%- endfor %}
    )) as unknown,
    coalesce(d.decided, '{}'::jsonb) as decided,
    coalesce(m.merged_asset_ids, '{}') as merged_asset_ids,
    e.client_id,
    case when e.client_id is null then null when e.retired_at is not null then 'retired' else e.status end as agent_status,
    e.last_seen as agent_seen_at,
    e.agent_version,
    p.source as probe_source,
    p.status as probe_status,
    p.error_code as probe_error_code,
    p.advice as probe_advice,
    p.at as probed_at,
    a.missing_since,
    a.deleted_at as retired_at,
    a.created_at,
    a.updated_at
from {{ ref('stg_ledger__assets') }} as a
left join told as t on t.asset_id = a.id
left join carried_by as w on w.asset_id = a.id
left join addresses as i on i.asset_id = a.id
left join tagged as g on g.asset_id = a.id
left join decided as d on d.asset_id = a.id
left join edges as h on h.asset_id = a.id and h.kind = 'runs_on'
left join edges as c on c.asset_id = a.id and c.kind = 'member_of'
left join edges as hc on hc.asset_id = h.other_id and hc.kind = 'member_of'
left join agents as e on e.asset_id = a.id
left join probes as p on p.asset_id = a.id
left join merged as m on m.asset_id = a.id
where a.merged_into_asset_id is null
