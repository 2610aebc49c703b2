{#- The rule is that of `store.query.as_of` and `domain.day_values`, for every machine of every day at once: of each source
    the last word by the day's end counts, the best ranked first; what none of these knows is carried from words at most
    30 days older. The days themselves are read once; a day before only where a record was silent in the middle of what
    it went on saying. tests/marts compares each row with what `assets list --as-of` says. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    pre_hook="{{ forget_days() }}",
    indexes=[{'columns': ['collected_date', 'asset_id'], 'unique': true}, {'columns': ['asset_id', 'collected_date']}],
) }}
{%- set carry_days = 30 -%}
{%- set fields = ranked_fields() -%}
{#- true of a moment: not carried on once a later word does not know it -#}
{%- set momentary = ['power_state'] -%}
{%- set decidable = ['hostname', 'asset_type', 'os_family', 'os_version'] -%}
with days as materialized (
    select d.collected_date, (d.collected_date + 1)::timestamp at time zone 'Asia/Shanghai' as day_end
    from {{ days_asked_for() }} as d
),

assets as materialized (
    select id as asset_id, coalesce(merged_into_asset_id, id) as root, zone from {{ ref('stg_ledger__assets') }}
),

links as materialized (
    select
        l.id, l.asset_id, l.source_id, l.external_kind, l.external_id, l.normalized_id, l.inventory_id, l.first_seen_at,
        l.since_date, l.last_seen_date, l.last_seen_at, coalesce(a.root, l.asset_id) as root
    from {{ ref('stg_ledger__asset_source_links') }} as l
    left join assets as a on a.asset_id = l.asset_id
),

-- the days themselves: what was said, and what could only be tried
day_rows as materialized (
    select
        d.collected_date, coalesce(a.root, d.asset_id) as root, d.asset_id, d.source_id, d.link_id, d.normalized_id,
        d.inventory_id, d.collected_at as said_at, d.platform_type, d.unknown,
        {% for name, _, _ in fields %}d.{{ name }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ ref('stg_ledger__asset_daily_specs') }} as d
    left join assets as a on a.asset_id = d.asset_id
    where {{ days_between('d.collected_date') }}
),

silent as materialized (
    select y.collected_date, l.*
    from days as y
    inner join links as l on l.first_seen_at < y.day_end
    where not exists (
        select from day_rows as d
        where d.collected_date = y.collected_date and d.link_id = l.id and d.normalized_id is not null
    )
),

-- who said nothing that day: mostly the last word of all; else that of the run of days in which the day is
earlier as materialized (
    select
        s.collected_date, s.root, s.asset_id, s.source_id, s.id as link_id, w.normalized_id, w.inventory_id,
        w.said_on, w.said_at
    from silent as s
    cross join lateral (
        select s.normalized_id, s.inventory_id, s.last_seen_date as said_on, s.last_seen_at as said_at
        where s.last_seen_date <= s.collected_date
        union all
        select d.normalized_id, d.inventory_id, d.collected_date, d.collected_at
        from (
            select s.since_date as began, s.collected_date as ended
            where s.since_date <= s.collected_date and s.last_seen_date > s.collected_date
            union all
            (
                select p.first_date, least(p.last_date, s.collected_date)
                from {{ ref('stg_ledger__asset_past_words') }} as p
                where s.since_date > s.collected_date and p.link_id = s.id and p.first_date <= s.collected_date
                order by p.first_date desc
                limit 1
            )
        ) as run
        cross join lateral (
            select d.normalized_id, d.inventory_id, d.collected_date, d.collected_at
            from {{ ref('stg_ledger__asset_daily_specs') }} as d
            where
                d.asset_id = s.asset_id and d.link_id = s.id and d.normalized_id is not null
                and d.collected_date between run.began and run.ended
            order by d.collected_date desc
            limit 1
        ) as d
    ) as w
),

