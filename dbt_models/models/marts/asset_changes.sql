{#- The rule is that of `domain.history` and `store.query.changes`, for the words that began on the days and nothing else:
    a field is compared with its last known value, however long ago that was told. tests/marts compares the rows with
    what `asset-ledger changes` says. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    pre_hook="{{ forget_days() }}",
    indexes=[{'columns': ['collected_date', 'asset_id']}, {'columns': ['asset_id']}],
) }}
{%- set told_by = [
    ('kind', '{kind}'), ('asset_type', '{asset_type}'), ('hostname', '{identity,hostname}'),
    ('caption', '{identity,caption}'), ('mgmt_ip', '{identity,mgmt_ip}'), ('identity.zone', '{identity,zone}'),
    ('serial_number', '{identity,serial_number}'), ('machine_uuid', '{identity,machine_uuid}'),
    ('cloud_native_id', '{identity,cloud_native_id}'), ('cpu_cores', '{hardware,cpu_count}'),
    ('memory_bytes', '{hardware,memory_bytes}'), ('disk_total_bytes', '{hardware,disk_total_bytes}'),
    ('vendor', '{hardware,vendor}'), ('model', '{hardware,model}'), ('os_family', '{os,family}'),
    ('os_name', '{os,name}'), ('os_version', '{os,version}'), ('os_kernel', '{os,kernel}'),
    ('power_state', '{runtime,power_state}'), ('virtualization', '{runtime,virtualization}'),
    ('protocol', '{access,protocol}'), ('port', '{access,port}'), ('credential_ref', '{access,credential_ref}'),
    ('ip', '{network,ip_addresses}'), ('mac', '{network,mac_addresses}'), ('tag', '{tags}'),
    ('relations', '{relations}'),
] -%}

with days as materialized (
    select d.collected_date from {{ days_asked_for() }} as d
),

began as materialized (
    select w.link_id, w.normalized_id, w.first_date as collected_date
    from (
        select id as link_id, normalized_id, since_date as first_date from {{ ref('stg_ledger__asset_source_links') }}
        union all
        select link_id, normalized_id, first_date from {{ ref('stg_ledger__asset_past_words') }}
    ) as w
    where {{ days_between('w.first_date') }}
),

told as materialized (
    select
        b.link_id, b.collected_date, n.document, n.unknown, p.first_date as prior_date, p.last_date as prior_last_date,
        pn.document as prior_document
    from began as b
    inner join {{ ref('stg_ledger__normalized_assets') }} as n on n.id = b.normalized_id
    left join lateral (
        select p.first_date, p.last_date, p.normalized_id
        from {{ ref('stg_ledger__asset_past_words') }} as p
        where p.link_id = b.link_id and p.first_date < b.collected_date
        order by p.first_date desc
        limit 1
    ) as p on true
    left join {{ ref('stg_ledger__normalized_assets') }} as pn on pn.id = p.normalized_id
),

