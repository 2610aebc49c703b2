{# Whether a row of the ledger was there, as it is now, before this run began. Marts are made one after the other while
   sources are read: a machine that came between a mart and what tests it is no mistake of the mart's. Dagster says in
   ASSET_LEDGER_DBT_SETTLED_BEFORE which transaction was the oldest still at work then; without it all rows count.
   `row` is an alias of a table, not of a view, which has no xmin; its age is that of the change that made the row so. #}
{% macro settled(row) -%}
    {%- set before = env_var('ASSET_LEDGER_DBT_SETTLED_BEFORE', '') if execute else '' -%}
    {%- if before -%}
        (age({{ row }}.xmin) > age('{{ before | int }}'::xid))
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}