-- of every record the last word by the day's end
said as materialized (
    select
        d.collected_date, d.root, d.asset_id = d.root as own, d.source_id, d.link_id, d.normalized_id, d.inventory_id,
        d.collected_date as said_on, d.said_at, d.platform_type, d.unknown,
        {% for name, _, _ in fields %}d.{{ name }}{{ ', ' if not loop.last }}{% endfor %}
    from day_rows as d
    where d.normalized_id is not null
    union all
    select
        e.collected_date, e.root, e.asset_id = e.root, e.source_id, e.link_id, e.normalized_id, e.inventory_id,
        e.said_on, e.said_at, s.platform_type, n.unknown,
        {% for name, _, _ in fields %}n.{{ name }}{{ ', ' if not loop.last }}{% endfor %}
    from earlier as e
    inner join {{ ref('stg_ledger__normalized_assets') }} as n on n.id = e.normalized_id
    inner join {{ ref('stg_ledger__sources') }} as s on s.id = e.source_id
),

-- === what is missing at the day's end ===

reused as materialized (
    select distinct l.*
    from {{ ref('stg_ledger__asset_source_links') }} as c
    inner join links as l using (source_id, external_kind, external_id)
    where c.closed_at is not null
),

-- records whose id the source had given to another machine by then
closed as materialized (
    select
        w.collected_date, w.link_id,
        min(case when t.first_at > w.said_at then t.first_at else t.collected_at end) as closed_at
    from reused as r
    inner join said as w on w.link_id = r.id
    inner join reused as o
        on
            o.source_id = r.source_id and o.external_kind = r.external_kind and o.external_id = r.external_id
            and o.id <> r.id
    cross join lateral (
        select t.first_at, t.collected_at
        from {{ ref('stg_ledger__asset_daily_specs') }} as t
        where
            t.asset_id = o.asset_id and t.link_id = o.id and t.normalized_id is not null
            and t.collected_date between w.said_on and w.collected_date and t.collected_at > w.said_at
        order by t.collected_date
        limit 1
    ) as t
    group by w.collected_date, w.link_id
),

newest_reading as materialized (
    select y.collected_date as day, s.id as source_id, i.collected_date, i.collected_at, i.id
    from days as y
    cross join {{ ref('stg_ledger__sources') }} as s
    cross join lateral (
        select r.collected_date, r.collected_at, r.id from ({{ counting_readings() }}) as r
        where r.source_id = s.id and r.collected_date <= y.collected_date
        order by r.collected_date desc, r.collected_at desc, r.id desc
        limit 1
    ) as i
),

overtaken as materialized (
    select w.collected_date, w.link_id, i.collected_at as gone_at
    from said as w
    inner join newest_reading as n on n.day = w.collected_date and n.source_id = w.source_id
    inner join links as l on l.id = w.link_id
    cross join lateral (
        select r.collected_at from ({{ counting_readings() }}) as r
        where
            r.source_id = w.source_id and (r.covers = '{}' or l.external_kind = any(r.covers))
            and r.collected_date <= w.collected_date
            and (r.collected_date, r.collected_at, r.id) > (w.said_on, w.said_at, w.inventory_id)
        order by r.collected_date, r.collected_at, r.id
        limit 1
    ) as i
    where (w.said_on, w.said_at, w.inventory_id) < (n.collected_date, n.collected_at, n.id)
),

gone as materialized (
    select collected_date, link_id, min(gone_at) as gone_at
    from (
        select collected_date, link_id, closed_at as gone_at from closed
        union all
        select o.collected_date, o.link_id, o.gone_at
        from overtaken as o
        where not exists (
            select from closed as c where c.collected_date = o.collected_date and c.link_id = o.link_id
        )
    ) as every
    group by collected_date, link_id
),

-- as in `store.derive.missing`: what some source missed, and what neither a platform still has nor anybody saw since
missing as materialized (
    select
        w.collected_date, w.root,
        case
            when
                not bool_or(g.gone_at is null and s.source_type = 'platform')
                and coalesce(max(w.said_at) filter (where g.gone_at is null), '-infinity') < max(g.gone_at)
                then max(g.gone_at)
        end as missing_since
    from said as w
    inner join {{ ref('stg_ledger__sources') }} as s on s.id = w.source_id
    left join gone as g on g.collected_date = w.collected_date and g.link_id = w.link_id
    where exists (
        select from gone as x
        inner join links as l on l.id = x.link_id
        where x.collected_date = w.collected_date and l.root = w.root
    )
    group by w.collected_date, w.root
),

-- === which word counts ===