-- what is absent is unknown, and so is a power state that the source calls unknown: neither is a change
compared as materialized (
    select t.link_id, t.collected_date, f.field, v.after, k.before, k.since_on
    from told as t
    cross join (
        values
        {%- for field, path in told_by %}
        ('{{ field }}', '{{ path }}'::text []){{ ',' if not loop.last }}
        {%- endfor %}
    ) as f (field, path)
    cross join lateral (
        select
            nullif(nullif(t.document #> f.path, 'null'), case when f.field = 'power_state' then '"unknown"'::jsonb end)
                as after,
            nullif(
                nullif(t.prior_document #> f.path, 'null'), case when f.field = 'power_state' then '"unknown"'::jsonb end
            ) as prior
    ) as v
    cross join lateral (
        select v.prior as before, t.prior_last_date as since_on
        where v.prior is not null
        union all
        (
            select o.document #> f.path, p.last_date
            from {{ ref('stg_ledger__asset_past_words') }} as p
            inner join {{ ref('stg_ledger__normalized_assets') }} as o on o.id = p.normalized_id
            where
                v.prior is null and p.link_id = t.link_id and p.first_date < t.prior_date
                and nullif(o.document #> f.path, 'null') is not null
                and (f.field <> 'power_state' or o.document #>> f.path <> 'unknown')
            order by p.first_date desc
            limit 1
        )
    ) as k
    where t.prior_date is not null and v.after is not null and v.after is distinct from v.prior and k.before <> v.after
),

listed as (
    select
        c.link_id, c.collected_date, c.since_on, c.field, case when d.before is null then 'added' else 'removed' end as change,
        d.before, d.after
    from compared as c
    cross join lateral (
        select a.value as before, b.value as after
        from (select distinct e.value from jsonb_array_elements_text(c.before) as e (value)) as a
        full join (select distinct e.value from jsonb_array_elements_text(c.after) as e (value)) as b on b.value = a.value
        where a.value is null or b.value is null
    ) as d
    where c.field in ('ip', 'mac', 'tag')
),

-- a source that tells custom fields tells all of them, but for those that it could not read: these are what they were
customs as (
    select
        t.link_id, t.collected_date, w.last_date as since_on, 'custom_fields.' || f.name as field,
        case when k.value is null then 'added' when v.value is null then 'removed' else 'changed' end as change,
        k.value #>> '{}' as before, v.value #>> '{}' as after
    from told as t
    cross join lateral (
        select o.document -> 'custom_fields' as custom_fields, o.unknown, p.last_date
        from {{ ref('stg_ledger__asset_past_words') }} as p
        inner join {{ ref('stg_ledger__normalized_assets') }} as o on o.id = p.normalized_id
        where
            p.link_id = t.link_id and p.first_date < t.collected_date
            and jsonb_typeof(o.document -> 'custom_fields') = 'object'
        order by p.first_date desc
        limit 1
    ) as w
    cross join lateral (
        select jsonb_object_keys(t.document -> 'custom_fields') as name
        union
        select jsonb_object_keys(w.custom_fields)
        union
        select substr(u.path, 15) from jsonb_object_keys(w.unknown) as u (path) where starts_with(u.path, 'custom_fields.')
    ) as f
    cross join lateral (select nullif(t.document #> array['custom_fields', f.name], 'null') as value) as v
    left join lateral (
        select nullif(o.document #> array['custom_fields', f.name], 'null') as value
        from {{ ref('stg_ledger__asset_past_words') }} as p
        inner join {{ ref('stg_ledger__normalized_assets') }} as o on o.id = p.normalized_id
        where
            p.link_id = t.link_id and p.first_date < t.collected_date
            and jsonb_typeof(o.document -> 'custom_fields') = 'object'
            and (
                nullif(o.document #> array['custom_fields', f.name], 'null') is not null
                or not o.unknown ? ('custom_fields.' || f.name)
            )
        order by p.first_date desc
        limit 1
    ) as k on true
    where
        jsonb_typeof(t.document -> 'custom_fields') = 'object' and v.value is distinct from k.value
        and (v.value is not null or not t.unknown ? ('custom_fields.' || f.name))
),

ends as (
    select
        c.link_id, c.collected_date, c.since_on, d.kind, d.gone_kind, d.gone_id, d.came_kind, d.came_id,
        count(d.gone_id) over of_kind as gone, count(d.came_id) over of_kind as came
    from compared as c
    cross join lateral (
        select
            coalesce(x.kind, y.kind) as kind, x.external_kind as gone_kind, x.external_id as gone_id,
            y.external_kind as came_kind, y.external_id as came_id
        from jsonb_to_recordset(c.before) as x (kind text, external_kind text, external_id text)
        full join jsonb_to_recordset(c.after) as y (kind text, external_kind text, external_id text)
            on (y.kind, y.external_kind, y.external_id) = (x.kind, x.external_kind, x.external_id)
        where x.kind is null or y.kind is null
    ) as d
    where c.field = 'relations'
    window of_kind as (partition by c.link_id, c.collected_date, d.kind)
),

moved as (
    select
        link_id, collected_date, since_on, kind as field, 'moved' as change, max(gone_kind) as before_kind,
        max(gone_id) as before_id, max(came_kind) as after_kind, max(came_id) as after_id
    from ends
    where gone = 1 and came = 1
    group by link_id, collected_date, since_on, kind
    union all
    select
        link_id, collected_date, since_on, kind, case when gone_id is null then 'added' else 'removed' end, gone_kind,
        gone_id, came_kind, came_id
    from ends
    where not (gone = 1 and came = 1)
),

-- === gone and back ===

readings as materialized (
    select r.source_id, r.covers, r.collected_date from ({{ counting_readings() }}) as r group by 1, 2, 3
),

seen as materialized (
    select d.collected_date, d.link_id, d.normalized_id is not null as is_said
    from {{ ref('stg_ledger__asset_daily_specs') }} as d
    where d.collected_date between {{ first_day() }} - 1 and {{ last_day() }}
),

missed as (
    select y.collected_date, l.id as link_id, b.day as since_on
    from days as y
    inner join {{ ref('stg_ledger__asset_source_links') }} as l on l.last_seen_date > y.collected_date
    cross join lateral (
        select d.collected_date as day
        from {{ ref('stg_ledger__asset_daily_specs') }} as d
        where
            d.asset_id = l.asset_id and d.link_id = l.id and d.collected_date < y.collected_date
            and d.normalized_id is not null
        order by d.collected_date desc
        limit 1
    ) as b
    where
        not exists (select from seen as s where s.collected_date = y.collected_date and s.link_id = l.id)
        and exists (
            select from readings as r
            where
                r.source_id = l.source_id and r.collected_date = y.collected_date
                and (r.covers = '{}' or l.external_kind = any(r.covers))
        )
        and not exists (
            select from readings as r
            where
                r.source_id = l.source_id and r.collected_date > b.day and r.collected_date < y.collected_date
                and (r.covers = '{}' or l.external_kind = any(r.covers))
        )
    union all
    select (l.missing_since at time zone 'Asia/Shanghai')::date, l.id, l.last_seen_date
    from {{ ref('stg_ledger__asset_source_links') }} as l
    where {{ days_between("(l.missing_since at time zone 'Asia/Shanghai')::date") }}
),

back as (
    select s.collected_date, s.link_id, b.day as since_on
    from seen as s
    inner join {{ ref('stg_ledger__asset_source_links') }} as l on l.id = s.link_id
    cross join lateral (
        select d.collected_date as day
        from {{ ref('stg_ledger__asset_daily_specs') }} as d
        where
            d.asset_id = l.asset_id and d.link_id = l.id and d.collected_date < s.collected_date
            and d.normalized_id is not null
        order by d.collected_date desc
        limit 1
    ) as b
    where
        s.is_said and {{ days_between('s.collected_date') }}
        and not exists (
            select from seen as y where y.link_id = s.link_id and y.collected_date = s.collected_date - 1 and y.is_said
        )
        and exists (
            select from readings as r
            where
                r.source_id = l.source_id and r.collected_date > b.day and r.collected_date < s.collected_date
                and (r.covers = '{}' or l.external_kind = any(r.covers))
        )
),

every as (
    select
        link_id, collected_date, since_on, field, 'changed' as change, before #>> '{}' as before, after #>> '{}' as after,
        null as before_kind, null as after_kind
    from compared
    where field not in ('ip', 'mac', 'tag', 'relations')
    union all
    select link_id, collected_date, since_on, field, change, before, after, null, null from listed
    union all
    select link_id, collected_date, since_on, field, change, before, after, null, null from customs
    union all
    select link_id, collected_date, since_on, field, change, before_id, after_id, before_kind, after_kind from moved
    union all
    select link_id, collected_date, null, 'record', 'appeared', null, null, null, null from told where prior_date is null
    union all
    select link_id, collected_date, since_on, 'record', 'missing', null, null, null, null from missed
    union all
    select link_id, collected_date, since_on, 'record', 'seen again', null, null, null, null from back
)

select
    e.collected_date,
    coalesce(a.merged_into_asset_id, l.asset_id) as asset_id,
    coalesce(c.hostname, a.hostname) as hostname,
    e.field,
    e.change,
    e.before,
    e.after,
    e.before_kind,
    e.after_kind,
    e.since_on,
    l.source_id,
    s.name as source,
    l.external_kind,
    l.external_id,
    e.link_id
from every as e
inner join {{ ref('stg_ledger__asset_source_links') }} as l on l.id = e.link_id
inner join {{ ref('stg_ledger__sources') }} as s on s.id = l.source_id
left join {{ ref('stg_ledger__assets') }} as a on a.id = l.asset_id
left join {{ ref('stg_ledger__assets') }} as c on c.id = a.merged_into_asset_id
