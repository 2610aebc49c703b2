{# What a test looks at. `where: days_asked_for` in its config means the days of this run and no other: an old day is
   tested when it is made, and a row of no day always. dbt's own macro, which knows no macros in that place, is otherwise
   followed. #}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where', '') -%}
    {%- if where == 'days_asked_for' -%}
        (
            select * from {{ relation }} where {{ days_between('collected_date') }} or collected_date is null
        ) dbt_subquery
    {%- elif where -%}
        (select * from {{ relation }} where {{ where }}) dbt_subquery
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}