ranked as materialized (
    select
        w.*, s.name as source, s.naming_rank, s.specs_rank, s.os_rank, c.link_id is null as open,
        count(*) over of_root as words,
        row_number() over of_source as place,
        max(w.said_on) over (partition by w.collected_date, w.root, w.source_id) as newest
    from said as w
    inner join {{ ref('stg_ledger__sources') }} as s on s.id = w.source_id
    left join closed as c on c.collected_date = w.collected_date and c.link_id = w.link_id
    window
        of_root as (partition by w.collected_date, w.root),
        of_source as (
            partition by w.collected_date, w.root, w.source_id
            order by c.link_id is null desc, w.said_on desc, w.own desc, w.said_at desc, w.link_id desc
        )
),

-- words from which a value may be carried, of machines of which something is not known
past as materialized (
    select
        r.collected_date, r.root, r.source_id, r.link_id, p.last_date as said_on, r.source, r.naming_rank, r.specs_rank,
        r.os_rank, n.unknown, {% for name, _, _ in fields %}n.{{ name }}{{ ', ' if not loop.last }}{% endfor %}
    from ranked as r
    inner join {{ ref('stg_ledger__asset_past_words') }} as p
        on
            p.link_id = r.link_id and p.last_date between r.newest - {{ carry_days }} and r.said_on
            and p.normalized_id <> r.normalized_id
    inner join {{ ref('stg_ledger__normalized_assets') }} as n on n.id = p.normalized_id
    where
        r.words > 1
        {%- for name, _, _ in fields if name not in momentary %}
        or r.{{ name }} is null
        {%- endfor %}
),

tried as materialized (
    select
        d.collected_date, d.root, d.source_id, d.link_id, d.platform_type, d.unknown, s.name as source, s.naming_rank,
        s.specs_rank, s.os_rank
    from day_rows as d
    inner join {{ ref('stg_ledger__sources') }} as s on s.id = d.source_id
    where d.normalized_id is null
),

several as materialized (
    select collected_date, root from ranked where words > 1
    union
    select collected_date, root from past
    union
    select collected_date, root from tried
),

offered as materialized (
    select
        r.collected_date, r.root, true as is_said, r.place = 1 as latest,
        r.place = 1 or r.newest - r.said_on <= {{ carry_days }} as carries, r.open as last_open, r.open,
        r.source_id, r.source, r.link_id, r.naming_rank, r.specs_rank, r.os_rank, r.said_on, r.said_at, r.platform_type,
        r.unknown, {% for name, _, _ in fields %}r.{{ name }}{{ ', ' if not loop.last }}{% endfor %}
    from several as v
    inner join ranked as r using (collected_date, root)
    union all
    select
        p.collected_date, p.root, true, false, true, false, null, p.source_id, p.source, p.link_id, p.naming_rank,
        p.specs_rank, p.os_rank, p.said_on, null, null, p.unknown,
        {% for name, _, _ in fields %}p.{{ name }}{{ ', ' if not loop.last }}{% endfor %}
    from past as p
    union all
    select
        t.collected_date, t.root, false, false, false, false, null, t.source_id, t.source, t.link_id, t.naming_rank,
        t.specs_rank, t.os_rank, t.collected_date, null, t.platform_type, t.unknown,
        {% for name, _, _ in fields %}null{{ ', ' if not loop.last }}{% endfor %}
    from tried as t
),

