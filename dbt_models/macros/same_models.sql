{# Whether these very models made the marts of days the last time, as Dagster says in ASSET_LEDGER_DBT_SAME_MODELS. Then
   their tables have every column and every comment, and nobody has to look: to look costs dbt more than a small mart. #}
{% macro same_models() -%}
    {{ return(execute and is_incremental() and env_var('ASSET_LEDGER_DBT_SAME_MODELS', '') == 'yes') }}
{%- endmacro %}

{% macro incremental_validate_on_schema_change(on_schema_change, default) -%}
    {{ return('ignore' if same_models() else on_schema_change) }}
{%- endmacro %}
