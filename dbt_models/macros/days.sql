{# The days that this run makes, both inclusive. Dagster says them in ASSET_LEDGER_DBT_FIRST_DAY and …_LAST_DAY, a person by
   --vars '{"first_day": "2026-11-01", "last_day": "2026-11-22"}', for which dbt parses the whole project anew. Whoever asks
   for no days is told so, and not given some. #}
{% macro first_day() -%}
    {{ asked_for_day('first_day') }}
{%- endmacro %}

{% macro last_day() -%}
    {{ asked_for_day('last_day') }}
{%- endmacro %}

{% macro days_between(column) -%}
    ({{ column }} between {{ first_day() }} and {{ last_day() }})
{%- endmacro %}

{# Every day that was asked for, a row each, column `collected_date`. #}
{% macro days_asked_for() -%}
    (
        select day::date as collected_date
        from generate_series({{ first_day() }}::timestamp, {{ last_day() }}::timestamp, interval '1 day') as days (day)
    )
{%- endmacro %}

{% macro asked_for_day(name) -%}
    {%- set day = (var(name, none) or env_var('ASSET_LEDGER_DBT_' ~ name | upper, '')) if execute else '2026-01-01' -%}
    {%- if not modules.re.match('^\\d{4}-\\d{2}-\\d{2}$', day | string) -%}
        {{ exceptions.raise_compiler_error(
            "this model is made by days, and " ~ name ~ " is '" ~ day ~ "': give both days, "
            ~ "--vars '{first_day: \"2026-11-01\", last_day: \"2026-11-22\"}'"
        ) }}
    {%- endif -%}
    date '{{ day }}'
{%- endmacro %}