picked as materialized (
    select
        o.collected_date, o.root,
        {%- for name, rank, path in fields %}
        coalesce(
            (
                array_agg(o.{{ name }} order by o.{{ rank }}, o.said_on desc, o.source_id, o.link_id desc)
                filter (where o.latest and o.{{ name }} is not null)
            )[1]
            {%- if name not in momentary %},
            (
                array_agg(o.{{ name }} order by o.{{ rank }}, o.said_on desc, o.source_id, o.link_id desc)
                filter (where o.carries and o.{{ name }} is not null)
            )[1]
            {%- endif %}
        ) as {{ name }},
        coalesce(
            (
                array_agg(o.said_on order by o.{{ rank }}, o.said_on desc, o.source_id, o.link_id desc)
                filter (where o.latest and o.{{ name }} is not null)
            )[1],
            (
                array_agg(o.said_on order by o.{{ rank }}, o.said_on desc, o.source_id, o.link_id desc)
                filter (where o.carries and o.{{ name }} is not null)
            )[1]
        ) as {{ name }}_on,
        (
            array_agg({{ why_unknown('o.unknown', path) }}
                order by o.said_on desc, o.is_said desc, o.{{ rank }}, o.source_id, o.link_id desc)
            filter (where {{ why_unknown('o.unknown', path) }} is not null)
        )[1] as {{ name }}_because,
        {%- endfor %}
        coalesce(
            (
                array_agg(o.platform_type order by o.platform_type = 'unknown', o.naming_rank, o.source_id)
                filter (where o.latest)
            )[1],
            (array_agg(o.platform_type order by o.platform_type = 'unknown', o.naming_rank, o.source_id)
                filter (where not o.is_said))[1]
        ) as platform_type,
        coalesce(
            (
                array_agg(o.source_id order by o.platform_type = 'unknown', o.naming_rank, o.source_id)
                filter (where o.latest)
            )[1],
            (array_agg(o.source_id order by o.platform_type = 'unknown', o.naming_rank, o.source_id)
                filter (where not o.is_said))[1]
        ) as source_id,
        coalesce(
            max(o.said_on) filter (where o.latest and o.open), max(o.said_on) filter (where o.latest)
        ) as said_on,
        coalesce(
            max(o.said_at) filter (where o.latest and o.open), max(o.said_at) filter (where o.latest)
        ) as said_at,
        coalesce(array_agg(distinct o.source) filter (where o.latest and o.open), '{}') as sources,
        array_agg(distinct o.source_id) as source_ids
    from offered as o
    group by o.collected_date, o.root
),

-- a value is as old as the last word of any record that has it
valued as materialized (
    select
        p.collected_date, p.root, p.platform_type, p.source_id, p.said_on, p.said_at, p.sources, p.source_ids,
        {%- for name, _, _ in fields %}
        p.{{ name }},
        case
            when p.{{ name }} is not null
                then greatest(p.{{ name }}_on, max(o.said_on) filter (where o.last_open and o.{{ name }} = p.{{ name }}))
        end as {{ name }}_on,
        p.{{ name }}_because{{ ',' if not loop.last }}
        {%- endfor %}
    from picked as p
    inner join offered as o using (collected_date, root)
    group by
        p.collected_date, p.root, p.platform_type, p.source_id, p.said_on, p.said_at, p.sources, p.source_ids,
        {% for name, _, _ in fields %}p.{{ name }}, p.{{ name }}_on, p.{{ name }}_because{{ ', ' if not loop.last }}{% endfor %}
    union all
    select
        r.collected_date, r.root, r.platform_type, r.source_id, r.said_on, r.said_at,
        case when r.open then array[r.source] else '{}'::text[] end, array[r.source_id],
        {%- for name, _, path in fields %}
        r.{{ name }},
        case when r.{{ name }} is not null then r.said_on end,
        case when r.{{ name }} is null then {{ why_unknown('r.unknown', path) }} end{{ ',' if not loop.last }}
        {%- endfor %}
    from ranked as r
    where not exists (
        select from several as v where v.collected_date = r.collected_date and v.root = r.root
    )
),

-- === what people had decided by the day's end ===

decided as materialized (
    select
        collected_date, asset_id,
        {%- for name in decidable %}
        max(value_text) filter (where field = '{{ name }}') as {{ name }},
        {%- endfor %}
        jsonb_object_agg(field, actor) as decided
    from (
        select distinct on (y.collected_date, d.asset_id, d.field)
            y.collected_date, d.asset_id, d.field, d.value_text, d.actor
        from days as y
        inner join {{ ref('stg_ledger__decisions') }} as d
            on d.decided_at < y.day_end and d.kind = 'override'
        where d.field in ('{{ decidable | join("', '") }}')
        order by y.collected_date, d.asset_id, d.field, d.id desc
    ) as latest
    where value_text is not null
    group by collected_date, asset_id
),

retired as materialized (
    select collected_date, asset_id
    from (
        select distinct on (y.collected_date, d.asset_id) y.collected_date, d.asset_id, d.value
        from days as y
        inner join {{ ref('stg_ledger__decisions') }} as d on d.decided_at < y.day_end and d.kind = 'retired'
        order by y.collected_date, d.asset_id, d.id desc
    ) as latest
    where value is not null
),

-- === where it ran ===

