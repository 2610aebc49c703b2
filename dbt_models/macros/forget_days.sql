{# The pre-hook of a mart that is made by days: the days that were asked for go, with rows that they have no more, in the
   transaction that makes them anew. dbt's own delete+insert would leave a day as it was that has no row left. Whoever makes
   the same day at the same time, which nobody should, waits: it would be there twice. #}
{% macro forget_days() -%}
    {{ plan_for_many() }}
    {%- if execute and is_incremental() %}
    lock table {{ this }} in share row exclusive mode;
    delete from {{ this }} where {{ days_between('collected_date') }}
    {%- endif %}
{%- endmacro %}

{# The pre-hook of the other marts. PostgreSQL knows nothing of how many rows a part of a statement has, and takes it for
   one: it looks through 10,000 rows for each of 10,000, or merges days and machines by the day alone and compares every
   two machines of it. Here every part may be as long as the ledger, and a hash is by the whole key. And statements of
   many parts are compiled for seconds before they run for a part of one. #}
{% macro plan_for_many() -%}
    set local jit = off;
    set local enable_nestloop = off;
    set local enable_mergejoin = off;
{%- endmacro %}
