{# The complete readings whose absences count, as `store.derive.missing.COUNTS` says: what they did not see is gone. #}
{% macro counting_readings() -%}
    select i.id, i.source_id, i.covers, i.collected_date, i.collected_at
    from {{ ref('stg_ledger__inventories') }} as i
    left join {{ ref('stg_ledger__decisions_in_force') }} as d on d.kind = 'absences' and d.inventory_id = i.id
    where
        i.complete and i.status = 'derived'
        and case when d.value is null then i.absences = 'applied' else d.value_text = 'approved' end
{%- endmacro %}