edges as materialized (
    select
        t.kind, coalesce(f.root, t.from_asset_id) as asset_id, coalesce(a.root, t.to_asset_id) as other_id,
        t.to_link_id, t.to_external_id, t.began_at, t.ended_at, s.naming_rank, t.source_id
    from {{ ref('stg_ledger__topology') }} as t
    inner join {{ ref('stg_ledger__sources') }} as s on s.id = t.source_id
    left join assets as f on f.asset_id = t.from_asset_id
    left join assets as a on a.asset_id = t.to_asset_id
    where
        t.began_at < ({{ last_day() }} + 1)::timestamp at time zone 'Asia/Shanghai'
        and (t.ended_at is null or t.ended_at >= ({{ first_day() }} + 1)::timestamp at time zone 'Asia/Shanghai')
),

far_ends as materialized (
    select l.id as link_id, coalesce(c.hostname, n.caption, n.hostname, l.external_id) as name
    from links as l
    inner join {{ ref('stg_ledger__normalized_assets') }} as n on n.id = l.normalized_id
    inner join {{ ref('stg_ledger__assets') }} as c on c.id = l.root
    where l.id in (select e.to_link_id from edges as e)
),

placed as materialized (
    select distinct on (y.collected_date, e.kind, e.asset_id)
        y.collected_date, e.kind, e.asset_id, e.other_id, coalesce(n.name, e.to_external_id) as name
    from days as y
    inner join edges as e on e.began_at < y.day_end and (e.ended_at is null or e.ended_at >= y.day_end)
    left join far_ends as n on n.link_id = e.to_link_id
    order by y.collected_date, e.kind, e.asset_id, e.naming_rank, e.source_id, e.began_at desc,
        e.to_external_id, e.to_link_id
)

select
    v.collected_date,
    v.root as asset_id,
    case
        when m.missing_since is not null then 'missing'
        when v.said_on is null then 'unread'
        when v.said_on = v.collected_date then 'observed'
        else 'carried'
    end as state,
    v.platform_type,
    a.zone,
    {%- for name, _, _ in fields %}
    {% if name in decidable %}coalesce(d.{{ name }}, v.{{ name }}) as {{ name }}{% else %}v.{{ name }}{% endif %},
    {%- endfor %}
    h.other_id as host_asset_id,
    h.name as host,
    coalesce(c.other_id, hc.other_id) as cluster_asset_id,
    case when c.name is null then hc.name else c.name end as cluster,
    v.said_on,
    v.said_at,
    v.collected_date - v.said_on as age_days,
    case
        when
            {%- for name, _, _ in fields %}
            {{ 'or ' if not loop.first }}v.{{ name }}_on < v.collected_date
            {%- endfor %}
            then jsonb_strip_nulls(jsonb_build_object(
                {%- for name, _, _ in fields %}
                '{{ name }}',
                case
                    when v.{{ name }}_on < v.collected_date
                        {%- if name in decidable %} and d.{{ name }} is null{% endif %} then v.{{ name }}_on
                end{{ ',' if not loop.last }}
                {%- endfor %}
            ))
        else '{}'::jsonb
    end as carried,
    case
        when
            {%- for name, _, _ in fields %}
            {{ 'or ' if not loop.first }}v.{{ name }} is null
            {%- endfor %}
            then jsonb_strip_nulls(jsonb_build_object(
                {%- for name, _, _ in fields %}
                '{{ name }}',
                case
                    when {{ 'd.' ~ name ~ ' is null and ' if name in decidable }}v.{{ name }} is null
                        then coalesce(v.{{ name }}_because, 'NOT_REPORTED')
                end{{ ',' if not loop.last }}
                {%- endfor %}
            ))
        else '{}'::jsonb
    end as unknown,
    coalesce(d.decided, '{}'::jsonb) as decided,
    m.missing_since,
    v.source_id,
    v.sources,
    v.source_ids
from valued as v
left join assets as a on a.asset_id = v.root
left join missing as m on m.collected_date = v.collected_date and m.root = v.root
left join decided as d on d.collected_date = v.collected_date and d.asset_id = v.root
left join placed as h on h.collected_date = v.collected_date and h.asset_id = v.root and h.kind = 'runs_on'
left join placed as c on c.collected_date = v.collected_date and c.asset_id = v.root and c.kind = 'member_of'
left join placed as hc on hc.collected_date = v.collected_date and hc.asset_id = h.other_id and hc.kind = 'member_of'
where not exists (
    select from retired as r where r.collected_date = v.collected_date and r.asset_id = v.root
)
