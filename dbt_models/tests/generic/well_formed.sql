{# What holds for every row of a model, in one look at it: to dbt a test for each kind and column would cost far more than
   what they look at. `grain`: no two rows have the same values there, NULL being a value like any other; `never_null`;
   `accepted_values` of a column beside NULL; `relationships`: in which model each value of a column beside NULL is, in a
   column of that name. A row comes with all that is wrong with it. #}
{% test well_formed(model, grain, never_null, accepted_values={}, relationships={}) %}
{%- set wrong = [] -%}
{%- for column in never_null -%}
    {%- do wrong.append((column ~ ' is null', "'" ~ column ~ " is NULL'")) -%}
{%- endfor -%}
{%- for column, values in accepted_values.items() -%}
    {%- do wrong.append((column ~ " not in ('" ~ values | join("', '") ~ "')", "'" ~ column ~ " is ' || " ~ column)) -%}
{%- endfor -%}
with looked_at as not materialized (
    select * from {{ model }}
)

select
    concat_ws(
        ', '
        {%- for is_so, told in wrong %},
        case when {{ is_so }} then {{ told }} end
        {%- endfor %}
    ) as broken,
    {{ grain | join(', ') }},
    json_strip_nulls(row_to_json(m)) as told
from looked_at as m
where
    {%- for is_so, _ in wrong %}
    {{ 'or ' if not loop.first }}{{ is_so }}
    {%- endfor %}
{%- for column, other in relationships.items() %}
union all
select
    '{{ other.identifier }} has no such {{ column }}',
    {% for each in grain %}m.{{ each }}, {% endfor %}json_strip_nulls(row_to_json(m))
from looked_at as m
left join {{ other }} as o on o.{{ column }} = m.{{ column }}
left join {{ source('ledger', {'asset_id': 'assets', 'instance_id': 'database_instances'}[column]) }} as l
    on l.id = m.{{ column }}
where m.{{ column }} is not null and o.{{ column }} is null and (l.id is null or {{ settled('l') }})
{%- endfor %}
union all
select count(*) || ' rows have the same {{ grain | join(', ') }}', {{ grain | join(', ') }}, null
from looked_at
group by {{ grain | join(', ') }}
having count(*) > 1
{% endtest %}
